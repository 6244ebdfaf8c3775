"""Comfort noise: the payload, the level, the colour."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.signal import lfilter

from media.dsp import comfort_noise
from media.dsp.comfort_noise import NoiseSource
from media.dsp.levels import level_dbov, to_int16


def test_a_payload_of_the_level_alone_is_flat() -> None:
    columns = comfort_noise.parse(np.array([[60, 200], [0xBC, 1]], np.uint8), np.array([1, 1]))
    assert columns.level_dbov.tolist() == [-60.0, -60.0]
    assert not columns.reflection.any()
    assert columns.ok.all()


def test_quantisation_is_that_of_section_3_2() -> None:
    columns = comfort_noise.parse(np.array([[0, 0, 127, 254]], np.uint8), np.array([4]))
    assert columns.reflection[0, :3] == pytest.approx([-0.99, 0.0, 0.99], abs=0.01)
    columns = comfort_noise.parse(np.array([[0, 128]], np.uint8), np.array([2]))
    assert columns.reflection[0, 0] == pytest.approx(258 / 32768)


@given(hnp.arrays(np.uint8, st.tuples(st.integers(0, 6), st.integers(0, 20))), st.integers(-1, 25))
@settings(max_examples=200, deadline=None)
def test_any_octets_are_noise_or_not_ok(payloads, octets) -> None:
    columns = comfort_noise.parse(payloads, np.full(len(payloads), octets))
    assert columns.reflection.shape == (len(payloads), comfort_noise.ORDER_MAX)
    assert (columns.level_dbov <= 0).all()
    source = NoiseSource(max(len(payloads), 1))
    rows = np.arange(len(payloads))
    source.configure(rows, columns.level_dbov, columns.reflection)
    assert source.generate(rows, 80).shape == (len(payloads), 80)


def test_a_background_sounds_like_itself_at_the_far_end() -> None:
    rng = np.random.default_rng(8)
    white = rng.normal(0, 300, (3, 8000))
    background = np.stack(
        [white[0], lfilter([1], [1, -0.9], white[1]), lfilter([1], [1, 0.5, 0.7], white[2])]
    )
    level = level_dbov(to_int16(background))
    # Section 3.2: 127 + k * 32768 / 258 for the coefficients -0.9; and 0.5 / 1.7, 0.7 of the two poles.
    payload = np.array([[0, 127, 127], [0, 13, 127], [0, 164, 216]], np.uint8)
    payload[:, 0] = np.rint(-level)
    columns = comfort_noise.parse(payload, np.full(3, 3))
    source = NoiseSource(3, seed=4)
    rows = np.arange(3)
    source.configure(rows, columns.level_dbov, columns.reflection)
    heard = np.concatenate([source.generate(rows, 160) for _ in range(50)], axis=1)
    assert level_dbov(heard) == pytest.approx(level, abs=1.5)
    for row in range(3):
        bands = [
            (np.abs(np.fft.rfft(sound[row].astype(float))) ** 2).reshape(-1)[:4000]
            for sound in (background, heard)
        ]
        shapes = [10 * np.log10(band.reshape(8, 500).mean(axis=1)) for band in bands]
        assert np.abs(shapes[0] - shapes[1]).max() < 4.0


def test_the_seed_decides_and_streams_differ() -> None:
    rows = np.arange(2)
    one, two, other = NoiseSource(2, 1), NoiseSource(2, 1), NoiseSource(2, 2)
    for source in (one, two, other):
        assert not source.generate(rows, 16).any()
        source.configure(rows, np.array([-40.0, -40.0]), np.zeros((2, 1)))
    first = one.generate(rows, 160)
    assert (first == two.generate(rows, 160)).all()
    assert not (first == other.generate(rows, 160)).all()
    assert not (first[0] == first[1]).all()
