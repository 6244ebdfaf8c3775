"""What waits, by rank: who goes first, what has no room, what is never done twice."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softswitch.sip.flow import Flow
from softswitch.sip.rank import Rank
from softswitch.transport.intake import (
    OCTETS_MAX,
    REMEMBERED_MAX,
    STRANGERS_MAX,
    WAITING_MAX,
    Intake,
)
from softswitch.transport.standing import Standing, StandingPolicy

LOCAL = ("192.0.2.1", 5060)
FLOW = Flow("udp", LOCAL, ("198.51.100.7", 5060))
STREAM = Flow("tcp", LOCAL, ("198.51.100.7", 5060), 1)
NO = b"SIP/2.0 503 no\r\n\r\n"


def made(**options: int) -> Intake:
    return Intake(lambda data, flow: NO, **options)  # type: ignore[arg-type]


def invite(number: int) -> bytes:
    return b"INVITE sip:%d" % number


def row(intake: Intake, rank: Rank) -> dict[str, object]:
    return intake.rows(100.0)[rank]


def stand(intake: Intake, rank: Rank = Rank.TRUNK_CALL, begin_s: float = 0.0) -> float:
    """Let the queue of a rank stand; when it does."""
    assert intake.offer(rank, b"INVITE first", FLOW, begin_s) is None
    for number, now_s in enumerate((begin_s + 0.06, begin_s + 0.1)):
        assert intake.offer(rank, b"INVITE burst%d" % number, FLOW, now_s) is None
    return begin_s + 0.17


def test_the_highest_goes_first_whatever_came_first() -> None:
    intake = made()
    for rank in reversed(Rank):
        for number in range(2):
            intake.offer(rank, b"%d %d" % (rank, number), FLOW, 0.0)
    order = []
    while (turn := intake.take(0.01)) is not None:
        order.append((turn.rank, turn.data))
    assert order == [(rank, b"%d %d" % (rank, number)) for rank in Rank for number in range(2)]
    assert len(intake) == 0


def test_nobody_starves() -> None:
    intake = made()
    for rank in Rank:
        for number in range(STRANGERS_MAX):
            intake.offer(rank, b"%d %d" % (rank, number), FLOW, 0.0)
    served: Counter[Rank] = Counter()
    for number in range(100_000):
        turn = intake.take(0.01)
        assert turn is not None
        served[turn.rank] += 1
        intake.offer(turn.rank, b"again %d" % number, FLOW, 0.01)  # all are always there
    assert served[Rank.GOING] == 100_000 * 15 // 16
    for rank in Rank:
        if rank is not Rank.GOING:
            assert served[rank] < served[Rank(rank - 1)]
    assert served[Rank.WELL_MEANT] > 0


def test_what_waits_already_is_not_kept_twice() -> None:
    intake = made()
    other = Flow("udp", LOCAL, ("198.51.100.8", 5060))
    for flow in (FLOW, FLOW, other):
        intake.offer(Rank.PHONE, b"REGISTER 1", flow, 0.0)
    assert len(intake) == 2
    assert row(intake, Rank.PHONE)["repeated"] == 1


def test_new_calls_are_refused_while_their_queue_stands_and_taken_back_when_it_is_short() -> None:
    intake = made()
    now_s = stand(intake)
    assert intake.offer(Rank.TRUNK_CALL, invite(1), FLOW, now_s) == NO
    assert intake.offer(Rank.PHONE_CALL, invite(2), FLOW, now_s) is None, "has a queue of its own"
    while intake.take(now_s) is not None:
        pass
    assert intake.offer(Rank.TRUNK_CALL, invite(3), FLOW, now_s) is None


def test_a_burst_is_taken_in_but_not_one_that_makes_nearly_everybody_ask_again() -> None:
    policy = StandingPolicy()
    at_first = Standing(policy)
    assert not at_first.turns_away(policy.most_s - 0.001, 7.0)
    assert at_first.turns_away(policy.most_s, 7.0)
    assert at_first.turns_away(policy.target_s, 7.0 + policy.memory_s), "and not again at once"
    assert not at_first.turns_away(policy.target_s - 0.001, 7.0)


def test_only_what_begins_a_call_is_refused() -> None:
    intake = made()
    now_s = stand(intake)
    assert intake.offer(Rank.TRUNK_CALL, b"CANCEL sip:1", FLOW, now_s) is None
    assert intake.offer(Rank.GOING, b"BYE sip:1", FLOW, now_s) is None


def test_a_cancel_never_overtakes_its_invite() -> None:
    intake = made()
    intake.offer(Rank.PHONE_CALL, invite(1), FLOW, 0.0)
    intake.offer(Rank.PHONE_CALL, b"CANCEL sip:1", FLOW, 0.001)
    assert [intake.take(0.002).data for _ in range(2)] == [invite(1), b"CANCEL sip:1"]  # type: ignore[union-attr]


def test_who_has_waited_too_long_is_answered_when_his_turn_comes() -> None:
    intake = made()
    intake.offer(Rank.PHONE_CALL, invite(1), FLOW, 0.0)
    intake.offer(Rank.PHONE_CALL, b"CANCEL sip:1", FLOW, 0.0)
    late = intake.take(0.4)
    assert late is not None
    assert late.answer == NO
    cancel = intake.take(0.4)
    assert cancel is not None
    assert cancel.answer is None


def test_a_refused_call_stays_refused_so_that_no_call_begins_that_nobody_waits_for() -> None:
    intake = made()
    now_s = stand(intake)
    assert intake.offer(Rank.TRUNK_CALL, invite(1), FLOW, now_s) == NO
    while intake.take(now_s) is not None:
        pass
    assert intake.offer(Rank.TRUNK_CALL, invite(1), FLOW, now_s + 1.0) == NO
    assert intake.passes(invite(1), FLOW, now_s + 15.0) == NO
    assert intake.passes(invite(2), FLOW, now_s + 15.0) is None


def test_a_call_that_goes_on_is_not_refused_by_its_repetition() -> None:
    intake = made()
    assert intake.passes(invite(7), FLOW, 0.0) is None
    intake.offer(Rank.TRUNK_CALL, invite(8), FLOW, 0.0)
    assert intake.take(0.0) is not None
    now_s = stand(intake, begin_s=0.01)
    for number in (7, 8):
        assert intake.offer(Rank.TRUNK_CALL, invite(number), FLOW, now_s) is None
        turn = intake.take(now_s)
        assert turn is not None
        assert (turn.rank, turn.data) == (Rank.GOING, invite(number)), "its transaction answers"


def test_what_cannot_be_refused_from_its_octets_waits() -> None:
    intake = Intake(lambda data, flow: None)
    now_s = stand(intake)
    assert intake.offer(Rank.TRUNK_CALL, invite(1), FLOW, now_s) is None
    assert len(intake) == 4
    turns = [intake.take(now_s + 1.0) for _ in range(4)]
    assert all(turn is not None and turn.answer is None for turn in turns)


@pytest.mark.limit("messages of a class that wait")
def test_as_many_wait_as_may_and_the_next_is_dropped_or_answered() -> None:
    intake = made()
    for number in range(WAITING_MAX):
        intake.offer(Rank.PHONE, b"REGISTER %d" % number, FLOW, 0.0)
    assert row(intake, Rank.PHONE)["dropped"] == 0
    assert intake.offer(Rank.PHONE, b"REGISTER x", FLOW, 0.0) is None
    assert (row(intake, Rank.PHONE)["dropped"], len(intake)) == (1, WAITING_MAX)
    assert intake.offer(Rank.PHONE, b"REGISTER y", STREAM, 0.0) == NO, "a stream does not repeat"


@pytest.mark.limit("octets of a class that wait")
def test_as_many_octets_wait_as_may_and_not_one_more() -> None:
    intake = made()
    half = OCTETS_MAX // 2
    for first in (b"a", b"b"):
        intake.offer(Rank.GOING, first * half, FLOW, 0.0)
    assert len(intake) == 2
    intake.offer(Rank.GOING, b"c", FLOW, 0.0)
    assert (row(intake, Rank.GOING)["dropped"], len(intake)) == (1, 2)


@pytest.mark.limit("messages of strangers that wait")
def test_the_oldest_of_strangers_gives_way() -> None:
    intake = made()
    for number in range(STRANGERS_MAX):
        intake.offer(Rank.STRANGER, b"%d" % number, FLOW, 0.0)
    assert row(intake, Rank.STRANGER)["dropped"] == 0
    intake.offer(Rank.STRANGER, b"new", FLOW, 0.0)
    assert (row(intake, Rank.STRANGER)["dropped"], len(intake)) == (1, STRANGERS_MAX)
    first = intake.take(0.0)
    assert first is not None
    assert first.data == b"1"


@pytest.mark.limit("refused and begun calls remembered")
def test_the_oldest_generation_is_forgotten_beyond_the_limit() -> None:
    intake = made()
    for number in range(REMEMBERED_MAX):
        intake.passes(invite(number), FLOW, 0.0)
    assert len(intake._begun) == REMEMBERED_MAX
    for number in range(REMEMBERED_MAX, 2 * REMEMBERED_MAX + 1):
        intake.passes(invite(number), FLOW, 0.0)
    assert len(intake._begun) == REMEMBERED_MAX + 1


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["offer", "offer", "offer", "take", "pass", "wait"]),
        st.integers(0, len(Rank) - 1),
        st.integers(0, 12),
    ),
    max_size=200,
)


@given(STEPS)
def test_nothing_is_lost_uncounted_or_done_twice(steps: list[tuple[str, int, int]]) -> None:
    shed: list[tuple[str, bool, float]] = []
    intake = Intake(
        lambda data, flow: NO,
        on_shed=lambda *told: shed.append(told),
        waiting_max=4,
        strangers_max=3,
        octets_max=60,
        remembered_max=64,
    )
    now_s, asked, passed = 0.0, 0, 0
    refused: set[bytes] = set()
    begun: set[bytes] = set()
    for what, place, number in steps:
        rank = Rank(place)
        data = invite(number) if rank.is_call else b"%d %d" % (place, number)
        match what:
            case "offer":
                asked += 1
                answer = intake.offer(rank, data, FLOW, now_s)
                if answer is not None:
                    assert data not in begun
                    refused.add(data)
            case "take":
                turn = intake.take(now_s)
                if turn is not None and turn.answer is not None:
                    refused.add(turn.data)
                elif turn is not None and turn.data.startswith(b"INVITE "):
                    assert turn.data not in refused
                    begun.add(turn.data)
            case "pass":
                answer = intake.passes(data, FLOW, now_s)
                passed += answer is not None
                if answer is None and rank.is_call:
                    assert data not in refused
                    begun.add(data)
            case "wait":
                now_s += number / 100
    rows = intake.rows(now_s)
    assert {host for host, _, _ in shed} <= {FLOW.remote[0]}
    assert [no for _, no, _ in shed].count(True) == sum(int(r["refused"]) for r in rows)  # type: ignore[call-overload]
    assert [no for _, no, _ in shed].count(False) == sum(int(r["dropped"]) for r in rows)  # type: ignore[call-overload]
    told = Counter({name: sum(int(r[name]) for r in rows) for name in rows[0] if name != "class"})  # type: ignore[call-overload]
    waits, done = told["waiting"], told["waited"]
    assert len(intake) == waits
    assert asked + passed == (waits + done + told["repeated"] + told["dropped"] + told["refused"])
    assert all(int(r["waiting"]) <= 4 for r in rows)  # type: ignore[call-overload]


def test_a_policy_can_be_chosen() -> None:
    intake = Intake(lambda data, flow: NO, StandingPolicy(give_up_s=1.0))
    intake.offer(Rank.TRUNK_CALL, invite(1), FLOW, 0.0)
    turn = intake.take(0.9)
    assert turn is not None
    assert turn.answer is None
