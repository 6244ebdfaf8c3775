"""What a call costs in the SIP layers alone: one stack, its driver and its session descriptions, with as
little call control on top as makes a B2BUA. No sockets, virtual time.

    python bench/sip_stack.py [--calls 5000] [--profile] [--instructions]

A call is the 13 messages of `call_cost.py`, whose players play the trunks here as well; ids, ports and
session descriptions differ from call to call. The players play first and what they send is kept: the
measured run only repeats it, on a stack with the same random numbers. `--instructions` runs that under
cachegrind, which gives the same number on a busy machine as on a quiet one (some minutes).
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import gc
import itertools
import marshal
import os
import pstats
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.call_cost import FROM_CALLED, FROM_CALLER, Players, Wires
from bench.serving import CALLED, CALLER, SERVER
from softswitch.sip.events import (
    Answered,
    Confirmed,
    Ended,
    InviteReceived,
    Progressed,
    SipEvent,
)
from softswitch.sip.flow import Flow
from softswitch.sip.gate import Admitted
from softswitch.sip.message import SipRequest
from softswitch.sip.sdp import (
    AudioNegotiated,
    SessionDescription,
    make_answer,
    make_offer,
    read_answer,
)
from softswitch.sip.stack import SipStack
from softswitch.sip.stack_config import StackConfig
from softswitch.sip.uri import NameAddr
from softswitch.transport.driver import Driver

CODECS = ("PCMA", "PCMU", "G722")
STEP_S = 0.02
"""Between two messages; so the transactions of some 270 calls are waiting for their end (RFC 3261 17.1.3)."""
STEPS = 6
STEADY = 400
"""Calls until as many transactions end as begin."""
Fed = list[tuple[bytes, Flow]]


class Handle:
    """A timer of the driver."""

    def __init__(self, at_s: float, callback: Callable[[], None]) -> None:
        self.at_s = at_s
        self.callback = callback

    def cancel(self) -> None:
        self.at_s = float("inf")


class Time:
    """Clock and loop in one: time goes on with every message, the one timer fires in between."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self._timers: list[Handle] = []

    def monotonic_s(self) -> float:
        return self.now_s

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Handle:
        handle = Handle(self.now_s + delay_s, callback)
        self._timers.append(handle)
        return handle

    def advance(self) -> None:
        self.now_s += STEP_S
        due = [handle for handle in self._timers if handle.at_s <= self.now_s]
        self._timers = [h for h in self._timers if self.now_s < h.at_s < float("inf")]
        for handle in due:
            handle.callback()


class Trunks:
    """A gate that knows both trunks, as the exchange's does."""

    def __init__(self) -> None:
        self._admitted = Admitted("trunk", frozenset({CALLER, CALLED}), follow_contact=True)

    def admit(self, request: SipRequest, flow: Flow, now_s: float) -> Admitted:
        return self._admitted


class Bridge:
    """The least that passes a call on: both legs negotiate for themselves."""

    def __init__(self, time: Any, wires: Wires) -> None:
        numbers = itertools.count(1 << 60)
        self._stack = SipStack(StackConfig(), lambda: f"{next(numbers):016x}", Trunks())
        self.driver = Driver(self._stack, time, time, self._on_event)
        self.driver.attach(wires)
        self._other: dict[int, int] = {}
        self._offers: dict[int, SessionDescription] = {}
        self._ports = itertools.count(0)
        self.agreed: list[AudioNegotiated] = []
        self.ended = 0

    def _port(self) -> int:
        return 20_000 + 2 * (next(self._ports) % 5000)

    def _on_event(self, event: SipEvent, now_s: float) -> None:
        stack = self._stack
        match event:
            case InviteReceived():
                assert event.sdp is not None
                self._offers[event.session] = SessionDescription.parse(event.sdp)
                offer = make_offer(SERVER, self._port(), CODECS, session_id=event.session)
                caller = event.request.from_
                out = stack.invite(
                    target=f"sip:{event.request.request_uri.username}@{CALLED}:5070",
                    flow=FROM_CALLED,
                    from_=NameAddr(caller.uri_text, caller.display_name),
                    to=NameAddr(f"sip:9123@{CALLED}"),
                    sdp=offer.serialise(),
                    identity="trunk",
                    permitted_hosts=frozenset({CALLED}),
                    follow_contact=True,
                    timeout_s=180.0,
                    silence_s=2.0,
                    now_s=now_s,
                )
                self._offers[out] = offer
                self._other[event.session], self._other[out] = out, event.session
            case Progressed():
                stack.progress(self._other[event.session], event.status, now_s=now_s)
            case Answered():
                assert event.sdp is not None
                caller_session = self._other[event.session]
                answer = SessionDescription.parse(event.sdp)
                theirs = read_answer(self._offers.pop(event.session), answer)
                ours, _ = make_answer(
                    self._offers.pop(caller_session),
                    SERVER,
                    self._port(),
                    (theirs.codec,),
                    session_id=caller_session,
                )
                self.agreed[:] = [theirs]
                stack.answer(caller_session, ours.serialise(), now_s)
            case Ended():
                self.ended += 1
                other = self._other.pop(event.session)
                if other in self._other:
                    stack.hang_up(other, now_s=now_s)
            case Confirmed():
                pass
            case _:
                raise AssertionError(event)


