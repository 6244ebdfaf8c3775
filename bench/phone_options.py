"""What it costs to ask ten thousand telephones by OPTIONS, without the sockets.

    python bench/phone_options.py

The machine, the SIP stack with its transactions and their timers, on a clock of its own: one interval in
which every telephone is asked once and answers. Only the exchange's part is timed.
"""

from __future__ import annotations

import asyncio
import itertools
import time

from softswitch.apps.phone_care import PhoneCare
from softswitch.config import parse_office
from softswitch.sim.world import EXCHANGE, small_office
from softswitch.sip.events import RequestFailed, ResponseReceived
from softswitch.sip.flow import Flow, Outgoing
from softswitch.sip.gate import OpenGate
from softswitch.sip.registration import Binding
from softswitch.sip.stack import SipStack, StackConfig

PHONES = 10_000
TICK_S = 0.01


class TickingClock:
    """A clock that is moved by hand."""

    now_s = 0.0

    def monotonic_s(self) -> float:
        return self.now_s

    def wall_s(self) -> float:
        return self.now_s


def answer(sent: Outgoing) -> bytes:
    """A telephone's 200."""
    lines = sent.data.decode().split("\r\n")
    kept = [line for line in lines if line.startswith(("Via", "From", "Call-ID", "CSeq"))]
    to = next(line for line in lines if line.startswith("To"))
    tail = ["Allow: INVITE, ACK, BYE", "Content-Length: 0", "", ""]
    return "\r\n".join(["SIP/2.0 200 OK", *kept, f"{to};tag=x", *tail]).encode()


def binding(number: int) -> Binding:
    """A telephone behind a NAT."""
    place = f"{number // 250}.{number % 250 + 1}"
    flow = Flow("udp", EXCHANGE, (f"10.9.{place}", 40_000))
    return Binding(f"sip:1001@192.168.{place}:5060", flow, 3600.0, "x", 1)


async def run() -> None:
    names, draws = itertools.count(), itertools.count()
    stack = SipStack(
        StackConfig(local_addresses=(EXCHANGE,)), lambda: f"{next(names):016x}", OpenGate()
    )
    office, clock = parse_office(small_office()), TickingClock()
    care = PhoneCare(office, stack, clock, lambda: next(draws) / PHONES, lambda: None)
    for number in range(PHONES):
        care.watch("1001", binding(number))
    spent_s, asked, every_s = 0.0, 0, office.sip.qualify_s
    for tick in range(round(every_s / TICK_S)):
        clock.now_s = (tick + 1) * TICK_S
        began_s = time.process_time()
        care._due()
        care.close()
        sent = list(stack.datagrams_to_send())
        spent_s += time.process_time() - began_s
        answers = [(answer(each), each.flow) for each in sent]
        began_s = time.process_time()
        for data, flow in answers:
            stack.receive_datagram(data, flow, clock.now_s)
            while (event := stack.next_event()) is not None:
                assert isinstance(event, ResponseReceived | RequestFailed)
                care.answered(event)
        while (at_s := stack.get_timer()) is not None and at_s <= clock.now_s:
            stack.handle_timer(clock.now_s)
        spent_s += time.process_time() - began_s
        asked += len(sent)
    care.close()
    print(
        f"OPTIONS to {PHONES} telephones every {every_s:g} s: {asked} asked, "
        f"{1e6 * spent_s / asked:.0f} us each, {100 * spent_s / every_s:.1f} % of a core"
    )


if __name__ == "__main__":
    asyncio.run(run())
