"""Agents: states and their entry times, wrap-up, RONA, capacities, forced states, live changes."""

from __future__ import annotations

import pytest

from routing.audit import passed_over
from routing.decisions import AgentStateChanged
from routing.events import (
    AgentLoggedIn,
    AgentLoggedOut,
    AgentRemoved,
    AgentSet,
    AgentStateSet,
    ContactAssigned,
    ExternalCallEnded,
    ExternalCallStarted,
    OfferAccepted,
    OfferFailed,
    OfferRejected,
    OfferTimedOut,
    WrapUpEnded,
    WrapUpExtended,
)
from routing.model import AgentState, EmptyRule, Media, Membership, QueueConfig, RonaRule


def state(office, agent_id: str = "a") -> AgentState:
    return office.engine.view_agent(agent_id).state


def test_each_state_is_entered_at_a_time_and_reported_when_left(desk):
    office = desk(QueueConfig(id="q", wrap_up_s=10.0), ["a"])
    office.arrive("c")
    office.wait(4)
    office.accept("c")
    office.wait(60)
    office.end("c")
    office.wait(10)
    changes = [(d.old, d.new, d.lasted_s) for d in office.all("AgentStateChanged")]
    assert changes == [
        (AgentState.LOGGED_OUT, AgentState.AVAILABLE, 0.0),
        (AgentState.AVAILABLE, AgentState.OFFERED, 1.0),
        (AgentState.OFFERED, AgentState.ON_CONTACT, 4.0),
        (AgentState.ON_CONTACT, AgentState.WRAP_UP, 60.0),
        (AgentState.WRAP_UP, AgentState.AVAILABLE, 10.0),
    ]


def test_wrap_up_can_be_extended_ended_early_and_forced_to_end(desk):
    office = desk(QueueConfig(id="q", wrap_up_s=10.0), ["a"])
    office.serve("c1")
    office.wait(5)
    office.tell(WrapUpExtended("a", 30.0))
    office.wait(34)
    assert state(office) is AgentState.WRAP_UP
    office.tell(WrapUpEnded("a"))
    assert state(office) is AgentState.AVAILABLE
    office.serve("c2")
    office.tell(AgentStateSet("a", AgentState.AVAILABLE))
    assert state(office) is AgentState.AVAILABLE, "saying ready ends it"
    office.serve("c3")
    office.tell(AgentStateSet("a", AgentState.UNAVAILABLE, "meeting", forced_by="boss"))
    assert state(office) is AgentState.UNAVAILABLE
    assert office.engine.view_agent("a").reason == "meeting"
    (ignored,) = office.tell(WrapUpEnded("a"))
    assert ignored.reason == "not in wrap-up"


def test_a_break_asked_for_in_conversation_comes_after_it(desk):
    office = desk(QueueConfig(id="q", wrap_up_s=10.0), ["a"])
    office.arrive("c1")
    office.accept("c1")
    office.arrive("c2")
    office.tell(AgentStateSet("a", AgentState.UNAVAILABLE, "lunch"))
    assert state(office) is AgentState.ON_CONTACT
    office.end("c1")
    assert state(office) is AgentState.WRAP_UP
    office.wait(10)
    assert state(office) is AgentState.UNAVAILABLE
    assert office.offered("c2") == []


def test_log_out_waits_for_the_conversation_and_takes_offers_back(desk):
    office = desk(None, ["a", "b"])
    office.arrive("c1")
    office.tell(AgentLoggedOut("a"))
    assert state(office) is AgentState.LOGGED_OUT
    assert office.offered("c1") == ["a", "b"]
    office.accept("c1")
    office.tell(AgentLoggedOut("b"))
    assert state(office, "b") is AgentState.ON_CONTACT
    office.end("c1")
    assert state(office, "b") is AgentState.LOGGED_OUT


def test_rona_next_agent_and_this_one_unavailable(desk):
    office = desk(QueueConfig(id="q", ring_s=15.0), ["a", "b"])
    office.arrive("c")
    office.wait(15)
    assert state(office) is AgentState.UNAVAILABLE
    assert office.engine.view_agent("a").reason == "no-answer"
    assert office.all("CancelOffer")[0].reason == "no-answer"
    assert office.offered("c") == ["a", "b"]


@pytest.mark.parametrize("how", ["silence", "phone gave up", "unreachable"])
def test_rona_after_so_many(desk, how: str):
    rule = RonaRule(after=2, again_s=0.0, no_answer_rest_s=1.0)
    office = desk(QueueConfig(id="q", rona=rule, ring_s=5.0), ["a"])
    office.arrive("c")
    for expected in (AgentState.AVAILABLE, AgentState.UNAVAILABLE):
        offer = office.offer_of("c")
        if how == "silence":
            office.wait(5)
        elif how == "phone gave up":
            office.tell(OfferTimedOut(offer.offer_id))
        else:
            office.tell(OfferFailed(offer.offer_id, "unreachable"))
        assert state(office) is expected
        office.wait(1)
    office.tell(AgentStateSet("a", AgentState.AVAILABLE))
    assert len(office.offered("c")) == 3, "back at once when he says so"