class _Recording(Wires):
    """Keeps what the players feed, with the time going on."""

    def __init__(self, time: Time) -> None:
        super().__init__()
        self.fed: Fed = []
        self._time = time

    def start(self, receive, unreachable) -> None:  # type: ignore[no-untyped-def]
        def keep(data: bytes, flow: Flow) -> None:
            # What telephones say of themselves differs from call to call.
            number = len(self.fed) // STEPS
            data = data.replace(b" 6000 ", b" %d " % (6000 + 2 * (number % 1000)))
            data = data.replace(b" 53655765 ", b" %d " % (53_655_765 + number))
            self.fed.append((data, flow))
            self._time.advance()
            receive(data, flow)

        super().start(keep, unreachable)


async def record(calls: int) -> Fed:
    """What the peers of so many calls send, in order."""
    virtual = Time()
    wires = _Recording(virtual)
    bridge = Bridge(virtual, wires)
    players = Players(wires)
    for number in range(calls):
        await players.call(number)
    assert bridge.ended == 2 * calls, bridge.driver.snapshot()
    assert len(wires.fed) == STEPS * calls
    assert bridge.agreed[0].remote_port in range(6000, 8000)
    bridge.driver.close()
    return wires.fed


def play(fed: Fed, profile: cProfile.Profile | None = None) -> float:
    """Repeat it; seconds of CPU for all but the first `STEADY` calls."""
    virtual, wires = Time(), Wires()
    bridge = Bridge(virtual, wires)
    began_s = 0.0
    gc.freeze()
    gc.disable()
    for position, (data, flow) in enumerate(fed):
        if position == STEADY * STEPS:
            began_s = time.thread_time()
            if profile is not None:
                profile.enable()
        virtual.advance()
        wires.receive(data, flow)
        wires.sent.clear()
    if profile is not None:
        profile.disable()
    spent_s = time.thread_time() - began_s
    gc.enable()
    assert bridge.ended == len(fed) // STEPS * 2
    bridge.driver.close()
    return spent_s


def _write(fed: Fed, path: Path) -> None:
    path.write_bytes(marshal.dumps([(data, flow is FROM_CALLER) for data, flow in fed]))


def _read(path: Path) -> Fed:
    kept = marshal.loads(path.read_bytes())
    return [(data, FROM_CALLER if by_caller else FROM_CALLED) for data, by_caller in kept]


def instructions(fed: Fed) -> float:
    """Instructions a call: the difference of a long and a short run under cachegrind."""
    with tempfile.TemporaryDirectory(prefix="softswitch-bench-") as folder:
        counts = []
        for calls in (STEADY, STEADY + 2000):
            path = Path(folder) / f"{calls}.json"
            _write(fed[: calls * STEPS], path)
            command = ["valgrind", "--tool=cachegrind", "--cache-sim=no"]
            command += [f"--cachegrind-out-file={folder}/out", sys.executable, __file__]
            done = subprocess.run(
                [*command, "--play", str(path)],
                env={**os.environ, "PYTHONHASHSEED": "0"},
                capture_output=True,
                text=True,
                check=True,
            )
            found = re.search(r"I\s+refs:\s+([\d,]+)", done.stderr)
            assert found is not None, done.stderr
            counts.append(int(found[1].replace(",", "")))
    return (counts[1] - counts[0]) / 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--calls", type=int, default=5000)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--instructions", action="store_true")
    parser.add_argument("--play", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.play is not None:
        play(_read(chosen.play))
        return
    if chosen.instructions:
        each = instructions(asyncio.run(record(STEADY + 2000)))
        print(f"sip_stack: {each / 1000:.0f} thousand instructions a call")
        return
    fed = asyncio.run(record(STEADY + chosen.calls))
    profile = cProfile.Profile() if chosen.profile else None
    spent_s = play(fed, profile)
    print(f"sip_stack: {spent_s / chosen.calls * 1e6:.0f} us a call of {chosen.calls}")
    if profile is not None:
        stats: Any = pstats.Stats(profile)
        print(f"{stats.total_calls / chosen.calls:.0f} calls of functions")
        stats.sort_stats("tottime").print_stats(60)


if __name__ == "__main__":
    main()
