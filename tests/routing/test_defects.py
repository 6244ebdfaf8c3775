"""The thirteen defects of other call centres, each a test of this one. In brackets: whose."""

from __future__ import annotations

import random

import pytest

from routing.decisions import AnnouncePosition, CancelOffer, Connect, OfferTo
from routing.estimate import WaitEstimate
from routing.events import (
    AgentStateSet,
    CallbackAnswered,
    CallbackFailed,
    CallbackRequested,
    ContactAbandoned,
    ContactTransferred,
    OfferAccepted,
)
from routing.model import (
    AgentState,
    AnnounceRule,
    CallbackRule,
    EmptyRule,
    LevelRule,
    LevelStep,
    Membership,
    Outcome,
    PriorityRule,
    QueueConfig,
    RonaRule,
)
from routing.stats import average_handle, handle_times


def test_01_a_heavier_queue_does_not_block_agents_its_caller_may_not_use(desk, agent):
    """[asterisk 1561]"""
    heavy = QueueConfig(
        id="heavy", route=("priority", "skill", "longest-idle"), skill="law", weight=9.0
    )
    light = QueueConfig(id="light")
    office = desk((heavy, light), [agent("clerk", "heavy", "light")])
    office.arrive("needs-law", "heavy", priority=100.0)
    office.arrive("easy", "light")
    assert office.offered("easy") == ["clerk"]
    assert office.offered("needs-law") == []


def test_02_fair_order_heeds_priority_and_a_newcomer_in_front_stops_nothing(desk, agent):
    """[asterisk 108, 1637, 1691]"""
    strict = PriorityRule(aging_s=None)
    queues = [QueueConfig(id=name, priority=strict) for name in ("q1", "q2")]
    office = desk(queues, [agent("a", "q1", "q2")])
    office.arrive("first", "q1")
    office.accept("first")
    office.arrive("old", "q1")
    office.wait(50)
    office.arrive("vip", "q2", priority=5.0)
    assert office.engine.view_contact("vip", office.now_s).position == 1
    office.end("first")
    assert office.offered("vip") == ["a"]
    office.accept("vip")
    office.end("vip")
    assert office.offered("old") == ["a"]


def test_03_wrap_up_and_last_call_hold_across_queues(desk, agent):
    """[asterisk 1006, 607]"""
    queues = [QueueConfig(id="q1", wrap_up_s=60.0), QueueConfig(id="q2", wrap_up_s=5.0)]
    office = desk(queues, [agent("a", "q1", "q2")])
    office.serve("c1", "q1")
    office.arrive("c2", "q2")
    office.wait(59)
    assert office.offered("c2") == []
    assert office.engine.view_agent("a").state is AgentState.WRAP_UP
    office.wait(1)
    assert office.offered("c2") == ["a"]
    seats = office.engine._floor.agents["a"].seats
    ended_s = seats["q1"].last_end_s
    office.accept("c2")
    office.end("c2")
    assert seats["q1"].last_end_s == ended_s < seats["q2"].last_end_s


def test_04_an_announcement_does_not_delay_service(desk):
    """[asterisk 1386, 1568]"""
    office = desk(QueueConfig(id="q", announce=AnnounceRule(every_s=10.0)), ["a"])
    office.arrive("first")
    office.accept("first")
    said = office.arrive("second")
    assert any(isinstance(d, AnnouncePosition) for d in said)
    assert [type(d) for d in office.end("first")][-1] is OfferTo
    assert office.offered("second") == ["a"]


def test_05_reading_is_not_paid_by_events(desk, agent):
    """[asterisk 1214] Views of 2,000 queues touch no event path and scan no line."""
    queues = [QueueConfig(id=f"q{n}") for n in range(2000)]
    office = desk(queues, [agent("a", "q0")])
    for number in range(3):
        office.arrive(f"c{number}", "q0")
    before = office.engine.snapshot()
    views = [office.engine.view_queue(queue_id) for queue_id in office.engine.queue_ids]
    assert len(views) == 2000
    assert views[0].in_line == 3
    assert office.engine.snapshot() == before


