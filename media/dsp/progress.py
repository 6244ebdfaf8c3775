"""What a called line says before and after it is answered: tones, fax, beeps, a machine or a person.

Sources: ITU-T E.180 supplement 2 (tones and cadences, from `tones.TONES`), ITU-T T.30 section 4
(fax: CNG 1,100 Hz, CED 2,100 Hz), ITU-T E.180 section 9 (special information tone).

Blocks of 20 ms give sound and silence; after each 100 ms of sound a spectrum says which one or two
frequencies carry it. A tone is known by its frequencies and, when it has a cadence, by the lengths of
the last sounds and silences. Only rows whose line changes are looked at one by one.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from media.dsp.levels import level_dbov
from media.dsp.tones import TONES, Tone, tone_of

RATE_HZ = 8000
BLOCK = 160
_LOOK = 5
"""Blocks of one spectrum: 100 ms."""

_FFT = 1024
_TOLERANCE_HZ = 12.0
_SILENCE_DBOV = -48.0
_DROP_DB = 12.0
_ABOVE_FLOOR_DB = 8.0
_PURE = 0.85
_SECOND_DB = -14.0
_BEEP_HZ_MIN = 350.0
"""Below lies the voice: of a vowel said high the fundamental can be nearly all there is."""
_SPECIALS = {"cng": (1100.0, 38.0, 0.4), "ced": (2100.0, 15.0, 0.5)}
_MEMORY = 12


@dataclass(frozen=True, slots=True)
class Heard:
    """`what` is on the line of stream `row`: `dial`, `ringback`, `busy`, `congestion`,
    `call-waiting`, `unobtainable`, `sit`, `cng`, `ced` or `beep` (single sounds of 0.1 to 1.5 s, of 350 Hz
    and more)."""

    row: int
    what: str


@dataclass(slots=True)
class _Sound:
    seconds: float
    hz: tuple[float, ...]
    """The frequencies of a pure sound; empty for silence, and for speech and noise."""
    on: bool


@dataclass(slots=True)
class _Ear:
    """What one row has been hearing."""

    sounds: deque[_Sound] = field(default_factory=lambda: deque(maxlen=_MEMORY))
    blocks: int = 0
    on: bool = False
    level_dbov: float = -127.0
    floor_dbov: float = -127.0
    """What a sound must exceed to end a silence."""
    hz: tuple[float, ...] = ()
    pure: bool = True
    reported: str = ""


class ProgressDetector:
    """Listens for call progress on up to `streams` rows, by the tones of one `country`."""

    __slots__ = ("_ears", "_history", "_plan", "_wanted_hz")

    def __init__(self, streams: int, country: str = "EU") -> None:
        names = set(TONES["EU"]) | {"unobtainable"}
        self._plan = {name: tone_of(country, name) for name in sorted(names)}
        self._wanted_hz = {hz for tone in self._plan.values() for hz in _frequencies(tone)}
        self._history = np.zeros((streams, _LOOK * BLOCK), np.int16)
        self._ears: dict[int, _Ear] = {}

    def reset(self, row: int) -> None:
        """Forget what `row` heard."""
        self._ears.pop(row, None)
        self._history[row] = 0

    def process(self, rows: NDArray[np.intp], samples: NDArray[np.int16]) -> list[Heard]:
        """Take the next 20 ms of distinct `rows` (K,): `samples` (K, 160) int16 at 8 kHz.

        Each thing is reported once, until something else is heard or the row is reset.
        """
        if samples.shape[1] != BLOCK:
            raise ValueError(f"{samples.shape[1]} samples; allowed: {BLOCK}")
        recent = np.concatenate([self._history[rows][:, BLOCK:], samples], axis=1)
        self._history[rows] = recent
        levels = level_dbov(samples)
        told: list[Heard] = []
        for at, row in enumerate(rows.tolist()):
            ear = self._ears.setdefault(row, _Ear())
            level = float(levels[at])
            on = level >= max(
                _SILENCE_DBOV, ear.level_dbov - _DROP_DB if ear.on else ear.floor_dbov
            )
            if on != ear.on:
                self._turn(row, ear, told)
                ear.on = on
            ear.blocks += 1
            if on:
                ear.level_dbov = max(level, ear.level_dbov - 0.5)
                if ear.blocks % _LOOK == 0:
                    self._look(ear, recent[at])
                    self._lasting(row, ear, told)
            else:
                # Line noise in a pause must not count as the next sound.
                ear.floor_dbov += 0.3 * (level + _ABOVE_FLOOR_DB - ear.floor_dbov)
                self._waiting(row, ear, told)
        return told

    def _turn(self, row: int, ear: _Ear, told: list[Heard]) -> None:
        """Sound has become silence, or silence sound: what is over is remembered."""
        seconds = ear.blocks * BLOCK / RATE_HZ
        hz = ear.hz if ear.pure else ()
        if ear.blocks:
            ear.sounds.append(_Sound(seconds, hz if ear.on else (), ear.on))
        if ear.on:
            self._beep(row, ear, seconds, hz, told)
            # Until the pause is known, only a sound about as loud as the last one ends it.
            ear.floor_dbov = ear.level_dbov - _DROP_DB
        else:
            self._match(row, ear, list(ear.sounds), told)
        ear.blocks, ear.hz, ear.pure, ear.level_dbov = 0, (), True, -127.0

    def _look(self, ear: _Ear, recent: NDArray[np.int16]) -> None:
        hz = pure_frequencies(recent)
        if not ear.hz:
            ear.hz = hz
        same = len(hz) == len(ear.hz) and all(
            abs(a - b) <= _TOLERANCE_HZ for a, b in zip(hz, ear.hz, strict=True)
        )
        if same:
            ear.pure = ear.pure and bool(hz)
            return
        if hz and ear.hz:
            # One tone straight after another, as in the special information tone.
            ear.sounds.append(_Sound(ear.blocks * BLOCK / RATE_HZ, ear.hz, True))
            ear.blocks, ear.hz = 0, hz
            return
        ear.pure = False

    def _lasting(self, row: int, ear: _Ear, told: list[Heard]) -> None:
        """A sound without an end: dial tone, fax; or the third of the special information tones."""
        if not ear.pure or not ear.hz:
            return
        seconds = ear.blocks * BLOCK / RATE_HZ
        for what, (hz, tolerance, least_s) in _SPECIALS.items():
            if len(ear.hz) == 1 and abs(ear.hz[0] - hz) <= tolerance and seconds >= least_s:
                self._report(row, ear, what, told)
                return
        before = [sound.hz for sound in ear.sounds if sound.on and len(sound.hz) == 1]
        heard = [*before[-2:], ear.hz]
        sit = [step.frequencies_hz for step in self._plan["sit"].steps if step.frequencies_hz]
        if len(heard) == 3 and all(_close(a, b, 30.0) for a, b in zip(heard, sit, strict=True)):
            self._report(row, ear, "sit", told)
            return
        # Longer than any sound that belongs to a cadence of this country.
        if seconds < 2.4:
            return
        for what, tone in self._plan.items():
            if len(tone.steps) == 1 and _close(ear.hz, _frequencies(tone), _TOLERANCE_HZ):
                self._report(row, ear, what, told)
                return

    def _waiting(self, row: int, ear: _Ear, told: list[Heard]) -> None:
        """Silence goes on: a ringback tone shows itself before its long pause is over."""
        seconds = ear.blocks * BLOCK / RATE_HZ
        if ear.blocks % 10 == 0 and 1.2 <= seconds <= 6.0 and ear.sounds:
            pause = _Sound(seconds, (), False)
            self._match(row, ear, [*ear.sounds, pause], told, open_end=True)

    def _match(
        self, row: int, ear: _Ear, sounds: list[_Sound], told: list[Heard], open_end: bool = False
    ) -> None:
        """Compare the last sounds and silences with every cadence of the country."""
        for what, tone in self._plan.items():
            if len(tone.steps) < 2 or what == "sit":
                continue
            cycle = len(tone.steps)
            long_pause = tone.steps[-1].duration_s >= 1.5
            if open_end and not long_pause:
                continue
            # A short cadence must be heard twice; a ringing tone's single ring is enough.
            need = cycle if long_pause else max(cycle, 4)
            if len(sounds) >= need and _fits(tone, sounds[-need:], open_end):
                self._report(row, ear, what, told)
                return

    def _beep(
        self, row: int, ear: _Ear, seconds: float, hz: tuple[float, ...], told: list[Heard]
    ) -> None:
        if len(hz) != 1 or not 0.1 <= seconds <= 1.5 or ear.reported in ("cng", "ced", "sit"):
            return
        if hz[0] < _BEEP_HZ_MIN:
            return
        if len(ear.sounds) > 1 and ear.sounds[-2].on:
            return  # the end of a row of tones
        if not any(abs(hz[0] - wanted) <= 2 * _TOLERANCE_HZ for wanted in self._wanted_hz):
            told.append(Heard(row, "beep"))

    @staticmethod
    def _report(row: int, ear: _Ear, what: str, told: list[Heard]) -> None:
        if ear.reported != what:
            ear.reported = what
            told.append(Heard(row, what))


def _frequencies(tone: Tone) -> tuple[float, ...]:
    return next(step.frequencies_hz for step in tone.steps if step.frequencies_hz)


def _close(heard: tuple[float, ...], wanted: tuple[float, ...], tolerance_hz: float) -> bool:
    return len(heard) == len(wanted) and all(
        abs(a - b) <= tolerance_hz for a, b in zip(heard, wanted, strict=True)
    )


def _fits(tone: Tone, sounds: list[_Sound], open_end: bool) -> bool:
    """Tell whether `sounds`, one or more whole cycles, are `tone`'s cadence, begun at any step."""
    steps = tone.steps
    for start in range(0, len(steps), 2):
        turned = [steps[(start + k) % len(steps)] for k in range(len(sounds))]
        last = len(sounds) - 1
        for number, (sound, step) in enumerate(zip(sounds, turned, strict=True)):
            slack_s = max(0.06, 0.12 * step.duration_s)
            if sound.on != bool(step.frequencies_hz):
                break
            if sound.on and not _close(sound.hz, step.frequencies_hz, _TOLERANCE_HZ):
                break
            if open_end and number == last:
                if not 1.2 <= sound.seconds <= step.duration_s + slack_s:
                    break
            elif abs(sound.seconds - step.duration_s) > slack_s:
                break
        else:
            return True
    return False