def test_a_declined_offer_is_not_a_missed_one(desk):
    office = desk(QueueConfig(id="q", rona=RonaRule(again_s=10.0)), ["a"])
    office.arrive("c1")
    office.tell(OfferRejected(office.offer_of("c1").offer_id))
    assert state(office) is AgentState.AVAILABLE
    office.arrive("c2")
    assert office.offered("c2") == ["a"], "he declined that one, not others"
    office.accept("c2")
    office.end("c2")
    office.wait(10)
    assert office.offered("c1") == ["a", "a"]


def test_a_busy_phone_rests(desk):
    office = desk(QueueConfig(id="q", rona=RonaRule(busy_rest_s=30.0, again_s=5.0)), ["a"])
    office.arrive("c")
    office.tell(OfferFailed(office.offer_of("c").offer_id, "busy"))
    office.arrive("d")
    office.wait(29)
    assert (office.offered("c"), office.offered("d")) == (["a"], [])
    office.wait(1)
    assert office.offered("c") == ["a", "a"]


def test_one_call_and_three_tickets_or_chats(desk, agent):
    office = desk(None, [agent("a", capacities={"voice": 1, "text": 3})])
    for number in range(4):
        office.arrive(f"t{number}", media=Media.TICKET if number % 2 else Media.CHAT)
        if office.offered(f"t{number}"):
            office.accept(f"t{number}")
    office.arrive("call")
    office.accept("call")
    office.arrive("call-2")
    assert office.offered("t3") == []
    assert office.offered("call-2") == []
    assert len(office.engine.view_agent("a").contact_ids) == 4
    office.end("t1")
    assert office.offered("t3") == ["a"]
    office.end("call")
    assert office.offered("call-2") == ["a"]


def test_a_medium_may_have_its_own_limit(desk, agent):
    office = desk(None, [agent("a", capacities={"voice": 0, "text": 3, "chat": 1})])
    for contact_id, media in (("c1", Media.CHAT), ("c2", Media.CHAT), ("t1", Media.TICKET)):
        office.arrive(contact_id, media=media)
        if office.offered(contact_id):
            office.accept(contact_id)
    office.arrive("call")
    assert [office.offered(c) for c in ("c1", "c2", "t1", "call")] == [["a"], [], ["a"], []]


def test_the_less_loaded_come_first(desk):
    office = desk(None, ["a", "b"])
    for number in range(4):
        office.arrive(f"t{number}", media=Media.TICKET)
        office.accept(f"t{number}")
    assert [office.offered(f"t{n}")[0] for n in range(4)] == ["a", "b", "a", "b"]


def test_a_queue_may_have_a_limit_of_its_own(desk, agent):
    office = desk(
        (QueueConfig(id="q"), QueueConfig(id="r", wrap_up_s=20)),
        [agent("a", Membership(queue_id="q"), Membership(queue_id="r", at_once=1))],
    )
    for contact_id, queue_id in (("r1", "r"), ("r2", "r"), ("q1", "q"), ("q2", "q")):
        office.arrive(contact_id, queue_id, media=Media.CHAT)
        if office.offered(contact_id):
            office.accept(contact_id)
    assert [office.offered(c) for c in ("r1", "r2", "q1", "q2")] == [["a"], [], ["a"], ["a"]]
    office.end("q1")
    assert office.offered("r2") == [], "one of that queue is at hand"
    office.end("r1")
    assert office.offered("r2") == [], "in wrap-up"
    office.wait(20)
    assert office.offered("r2") == ["a"]
    office.arrive("r3", "r", media=Media.CHAT)
    office.tell(ContactAssigned("r3", "a"))
    assert office.offered("r3") == ["a"], "by hand, past every rule"


def test_who_waits_for_room_in_a_queue_is_not_passed_over(desk, agent):
    """He stands before, and the agent could serve him, but has as many of that queue as he is to have."""
    office = desk(
        (QueueConfig(id="q"), QueueConfig(id="r")),
        [agent("a", Membership(queue_id="q"), Membership(queue_id="r", at_once=1))],
    )
    for contact_id, queue_id in (("r1", "r"), ("r2", "r"), ("q1", "q")):
        office.arrive(contact_id, queue_id, media=Media.CHAT)
    assert [office.offered(c) for c in ("r1", "r2", "q1")] == [["a"], [], ["a"]]
    assert passed_over(office.engine, "a", "q1", office.now_s) == []
    office.end("r1")
    assert office.offered("r2") == ["a"]


