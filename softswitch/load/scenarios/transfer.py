"""A caller is transferred: the one he called sends him on (REFER), and he must hear the next.

Needs at least two `--callees`. Setting: `after` seconds (1) of the first conversation.
"""

from __future__ import annotations

import asyncio

from softswitch.load.lab import Caller
from softswitch.load.settings import seconds

SETTINGS = {"after": seconds("1")}


async def scenario(caller: Caller) -> None:
    """Callers are transferred blindly (REFER) by the one they called, and must hear the next."""
    caller.tolerates |= {"gaps", "loss", "jitter"}
    plan, lab = caller.lab.plan, caller.lab
    first, second = lab.board.next_callee(), lab.board.next_callee()
    if first == second:
        caller.fail("a transfer needs two --callees")
    call = caller.dial(first.number)
    await call.answered()
    if not await call.hears():
        caller.fail("the first party was not heard")
    await call.talk(float(plan.option("after", "1")))
    lab.board.expect_call(second.number, caller)
    asked_s = lab.now_s()
    caller.pair.taken[0].refer(f"sip:{second.number}@{lab.phones.domain}")
    before: int | None = None
    for _ in range(250):
        await asyncio.sleep(0.02)
        taken = caller.pair.taken
        if len(taken) > 1 and call.stream is not None:
            if before is None:  # from here on it is the second whom he expects
                before = call.stream.heard_expected()
            if taken[1].state == "up" and call.stream.hears_expected(before):
                break
    else:
        caller.fail("the second party was not heard within 5 s")
    lab.meter.note("transfer", 1e6 * (lab.now_s() - asked_s))
    await call.talk(caller.hold_s())
    call.hang_up()
    await call.ended()
