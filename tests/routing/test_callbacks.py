"""Callbacks in the queue: place kept, one dial, both orders, schedules, and customers who call first."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from routing.calendar import Calendar
from routing.events import (
    AgentStateSet,
    CallbackAnswered,
    CallbackCancelled,
    CallbackFailed,
    CallbackMoved,
    CallbackRequested,
    CallerGone,
    CallerSeen,
    ContactAbandoned,
    ContactRequeued,
    ContactWithdrawn,
    QueueRemoved,
)
from routing.model import AgentState, CallbackRule, CustomerConfig, Media, Outcome, QueueConfig


def busy_office(desk, agents=("a",), callback: CallbackRule | None = None, **config):
    """One queue, every agent in conversation."""
    queue = QueueConfig(id="q", callback=callback or CallbackRule(), max_wait_s=3600.0)
    office = desk(queue, list(agents), **config)
    for number, _ in enumerate(agents):
        office.arrive(f"busy{number}")
        office.accept(f"busy{number}")
    return office


def ask(office, contact_id: str, number: str = "+861", **facts):
    return office.tell(CallbackRequested(contact_id=contact_id, number=number, **facts))


def closed(office, contact_id: str) -> tuple[Outcome, str]:
    (decision,) = office.all("ContactClosed", contact_id=contact_id)
    return decision.outcome, decision.reason


def test_the_place_is_kept_and_the_agent_comes_first(desk):
    office = busy_office(desk)
    office.arrive("c1", caller="+861")
    office.arrive("c2", caller="+862")
    ask(office, "c1")
    assert office.tell(ContactAbandoned("c1"))[0].reason == "is a callback"
    assert office.engine.view_contact("c1", office.now_s).position == 1
    office.end("busy0")
    assert office.offer_of("c1").media is Media.CALLBACK
    assert office.all("DialCallback") == []
    office.accept("c1")
    (dial,) = office.all("DialCallback")
    assert (dial.number, dial.agent_id, dial.attempt) == ("+861", "a", 1)
    assert office.engine.view_agent("a").state is AgentState.ON_CONTACT
    office.tell(CallbackAnswered("c1", 1))
    assert office.all("Connect")[-1].contact_id == "c1"
    office.end("c1")
    assert closed(office, "c1") == (Outcome.CALLBACK_DONE, "")
    assert office.offered("c2") == ["a"]


def test_customer_first_enters_live_at_the_kept_place(desk):
    office = busy_office(desk, callback=CallbackRule(customer_first=True))
    office.arrive("c1", caller="+861")
    office.arrive("c2", caller="+862")
    ask(office, "c1")
    office.end("busy0")
    (dial,) = office.all("DialCallback")
    assert (dial.agent_id, office.offered("c1")) == ("", [])
    assert office.offered("c2") == ["a"], "nobody idles while the phone rings"
    office.accept("c2")
    office.arrive("c3", caller="+863")
    office.tell(CallbackAnswered("c1", 1))
    assert office.engine.view_contact("c1", office.now_s).position == 1
    office.end("c2")
    office.accept("c1")
    assert office.all("Connect")[-1].contact_id == "c1"


def test_attempts_are_repeated_by_the_rule_and_then_given_up(desk):
    rule = CallbackRule(attempts=2, retry_after_s=300.0)
    office = busy_office(desk, callback=rule)
    office.arrive("c1", caller="+861")
    ask(office, "c1")
    office.end("busy0")
    office.accept("c1")
    office.tell(CallbackFailed("c1", "no-answer", 1))
    assert office.engine.view_agent("a").state is AgentState.AVAILABLE
    office.wait(299)
    assert len(office.offered("c1")) == 1
    office.wait(1)
    office.accept("c1")
    office.tell(CallbackFailed("c1", "machine", 2))
    assert closed(office, "c1") == (Outcome.CALLBACK_FAILED, "machine")
    assert [d.outcome for d in office.all("ContactHandled", contact_id="c1")] == ["failed"] * 2


def test_an_attempt_nobody_reports_on_is_over_in_the_end(desk):
    office = busy_office(desk, callback=CallbackRule(attempts=1, dial_s=60.0))
    office.arrive("c1", caller="+861")
    ask(office, "c1")
    office.end("busy0")
    office.accept("c1")
    office.wait(70)
    assert office.all("CancelDial")[0].reason == "timeout"
    assert closed(office, "c1") == (Outcome.CALLBACK_FAILED, "timeout")
    assert office.engine.view_agent("a").state is AgentState.AVAILABLE


def test_cancelled_when_the_customer_calls_again_and_the_place_is_his(desk):
    office = busy_office(desk)
    office.arrive("c1", caller="+861")
    office.wait(30)
    office.arrive("c2", caller="+862")
    ask(office, "c1")
    office.tell(CallerSeen("+861"))
    said = office.arrive("c1-again", caller="+861")
    assert closed(office, "c1") == (Outcome.CALLBACK_CANCELLED, "called-again")
    assert (said[-1].position, said[-1].reason) == (1, "callback-replaced")
    office.end("busy0")
    assert office.offered("c1-again") == ["a"]
    assert office.all("DialCallback") == []


def test_known_by_customer_from_another_phone(desk):
    customers = (CustomerConfig(id="wang", phones=("+861", "+862")),)
    office = busy_office(desk, customers=customers)
    office.arrive("c1", caller="+861")
    ask(office, "c1")
    office.arrive("c2", caller="+862")
    assert closed(office, "c1")[1] == "called-again"


def test_not_dialled_while_he_is_calling_in(desk):
    office = busy_office(desk)
    office.arrive("c1", caller="+861")
    ask(office, "c1")
    office.tell(CallerSeen("+861"))
    office.end("busy0")
    assert office.offered("c1") == []
    office.tell(CallerGone("+861"))
    assert office.offered("c1") == ["a"]


def test_a_dial_in_progress_is_given_up_when_he_calls_in(desk):
    office = busy_office(desk)
    office.arrive("c1", caller="+861")
    ask(office, "c1")
    office.end("busy0")
    office.accept("c1")
    said = office.tell(CallerSeen("+861"))
    assert office.all("CancelDial")[0].reason == "calling-in"
    assert office.engine.view_agent("a").state is AgentState.AVAILABLE
    assert "Connect" not in {type(d).__name__ for d in said}
    office.arrive("c1-again", caller="+861")
    assert office.offered("c1-again") == ["a"]


def test_asking_from_the_call_itself_waits_for_its_end(desk):
    office = desk(QueueConfig(id="q"), ["a"])
    office.arrive("busy")
    office.accept("busy")
    office.tell(CallerSeen("+861"))
    office.arrive("c1", caller="+861")
    ask(office, "c1")
    office.end("busy")
    assert office.offered("c1") == []
    office.tell(CallerGone("+861"))
    assert office.offered("c1") == ["a"]


def test_two_callbacks_of_one_number_are_not_dialled_together(desk, agent):
    queues = (QueueConfig(id="q1"), QueueConfig(id="q2"))
    office = desk(queues, [agent("a", "q1"), agent("b", "q2")])
    for name in ("a", "b"):
        office.tell(AgentStateSet(name, AgentState.UNAVAILABLE))
    ask(office, "n1", queue_id="q1")
    ask(office, "n2", queue_id="q2")
    ask(office, "n3", queue_id="q2")
    assert closed(office, "n3") == (Outcome.CALLBACK_CANCELLED, "duplicate")
    for name in ("a", "b"):
        office.tell(AgentStateSet(name, AgentState.AVAILABLE))
    assert (office.offered("n1"), office.offered("n2")) == (["a"], ["b"])
    office.accept("n1")
    assert office.engine.view_agent("b").state is AgentState.AVAILABLE
    office.tell(CallbackAnswered("n1", 1))
    assert office.offered("n2") == ["b"], "he is on the line"
    office.end("n1")
    assert office.offered("n2") == ["b", "b"]
    office.accept("n2")
    assert [d.contact_id for d in office.all("DialCallback")] == ["n1", "n2"]


def test_scheduled_within_hours(desk):
    monday_8 = datetime(2026, 9, 28, 8, tzinfo=UTC).timestamp()
    hours = Calendar.of({"mon-fri": ["09:00-17:00"]}, timezone=UTC)
    office = desk(QueueConfig(id="q", hours="h"), ["a"], calendars={"h": hours}, epoch_s=monday_8)
    ask(office, "now", "+861", queue_id="q")
    ask(office, "later", "+862", queue_id="q", not_before_s=2 * 3600.0)
    office.wait_until(3599)
    assert office.offered("now") == []
    office.wait_until(3600)
    assert office.offered("now") == ["a"]
    office.accept("now")
    office.tell(CallbackAnswered("now"))
    office.end("now")
    office.wait_until(2 * 3600.0 - 1)
    assert office.offered("later") == []
    office.wait(1)
    assert office.offered("later") == ["a"]


def test_one_that_waits_is_made_at_another_time_in_its_place(desk):
    office = busy_office(desk)
    office.arrive("c1", caller="+861")
    office.arrive("c2", caller="+862")
    ask(office, "c1")
    office.tell(CallbackMoved(contact_id="c1", not_before_s=office.now_s + 600))
    office.end("busy0")
    assert office.offered("c1") == [], "not before its time"
    office.accept("c2")
    office.wait(600)
    office.arrive("c3", caller="+863")
    assert office.engine.view_contact("c1", office.now_s).position == 1, "the place is kept"
    office.end("c2")
    assert office.offered("c1") == ["a"]


def test_an_agent_who_is_rung_for_one_that_is_put_off_is_free_again(desk):
    office = busy_office(desk)
    office.arrive("c1", caller="+861")
    ask(office, "c1")
    office.end("busy0")
    assert office.offered("c1") == ["a"]
    office.tell(CallbackMoved(contact_id="c1", not_before_s=office.now_s + 60))
    assert office.engine.view_agent("a").state is AgentState.AVAILABLE
    office.tell(CallbackMoved(contact_id="c1", not_before_s=0.0))
    assert office.offered("c1") == ["a", "a"], "a time that is over: at once"


def test_another_number_is_called_and_only_while_its_line_is_free(desk):
    office = busy_office(desk)
    office.arrive("c1", caller="+861")
    ask(office, "c1")
    office.tell(CallerSeen("+869"))
    office.tell(CallbackMoved(contact_id="c1", number="+869"))
    office.end("busy0")
    assert office.offered("c1") == [], "he is calling in from there"
    office.tell(CallerGone("+869"))
    office.accept("c1")
    (dial,) = office.all("DialCallback")
    assert dial.number == "+869"
    (ignored,) = office.tell(CallbackMoved(contact_id="c1", number="+861"))
    assert ignored.reason == "no callback that waits", "he is being called"


def test_the_number_of_another_callback_of_the_queue_is_refused(desk):
    office = busy_office(desk)
    for contact, number in (("c1", "+861"), ("c2", "+862")):
        office.arrive(contact, caller=number)
        ask(office, contact, number)
    (ignored,) = office.tell(CallbackMoved(contact_id="c2", number="+861"))
    assert ignored.reason == "duplicate"
    office.tell(CallbackCancelled("c1"))
    office.tell(CallbackMoved(contact_id="c2", number="+861"))
    (again,) = [d for d in ask(office, "c3", "+861", queue_id="q") if d.contact_id == "c3"]
    assert again.reason == "duplicate", "it is found by the number that it has now"


def test_a_retry_is_not_hastened_by_another_number(desk):
    office = busy_office(desk, callback=CallbackRule(retry_after_s=300.0))
    office.arrive("c1", caller="+861")
    ask(office, "c1")
    office.end("busy0")
    office.accept("c1")
    office.tell(CallbackFailed("c1", "busy", 1))
    office.tell(CallbackMoved(contact_id="c1", number="+869"))
    office.wait(299)
    assert office.offered("c1") == ["a"]
    office.wait(1)
    assert office.offered("c1") == ["a", "a"]


def test_owned_by_one_agent_for_a_while(desk):
    rule = CallbackRule(agent_wait_s=600.0)
    office = busy_office(desk, ("a", "b"), callback=rule)
    office.arrive("c1", caller="+861")
    ask(office, "c1", agent_id="b")
    office.end("busy0")
    assert office.offered("c1") == []
    office.wait(600)
    assert office.offered("c1") == ["a"]


@pytest.mark.parametrize("end", ["cancel", "withdraw", "queue"])
def test_ways_out_while_being_dialled(desk, end: str):
    office = busy_office(desk)
    office.arrive("c1", caller="+861")
    ask(office, "c1")
    office.end("busy0")
    office.accept("c1")
    event = {
        "cancel": CallbackCancelled("c1"),
        "withdraw": ContactWithdrawn("c1", "boss"),
        "queue": QueueRemoved("q"),
    }[end]
    office.tell(event)
    assert len(office.all("CancelDial")) == 1
    assert office.engine.view_agent("a").state is AgentState.AVAILABLE
    assert office.engine.contact_ids == []


def test_put_back_when_the_agents_phone_is_lost(desk):
    office = busy_office(desk, ("a", "b"))
    office.arrive("c1", caller="+861")
    ask(office, "c1")
    office.end("busy0")
    office.accept("c1")
    office.tell(AgentStateSet("a", AgentState.UNAVAILABLE, "phone lost"))
    office.tell(ContactRequeued(contact_id="c1"))
    assert office.all("CancelDial")[0].reason == "requeued"
    office.end("busy1")
    office.accept("c1")
    assert office.all("DialCallback")[-1].attempt == 2


def test_a_live_customer_who_hangs_up_has_abandoned(desk):
    office = busy_office(desk, callback=CallbackRule(customer_first=True))
    office.arrive("c1", caller="+861")
    ask(office, "c1")
    office.end("busy0")
    office.arrive("other")
    office.accept("other")
    office.tell(CallbackAnswered("c1"))
    office.tell(ContactAbandoned("c1"))
    assert closed(office, "c1")[0] is Outcome.ABANDONED


def test_what_does_not_fit_is_ignored(desk):
    office = busy_office(desk)
    office.arrive("chat", media=Media.CHAT)
    for event in (
        CallbackRequested(contact_id="busy0", number="+861"),
        CallbackRequested(contact_id="chat", number="+861"),
        CallbackRequested(contact_id="new", number="+861", queue_id="nowhere"),
        CallbackAnswered("busy0"),
        CallbackFailed("nobody"),
        CallbackCancelled("busy0"),
        CallbackMoved(contact_id="busy0", number="+862"),
        CallerGone("+861"),
    ):
        (ignored,) = office.tell(event)
        assert type(ignored).__name__ == "Ignored"
