"""Row 10: random lives of transactions on virtual time, against a reference that is told another way."""

from __future__ import annotations

import os
import random
from collections.abc import Callable

import pytest

from softswitch.sip.effects import (
    STARTED,
    TRANSPORT_FAILED,
    ClearTimer,
    Clocking,
    Fail,
    Linger,
    PassRequest,
    PassResponse,
    RequestArrived,
    ResponseArrived,
    ResponseGiven,
    Send,
    SetTimer,
    Terminate,
    TimerFired,
    TransactionInput,
)
from softswitch.sip.message import SipRequest, SipResponse
from softswitch.sip.parser import parse_message
from softswitch.sip.transaction.invite_client import InviteClientTransaction
from softswitch.sip.transaction.invite_server import InviteServerTransaction
from softswitch.sip.transaction.non_invite_client import NonInviteClientTransaction
from softswitch.sip.transaction.non_invite_server import NonInviteServerTransaction
from tests.reliability import reference
from tests.reliability.anomalies import message
from tests.reliability.reference import Happening, Story
from tests.rows import Row

SEED = int(os.environ.get("SOFTSWITCH_SEED", "1"))
SCALE = float(os.environ.get("SOFTSWITCH_FUZZ_SCALE", "1"))
STATUSES = (100, 180, 183, 200, 202, 302, 404, 486, 503, 603)
HORIZON_S = 80.0
CLOCKING = Clocking()


def request(method: bytes) -> SipRequest:
    parsed = parse_message(message(1, method=method, body=b""))
    assert isinstance(parsed, SipRequest)
    return parsed


INVITE, OPTIONS, ACK = request(b"INVITE"), request(b"OPTIONS"), request(b"ACK")
RESPONSES: dict[int, SipResponse] = {
    status: INVITE.response(status, to_tag="t" if status > 100 else None) for status in STATUSES
}
INPUTS: dict[tuple[str, int], TransactionInput] = {
    **{("response", status): ResponseArrived(RESPONSES[status]) for status in STATUSES},
    **{("answer", status): ResponseGiven(status, b"send %d" % status) for status in STATUSES},
    ("ack", 0): RequestArrived(ACK),
    ("lost", 0): TRANSPORT_FAILED,
}

Machine = (
    InviteClientTransaction
    | InviteServerTransaction
    | NonInviteClientTransaction
    | NonInviteServerTransaction
)


class Lived:
    """What a machine does with the same happenings, its timers served in order."""

    def __init__(self, machine: Machine, first: TransactionInput) -> None:
        self.machine = machine
        self.story: Story = []
        self.timers: dict[str, float] = {}
        self.lingering = ""
        self.over = False
        self._take(first, 0.0)

    def live(self, happenings: list[Happening], again: SipRequest) -> Story:
        for at, what, status in happenings:
            self._serve(at)
            event = RequestArrived(again) if what == "request" else INPUTS[what, status]
            self._take(event, at)
        self._serve(HORIZON_S * 3)
        return self.story

    def _serve(self, until: float) -> None:
        while self.timers and not self.over:
            name, at = min(self.timers.items(), key=lambda timer: timer[1])
            if at > until:
                return
            del self.timers[name]
            if name == self.lingering:  # it is forgotten, and not asked
                self.story.append((at, "end"))
                self.over = True
            else:
                self._take(TimerFired(name), at)

    def _take(self, event: TransactionInput, at: float) -> None:
        if self.over:
            return
        for effect in self.machine.handle(event, at):
            match effect:
                case SetTimer(name, after_s):
                    self.timers[name] = at + after_s
                case Linger(name, after_s):
                    self.timers[name], self.lingering = at + after_s, name
                case ClearTimer(name):
                    self.timers.pop(name, None)
                case Send(data):
                    self.story.append((at, said(data)))
                case PassRequest(passed):
                    self.story.append(
                        (at, "pass ack" if passed.method == "ACK" else "pass request")
                    )
                case PassResponse(response):
                    self.story.append((at, f"pass {response.status}"))
                case Fail(status):
                    self.story.append((at, f"fail {status}"))
                case Terminate():
                    self.story.append((at, "end"))
                    self.over = True


def said(data: bytes) -> str:
    if data.startswith(b"send "):
        return data.decode()
    return "send ack" if data.startswith(b"ACK ") else "send request"


Reference = Callable[..., Story]
KINDS: dict[str, tuple[Callable[[bool], Lived], Reference, tuple[str, ...], SipRequest]] = {
    "INVITE client": (
        lambda reliable: Lived(InviteClientTransaction(INVITE, reliable, CLOCKING), STARTED),
        reference.invite_client, ("response", "lost"), INVITE,
    ),
    "INVITE server": (
        lambda reliable: Lived(InviteServerTransaction(reliable, CLOCKING), RequestArrived(INVITE)),
        reference.invite_server, ("answer", "request", "ack", "lost"), INVITE,
    ),
    "non-INVITE client": (
        lambda reliable: Lived(NonInviteClientTransaction(OPTIONS, reliable, CLOCKING), STARTED),
        reference.non_invite_client, ("response", "lost"), OPTIONS,
    ),
    "non-INVITE server": (
        lambda reliable: Lived(NonInviteServerTransaction(reliable, CLOCKING), RequestArrived(OPTIONS)),
        reference.non_invite_server, ("answer", "request", "lost"), OPTIONS,
    ),
}  # fmt: skip


def happenings_of(source: random.Random, kinds: tuple[str, ...]) -> list[Happening]:
    """Up to nine things at random times; what the transport loses is rare."""
    found = []
    for _ in range(source.randrange(10)):
        what = source.choice(kinds)
        if what == "lost" and source.random() < 0.7:
            continue
        status = source.choice(STATUSES) if what in ("response", "answer") else 0
        at = source.random() * source.choice((0.6, 5.0, 33.0, HORIZON_S))
        found.append((at, what, status))
    return sorted(found)


def in_order(story: Story) -> Story:
    """By time; what happens at one instant stays as told, but retransmissions may be told later."""
    return sorted(((round(at, 9), what) for at, what in story), key=lambda each: each[0])


def lives(seed: int, count: int) -> int:
    """How many of `count` lives differ; the first that does is raised."""
    source = random.Random(seed)
    for number in range(count):
        name = source.choice(tuple(KINDS))
        make, told, kinds, again = KINDS[name]
        reliable = source.random() < 0.3
        happenings = happenings_of(source, kinds)
        got = in_order(make(reliable).live(happenings, again))
        wanted = in_order(told(happenings, reliable=reliable))
        if got != wanted:
            raise AssertionError(
                f"seed {seed}, life {number}: {name}, reliable {reliable}\n{happenings}\n"
                f"machine   {got}\nreference {wanted}"
            )
    return 0


def test_lives_go_as_the_reference_says(row: Row) -> None:
    count = 40_000
    row(
        10,
        "random lives of transactions",
        seed=SEED,
        sequences=count,
        divergences=lives(SEED, count),
    )


@pytest.mark.soak
def test_a_million_lives(row: Row) -> None:
    count = int(1_000_000 * SCALE)
    row(
        10,
        "random lives of transactions",
        seed=SEED,
        sequences=count,
        divergences=lives(SEED, count),
    )


def test_the_reference_is_not_satisfied_by_anything() -> None:
    happenings = [(1.0, "response", 180), (2.0, "response", 486)]
    told = reference.invite_client(happenings, reliable=False)
    assert told != reference.invite_client(happenings, reliable=True)
    assert (0.5, "send request") in told
    assert told[-1] == (34.0, "end")