def test_tickets_neither_engage_an_agent_nor_count_among_his_calls(desk):
    office = desk(QueueConfig(id="q", wrap_up_s=30, max_wait_s=60, max_waiting=1), ["a", "b"])
    for number in range(3):
        office.arrive(f"t{number}", media=Media.TICKET)
        office.accept(f"t{number}")
    assert [office.offered(f"t{n}")[0] for n in range(3)] == ["a", "b", "a"]
    assert (state(office), state(office, "b")) == (AgentState.AVAILABLE, AgentState.AVAILABLE)
    assert office.serve("c1") == "a", "free for longest; what lies on his desk does not count"
    assert state(office) is AgentState.WRAP_UP
    office.end("t0")
    (handled,) = office.all("ContactHandled", contact_id="t0")
    assert handled.wrap_up_s == 0
    assert office.engine.view_agent("a").calls == 1
    office.tell(AgentLoggedOut("b"))
    assert state(office, "b") is AgentState.LOGGED_OUT, "t1 is still his, and he may go"


def test_tickets_wait_where_calls_would_be_refused_or_sent_on(desk):
    office = desk(
        QueueConfig(
            id="q", max_wait_s=60, max_waiting=0, empty=EmptyRule(join="present", leave="present")
        ),
        ["a"],
        logged_in=False,
    )
    office.arrive("t1", media=Media.TICKET)
    office.arrive("t2", media=Media.TICKET)
    office.arrive("c1")
    office.wait(7 * 86_400)
    assert [d.contact_id for d in office.all("Overflow")] == ["c1"]
    assert office.all("AnnouncePosition") == []
    office.log_in("a")
    assert (office.offered("t1"), office.offered("t2")) == (["a"], ["a"])


def test_a_call_of_his_own_takes_the_place(desk):
    office = desk(None, ["a"])
    office.tell(ExternalCallStarted("a", "x1"))
    assert state(office) is AgentState.ON_CONTACT
    office.arrive("c")
    assert office.offered("c") == []
    office.tell(ExternalCallEnded("a", "x1"))
    assert office.offered("c") == ["a"]
    (ignored,) = office.tell(ExternalCallEnded("a", "x1"))
    assert ignored.reason == "unknown call"


def test_counters_belong_to_a_shift(desk):
    office = desk(None, ["a"])
    office.serve("c1")
    office.tell(AgentLoggedOut("a"))
    office.wait(3600)
    office.log_in("a")
    assert office.engine.view_agent("a").calls == 1, "lunch"
    office.tell(AgentLoggedOut("a"))
    office.wait(5 * 3600)
    office.log_in("a")
    assert office.engine.view_agent("a").calls == 0, "a new day"


def test_agents_come_change_and_go_while_calls_run(desk, agent):
    office = desk((QueueConfig(id="q"), QueueConfig(id="q2")), ["a"])
    office.tell(AgentSet(agent("new", "q2")))
    office.log_in("new")
    office.arrive("c", "q2")
    assert office.offered("c") == ["new"]
    office.tell(AgentSet(agent("new", "q")))
    assert office.all("CancelOffer")[-1].reason == "reconfigured"
    office.tell(AgentSet(agent("new", Membership(queue_id="q2", level=3))))
    assert office.offered("c") == ["new", "new"]
    office.accept("c")
    office.tell(AgentRemoved("new"))
    assert office.engine.view_agent("new").state is AgentState.ON_CONTACT
    office.end("c")
    assert office.engine.view_agent("new") is None


def test_who_is_unknown_or_logged_out_changes_nothing(desk):
    office = desk(None, ["a"], logged_in=False)
    for event in (
        AgentLoggedIn("nobody"),
        AgentStateSet("nobody", AgentState.AVAILABLE),
        AgentStateSet("a", AgentState.AVAILABLE),
        AgentStateSet("a", AgentState.WRAP_UP),
        AgentRemoved("nobody"),
        OfferRejected(77),
        OfferTimedOut(77),
        OfferFailed(77),
    ):
        (ignored,) = office.tell(event)
        assert type(ignored).__name__ == "Ignored"
    assert state(office) is AgentState.LOGGED_OUT


def test_log_in_on_a_break(desk):
    office = desk(None, ["a"], logged_in=False)
    (change,) = office.tell(AgentLoggedIn("a", available=False, reason="training"))
    assert change == AgentStateChanged(
        "a", AgentState.LOGGED_OUT, AgentState.UNAVAILABLE, "training", "", 0.0
    )


def test_two_answers_one_winner(desk):
    office = desk(QueueConfig(id="q", route=("ring-all",)), ["a", "b"])
    office.arrive("c")
    first, second = office.all("OfferTo")
    office.tell(OfferAccepted(second.offer_id))
    late = office.tell(OfferAccepted(first.offer_id))
    assert office.all("Connect")[0].agent_id == second.agent_id
    assert late[0].reason == "late"
    assert state(office, first.agent_id) is AgentState.AVAILABLE
