"""The resampler: tones stay where they are, images and aliases go, blocks leave no seam."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.dsp import tones
from media.dsp.levels import peak_of_dbm0
from media.dsp.resample import Resampler

PAIRS = [
    (8000, 16000), (16000, 8000), (8000, 48000), (48000, 8000), (16000, 48000),
    (48000, 16000), (8000, 24000), (24000, 8000), (16000, 24000), (32000, 48000), (8000, 8000),
]  # fmt: skip


@pytest.mark.parametrize(("in_hz", "out_hz"), PAIRS)
@pytest.mark.parametrize("share", [0.05, 0.25, 0.42])
def test_a_tone_keeps_frequency_level_and_phase(in_hz, out_hz, share) -> None:
    hz = share * min(in_hz, out_hz)
    resampler = Resampler(in_hz, out_hz, 4)
    audio = tones.sines((hz,), in_hz // 5, rate_hz=in_hz, level_dbm0=-6.0)
    heard = resampler.process(np.array([2]), np.rint(audio).astype(np.int16)[None])[0]
    assert heard.dtype == np.int16
    assert len(heard) == out_hz // 5
    time_s = np.arange(len(heard)) / out_hz - resampler.delay_s
    wanted = peak_of_dbm0(-6.0) * np.sin(2 * np.pi * hz * time_s)
    half = len(heard) // 2
    error = heard[half:] - wanted[half:]
    assert np.sqrt((error**2).mean()) < 0.006 * peak_of_dbm0(-6.0)
    assert resampler.delay_s <= 0.0015 + 1e-9


@pytest.mark.parametrize(("in_hz", "out_hz"), [pair for pair in PAIRS if pair[0] > pair[1]])
def test_what_cannot_be_represented_is_removed(in_hz, out_hz) -> None:
    audio = tones.sines((0.6 * out_hz,), in_hz // 5, rate_hz=in_hz, level_dbm0=-3.0)
    heard = Resampler(in_hz, out_hz, 1).process(np.array([0]), audio.astype(np.int16)[None])[0]
    assert np.abs(heard[len(heard) // 4 :]).max() < 0.002 * peak_of_dbm0(-3.0)


@given(
    st.sampled_from(PAIRS),
    st.lists(st.sampled_from([48, 96, 144, 480]), min_size=1, max_size=6),
)
@settings(max_examples=40, deadline=None)
def test_blocks_of_any_length_leave_no_seam(pair, lengths) -> None:
    rng = np.random.default_rng(sum(lengths))
    audio = rng.integers(-20000, 20000, (2, sum(lengths))).astype(np.int16)
    rows = np.array([1, 0])
    pieces, whole = Resampler(*pair, 2), Resampler(*pair, 2)
    parts, at = [], 0
    for length in lengths:
        parts.append(pieces.process(rows, audio[:, at : at + length]))
        at += length
    once = whole.process(rows, audio)
    assert np.abs(np.concatenate(parts, axis=1).astype(int) - once).max() <= 1


def test_rows_are_independent_and_reset() -> None:
    rng = np.random.default_rng(1)
    audio = rng.integers(-9000, 9000, (3, 160)).astype(np.int16)
    together = Resampler(8000, 16000, 5)
    heard = together.process(np.array([4, 0, 2]), audio)
    for row in range(3):
        alone = Resampler(8000, 16000, 1).process(np.array([0]), audio[row : row + 1])
        assert np.abs(alone[0].astype(int) - heard[row]).max() <= 1
    together.reset(4)
    again = together.process(np.array([4, 0, 2]), audio)
    assert np.abs(again[0].astype(int) - heard[0]).max() <= 1
    assert np.abs(again[1].astype(int) - heard[1]).max() > 1


def test_limits() -> None:
    with pytest.raises(ValueError, match="ratio"):
        Resampler(8000, 44100, 1)
    with pytest.raises(ValueError, match="zero"):
        Resampler(0, 8000, 1)
    with pytest.raises(ValueError, match="multiple of 6"):
        Resampler(48000, 8000, 1).process(np.array([0]), np.zeros((1, 161), np.int16))
    assert Resampler(48000, 8000, 1).process(np.array([0]), np.zeros((1, 0), np.int16)).shape == (
        1,
        0,
    )
    assert Resampler(8000, 16000, 9).process(
        np.zeros(0, int), np.zeros((0, 160), np.int16)
    ).shape == (0, 320)
    full = np.tile(np.array([32767, -32768], np.int16).repeat(20), 10)[None]
    loud = Resampler(8000, 16000, 1).process(np.array([0]), full)
    assert loud.max() == 32767
    assert loud.min() == -32768
