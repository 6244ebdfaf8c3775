"""CPU per complete call in the SIP core: two stacks wired back to back, no sockets, virtual time.

One call is INVITE, 100, 180, 200, ACK, BYE, 200: seven messages, each built, parsed and acted on
once, so a call costs both ends of one leg. A B2BUA has two legs with one end each outside, which
is the same work twice over one end: compare `us_per_call` with half of its budget.

    python bench/sip_stack.py [calls] [--profile]
"""

from __future__ import annotations

import cProfile
import itertools
import json
import pstats
import sys
import time

from softswitch.sip.events import Answered, InviteReceived
from softswitch.sip.flow import Flow
from softswitch.sip.gate import OpenGate
from softswitch.sip.stack import SipStack
from softswitch.sip.stack_config import StackConfig
from softswitch.sip.uri import NameAddr

A = ("192.0.2.1", 5060)
B = ("192.0.2.2", 5060)
A_TO_B = Flow("udp", A, B)
B_TO_A = Flow("udp", B, A)
SDP = (
    b"v=0\r\no=- 3893 3893 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
    b"m=audio 20000 RTP/AVP 8 0 9 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n"
    b"a=rtpmap:9 G722/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\n"
    b"a=ptime:20\r\na=sendrecv\r\n"
)
FROM = NameAddr("sip:1001@office.example", "Li Lei")
TO = NameAddr("sip:1002@office.example")


def token_source(prefix: str) -> itertools.count[int]:
    return itertools.count(int.from_bytes(prefix.encode()) << 48)


def make_stack(prefix: str) -> SipStack:
    numbers = token_source(prefix)
    return SipStack(StackConfig(), lambda: f"{next(numbers):016x}", OpenGate())


class Pair:
    """Two stacks and what joins them."""

    def __init__(self) -> None:
        self.caller = make_stack("a")
        self.callee = make_stack("b")
        self.messages = 0

    def exchange(self, now_s: float) -> None:
        """Carry messages until both are quiet."""
        while True:
            out = self.caller.datagrams_to_send()
            for outgoing in out:
                self.callee.receive_datagram(outgoing.data, B_TO_A, now_s)
            back = self.callee.datagrams_to_send()
            for outgoing in back:
                self.caller.receive_datagram(outgoing.data, A_TO_B, now_s)
            self.messages += len(out) + len(back)
            if not out and not back:
                return

    def call(self, now_s: float) -> None:
        """One call from INVITE to the 200 of its BYE."""
        session = self.caller.invite(
            target="sip:1002@192.0.2.2",
            flow=A_TO_B,
            from_=FROM,
            to=TO,
            sdp=SDP,
            timeout_s=60.0,
            now_s=now_s,
        )
        self.exchange(now_s)
        while (event := self.callee.next_event()) is not None:
            if isinstance(event, InviteReceived):
                self.callee.progress(event.session, 180, now_s=now_s)
                self.callee.answer(event.session, SDP, now_s)
        self.exchange(now_s)
        answered = False
        while (event := self.caller.next_event()) is not None:
            answered = answered or isinstance(event, Answered)
        assert answered
        self.caller.hang_up(session, now_s=now_s)
        self.exchange(now_s)
        for stack in (self.caller, self.callee):
            while stack.next_event() is not None:
                pass
            due_s = stack.get_timer()
            if due_s is not None and due_s <= now_s:
                stack.handle_timer(now_s)


def run(calls: int) -> dict[str, float]:
    """`calls` calls at 100 a second of virtual time; figures per call."""
    pair = Pair()
    for number in range(200):
        pair.call(number * 0.01)
    pair.messages = 0
    started = time.process_time()
    for number in range(calls):
        pair.call(10.0 + number * 0.01)
    spent = time.process_time() - started
    return {
        "calls": calls,
        "us_per_call": round(spent / calls * 1e6, 1),
        "us_per_message": round(spent / pair.messages * 1e6, 1),
        "messages_per_call": pair.messages / calls,
        "transactions_held": pair.caller.snapshot()["transactions"],
    }


def main() -> None:
    numbers = [argument for argument in sys.argv[1:] if argument.isdigit()]
    calls = int(numbers[0]) if numbers else 5000
    if "--profile" in sys.argv:
        profile = cProfile.Profile()
        profile.runcall(run, calls)
        pstats.Stats(profile).sort_stats("tottime").print_stats(40)
    else:
        print(json.dumps({"bench": "sip_stack", **run(calls)}))


if __name__ == "__main__":
    main()