def pure_frequencies(sound: NDArray[np.int16]) -> tuple[float, ...]:
    """Return the one or two frequencies in hertz that carry (n,) int16 at 8 kHz, ascending.

    Empty for speech, noise, and anything of which less than 85 % lies in two lines. With 100 ms
    (800 samples) lines 40 Hz apart are told apart, to about 2 Hz.
    """
    window = sound * np.hanning(len(sound))
    power = np.abs(np.fft.rfft(window, _FFT)) ** 2
    total = float(power.sum())
    if total <= 0.0:
        return ()
    width = max(3, round(2.0 * _FFT / len(sound)) + 1)
    found: list[tuple[float, float]] = []
    left = power.copy()
    for _ in range(2):
        peak = int(left.argmax())
        low, high = max(peak - width, 0), peak + width + 1
        found.append((_line_hz(power, peak), float(left[low:high].sum())))
        left[low:high] = 0.0
    (first_hz, first), (second_hz, second) = found
    if first >= _PURE * total and second < first * 10.0 ** (_SECOND_DB / 10.0):
        return (first_hz,)
    if first + second >= _PURE * total and second >= first * 10.0 ** (_SECOND_DB / 10.0):
        return (min(first_hz, second_hz), max(first_hz, second_hz))
    return ()


def _line_hz(power: NDArray[np.float64], peak: int) -> float:
    """Refine a peak by the parabola through it and its neighbours, in decibels."""
    if not 0 < peak < len(power) - 1:
        return peak * RATE_HZ / _FFT
    left, here, right = np.log(power[peak - 1 : peak + 2] + 1e-9)
    bend = left - 2.0 * here + right
    shift = 0.0 if bend == 0.0 else 0.5 * (left - right) / bend
    return float((peak + shift) * RATE_HZ / _FFT)


