"""What the machine itself adds to work that comes in bursts: the same Python work back to back and with rests.

    python bench/bursts.py [--seconds 4]

The work are the SIP layers of a call (`sip_stack.py`, recorded, without sockets); by thread time, so the
rests and the waking count for nothing. At 200 calls a second the loop is woken some 600 times a second
for two messages each. A core that has rested finds its caches empty: other machines on the same host have had
it, or it has slept. That is no property of the program, but all of its figures at low rates contain it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import gc
import os
import statistics
import time
from collections.abc import Iterator

from bench import figures, sip_stack
from bench.call_cost import Wires
from bench.figures import Figure

MESSAGES = 2
WAKINGS_PER_S = 600.0
ROUNDS = 3


def spent_us(fed: sip_stack.Fed, rest_s: float) -> float:
    """Thread time of a call, microseconds, with a turn of `MESSAGES` messages every `rest_s`; 0: no rests."""
    virtual, wires = sip_stack.Time(), Wires()
    bridge = sip_stack.Bridge(virtual, wires)
    warm = sip_stack.STEADY * sip_stack.STEPS
    took_s = 0.0
    gc.freeze()
    gc.disable()
    due_s = time.monotonic()
    for start in range(0, len(fed), MESSAGES):
        if start >= warm and rest_s:
            due_s = max(due_s + rest_s, time.monotonic() - rest_s)
            time.sleep(max(0.0, due_s - time.monotonic()))
        began_s = time.thread_time()
        for data, flow in fed[start : start + MESSAGES]:
            virtual.advance()
            wires.receive(data, flow)
            wires.sent.clear()
        if start >= warm:
            took_s += time.thread_time() - began_s
    gc.enable()
    bridge.driver.close()
    return took_s / (len(fed) - warm) * sip_stack.STEPS * 1e6


@contextlib.contextmanager
def pinned(core: int) -> Iterator[None]:
    """This process on `core` alone, for a while."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@functools.cache
def recorded(seconds: float) -> sip_stack.Fed:
    """What peers send in as many calls as take so long with rests."""
    calls = max(60, int(seconds * WAKINGS_PER_S * MESSAGES / sip_stack.STEPS))
    return asyncio.run(sip_stack.record(sip_stack.STEADY + calls))


def now_us(core: int) -> float:
    """What a call of the SIP layers costs in bursts on `core` now: a second's look at who else has it."""
    fed = recorded(1.0)
    with pinned(core):
        return spent_us(fed, 1 / WAKINGS_PER_S)


def measure(seconds: float, core: int) -> list[Figure]:
    """How much more the work costs with rests, on `core`; half of the time is spent with rests."""
    fed = recorded(seconds / ROUNDS)
    with pinned(core):
        pairs = [(spent_us(fed, 0.0), spent_us(fed, 1 / WAKINGS_PER_S)) for _ in range(ROUNDS)]
    dense, rested = (statistics.median(values) for values in zip(*pairs, strict=True))
    note = (
        f"the SIP layers of a call: {dense:.0f} us back to back, {rested:.0f} by two messages "
        f"{WAKINGS_PER_S:.0f} times a second; thread time, medians of {ROUNDS}"
    )
    return [
        Figure(
            "the same Python work in bursts, by the machine alone",
            rested / dense,
            "times",
            note=note,
        )
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--core", type=int, default=0)
    chosen = parser.parse_args()
    figures.show(measure(chosen.seconds, chosen.core))


if __name__ == "__main__":
    main()
