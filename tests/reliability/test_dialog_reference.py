"""Row 10, dialogs: random calls of a stack on virtual time, against a diary kept another way."""

from __future__ import annotations

import itertools
import os
import random
from dataclasses import replace

import pytest

from softswitch.sip.events import InviteReceived, RequestReceived
from softswitch.sip.flow import Flow
from softswitch.sip.gate import OpenGate
from softswitch.sip.stack import SipStack
from softswitch.sip.stack_config import StackConfig
from softswitch.sip.uri import NameAddr
from tests.reliability.dialog_reference import (
    Answer,
    Call,
    CallOfOurs,
    CallToUs,
    Diary,
    Heard,
    Routes,
    Said,
)
from tests.rows import Row

SEED = int(os.environ.get("SOFTSWITCH_SEED", "1"))
SCALE = float(os.environ.get("SOFTSWITCH_FUZZ_SCALE", "1"))
FLOW = Flow("udp", ("10.0.0.1", 5060), ("10.0.0.9", 5060))
SDP = b"v=0\r\no=- 1 1 IN IP4 10.0.0.9\r\ns=-\r\nc=IN IP4 10.0.0.9\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\n"
CONFIG = StackConfig(session_timers=False, max_forks=3)
TARGET, CALL_ID = "sip:them@10.0.0.9", "one-call"
FORKS = ("f1", "f2", "f3", "f4", "f5")
GAUGES = ("transactions", "dialogs", "sessions", "handles", "timers", "events_waiting")
STEP_S = 0.001
OURS = (
    "ring",
    "ring",
    "accept",
    "accept",
    "reject",
    "hang up",
    "info",
    "reinvite",
    "reinvite",
    "take",
    "take",
    "refuse",
)


