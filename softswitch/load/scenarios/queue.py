"""A call centre: customers with patience call a queue, agents log in, answer, talk and wrap up.

Agents are the `--callees`; each dials `login` (by default *22; `login=` for none) and at the end `logout` (by
default the same, for a code that does both in turn). Customers wait as
long as `--patience` says for an agent to be heard. `--hold` is how long they talk, counted from when the agent
hears his customer: many queues tell him something before, and who hangs up in it has not served anybody.
"""

from __future__ import annotations

import asyncio
import contextlib

from softswitch.errors import SoftswitchError
from softswitch.load.agent import Account, Reception
from softswitch.load.lab import Caller, Lab
from softswitch.load.leg import CallCutOff, Leg
from softswitch.load.settings import Setting
from softswitch.load.verdict import agent_identity
from softswitch.sim.behaviour import Behaviour
from softswitch.sim.phone_call import CallNotAnswered
from softswitch.sip.message import SipRequest

_CONNECT_S = 15.0
_LOG_IN = "*22"
SETTINGS = {"login": Setting(_LOG_IN), "logout": Setting("as login")}


async def prepare(lab: Lab) -> None:
    """All agents log in, and their telephones know what to do."""
    lab.judge.loose_tolerates |= {
        "gaps",
        "unknown sound",
        "delay",
        "jitter",
    }  # he is told who waits first
    agents = list(lab.board.free_callees)
    lab.board.free_callees.clear()
    if not lab.plan.register:
        await lab.register_all(agents, lab.phones)
    numbers = {account.number: place for place, account in enumerate(agents)}

    def receive(request: SipRequest) -> Reception | None:
        place = numbers.get(request.request_uri.user or "")
        if place is None:
            return None
        talk_s = max(0.5, lab.hold.draw(lab.rng))
        answer_s = lab.answer_after.draw(lab.rng)
        identity = agent_identity(lab.index * 10_000 + place + 1)
        return Reception(
            identity, 0, Behaviour(ring_s=answer_s), lambda leg: _serve(lab, leg, talk_s)
        )

    lab.board.special = receive
    if code := lab.plan.option("login", _LOG_IN):
        await _dial_all(lab, agents, code)
        lab.agents = agents


async def finish(lab: Lab) -> None:
    """They log out, or the next run would find them in."""
    if code := lab.plan.option("logout", lab.plan.option("login", _LOG_IN)):
        await _dial_all(lab, lab.agents, code)


async def _dial_all(lab: Lab, agents: list[Account], code: str) -> None:
    slots = asyncio.Semaphore(10)
    await asyncio.gather(*(_dial(lab, account, code, slots) for account in agents))


async def _serve(lab: Lab, leg: Leg, talk_s: float) -> None:
    """An agent with a customer; a telephone that stays silent is hung up."""
    with contextlib.suppress(CallNotAnswered, CallCutOff):
        await leg.answered()
        if await leg.hears(_CONNECT_S):
            await leg.talk(talk_s)
        elif leg.end is None:
            lab.meter.count("agents_without_customer", lab.at_s())
        leg.hang_up()


async def _dial(lab: Lab, account: Account, code: str, slots: asyncio.Semaphore) -> None:
    async with slots:
        leg = lab.phones.dial(
            code, account=account, identity=0, expects=0, intended_s=lab.now_s(), timeout_s=10.0
        )
        try:
            await leg.answered()
            await asyncio.wait_for(leg.ended(), 2.0)
        except TimeoutError:
            pass
        except CallNotAnswered as error:
            raise SoftswitchError(
                f"agent {account.number} cannot log in or out with {code}: {error}"
            ) from error
        finally:
            leg.hang_up()


async def scenario(caller: Caller) -> None:
    """Customers with patience call a queue; agents log in, answer, talk, hang up, wrap up."""
    caller.tolerates |= {
        "gaps",
        "cut",
        "unknown sound",
        "delay",
        "jitter",
    }  # music, then another source
    lab = caller.lab
    call = caller.dial()
    await call.answered()
    began_s = lab.now_s()
    if not await call.hears(caller.patience_s()):
        if call.end is not None:
            caller.fail("the queue hung up on a waiting caller")
        lab.meter.count("abandoned", lab.at_s())
        call.hang_up()
        await call.ended()
        return
    lab.meter.time("answer_wait", 1e6 * (lab.now_s() - began_s), lab.at_s())
    lab.meter.count("served", lab.at_s())
    await call.ended()
