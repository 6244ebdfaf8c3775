"""Service level under every formula; time figures with their parts."""

from __future__ import annotations

import pytest

from routing.events import ContactAbandoned, ContactRequeued, HoldEnded, HoldStarted
from routing.model import QueueConfig
from routing.stats import (
    SERVICE_LEVELS,
    AgentTimes,
    ServiceCounts,
    abandonment,
    adherence,
    average_answer,
    average_handle,
    conformance,
    handle_times,
    occupancy,
    service_level,
    shrinkage,
    tally,
    utilisation,
)

DAY = ServiceCounts(
    answered=90, answered_in_time=80, abandoned=10, abandoned_in_time=6, flowed_out=3
)


@pytest.mark.parametrize(
    ("formula", "percent"),
    [
        ("answered", 88.9),
        ("short-abandons-good", 86.0),
        ("short-abandons-out", 85.1),
        ("offered", 80.0),
        ("offered-and-flowed-out", 77.7),
    ],
)
def test_one_day_six_answers(formula: str, percent: float):
    assert service_level(DAY, formula).value * 100 == pytest.approx(percent, abs=0.05)
    assert set(SERVICE_LEVELS) >= {formula}


def test_nothing_divided_by_nothing_is_none():
    assert service_level(ServiceCounts()).value is None


def test_abandonment_by_both_definitions():
    assert abandonment(DAY).value == pytest.approx(10 / 103)
    assert abandonment(DAY, "handled").value == pytest.approx(10 / 100)


def test_counted_from_decisions(desk):
    office = desk(QueueConfig(id="q", max_wait_s=30.0, wrap_up_s=10.0), ["a"])
    office.arrive("quick")
    office.wait(4)
    office.accept("quick")
    live = tally(office.said, 20.0)
    assert (live.answered, live.answered_in_time) == (1, 1), "a live call is an answered one"
    office.arrive("gone")
    office.wait(5)
    office.tell(ContactAbandoned("gone"))
    office.arrive("too-long")
    office.wait(31)
    office.end("quick")
    counts = tally(office.said, 20.0)
    assert counts == ServiceCounts(1, 1, 1, 1, 1)
    assert tally(office.said, 20.0, "q") == counts
    assert tally(office.said, 20.0, "other") == ServiceCounts()
    assert average_answer(office.said).value == pytest.approx(4)


def test_handle_time_has_talk_hold_and_wrap_up(desk):
    office = desk(QueueConfig(id="q", wrap_up_s=10.0), ["a"])
    office.arrive("c")
    office.wait(3)
    office.accept("c")
    office.wait(60)
    office.tell(HoldStarted("c"))
    office.wait(20)
    office.tell(HoldEnded("c"))
    office.wait(40)
    office.end("c")
    office.wait(10)
    (handled,) = office.all("ContactHandled")
    assert (handled.ring_s, handled.talk_s) == (pytest.approx(3), pytest.approx(100))
    assert (handled.hold_s, handled.wrap_up_s) == (pytest.approx(20), pytest.approx(10))
    assert average_handle(handle_times(office.said)).value == pytest.approx(130)


def test_moves_count_as_flow_out_of_the_queue_left(desk, agent):
    queues = (QueueConfig(id="q1", max_wait_s=5.0, overflow="queue:q2"), QueueConfig(id="q2"))
    office = desk(queues, [])
    office.arrive("c", "q1")
    office.wait(5)
    assert tally(office.said, 20.0, "q1").flowed_out == 1
    office.tell(ContactRequeued(contact_id="c", queue_id="q1"))
    assert tally(office.said, 20.0, "q2").flowed_out == 0


def test_time_figures():
    times = AgentTimes(talk_s=2400, hold_s=300, wrap_up_s=300, idle_s=1000, paid_aux_s=1000)
    assert occupancy(times).value == pytest.approx(0.75)
    assert utilisation(times).value == pytest.approx(0.8)
    assert shrinkage(30, 100).value == pytest.approx(0.3)
    assert conformance(6, 4).value == pytest.approx(1.5)


def test_adherence_five_minutes_late_on_sixty():
    figure = adherence([(0, 3600, "available")], [(300, 3600, "available")])
    assert figure.value == pytest.approx(0.917, abs=5e-4)
    wrong_state = adherence(
        [(0, 3600, "available")], [(0, 1800, "break"), (1800, 3600, "available")]
    )
    assert (wrong_state.numerator, wrong_state.denominator) == (1800, 3600)