class Talk:
    """One call of a stack with a peer that does what the test says."""

    def __init__(self, source: random.Random) -> None:
        tokens = itertools.count(1)
        self.source = source
        self.stack = SipStack(CONFIG, lambda: f"t{next(tokens)}", OpenGate())
        self.branches = itertools.count(1)
        self.now_s = 0.0
        self.session = 0
        self.asked: dict[Said, list[str]] = {}  # requests of ours, as they came
        self.arrived: list[Said] = []

    # -- what the stack says -----------------------------------------------------------------------

    def said(self) -> list[Said]:
        """All that was sent since the last time; requests from outside an offer are answered 200 at once."""
        found: list[Said] = []
        while True:
            found += [self.read(out.data) for out in self.stack.datagrams_to_send()]
            event = self.stack.next_event()
            if event is None:
                return [each for each in found if each[1] != 100]
            if isinstance(event, InviteReceived):
                self.session = event.session
            elif isinstance(event, RequestReceived):
                self.stack.respond(event.handle, 200, now_s=self.now_s)

    def read(self, data: bytes) -> Said:
        lines = data.partition(b"\r\n\r\n")[0].decode().split("\r\n")
        values: dict[str, list[str]] = {}
        for line in lines[1:]:
            name, _, value = line.partition(": ")
            values.setdefault(name, []).append(value)
        number, _, method = values["CSeq"][0].partition(" ")
        first, second, _ = lines[0].split(" ", 2)
        if first == "SIP/2.0":
            return ("answer", int(second), int(number), method)
        routes = tuple(values.get("Route", ()))
        tags = (values[name][0].partition(";tag=")[2] for name in ("From", "To"))
        asked = ("ask", method, int(number), second, routes, *tags)
        kept = ("Via: ", "From: ", "To: ", "Call-ID: ", "CSeq: ")
        self.asked.setdefault(asked, [line for line in lines if line.startswith(kept)])
        return asked

    # -- what it hears -----------------------------------------------------------------------------

    def receive(self, lines: list[str], body: bytes = b"") -> list[Said]:
        self.now_s += STEP_S
        if body:
            lines.append("Content-Type: application/sdp")
        lines.append(f"Content-Length: {len(body)}")
        self.stack.receive_datagram("\r\n".join([*lines, "", ""]).encode() + body, FLOW, self.now_s)
        return self.said()

    def hear(self, heard: Heard, record_routes: Routes = ()) -> list[Said]:
        lines = [
            f"{heard.method} sip:us@10.0.0.1 SIP/2.0",
            f"Via: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bK{next(self.branches)}",
            f"From: <sip:them@x>;tag={heard.fork}",
            "To: <sip:us@x>" + (f";tag={heard.tag}" if heard.tag else ""),
            f"Call-ID: {CALL_ID}",
            f"CSeq: {heard.number} {heard.method}",
            "Max-Forwards: 70",
            *(f"Record-Route: {route}" for route in record_routes),
        ]
        if heard.contact:
            lines.append(f"Contact: <{heard.contact}>")
        return self.receive(lines, SDP if heard.offers else b"")

    def hear_answer(self, answer: Answer) -> list[Said]:
        lines = [f"SIP/2.0 {answer.status} So"]
        for line in self.asked[answer.ours]:
            add = line.startswith("To: ") and ";tag=" not in line and answer.fork
            lines.append(f"{line};tag={answer.fork}" if add else line)
        lines += [f"Record-Route: {route}" for route in answer.record_routes]
        if answer.contact:
            lines.append(f"Contact: <{answer.contact}>")
        offered = answer.ours[1] == "INVITE" and answer.status // 100 == 2
        return self.receive(lines, SDP if offered else b"")

    def do(self, what: str) -> list[Said]:
        self.now_s += STEP_S
        stack, session, now_s = self.stack, self.session, self.now_s
        match what:
            case "ring":
                stack.progress(session, now_s=now_s)
            case "accept":
                stack.answer(session, SDP, now_s)
            case "reject":
                stack.reject(session, 486, now_s=now_s)
            case "hang up":
                stack.hang_up(session, now_s=now_s)
            case "info":
                stack.info(session, "text/plain", b"1", now_s)
            case "reinvite":
                stack.reinvite(session, SDP, now_s)
            case "take":
                stack.answer_reoffer(session, SDP, now_s)
            case "refuse":
                stack.reject_reoffer(session, 488, now_s)
        return self.said()

    # -- the beginning -----------------------------------------------------------------------------

    def call_to_us(self) -> CallToUs:
        invite = Heard("INVITE", self.source.randrange(1, 9), self.contact(), True, "", "them")
        routes = self.routes()
        assert self.hear(invite, routes) == []
        state = self.stack.dialog_of(self.session)
        assert state is not None
        return CallToUs(replace(invite, tag=str(state["local_tag"])), routes)

    def call_of_ours(self) -> CallOfOurs:
        self.session = self.stack.invite(
            target=TARGET, flow=FLOW, from_=NameAddr("sip:us@10.0.0.1"), to=NameAddr(TARGET), sdp=SDP,
            call_id=CALL_ID, timeout_s=60.0, now_s=self.now_s,
        )  # fmt: skip
        (invite,) = self.said()
        assert invite[1:5] == ("INVITE", 1, TARGET, ())
        return CallOfOurs(invite, CONFIG.max_forks)

    # -- chance ------------------------------------------------------------------------------------

    def contact(self) -> str:
        return f"sip:them@10.0.0.9:{self.source.randrange(6000, 6100)}"

    def routes(self) -> Routes:
        loose = ";lr" if self.source.random() < 0.8 else ""
        return tuple(
            f"<sip:10.0.1.{self.source.randrange(9)}{loose}>"
            for _ in range(self.source.choice((0, 0, 1, 2)))
        )

    def request_of(self, call: Call) -> Heard:
        """Something the peer may say in a dialog: mostly in order and in the right one."""
        source = self.source
        forks = list(call.forks.values()) if isinstance(call, CallOfOurs) else []
        diary = call.diary or (source.choice(forks) if forks else Diary("none", "f1", 0))
        last = diary.their_number or 0
        method = source.choice(
            ("ACK", "ACK", "BYE", "INFO", "OPTIONS", "INVITE", "INVITE", "UPDATE", "UPDATE")
        )
        if method == "ACK":
            number = call.unacked if call.unacked is not None and source.random() < 0.9 else last
        else:
            number = last + source.choice((1, 1, 1, 1, 2, 7, 0, -1))
        offers = method == "INVITE" or (method == "UPDATE" and source.random() < 0.5)
        contact = self.contact() if source.random() < 0.8 or method == "INVITE" else None
        own, theirs = diary.own_tag, diary.their_tag
        if source.random() < 0.05:
            own, theirs = source.choice(((own, "f9"), ("t999", theirs), (theirs, own)))
        return Heard(method, max(number, 0), contact, offers, own, theirs)

    def answer_of(self, call: Call, ours: Said) -> Answer:
        source = self.source
        if isinstance(call, CallOfOurs) and ours == call.invite:
            status = source.choice((100, 180, 180, 183, 200, 200, 200, 404, 486))
            fork = "" if status == 100 else source.choice(FORKS)
            return Answer(
                ours, status, fork, self.contact() if source.random() < 0.9 else None, self.routes()
            )
        statuses = {"INVITE": (100, 200, 200, 200, 488, 481, 408), "INFO": (200, 200, 415, 481)}
        status = source.choice(statuses.get(str(ours[1]), (200, 200, 481)))
        contact = self.contact() if source.random() < 0.8 else None
        return Answer(ours, status, "", contact, self.routes() if ours[1] == "INVITE" else ())


