"""Queues: hours, limits, overflow, empty rules, places kept, announcements, changes by hand."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from routing.calendar import Calendar
from routing.events import (
    AgentSet,
    AgentStateSet,
    CalendarSet,
    ConnectFailed,
    ContactAbandoned,
    ContactArrived,
    ContactAssigned,
    ContactRequeued,
    ContactTransferred,
    ContactUpdated,
    ContactWithdrawn,
    CustomerRemoved,
    CustomerSet,
    OfferAccepted,
    OfferRejected,
    QueueRemoved,
    QueueSet,
    RegionsSet,
)
from routing.model import (
    AgentState,
    AnnounceRule,
    CallbackRule,
    CustomerConfig,
    EmptyRule,
    Media,
    Outcome,
    PriorityRule,
    QueueConfig,
    RegionConfig,
)

MONDAY_9 = datetime(2026, 9, 28, 9, tzinfo=UTC).timestamp()


def overflow(office, contact_id: str) -> tuple[str, str]:
    (decision,) = office.all("Overflow", contact_id=contact_id)
    (closed,) = office.all("ContactClosed", contact_id=contact_id)
    assert closed.outcome is Outcome.OVERFLOWED
    return decision.target, decision.reason


def test_opening_hours(desk):
    hours = Calendar.of({"mon": ["09:00-12:00"]}, timezone=UTC)
    queue = QueueConfig(id="q", hours="office", overflow="voicemail:1")
    office = desk(queue, ["a"], calendars={"office": hours}, epoch_s=MONDAY_9 - 600)
    office.arrive("early")
    assert overflow(office, "early") == ("voicemail:1", "closed")
    office.wait_until(600)
    office.arrive("morning")
    assert office.offered("morning") == ["a"]
    office.accept("morning")
    office.end("morning")
    office.tell(CalendarSet("office", Calendar.of({})))
    office.arrive("holiday")
    assert overflow(office, "holiday") == ("voicemail:1", "closed")


def test_max_waiting_counts_those_who_wait(desk):
    office = desk(QueueConfig(id="q", max_waiting=2, overflow="voicemail:1"), ["a"])
    for number in range(4):
        office.arrive(f"c{number}")
        if number == 0:
            office.accept("c0")
    assert overflow(office, "c3") == ("voicemail:1", "full")
    assert office.engine.view_queue("q").in_line == 2


def test_tickets_are_neither_before_nor_behind_a_caller(desk):
    """They fill no queue, and no caller is told of a place behind them; nor they of one behind him."""
    queue = QueueConfig(id="q", max_waiting=2, announce=AnnounceRule(first_s=1.0))
    office = desk(queue, ["a"])
    office.arrive("busy")
    office.accept("busy")
    for number in range(6):
        office.arrive(f"t{number}", media=Media.TICKET, priority=50.0)
        if number < 3:  # as many as he may have
            office.accept(f"t{number}")
    office.wait(100)
    office.arrive("c1")
    office.wait(10)
    office.arrive("vip", priority=90.0)
    office.arrive("c3")
    assert overflow(office, "c3") == ("", "full")
    positions = {d.contact_id: d.position for d in office.all("ContactQueued")}
    assert (positions["c1"], positions["vip"], positions["t5"]) == (1, 1, 3)
    office.wait(5)
    assert [(d.contact_id, d.position) for d in office.all("AnnouncePosition")] == [
        ("c1", 1),
        ("vip", 1),
    ]
    view = office.engine.view_queue("q")
    assert (view.in_line, view.since_s) == (2, office.now_s - 15), (
        "who waits longest need not be the next"
    )
    assert (view.tickets, view.tickets_since_s) == (3, office.now_s - 115)
    assert office.engine.view_contact("t5", 115.0).wait is None
    assert office.engine.view_agent("a").tickets == 3
    office.end("busy")
    assert office.offered("vip") == ["a"]


def test_a_ticket_is_no_call_of_the_fewest(desk):
    office = desk(QueueConfig(id="q", route=("fewest-calls",)), ["a", "b"])
    office.serve("c0")
    first = office.offered("c0")[0]
    other = "b" if first == "a" else "a"
    for number in range(4):
        office.arrive(f"t{number}", media=Media.TICKET)
        office.accept(f"t{number}")
    office.arrive("c1")
    assert office.offered("c1") == [other]
    office.accept("c1")
    office.end("c1")
    assert [seat.calls for seat in office.engine._floor.queues["q"].seats.values()] == [1, 1]


def test_a_queue_without_places_still_serves_at_once(desk):
    office = desk(QueueConfig(id="q", max_waiting=0), ["a"])
    office.arrive("c1")
    assert office.offered("c1") == ["a"]
    office.arrive("c2")
    assert overflow(office, "c2") == ("", "full")


def test_max_wait_but_not_while_an_agent_is_rung(desk):
    office = desk(QueueConfig(id="q", max_wait_s=30.0, overflow="extension:1003"), ["a"])
    office.arrive("busy")
    office.accept("busy")
    office.arrive("c1")
    office.wait(25)
    office.end("busy")
    office.wait(10)
    assert office.all("Overflow") == []
    office.accept("c1")
    office.arrive("c2")
    office.wait(30)
    assert overflow(office, "c2") == ("extension:1003", "max-wait")


def test_overflow_into_another_queue_keeps_the_place(desk, agent):
    queues = (
        QueueConfig(id="q1", max_wait_s=30.0, overflow="queue:q2"),
        QueueConfig(id="q2", max_wait_s=30.0, overflow="queue:q1"),
    )
    office = desk(queues, [agent("a", "q2")])
    office.arrive("busy", "q2")
    office.accept("busy")
    office.arrive("c1", "q1")
    office.wait(10)
    office.arrive("later", "q2")
    office.wait(20)
    (moved,) = office.all("ContactMoved")
    assert (moved.to_queue_id, moved.reason, moved.waited_s) == ("q2", "overflow:max-wait", 30.0)
    assert office.engine.view_contact("c1", office.now_s).position == 1
    office.wait(30)
    assert overflow(office, "c1") == ("", "max-wait"), "not round and round"


@pytest.mark.parametrize(
    ("join", "busy_ok", "break_ok"),
    [("always", True, True), ("present", True, False), ("free", False, False)],
)
def test_join_when_empty(desk, join: str, busy_ok: bool, break_ok: bool):
    office = desk(QueueConfig(id="q", empty=EmptyRule(join=join)), ["a"])
    office.arrive("first")
    office.accept("first")
    office.arrive("while-busy")
    assert (office.all("Overflow", contact_id="while-busy") == []) is busy_ok
    office.tell(AgentStateSet("a", AgentState.UNAVAILABLE))
    office.end("first")
    office.arrive("while-break")
    assert (office.all("Overflow", contact_id="while-break") == []) is break_ok


def test_leave_when_empty_unless_somebody_comes_back_in_time(desk):
    rule = EmptyRule(leave="present", leave_after_s=5.0)
    office = desk(QueueConfig(id="q", empty=rule), ["a"])
    office.tell(AgentStateSet("a", AgentState.UNAVAILABLE))
    office.arrive("c1")
    office.wait(4)
    office.tell(AgentStateSet("a", AgentState.AVAILABLE))
    assert office.offered("c1") == ["a"]
    office.tell(AgentStateSet("a", AgentState.UNAVAILABLE))
    office.wait(5)
    assert overflow(office, "c1") == ("", "empty")


def test_a_dropped_callers_place_is_held(desk):
    office = desk(QueueConfig(id="q", place_held_s=60.0, max_waiting=3), ["a"])
    office.arrive("busy")
    office.accept("busy")
    office.arrive("c1", caller="+861")
    office.wait(10)
    office.arrive("c2", caller="+862")
    office.tell(ContactAbandoned("c1"))
    office.arrive("c3", caller="+863")
    office.arrive("c4", caller="+864")
    office.wait(59)
    (queued,) = office.arrive("c1-again", caller="+861")
    assert (queued.position, queued.place_kept, queued.reason) == (1, True, "resumed")
    office.tell(ContactAbandoned("c1-again"))
    office.wait(61)
    office.tell(ContactWithdrawn("c4"))
    (queued,) = office.arrive("c1-late", caller="+861")
    assert (queued.position, queued.place_kept) == (3, False)


def test_place_from_the_start_of_the_call(desk):
    office = desk(QueueConfig(id="q", place_from_call=True), ["a"])
    office.wait_until(1000)
    office.arrive("busy")
    office.accept("busy")
    office.arrive("quick", started_s=999.0)
    (queued,) = office.arrive("long-ivr", started_s=500.0)
    assert queued.position == 1


def test_announcements_are_made_on_time_and_not_while_an_agent_rings(desk):
    rule = AnnounceRule(every_s=45.0, first_s=10.0)
    office = desk(QueueConfig(id="q", announce=rule), ["a"])
    office.arrive("busy")
    office.accept("busy")
    office.arrive("c1")
    office.arrive("c2")
    start_s = office.now_s
    office.wait(100)
    times = [start_s + 10, start_s + 55, start_s + 100]
    assert len(office.all("AnnouncePosition", contact_id="c2")) == len(times)
    assert office.all("AnnouncePosition", contact_id="c2")[0].position == 2
    assert office.all("AnnouncePosition")[0].wait_s is None, "not calibrated: nothing is said"
    office.end("busy")
    before = len(office.all("AnnouncePosition", contact_id="c1"))
    office.wait(14)
    assert len(office.all("AnnouncePosition", contact_id="c1")) == before


def test_callback_is_offered_once_after_a_while(desk):
    office = desk(QueueConfig(id="q", callback=CallbackRule(offer_after_s=60.0, key="1")), ["a"])
    office.arrive("busy")
    office.accept("busy")
    office.arrive("c")
    office.wait(300)
    (offer,) = office.all("OfferCallback")
    assert (offer.contact_id, offer.key) == ("c", "1")


def test_exit_key_and_supervisor_withdraw(desk):
    office = desk(None, ["a"])
    office.arrive("c1")
    office.tell(ContactWithdrawn("c1", "exit-key"))
    (closed,) = office.all("ContactClosed")
    assert (closed.outcome, closed.reason) == (Outcome.WITHDRAWN, "exit-key")
    assert office.all("CancelOffer")[0].reason == "withdrawn"
    office.arrive("c2")
    office.accept("c2")
    (ignored,) = office.tell(ContactWithdrawn("c2", by="boss"))
    assert ignored.reason == "in conversation"


def test_transfer_into_a_queue_keeps_context_and_place(desk, agent):
    queues = (QueueConfig(id="q1", wrap_up_s=5.0), QueueConfig(id="q2"))
    office = desk(queues, [agent("a", "q1"), agent("b", "q2")])
    office.tell(AgentStateSet("b", AgentState.UNAVAILABLE))
    office.arrive("c", "q1", caller="+861", attributes={"order": 7})
    office.accept("c")
    office.wait(30)
    office.arrive("other", "q2")
    office.tell(ContactRequeued(contact_id="c", queue_id="q2", attributes={"note": "angry"}))
    assert office.engine.view_agent("a").state is AgentState.WRAP_UP
    assert office.engine.view_contact("c", office.now_s).position == 1
    office.tell(AgentStateSet("b", AgentState.AVAILABLE))
    office.accept("c")
    connect = office.all("Connect")[-1]
    assert (connect.agent_id, connect.queue_id, connect.waited_s) == ("b", "q2", 0.0)
    assert connect.attributes == {"order": 7, "note": "angry"}
    office.wait(5)
    assert office.all("ContactHandled")[0].outcome == "requeued"


def test_to_the_end_of_the_line(desk):
    office = desk(None, ["a"])
    office.arrive("busy")
    office.accept("busy")
    office.arrive("c1")
    office.arrive("c2")
    office.tell(ContactRequeued(contact_id="c1", keep_place=False))
    assert office.engine.view_contact("c1", office.now_s).position == 2


def test_assigned_by_hand_past_every_criterion(desk, agent):
    queue = QueueConfig(id="q", route=("skill", "longest-idle"), skill="law")
    office = desk((queue, QueueConfig(id="q2")), [agent("a", "q2")])
    office.arrive("busy", "q2")
    office.accept("busy")
    office.arrive("waits-longer", "q2", priority=9.0)
    office.arrive("c")
    office.tell(ContactAssigned("c", "a", by="boss"))
    assert office.offered("c") == []
    office.end("busy")
    assert office.offered("c") == ["a"]
    assert office.offer_of("c").why.record()["mode"] == "assigned"


def test_an_assignment_ends_when_the_agent_leaves(desk, agent):
    office = desk(None, ["a", "b"])
    office.arrive("c1")
    office.arrive("c2")
    office.arrive("c3")
    office.tell(ContactAssigned("c3", "a"))
    office.tell(AgentStateSet("a", AgentState.UNAVAILABLE))
    office.accept("c2")
    office.end("c2")
    office.tell(ContactAssigned("c3", "a"))
    office.accept("c1")
    office.end("c1")
    assert office.offered("c3") == ["b"]


def test_taken_over_by_a_supervisor_or_moved_outside(desk):
    office = desk(None, ["a", "boss"])
    office.arrive("c")
    office.accept("c")
    office.tell(ContactTransferred("c", "boss"))
    assert office.engine.view_contact("c", office.now_s).agent_id == "boss"
    assert office.engine.view_agent("a").state is AgentState.AVAILABLE
    office.tell(ContactTransferred("c"))
    assert office.engine.contact_ids == []
    assert office.engine.view_agent("boss").state is AgentState.AVAILABLE


def test_a_failed_connection_puts_both_back(desk):
    office = desk(QueueConfig(id="q", max_wait_s=100.0), ["a", "b"])
    office.arrive("c")
    office.wait(5)
    office.accept("c")
    office.tell(ConnectFailed("c", "leg died"))
    assert office.engine.view_agent("a").calls == 0
    assert office.offered("c") == ["a", "b"]
    view = office.engine.view_contact("c", office.now_s)
    assert (view.phase, view.waited_s) == ("offered", 5.0)


def test_a_queue_comes_changes_and_goes(desk, agent):
    office = desk(None, [agent("a", "q", "later")])
    office.arrive("busy")
    office.accept("busy")
    office.tell(QueueSet(QueueConfig(id="later", priority=PriorityRule(aging_s=None))))
    office.arrive("c1", "later")
    office.arrive("c2", "later", priority=1.0)
    office.tell(QueueSet(QueueConfig(id="later", route=("longest-idle",))))
    assert office.engine.view_contact("c1", office.now_s).position == 1
    office.tell(QueueRemoved("later"))
    assert overflow(office, "c1") == ("", "removed")
    assert office.engine.view_queue("later") is None
    (ignored,) = office.tell(QueueRemoved("later"))
    assert ignored.reason == "unknown queue"


def test_a_new_rule_serves_those_who_wait_at_once(desk, agent):
    queue = QueueConfig(id="q", route=("skill", "longest-idle"), skill="law")
    office = desk(queue, ["a"])
    office.arrive("c")
    assert office.offered("c") == []
    office.tell(QueueSet(QueueConfig(id="q")))
    assert office.offered("c") == ["a"]


def test_customers_and_regions_change_live(desk, agent):
    queue = QueueConfig(id="q", route=("priority", "region", "longest-idle"))
    office = desk(queue, [agent("n", regions=("north",))])
    office.tell(RegionsSet((RegionConfig(name="south", prefixes=("+8620",)),)))
    office.tell(CustomerSet(CustomerConfig(id="wang", phones=("+8620",), priority=3.0)))
    office.arrive("c", caller="+8620")
    view = office.engine.view_contact("c", office.now_s)
    assert (view.priority, view.rule) == (3.0, ("region south",))
    office.tell(CustomerRemoved("wang"))
    office.arrive("d", caller="+8620")
    assert office.engine.view_contact("d", office.now_s).priority == 0.0


def test_limits_on_what_strangers_can_grow(desk):
    office = desk(None, [], contacts_max=3)
    for number in range(4):
        office.arrive(f"c{number}")
    assert len(office.engine.contact_ids) == 3
    assert overflow(office, "c3")[1] == "too-many"
    office.arrive("x", "nowhere")
    assert overflow(office, "x")[1] == "no-queue"
    (ignored,) = office.arrive("c1")
    assert ignored.reason == "already known"


def test_unknown_contacts_are_ignored(desk):
    office = desk()
    for event in (
        ContactAbandoned("x"),
        ContactWithdrawn("x"),
        ContactUpdated(contact_id="x"),
        ContactRequeued(contact_id="x"),
        ContactAssigned("x", "a"),
        ContactTransferred("x", "a"),
        ConnectFailed("x"),
    ):
        (ignored,) = office.tell(event)
        assert type(ignored).__name__ == "Ignored"


# --- joint assignment ---


def test_joint_serves_more_than_greedy(desk, agent):
    """c1 may go to both, c2 only to the longest idle: greedy gives him to c1."""
    for assignment, served in (("greedy", {"c1"}), ("joint", {"c1", "c2"})):
        queue = QueueConfig(id="q", route=("skill", "longest-idle"))
        agents = [agent("both", skills={"law": 1}), agent("plain")]
        office = desk(queue, agents, assignment=assignment, batch_s=0.2)
        office.tell(ContactArrived(contact_id="c1", queue_id="q"))
        office.tell(ContactArrived(contact_id="c2", queue_id="q", skill="law"))
        office.wait(0.2)
        assert {d.contact_id for d in office.all("OfferTo")} == served


def test_joint_never_passes_over_an_earlier_contact(desk, agent):
    agents = [agent("a", skills={"law": 1})]
    queue = QueueConfig(id="q", route=("priority", "skill", "longest-idle"))
    office = desk(queue, agents, assignment="joint", batch_s=0.2)
    office.tell(ContactArrived(contact_id="c1", queue_id="q"))
    office.tell(ContactArrived(contact_id="c2", queue_id="q", skill="law", priority=0.0))
    office.wait(0.2)
    assert [d.contact_id for d in office.all("OfferTo")] == ["c1"]


def test_a_rejected_offer_in_a_ring_goes_on_with_the_rest(desk, agent):
    office = desk(QueueConfig(id="q", route=("ring-all",)), ["a", "b"])
    office.arrive("c")
    first, second = office.all("OfferTo")
    office.tell(OfferRejected(first.offer_id))
    assert office.engine.view_contact("c", office.now_s).phase == "offered"
    office.tell(OfferAccepted(second.offer_id))
    assert office.all("Connect")[0].agent_id == "b"


def test_an_agent_who_joins_a_queue_is_used_at_once(desk, agent):
    office = desk((QueueConfig(id="q"), QueueConfig(id="q2")), [agent("a", "q")])
    office.arrive("c", "q2")
    office.tell(AgentSet(agent("a", "q", "q2")))
    assert office.offered("c") == ["a"]