def test_06_a_call_is_counted_once(desk):
    """[asterisk PR 1737]"""
    office = desk(QueueConfig(id="q", route=("ring-all",)), ["a", "b", "c"])
    office.arrive("c1")
    offers = office.all("OfferTo", contact_id="c1")
    for offer in offers:
        office.tell(OfferAccepted(offer.offer_id))
        office.tell(OfferAccepted(offer.offer_id))
    calls = [office.engine.view_agent(a).calls for a in ("a", "b", "c")]
    assert sorted(calls) == [0, 0, 1]
    assert len(office.all("Connect")) == 1


def test_07_a_transfer_is_on_record_and_each_agent_has_his_own_talk_time(desk):
    """[asterisk 759]"""
    office = desk(QueueConfig(id="q", wrap_up_s=30.0), ["a", "b"])
    office.arrive("c1")
    office.accept("c1")
    office.wait(120)
    office.tell(ContactTransferred("c1", "b"))
    office.wait(3600)
    office.end("c1")
    office.wait(30)
    handled = {d.agent_id: d for d in office.all("ContactHandled")}
    assert handled["a"].talk_s == pytest.approx(120)
    assert handled["a"].outcome == "transferred"
    assert handled["b"].talk_s == pytest.approx(3600)
    assert average_handle(handle_times(office.said)).value == pytest.approx((120 + 3600 + 60) / 2)


def test_08_top_down_neither_stalls_nor_loses_the_order_of_callers(desk, agent):
    """[freeswitch 1216, 2511]"""
    queue = QueueConfig(
        id="q", route=("priority", "top-down"), rona=RonaRule(after=0, again_s=1.0), ring_s=5.0
    )
    agents = [agent(f"a{n}", Membership(queue_id="q", position=n)) for n in range(3)]
    office = desk(queue, agents)
    office.tell(AgentStateSet("a2", AgentState.UNAVAILABLE, "lunch"))
    office.arrive("c1")
    office.wait(22)
    assert office.offered("c1")[:4] == ["a0", "a1", "a0", "a1"]
    office.tell(AgentStateSet("a0", AgentState.UNAVAILABLE))
    office.tell(AgentStateSet("a1", AgentState.UNAVAILABLE))
    for number in range(2, 9):
        office.arrive(f"c{number}")
    office.tell(AgentStateSet("a0", AgentState.AVAILABLE))
    assert office.all("OfferTo")[-1].contact_id == "c1"


def test_09_no_ghost_answers_nobody_stuck_nobody_rung_for_one_who_left(desk):
    """[freeswitch 1973, 2540, 2529]"""
    office = desk(None, ["a"])
    office.arrive("c1")
    offer = office.offer_of("c1")
    said = office.tell(ContactAbandoned("c1"))
    assert CancelOffer(offer.offer_id, "c1", "a", "abandoned") in said
    assert office.engine.view_agent("a").state is AgentState.AVAILABLE
    late = office.tell(OfferAccepted(offer.offer_id))
    assert late == [CancelOffer(offer.offer_id, "", "", "late")]
    office.arrive("c2")
    assert office.offered("c2") == ["a"]


def test_10_agents_on_a_break_do_not_count_as_present(desk, agent):
    """[mod_callcenter source]"""
    rule = EmptyRule(join="present", leave="present", leave_after_s=5.0)
    office = desk(QueueConfig(id="q", empty=rule, overflow="voicemail:1"), ["a", "b"])
    office.arrive("c0")
    office.accept("c0")
    office.tell(AgentStateSet("b", AgentState.UNAVAILABLE, "lunch"))
    office.arrive("c1")
    office.tell(AgentStateSet("a", AgentState.UNAVAILABLE, "lunch"))
    office.wait(5)
    (overflow,) = office.all("Overflow", contact_id="c1")
    assert (overflow.target, overflow.reason) == ("voicemail:1", "empty")
    office.arrive("c2")
    assert office.all("Overflow", contact_id="c2")[0].reason == "empty"

    tiers = LevelRule(
        steps=(LevelStep(maximum=1), LevelStep(after_s=600.0, maximum=2)), skip_absent=True
    )
    levelled = QueueConfig(id="q", route=("level", "longest-idle"), levels=tiers)
    office = desk(
        levelled,
        [
            agent("one", Membership(queue_id="q", level=1)),
            agent("two", Membership(queue_id="q", level=2)),
        ],
    )
    office.tell(AgentStateSet("one", AgentState.UNAVAILABLE, "lunch"))
    office.arrive("c1")
    assert office.offered("c1") == ["two"]


