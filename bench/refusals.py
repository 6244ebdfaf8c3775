"""What it costs to refuse a call while more are offered than can be served: a 503 from the octets of its
INVITE, and its ACK, through real sockets, the kernel's part included.

    python bench/refusals.py [--calls 20000]

The driver has a queue of new calls that is taken to stand, so that it turns all of them away, as in the
second half of `overload.py`. A process on another core asks, some calls at a time, waits for the 503s and
acknowledges them.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import re
import socket
import time
from typing import Any

from bench import figures
from bench.call_cost import HEADERS, OFFER, TYPE
from bench.figures import Figure
from bench.serving import CALLER, SERVER, other_core
from softswitch.clock import SystemClock
from softswitch.sip.flow import Flow
from softswitch.sip.gate import OpenGate
from softswitch.sip.rank import Kind, Rank, kind_of
from softswitch.sip.stack import SipStack
from softswitch.sip.stack_config import StackConfig
from softswitch.sip.terse import Terse
from softswitch.transport.driver import Driver
from softswitch.transport.intake import Intake
from softswitch.transport.standing import StandingPolicy
from softswitch.transport.udp import UdpTransport

BAR_US = 100.0
WARM = 2000
AT_ONCE = 20
_MARK = "overload"
_TAG = re.compile(rb"\r\n(To:[^\r\n]*)")


def _invite(number: int, port: int, server_port: int) -> bytes:
    headers = HEADERS.format(
        caller=CALLER, server=SERVER, number=number, step="1", cseq="1 INVITE", tag=""
    ).replace(":5070", f":{port}")
    contact = f"Contact: <sip:1001@{CALLER}:{port}>\r\nMax-Forwards: 70\r\n"
    return (
        f"INVITE sip:9123@{SERVER}:{server_port} SIP/2.0\r\n{headers}{contact}{TYPE}"
        f"Content-Length: {len(OFFER)}\r\n\r\n{OFFER}"
    ).encode()


def _acknowledgement(invite: bytes, refusal: bytes) -> bytes:
    head = invite.partition(b"Contact:")[0].replace(b"INVITE", b"ACK")
    to = _TAG.search(refusal)
    assert refusal.startswith(b"SIP/2.0 503 "), refusal[:80]
    assert to is not None
    return _TAG.sub(b"\r\n" + to[1], head) + b"Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n"


def ask(server_port: int, calls: int, core: int, control: Any) -> None:
    """Ask for so many calls, after those to warm up; tells over `control` when those are done."""
    os.sched_setaffinity(0, {core})
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((CALLER, 0))
        sock.connect((SERVER, server_port))
        sock.settimeout(10.0)
        port = sock.getsockname()[1]
        for first in range(0, WARM + calls, AT_ONCE):
            if first == WARM:
                control.send("warm")
                control.recv()
            asked = {}
            for number in range(first, first + AT_ONCE):
                invite = _invite(number, port, server_port)
                asked[b"Call-ID: %d-1@" % number] = invite
                sock.send(invite)
            for _ in range(AT_ONCE):
                refusal = sock.recv(4096)
                key = next(key for key in asked if key in refusal)
                sock.send(_acknowledgement(asked.pop(key), refusal))
        control.send("done")


class _Standing(Driver):
    """A driver in whose queues all messages wait, and whose queue of new calls stands."""

    def feed(self, data: bytes, flow: Flow) -> None:
        self.defer(data, flow)


def _rank(data: bytes, flow: Flow, now_s: float) -> Rank:
    return Rank.TRUNK_CALL if kind_of(data) is Kind.BEGINNING else Rank.GOING


async def measure(calls: int, core: int) -> list[Figure]:
    os.sched_setaffinity(0, {core})
    loop = asyncio.get_running_loop()
    stack = SipStack(StackConfig(), lambda: os.urandom(8).hex(), OpenGate())
    driver = _Standing(stack, SystemClock(), loop, lambda event, now_s: None, token=_MARK)
    driver.intake = Intake(Terse(_MARK).refusal, StandingPolicy(target_s=0.0, interval_s=0.0))
    transport = UdpTransport.bind(SERVER, 0)
    driver.attach(transport)
    driver.use_ranks(_rank)
    ours, theirs = multiprocessing.Pipe()
    asking = multiprocessing.Process(
        target=ask, args=(transport.local[1], calls, other_core(core), theirs)
    )
    asking.start()
    assert await asyncio.to_thread(ours.recv) == "warm"
    before, began_s = driver.snapshot(), time.process_time()
    ours.send("go on")
    assert await asyncio.to_thread(ours.recv) == "done"
    await asyncio.sleep(0.1)
    spent_s, after = time.process_time() - began_s, driver.snapshot()
    asking.join()
    driver.close()
    sent = after["sent"] - before["sent"]
    absorbed = after["acks_absorbed"] - before["acks_absorbed"]
    assert sent == calls, sent
    assert absorbed >= calls - AT_ONCE, absorbed
    note = f"{calls} calls, {AT_ONCE} at a time: INVITE, 503 and ACK, the kernel's part included"
    return [Figure("CPU of a call refused", spent_s / calls * 1e6, "us", BAR_US, note=note)]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--save", action="store_true", help="keep it for RESULTS.md")
    chosen = parser.parse_args()
    found = asyncio.run(measure(chosen.calls, chosen.core))
    figures.show(found)
    if chosen.save:
        figures.save("refusals", found)


if __name__ == "__main__":
    main()
