"""The E-model: the recommendation's own reference points, and that worse is worse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.dsp import emodel


def test_default_values_give_the_ratings_of_the_recommendation() -> None:
    # G.107 clause 7.7: R = 93.2 with all default values, MOS 4.41.
    assert float(emodel.rating(0.0, 0.0)) == pytest.approx(93.2, abs=0.05)
    assert float(emodel.mos(emodel.rating(0.0, 0.0))) == pytest.approx(4.41, abs=0.005)


def test_scores_of_annex_b() -> None:
    # Table B.1: R 90, 80, 70, 60, 50 stand for MOS 4.34, 4.03, 3.60, 3.10, 2.58.
    assert emodel.mos([90, 80, 70, 60, 50]) == pytest.approx(
        [4.34, 4.03, 3.60, 3.10, 2.58], abs=0.01
    )
    assert emodel.mos([-5, 0, 2, 100, 130]) == pytest.approx([1.0, 1.0, 1.0, 4.5, 4.5])


def test_loss_impairment_follows_g_113() -> None:
    codec = emodel.IMPAIRMENTS["PCMU"]
    assert float(emodel.loss_impairment(codec, 0.03)) == pytest.approx(95 * 3 / 28.1)
    assert float(emodel.loss_impairment(codec, 0.03, 2.0)) == pytest.approx(95 * 3 / 26.6)
    plain = emodel.rating(0.03, 50.0, emodel.WITHOUT_CONCEALMENT)
    assert float(plain) < float(emodel.rating(0.03, 50.0)) - 20
    assert float(emodel.rating(0.0, 0.0, "g729")) == pytest.approx(82.2, abs=0.1)
    assert float(emodel.rating(0.0, 0.0, "unheard of")) == pytest.approx(93.2, abs=0.1)


def test_the_step_of_talker_echo_at_one_millisecond_is_the_recommendations_own() -> None:
    # G.107 7.4 leaves talker echo out below 1 ms, and its term is slightly negative there.
    below, at = (float(emodel.rating(0.0, delay_ms)) for delay_ms in (0.999, 1.0))
    assert 0 < at - below < 0.12


@given(st.floats(0, 1), st.floats(1, 2000), st.floats(0, 1), st.floats(1, 2000))
def test_more_loss_or_delay_is_never_better(loss, delay, more_loss, more_delay) -> None:
    here = float(emodel.rating(loss, delay))
    worse = float(emodel.rating(max(loss, more_loss), max(delay, more_delay)))
    assert 0 <= worse <= here + 1e-9 <= 93.3
    assert float(emodel.mos(worse)) <= float(emodel.mos(here)) + 1e-9


def test_arrays_broadcast() -> None:
    grid = emodel.rating(np.array([[0.0], [0.1]]), np.array([20.0, 200.0, 400.0]))
    assert grid.shape == (2, 3)
    assert float(emodel.one_way_ms(60.0, 40.0)) == 90.0
