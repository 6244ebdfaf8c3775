"""Tones: the right frequencies, the right cadence, no click where the loop closes."""

from __future__ import annotations

import numpy as np
import pytest

from media.dsp import tones
from media.dsp.levels import peak_of_dbm0


def spectrum_peaks(samples: np.ndarray, rate_hz: int, count: int) -> list[float]:
    part = samples.astype(float) * np.hanning(len(samples))
    power = np.abs(np.fft.rfft(part, 8 * len(part)))
    found = []
    for _ in range(count):
        at = int(power.argmax())
        found.append(at * rate_hz / (8 * len(part)))
        guard = 8 * 4 * len(part) * 10 // rate_hz
        power[max(0, at - guard) : at + guard] = 0
    return sorted(found)


@pytest.mark.parametrize("rate_hz", [8000, 16000, 48000])
@pytest.mark.parametrize(
    ("country", "name", "hz", "cadence_s"),
    [
        ("CN", "dial", [450], []),
        ("CN", "ringback", [450], [1.0, 4.0]),
        ("CN", "busy", [450], [0.35, 0.35]),
        ("US", "dial", [350, 440], []),
        ("US", "ringback", [440, 480], [2.0, 4.0]),
        ("US", "reorder", [480, 620], [0.25, 0.25]),
        ("UK", "ringback", [400, 450], [0.4, 0.2, 0.4, 2.0]),
        ("EU", "busy", [425], [0.5, 0.5]),
    ],
)
def test_tone(country, name, hz, cadence_s, rate_hz) -> None:
    period = tones.render(country, name, rate_hz=rate_hz)
    assert period.dtype == np.int16
    edges = np.cumsum([0, *cadence_s]) if cadence_s else np.array([0, len(period) / rate_hz])
    assert len(period) == round(edges[-1] * rate_hz)
    for index in range(len(edges) - 1):
        part = period[round(edges[index] * rate_hz) : round(edges[index + 1] * rate_hz)]
        if index % 2:
            assert not part.any()
        else:
            assert spectrum_peaks(part, rate_hz, len(hz)) == pytest.approx(hz, abs=1.0)


def test_level_is_per_frequency() -> None:
    one, two = tones.render("CN", "dial"), tones.render("US", "dial")
    assert one.max() == pytest.approx(peak_of_dbm0(-13.0), rel=0.01)
    assert (two.astype(float) ** 2).mean() == pytest.approx(
        2 * (one.astype(float) ** 2).mean(), rel=0.01
    )


@pytest.mark.parametrize(("country", "plan"), tones.TONES.items())
def test_every_loop_closes_without_a_click(country, plan) -> None:
    for name in plan:
        period = tones.render(country, name).astype(int)
        twice = np.concatenate([period, period])
        seam = np.abs(np.diff(twice)[len(period) - 2 : len(period) + 1]).max()
        assert seam <= np.abs(np.diff(period)).max() + 1, (country, name)
        assert 0 < len(period) <= 12 * 8000


def test_every_country_has_the_four_tones_and_strangers_get_the_european_ones() -> None:
    for plan in tones.TONES.values():
        assert {"dial", "ringback", "busy", "congestion", "sit"} <= set(plan)
    assert tones.tone_of("xx", "busy") == tones.TONES["EU"]["busy"]
    assert tones.tone_of("uk", "reorder") == tones.TONES["GB"]["congestion"]
    assert tones.tone_of("EU", "unobtainable") == tones.TONES["EU"]["congestion"]
    assert not tones.render("CN", "silence").any()
    for country in (*tones.TONES, "xx"):
        for name in tones.tone_names(country):
            assert tones.tone_of(country, name).steps
    with pytest.raises(KeyError):
        tones.tone_of("CN", "jingle")


def test_dtmf_frequencies_durations_and_pauses() -> None:
    audio = tones.dtmf("1D", on_ms=100, off_ms=50)
    assert len(audio) == 2 * (800 + 400)
    assert spectrum_peaks(audio[:800], 8000, 2) == pytest.approx([697, 1209], abs=2)
    assert not audio[800:1200].any()
    assert spectrum_peaks(audio[1200:2000], 8000, 2) == pytest.approx([941, 1633], abs=2)
    assert len(tones.dtmf("")) == 0
    assert len(tones.dtmf(",")) == 8000
    for bad in ("x", "é"):
        with pytest.raises(KeyError):
            tones.dtmf(bad)


def test_beep_is_soft_at_both_ends() -> None:
    audio = tones.beep(duration_s=0.2)
    assert len(audio) == 1600
    assert abs(int(audio[0])) < 10
    assert abs(int(audio[-1])) < 200
    assert spectrum_peaks(audio, 8000, 1) == pytest.approx([1400], abs=2)
