"""Expected wait: the sum of exponentials, what is learned, and the record that gates it."""

from __future__ import annotations

import math
import random

import pytest

from routing.estimate import (
    RECORD_MIN,
    CalibrationRecord,
    CensoredRate,
    WaitEstimate,
    WaitModel,
    kaplan_meier,
    regularized_beta,
    survival_at,
)


@pytest.mark.parametrize("ahead", [0, 3, 20, 63, 64, 500])
def test_mean_is_the_sum(ahead: int):
    estimate = WaitEstimate(ahead, 10 / 240, 1 / 300)
    exact = sum(1 / (10 / 240 + j / 300) for j in range(ahead + 1))
    assert estimate.mean_s == pytest.approx(exact, rel=1e-9)


def test_quantiles_are_those_of_the_sum():
    estimate = WaitEstimate(7, 10 / 240, 1 / 300)
    chance = random.Random(4)
    sums = sorted(
        sum(chance.expovariate(10 / 240 + j / 300) for j in range(8)) for _ in range(20_000)
    )
    for share in (0.1, 0.5, 0.8, 0.95):
        drawn = sums[int(share * len(sums))]
        assert estimate.within(drawn) == pytest.approx(share, abs=0.015)
        assert estimate.within(estimate.quantile_s(share)) == pytest.approx(share, abs=1e-6)


def test_patient_callers_give_erlangs_distribution():
    estimate = WaitEstimate(0, 0.1, 0.0)
    assert estimate.within(10.0) == pytest.approx(1 - math.exp(-1), abs=1e-4)
    assert estimate.mean_s == pytest.approx(10.0)


def test_incomplete_beta_against_known_values():
    assert regularized_beta(2, 3, 0.5) == pytest.approx(0.6875)
    assert regularized_beta(12.5, 8, 0.3) == pytest.approx(0.0019056622, rel=1e-7)
    assert regularized_beta(1e5, 1e5, 0.5) == pytest.approx(0.5, abs=1e-6)
    assert (regularized_beta(2, 2, 0.0), regularized_beta(2, 2, 1.0)) == (0.0, 1.0)


def test_nobody_at_work_is_no_estimate():
    estimate = WaitEstimate(3, 0.0, 0.1)
    assert estimate.mean_s == estimate.median_s == math.inf
    assert estimate.within(1e9) == 0.0
    with pytest.raises(ValueError, match="between"):
        WaitEstimate(3, 1.0, 0.1).quantile_s(1.0)


def test_patience_is_learned_from_those_who_stayed_too():
    """Only 1 in 5 gives up; the mean of their waits alone would be far too short."""
    chance = random.Random(2)
    rate = CensoredRate(60.0)
    gave_up = []
    for _ in range(4000):
        patience_s, wait_s = chance.expovariate(1 / 300), chance.uniform(0, 150)
        rate.observe(min(patience_s, wait_s), complete=patience_s < wait_s)
        if patience_s < wait_s:
            gave_up.append(patience_s)
    assert sum(gave_up) / len(gave_up) < 100
    assert 1 / rate.per_s == pytest.approx(300, rel=0.25)


def test_kaplan_meier_textbook():
    curve = kaplan_meier([(1, True), (2, False), (3, True), (3, True), (5, False)])
    assert survival_at(curve, 0.5) == 1.0
    assert survival_at(curve, 1) == pytest.approx(4 / 5)
    assert survival_at(curve, 3) == pytest.approx(4 / 5 * 1 / 3)
    assert survival_at(curve, 99) == survival_at(curve, 3)


def filled(factor: float, count: int, cut_off: float = math.inf) -> CalibrationRecord:
    """Waits `factor` times as long as expected, observed up to `cut_off` seconds."""
    chance = random.Random(3)
    record = CalibrationRecord()
    estimate = WaitEstimate(4, 10 / 240, 1 / 300)
    for _ in range(count):
        wait_s = factor * estimate.model_quantile_s(min(0.999, max(0.001, chance.random())))
        record.add(estimate, min(wait_s, cut_off), wait_s <= cut_off)
    return record


def test_announced_only_when_its_own_record_is_good():
    assert not filled(1.0, RECORD_MIN - 1).calibrated
    assert filled(1.0, RECORD_MIN).coverage is not None
    assert filled(1.0, 400).calibrated
    assert not filled(3.0, 400).calibrated
    assert not filled(0.2, 400).calibrated


def test_those_who_gave_up_do_not_spoil_the_record():
    assert filled(1.0, 400, cut_off=150.0).calibrated


def test_quantiles_are_corrected_by_how_earlier_ones_turned_out():
    record = filled(1.4, 400)
    estimate = WaitEstimate(4, 10 / 240, 1 / 300)
    corrected = WaitEstimate(4, 10 / 240, 1 / 300, record.corrections)
    ratio = corrected.quantile_s(0.8) / estimate.quantile_s(0.8)
    assert 1.2 < ratio < 1.5
    chance = random.Random(9)
    for _ in range(400):
        told = WaitEstimate(4, 10 / 240, 1 / 300, record.corrections)
        wait_s = 1.4 * estimate.model_quantile_s(min(0.999, max(0.001, chance.random())))
        record.add(told, wait_s, True)
    assert record.coverage == pytest.approx(0.8, abs=0.06)


def test_a_queue_that_shares_its_agents_counts_on_its_share():
    model = WaitModel(240.0, 300.0)
    for _ in range(100):
        model.agent_busy(100.0, own=True)
        model.agent_busy(300.0, own=False)
    assert model.share == pytest.approx(0.25, abs=0.01)
    assert model.estimate(3, 8).drain_per_s == pytest.approx(8 * 0.25 / 240, rel=0.05)


def test_scores_are_taken_once():
    model = WaitModel(240.0, 300.0)
    estimate = WaitEstimate(0, 1 / 60, 1 / 300)
    model.finished(estimate, 50.0, answered=True, gave_up=False)
    model.finished(estimate, 90.0, answered=True, gave_up=False)
    model.finished(estimate, 20.0, answered=False, gave_up=True)
    score = model.take_score()
    assert (score.count, score.coverage) == (2, None)
    assert score.error_s == pytest.approx((10 + 30) / 2)
    assert score.bias_s == pytest.approx((10 - 30) / 2)
    assert model.take_score().count == 0


def test_the_engine_tells_nothing_uncalibrated_and_scores_by_queue(desk):
    office = desk(None, ["a"])
    office.arrive("busy")
    office.accept("busy")
    (queued,) = office.arrive("c")
    assert queued.wait is None
    assert office.engine.estimate_of("c") is not None
    view = office.engine.view_contact("c", office.now_s)
    assert (view.wait.ahead, view.calibrated) == (0, False)
    office.wait(100)
    office.end("busy")
    office.accept("c")
    assert office.engine.take_wait_scores()["q"].count == 1
