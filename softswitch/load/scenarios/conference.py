"""All callers meet in one conference and speak in turn; everybody must hear the others, nobody himself.

Settings: `talkers` at once (2), `turn` seconds (4). `--concurrent` or `--calls` is the size.
"""

from __future__ import annotations

from softswitch.load.lab import Caller, Lab
from softswitch.load.settings import seconds, whole

SETTINGS = {"talkers": whole("2"), "turn": seconds("4")}


async def prepare(lab: Lab) -> None:
    """What is heard is mixed."""
    if lab.sound is not None:
        lab.sound.listener.mixed = True


async def scenario(caller: Caller) -> None:
    """Callers meet in a conference and speak in turn; each must hear the others and not himself."""
    caller.tolerates |= {"gaps", "unknown sound", "silence", "delay"}
    plan, lab = caller.lab.plan, caller.lab
    size = plan.concurrent or plan.calls or 10
    groups = max(1, size // max(1, int(plan.option("talkers", "2"))))
    turn_s = float(plan.option("turn", "4"))
    call = caller.dial()
    await call.answered()
    until_s = lab.now_s() + caller.hold_s()
    while lab.now_s() < until_s:
        turn = int(lab.now_s() / turn_s)
        call.mute(turn % groups != caller.number % groups)
        await call.talk(min((turn + 1) * turn_s, until_s) - lab.now_s() + 0.001)
    if call.stream is not None and groups > 1 and call.stream.heard_expected() == 0:
        lab.meter.count("heard_nobody", lab.at_s())
    call.hang_up()
    await call.ended()
