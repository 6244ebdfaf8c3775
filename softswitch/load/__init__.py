"""The load lab: many calls at once against any SIP system, and the truth about what was heard.

`softswitch load` is the command; own scenarios are async functions of a `Caller`:

    from softswitch.load import Caller

    async def scenario(caller: Caller) -> None:
        call = caller.dial("7000")
        await call.answered()
        await call.dtmf("2")
        await call.talk(caller.hold_s())
        call.hang_up()
"""

from __future__ import annotations

from softswitch.load.lab import Caller, Lab, ScenarioFailed
from softswitch.load.leg import CallCutOff, Leg
from softswitch.load.plan import Plan

__all__ = ["CallCutOff", "Caller", "Lab", "Leg", "Plan", "ScenarioFailed"]
