"""Supervisory tones of several countries, DTMF and beeps, as int16 arrays that loop cleanly.

Sources: ITU-T E.180 supplement 2 (national tones), ETSI TR 101 041 (the European recommendation),
ITU-T Q.23 (DTMF frequencies), ITU-T E.180 section 9 (special information tone).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from media.dsp.levels import peak_of_dbm0
from media.dsp.levels import to_int16 as to_int16

DTMF_LOW_HZ = (697.0, 770.0, 852.0, 941.0)
DTMF_HIGH_HZ = (1209.0, 1336.0, 1477.0, 1633.0)
DTMF_KEYS = ("123A", "456B", "789C", "*0#D")
"""The key at [row][column]: row gives the low frequency, column the high one (ITU-T Q.23)."""

_RAMP_S = 0.002
_LOOP_S_MAX = 30.0


@dataclass(frozen=True, slots=True)
class ToneStep:
    """A stretch of a tone: `frequencies_hz` sounding together (none: silence) for `duration_s`.

    A `duration_s` of 0 stands for a tone without cadence. `modulation_hz` is an amplitude
    modulation of full depth (Japan's ringback).
    """

    frequencies_hz: tuple[float, ...]
    duration_s: float = 0.0
    modulation_hz: float = 0.0


@dataclass(frozen=True, slots=True)
class Tone:
    """A named tone: its steps in order, repeated for ever, each frequency at `level_dbm0`."""

    name: str
    steps: tuple[ToneStep, ...]
    level_dbm0: float = -13.0


def _tone(name: str, *cadence_s: float, hz: tuple[float, ...], modulation_hz: float = 0.0) -> Tone:
    """Build a tone from alternating on and off durations; no duration: continuous."""
    if not cadence_s:
        return Tone(name, (ToneStep(hz, 0.0, modulation_hz),))
    steps = [
        ToneStep(hz, seconds, modulation_hz) if index % 2 == 0 else ToneStep((), seconds)
        for index, seconds in enumerate(cadence_s)
    ]
    return Tone(name, tuple(steps))


def _plan(*tones: Tone) -> dict[str, Tone]:
    # The special information tone is the same everywhere.
    sit = Tone(
        "sit",
        (
            ToneStep((950.0,), 0.33),
            ToneStep((1400.0,), 0.33),
            ToneStep((1800.0,), 0.33),
            ToneStep((), 1.0),
        ),
    )
    return {tone.name: tone for tone in (*tones, sit)}


def _european(
    hz: float, ring: tuple[float, float], busy: float, congestion: float
) -> dict[str, Tone]:
    return _plan(
        _tone("dial", hz=(hz,)),
        _tone("ringback", *ring, hz=(hz,)),
        _tone("busy", busy, busy, hz=(hz,)),
        _tone("congestion", congestion, congestion, hz=(hz,)),
        _tone("call-waiting", 0.2, 0.2, 0.2, 9.0, hz=(hz,)),
    )


TONES: dict[str, dict[str, Tone]] = {
    "CN": _plan(
        _tone("dial", hz=(450.0,)),
        _tone("ringback", 1.0, 4.0, hz=(450.0,)),
        _tone("busy", 0.35, 0.35, hz=(450.0,)),
        _tone("congestion", 0.7, 0.7, hz=(450.0,)),
        _tone("call-waiting", 0.4, 4.0, hz=(450.0,)),
        _tone("unobtainable", 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.4, 0.4, hz=(450.0,)),
    ),
    "US": _plan(
        _tone("dial", hz=(350.0, 440.0)),
        _tone("ringback", 2.0, 4.0, hz=(440.0, 480.0)),
        _tone("busy", 0.5, 0.5, hz=(480.0, 620.0)),
        _tone("congestion", 0.25, 0.25, hz=(480.0, 620.0)),
        _tone("call-waiting", 0.3, 9.7, hz=(440.0,)),
    ),
    "GB": _plan(
        _tone("dial", hz=(350.0, 440.0)),
        _tone("ringback", 0.4, 0.2, 0.4, 2.0, hz=(400.0, 450.0)),
        _tone("busy", 0.375, 0.375, hz=(400.0,)),
        _tone("congestion", 0.4, 0.35, 0.225, 0.525, hz=(400.0,)),
        _tone("call-waiting", 0.1, 2.5, hz=(400.0,)),
        _tone("unobtainable", hz=(400.0,)),
    ),
    "EU": _european(425.0, (1.0, 4.0), 0.5, 0.25),
    "DE": _european(425.0, (1.0, 4.0), 0.48, 0.24),
    "FR": _european(440.0, (1.5, 3.5), 0.5, 0.25),
    "IT": _european(425.0, (1.0, 4.0), 0.5, 0.2),
    "ES": _european(425.0, (1.5, 3.0), 0.2, 0.25),
    "RU": _european(425.0, (0.8, 3.2), 0.4, 0.2),
    "BR": _european(425.0, (1.0, 4.0), 0.25, 0.25),
    "MX": _european(425.0, (1.0, 4.0), 0.25, 0.25),
    "NO": _european(425.0, (1.0, 4.0), 0.5, 0.2),
    "SE": _plan(
        _tone("dial", hz=(425.0,)),
        _tone("ringback", 1.0, 5.0, hz=(425.0,)),
        _tone("busy", 0.25, 0.25, hz=(425.0,)),
        _tone("congestion", 0.25, 0.75, hz=(425.0,)),
        _tone("call-waiting", 0.2, 0.5, 0.2, 9.1, hz=(425.0,)),
    ),
    "MY": _plan(
        _tone("dial", hz=(425.0,)),
        _tone("ringback", 0.4, 0.2, 0.4, 2.0, hz=(425.0,)),
        _tone("busy", 0.5, 0.5, hz=(425.0,)),
        _tone("congestion", 0.5, 0.5, hz=(425.0,)),
        _tone("call-waiting", 0.2, 0.2, 0.2, 9.0, hz=(425.0,)),
    ),
    "TW": _plan(
        _tone("dial", hz=(350.0, 440.0)),
        _tone("ringback", 1.0, 2.0, hz=(440.0, 480.0)),
        _tone("busy", 0.5, 0.5, hz=(480.0, 620.0)),
        _tone("congestion", 0.25, 0.25, hz=(480.0, 620.0)),
        _tone("call-waiting", 0.25, 0.25, 0.25, 3.25, hz=(350.0, 440.0)),
    ),
    "HK": _plan(
        _tone("dial", hz=(350.0, 440.0)),
        _tone("ringback", 0.4, 0.2, 0.4, 3.0, hz=(440.0, 480.0)),
        _tone("busy", 0.5, 0.5, hz=(480.0, 620.0)),
        _tone("congestion", 0.25, 0.25, hz=(480.0, 620.0)),
        _tone("call-waiting", 0.5, 0.5, 0.5, 8.0, hz=(440.0,)),
    ),
    "JP": _plan(
        _tone("dial", hz=(400.0,)),
        _tone("ringback", 1.0, 2.0, hz=(400.0,), modulation_hz=16.0),
        _tone("busy", 0.5, 0.5, hz=(400.0,)),
        _tone("congestion", 0.5, 0.5, hz=(400.0,)),
        _tone("call-waiting", 0.5, 4.0, hz=(400.0,), modulation_hz=16.0),
    ),
}
"""Tones by country (ISO 3166 two-letter code, `EU` for the ETSI recommendation) and name."""

SILENCE = Tone("silence", (ToneStep((), 1.0),))
"""No tone at all, but packets: telephones that hear none for a minute believe the other side to be gone."""

_ALIASES = {"UK": "GB", "CA": "US", "MO": "HK"}


def _plan_of(country: str) -> dict[str, Tone]:
    return TONES.get(_ALIASES.get(country.upper(), country.upper()), TONES["EU"])


def tone_names(country: str) -> list[str]:
    """The names that `tone_of` knows for a country, in order."""
    return sorted({*_plan_of(country), "reorder", "unobtainable", SILENCE.name})


def tone_of(country: str, name: str) -> Tone:
    """Return the tone `name` of `country`; a country without a table of its own has `EU`'s.

    `name`: ``dial``, ``ringback``, ``busy``, ``congestion`` (``reorder`` is the same),
    ``call-waiting``, ``unobtainable``, ``sit``, ``silence``. Raises `KeyError` for an unknown name.
    """
    if name == SILENCE.name:
        return SILENCE
    plan = _plan_of(country)
    wanted = "congestion" if name == "reorder" else name
    if wanted == "unobtainable" and wanted not in plan:
        wanted = "congestion"
    return plan[wanted]


def _shape(samples: int, rate_hz: int) -> NDArray[np.float64]:
    """Return a gate with short raised-cosine edges, so that a cadence does not click."""
    gate = np.ones(samples)
    ramp = min(round(_RAMP_S * rate_hz), samples // 2)
    edge = 0.5 - 0.5 * np.cos(np.pi * (np.arange(ramp) + 0.5) / max(ramp, 1))
    gate[:ramp] *= edge
    gate[samples - ramp :] *= edge[::-1]
    return gate


def sines(
    frequencies_hz: tuple[float, ...],
    samples: int,
    *,
    rate_hz: int = 8000,
    level_dbm0: float | tuple[float, ...] = -13.0,
) -> NDArray[np.float64]:
    """Return (`samples`,) float64, in int16 units: a sum of sines that starts at phase 0.

    `level_dbm0` is the level of each frequency, one for all or one each.
    """
    time_s = np.arange(samples) / rate_hz
    levels = level_dbm0 if isinstance(level_dbm0, tuple) else (level_dbm0,) * len(frequencies_hz)
    total = np.zeros(samples)
    for hz, level in zip(frequencies_hz, levels, strict=True):
        total += peak_of_dbm0(level) * np.sin(2.0 * np.pi * hz * time_s)
    return total


def _loop_samples(frequencies_hz: tuple[float, ...], rate_hz: int) -> int:
    """Return at least one second that holds a whole number of periods of every frequency."""
    period = rate_hz
    for hz in frequencies_hz:
        # A tenth of a hertz is far below what a tone's tolerance asks for.
        period = math.gcd(period * 10, round(hz * 10)) // 10 or 1
    unit = rate_hz // math.gcd(rate_hz, period)
    return unit * math.ceil(rate_hz / unit)


def loop(tone: Tone, *, rate_hz: int = 8000) -> NDArray[np.int16]:
    """Render one period of `tone`: (samples,) int16, to be repeated end to end.

    A continuous tone of whole hertz closes on itself exactly. Cadences start with the tone on.
    Source: E.180 for what is rendered; levels per frequency from the tone.
    """
    parts: list[NDArray[np.float64]] = []
    for step in tone.steps:
        continuous = step.duration_s <= 0.0
        samples = (
            _loop_samples((*step.frequencies_hz, step.modulation_hz), rate_hz)
            if continuous
            else round(min(step.duration_s, _LOOP_S_MAX) * rate_hz)
        )
        signal = sines(step.frequencies_hz, samples, rate_hz=rate_hz, level_dbm0=tone.level_dbm0)
        if step.modulation_hz:
            swing = np.cos(2.0 * np.pi * step.modulation_hz * np.arange(samples) / rate_hz)
            signal *= 0.5 - 0.5 * swing
        parts.append(signal if continuous else signal * _shape(samples, rate_hz))
    return to_int16(np.concatenate(parts))


def render(country: str, name: str, *, rate_hz: int = 8000) -> NDArray[np.int16]:
    """Return one period of a country's tone, (n,) int16; `tone_of` and `loop` in one call."""
    return loop(tone_of(country, name), rate_hz=rate_hz)


def beep(
    *, hz: float = 1400.0, duration_s: float = 0.2, level_dbm0: float = -13.0, rate_hz: int = 8000
) -> NDArray[np.int16]:
    """Return one beep, (samples,) int16, with soft edges."""
    samples = round(duration_s * rate_hz)
    signal = sines((hz,), samples, rate_hz=rate_hz, level_dbm0=level_dbm0)
    return to_int16(signal * _shape(samples, rate_hz))


def frequencies_of(digit: str) -> tuple[float, float]:
    """Return (low, high) in hertz of a DTMF digit (ITU-T Q.23); `KeyError` for another text."""
    for row, keys in enumerate(DTMF_KEYS):
        column = keys.find(digit.upper()) if len(digit) == 1 else -1
        if column >= 0:
            return DTMF_LOW_HZ[row], DTMF_HIGH_HZ[column]
    raise KeyError(digit)


def dtmf(
    digits: str,
    *,
    rate_hz: int = 8000,
    on_ms: int = 100,
    off_ms: int = 100,
    level_dbm0: float = -9.0,
    twist_db: float = 2.0,
) -> NDArray[np.int16]:
    """Render DTMF digits (ITU-T Q.23): (samples,) int16.

    `level_dbm0` is the level of the high frequency; the low one lies `twist_db` below it. `,` is a
    pause of one second; any other character that is no digit raises `KeyError`.
    """
    parts: list[NDArray[np.float64]] = [np.zeros(0)]
    on, off = on_ms * rate_hz // 1000, off_ms * rate_hz // 1000
    for digit in digits:
        if digit == ",":
            parts.append(np.zeros(rate_hz))
            continue
        levels = (level_dbm0 - twist_db, level_dbm0)
        parts.append(sines(frequencies_of(digit), on, rate_hz=rate_hz, level_dbm0=levels))
        parts.append(np.zeros(off))
    return to_int16(np.concatenate(parts))