def check(call: Call, talk: Talk) -> None:
    """What the stack remembers is what the diary says."""
    assert talk.stack.snapshot()["dialogs"] == call.dialogs(), ("dialogs", call.phase)
    diary = call.diary
    if diary is None or call.phase not in ("ringing", "answered", "up", "leaving"):
        return
    state = talk.stack.dialog_of(talk.session)
    assert state is not None
    got = tuple(state[key] for key in ("local_cseq", "remote_cseq", "target", "routes"))
    assert got == (diary.own_number, diary.their_number, diary.target, list(diary.routes))


def one_life(source: random.Random, told: list[object]) -> None:
    talk = Talk(source)
    call: Call = talk.call_to_us() if source.random() < 0.5 else talk.call_of_ours()
    open_asks: list[Said] = [call.invite] if isinstance(call, CallOfOurs) else []

    def step(happening: object, got: list[Said], wanted: list[Said]) -> None:
        told.append((happening, got, wanted))
        assert got == wanted
        check(call, talk)
        open_asks.extend(each for each in got if each[0] == "ask" and each[1] != "ACK")

    check(call, talk)
    for _ in range(source.randrange(3, 16)):
        chance = source.random()
        if chance < 0.4 and open_asks:
            answer = talk.answer_of(call, source.choice(open_asks))
            step(answer, talk.hear_answer(answer), call.hear_answer(answer))
        elif chance < 0.7:
            heard = talk.request_of(call)
            step(heard, talk.hear(heard), call.hear(heard))
        else:
            what = source.choice(OURS)
            if call.may(what):
                step(what, talk.do(what), call.do(what))
    wind_up(talk)


def wind_up(talk: Talk) -> None:
    """We hang up, nobody says anything any more: nothing is left."""
    talk.do("hang up")
    while (at_s := talk.stack.get_timer()) is not None:
        talk.now_s = max(talk.now_s, at_s)
        talk.stack.handle_timer(talk.now_s)
        talk.said()
    snapshot = talk.stack.snapshot()
    assert {name: snapshot[name] for name in GAUGES if snapshot[name]} == {}
    assert snapshot["internal_errors"] == 0


def lives(seed: int, count: int) -> int:
    """How many of `count` lives differ; the first that does is raised."""
    for number in range(count):
        told: list[object] = []
        try:
            one_life(random.Random(seed * 10_000_019 + number), told)
        except AssertionError as error:
            story = "\n".join(map(str, told))
            raise AssertionError(f"seed {seed}, life {number}: {error}\n{story}") from None
    return 0


@pytest.mark.parametrize(
    "count", [4_000, pytest.param(int(1_000_000 * SCALE), marks=pytest.mark.soak)]
)
def test_dialogs_go_as_the_reference_says(count: int, row: Row) -> None:
    row(10, "random lives of dialogs", seed=SEED, sequences=count, divergences=lives(SEED, count))


def test_the_reference_is_not_satisfied_by_anything() -> None:
    call = CallToUs(Heard("INVITE", 3, "sip:a@1", True, "us", "them"), ("<sip:p;lr>",))
    assert call.do("accept") == [("answer", 200, 3, "INVITE")]
    assert call.hear(Heard("BYE", 3, None, False, "us", "them")) == [("answer", 500, 3, "BYE")]
    assert call.hear(Heard("ACK", 3, None, False, "us", "them")) == []
    bye = ("ask", "BYE", 1, "sip:a@1", ("<sip:p;lr>",), "us", "them")
    assert call.do("hang up") == [bye]
    assert call.dialogs() == 1
    assert call.hear_answer(Answer(bye, 200)) == []
    assert call.dialogs() == 0