@dataclass(frozen=True, slots=True)
class AnswerLimits:
    """By what an answering machine is told from a person, in seconds of the far end's speech."""

    initial_silence_s: float = 3.0
    greeting_s: float = 1.5
    """A person's first words are shorter."""
    after_greeting_s: float = 0.8
    """A person who has spoken waits this long for an answer."""
    words_max: int = 4
    total_s: float = 5.0


class AnswerClassifier:
    """Says `person`, `machine` or `unsure` of each answered call, once, from voice activity.

    A simple classifier on the rhythm of the first seconds; a beep or a fax tone heard by
    `ProgressDetector` overrules it.
    """

    __slots__ = ("_limits", "_quiet_s", "_talk_s", "_time_s", "_words", "verdict")

    def __init__(self, streams: int, limits: AnswerLimits | None = None) -> None:
        self._limits = limits or AnswerLimits()
        self._time_s = np.zeros(streams)
        self._talk_s = np.zeros(streams)
        self._quiet_s = np.zeros(streams)
        self._words = np.zeros(streams, np.int32)
        self.verdict: list[str] = [""] * streams

    def reset(self, row: int) -> None:
        """Begin with `row` at the moment its call is answered."""
        self._time_s[row] = self._talk_s[row] = self._quiet_s[row] = 0.0
        self._words[row] = 0
        self.verdict[row] = ""

    def process(
        self, rows: NDArray[np.intp], speaking: NDArray[np.bool_], block_s: float = 0.02
    ) -> list[tuple[int, str]]:
        """Take one block's voice activity of distinct `rows` (K,); returns (row, verdict) pairs."""
        limits = self._limits
        self._time_s[rows] += block_s
        begun = speaking & ((self._quiet_s[rows] > 0.0) | (self._talk_s[rows] == 0.0))
        self._words[rows] += begun
        self._talk_s[rows] += np.where(speaking, block_s, 0.0)
        self._quiet_s[rows] = np.where(speaking, 0.0, self._quiet_s[rows] + block_s)
        talk_s, quiet_s = self._talk_s[rows], self._quiet_s[rows]
        machine = (talk_s >= limits.greeting_s) | (self._words[rows] > limits.words_max)
        person = (talk_s > 0.0) & (quiet_s >= limits.after_greeting_s)
        unsure = self._time_s[rows] >= limits.total_s
        unsure |= (talk_s == 0.0) & (quiet_s >= limits.initial_silence_s)
        told = []
        for at in np.flatnonzero(machine | person | unsure).tolist():
            row = int(rows[at])
            if not self.verdict[row]:
                word = "machine" if machine[at] else "person" if person[at] else "unsure"
                self.verdict[row] = word
                told.append((row, word))
        return told