def test_11_a_callback_is_dialled_once(desk):
    """[FreePBX 525]"""
    office = desk(QueueConfig(id="q", callback=CallbackRule(retry_after_s=60.0)), ["a", "b"])
    office.tell(AgentStateSet("a", AgentState.UNAVAILABLE))
    office.tell(AgentStateSet("b", AgentState.UNAVAILABLE))
    office.arrive("c1", caller="+861")
    for contact_id in ("c1", "c1", "again", "and-again"):
        office.tell(CallbackRequested(contact_id=contact_id, number="+861", queue_id="q"))
    office.tell(ContactAbandoned("c1"))
    office.tell(AgentStateSet("a", AgentState.AVAILABLE))
    office.tell(AgentStateSet("b", AgentState.AVAILABLE))
    office.accept("c1")
    office.wait(30)
    assert len(office.all("DialCallback")) == 1
    office.tell(CallbackFailed("c1", "busy", attempt=1))
    office.tell(CallbackFailed("c1", "busy", attempt=1))
    office.wait(60)
    office.accept("c1")
    assert [d.attempt for d in office.all("DialCallback")] == [1, 2]
    office.tell(CallbackFailed("c1", "busy", attempt=1))  # late news of the first attempt
    office.tell(CallbackAnswered("c1", attempt=2))
    office.end("c1")
    office.wait(3600)
    assert len(office.all("DialCallback")) == 2
    assert office.all("ContactClosed", contact_id="c1")[0].outcome is Outcome.CALLBACK_DONE


def test_12_the_announced_wait_does_not_grow_by_waiting():
    """Asterisk, hold time 60 s: after 600 s of waiting it says 8 minutes."""
    asterisk = [abs((60 + 30 - waited) // 60) for waited in (0, 180, 600)]
    assert asterisk[-1] > asterisk[0]
    for ahead in range(8, 0, -1):
        now, later = (WaitEstimate(q, 10 / 240, 1 / 300).median_s for q in (ahead, ahead - 1))
        assert later < now
    assert WaitEstimate(0, 10 / 240, 1 / 300).median_s < 60


def test_12_in_the_engine(desk):
    office = desk(QueueConfig(id="q", announce=AnnounceRule(every_s=60.0)), ["a"])
    record = office.engine._floor.queues["q"].model.record
    chance = random.Random(5)
    estimate = WaitEstimate(0, 1 / 240, 1 / 300)
    for _ in range(60):
        record.add(estimate, estimate.model_quantile_s(0.01 + 0.98 * chance.random()), True)
    assert record.calibrated
    office.arrive("talker")
    office.accept("talker")
    office.arrive("c1")
    office.wait(601)
    told = [d.wait_s for d in office.all("AnnouncePosition", contact_id="c1")]
    assert len(told) == 11
    assert None not in told
    assert told[-1] <= told[0]


def test_13_the_agent_is_told_whom_he_gets(desk):
    """[jambonz 1363]"""
    office = desk(None, ["a"])
    office.arrive("c0")
    office.accept("c0")
    office.arrive("c1", caller="+8613800000001", customer_id="wang", attributes={"menu": "2"})
    office.wait(42)
    office.end("c0")
    (connect,) = [d for d in office.accept("c1") if isinstance(d, Connect)]
    assert (connect.agent_id, connect.queue_id, connect.contact_id) == ("a", "q", "c1")
    assert (connect.caller, connect.customer_id) == ("+8613800000001", "wang")
    assert connect.waited_s == pytest.approx(42)
    assert connect.attributes == {"menu": "2"}
