"""Concealment: a gap sounds like what came before it, fades, and meets what comes after."""

from __future__ import annotations

import numpy as np
import pytest

from media.dsp import plc, tones
from media.dsp.levels import level_dbov, to_int16


def vowel(samples: int, pitch_hz: float = 125.0, rate_hz: int = 8000) -> np.ndarray:
    """Harmonics of `pitch_hz` under a falling envelope."""
    count = int(0.42 * rate_hz / pitch_hz)
    hz = tuple(pitch_hz * k for k in range(1, count))
    levels = tuple(-14.0 - 1.2 * k for k in range(1, count))
    return to_int16(tones.sines(hz, samples, rate_hz=rate_hz, level_dbm0=levels))


@pytest.mark.parametrize("rate_hz", [8000, 16000])
@pytest.mark.parametrize("pitch_hz", [70.0, 100.0, 125.0, 160.0, 199.0])
def test_the_pitch_is_found(pitch_hz, rate_hz) -> None:
    history = vowel(rate_hz // 20, pitch_hz, rate_hz)[None]
    periods = int(plc.pitch_lags(history, rate_hz)[0]) * pitch_hz / rate_hz
    assert periods == pytest.approx(round(periods), abs=0.03)
    assert round(periods) >= 1


@pytest.mark.parametrize("rate_hz", [8000, 16000])
@pytest.mark.parametrize("pitch_hz", [80.0, 125.0, 250.0])
def test_ten_milliseconds_of_a_vowel_are_continued(pitch_hz, rate_hz) -> None:
    gap = rate_hz // 100
    whole = vowel(rate_hz // 10 + gap, pitch_hz, rate_hz).astype(float)
    history, lost = whole[:-gap], whole[-gap:]
    filled = plc.conceal(history.astype(np.int16)[None], np.array([0]), gap, rate_hz)[0]
    error = filled - lost
    assert (error**2).sum() < 0.01 * (lost**2).sum()


def test_a_long_gap_fades_to_silence_by_sixty_milliseconds() -> None:
    played = vowel(800)[None]
    levels = []
    for tick in range(5):
        more = plc.conceal(played[:, -320:], np.array([160 * tick]), 160)
        levels.append(float(level_dbov(more)[0]))
        played = np.concatenate([played, more], axis=1)
    start = float(level_dbov(played[:, 640:800])[0])
    assert levels[0] == pytest.approx(start, abs=2.5)
    assert levels[0] > levels[1] > levels[2]
    assert levels[3] == levels[4] == -127.0


def test_no_click_where_the_gap_begins() -> None:
    for pitch_hz in (90.0, 140.0):
        whole = vowel(800, pitch_hz)
        for end in range(500, 620, 17):
            history = whole[None, :end]
            more = plc.conceal(history, np.array([0]), 160)[0].astype(int)
            usual = np.abs(np.diff(history[0].astype(int))).max()
            seam = abs(int(more[0]) - int(history[0, -1]))
            assert seam <= usual * 1.1
            assert np.abs(np.diff(more)).max() <= usual * 1.6


def test_noise_and_silence_are_continued_without_a_buzz() -> None:
    rng = np.random.default_rng(5)
    history = np.stack([to_int16(rng.normal(0, 800, 400)), np.zeros(400, np.int16)])
    more = plc.conceal(history, np.array([0, 0]), 80)
    assert plc.pitch_lags(history).tolist() == [120, 120]
    assert level_dbov(more)[0] == pytest.approx(level_dbov(history)[0], abs=2.0)
    assert not more[1].any()


def test_rows_are_independent() -> None:
    rng = np.random.default_rng(6)
    history = rng.integers(-9000, 9000, (5, 400)).astype(np.int16)
    gap = np.array([0, 80, 160, 320, 4000])
    together = plc.conceal(history, gap, 160)
    for row in range(5):
        alone = plc.conceal(history[row : row + 1], gap[row : row + 1], 160)
        assert (alone[0] == together[row]).all()
    assert not together[4].any()
    assert plc.conceal(history[:0], gap[:0], 160).shape == (0, 160)


def test_the_history_must_be_long_enough() -> None:
    with pytest.raises(ValueError, match="allowed: 320"):
        plc.conceal(np.zeros((1, 319), np.int16), np.array([0]), 160)
    assert plc.conceal(np.zeros((1, 320), np.int16), np.array([0]), 160).shape == (1, 160)


def test_blending_goes_from_one_to_the_other() -> None:
    old, new = np.full((1, 40), 1000, np.int16), np.full((1, 40), -1000, np.int16)
    mixed = plc.blend(old, new)[0].astype(int)
    assert 900 < mixed[0] < 1000
    assert -1000 < mixed[-1] < -900
    assert (np.diff(mixed) < 0).all()
    out = np.zeros((1, 40), np.int16)
    assert plc.blend(old, new, out) is out
    assert (out == mixed).all()
