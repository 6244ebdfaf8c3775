"""Callers meet a menu and press digits: by RFC 4733, by INFO and as tones, in turn.

Settings: `digits` (1), `after` seconds of greeting (1), `by` to fix the method, `then=party` (one of
our telephones must be heard `within` 8 seconds), `then=answer` (only the menu must stay) or `then=end` (it
hangs up).
"""

from __future__ import annotations

import asyncio

from softswitch.load.lab import Caller
from softswitch.load.settings import Setting, one_of, seconds

METHODS = ("rfc4733", "info", "inband")
SETTINGS = {
    "digits": Setting("1", r"[0-9A-Da-d*#]{1,64}", "0-9, A-D, * and #"),
    "after": seconds("1"),
    "by": one_of(*METHODS, default="in turn"),
    "then": one_of("party", "answer", "end"),
    "within": seconds("8"),
}


async def scenario(caller: Caller) -> None:
    """Callers press digits in a menu, by RFC 4733, INFO and in-band, and must get where they lead."""
    caller.tolerates |= {"gaps", "unknown sound", "delay", "jitter"}
    plan, lab = caller.lab.plan, caller.lab
    by = plan.option("by", METHODS[caller.number % len(METHODS)])
    call = caller.dial(events=by != "inband")
    await call.answered()
    if not await call.hears_anything(5.0):
        caller.fail("the menu says nothing")
    await call.talk(float(plan.option("after", "1")))
    call.mute()  # so that nothing but the digit is heard
    await call.dtmf(plan.option("digits", "1"), by)
    call.mute(False)
    match plan.option("then", "party"):
        case "party":
            if not await call.hears(float(plan.option("within", "8"))):
                caller.fail(f"a digit by {by} led nowhere")
            await call.talk(caller.hold_s())
        case "end":
            await asyncio.wait_for(call.ended(), 10.0)
        case _:
            await call.talk(caller.hold_s())
    lab.meter.count(f"digits_{by}", lab.at_s())
    call.hang_up()
    await call.ended()
