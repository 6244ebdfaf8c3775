"""Messages as fast as they go, nobody waits for an answer; OPTIONS show whether the target still lives.

Refused unless the target is a loopback address or `--i-own-this` says that it is yours. Settings:
`kind` one of invite, options, register, garbage.
"""

from __future__ import annotations

import asyncio

from softswitch.load.lab import Caller, Lab
from softswitch.load.settings import one_of
from softswitch.sim.loop import SimulationError
from softswitch.sip.uri import NameAddr

SETTINGS = {"kind": one_of("invite", "options", "register", "garbage")}


async def prepare(lab: Lab) -> None:
    """Ask once a second, over an address of its own, whether the target still answers."""
    lab.extra.append(asyncio.create_task(_ask(lab)))


async def _ask(lab: Lab) -> None:
    while True:
        began_s = lab.now_s()
        try:
            response = await lab.phones.request(
                "OPTIONS", f"sip:{lab.phones.domain}", to=f"sip:{lab.phones.domain}"
            )
            lab.meter.count("options_answered", lab.at_s())
            lab.meter.time("options", 1e6 * (lab.now_s() - began_s), lab.at_s())
            del response
        except SimulationError:
            lab.meter.count("options_unanswered", lab.at_s())
        await asyncio.sleep(max(0.0, began_s + 1.0 - lab.now_s()))


async def scenario(caller: Caller) -> None:
    """Messages without end and without waiting (--set kind=invite, options, register, garbage)."""
    lab = caller.lab
    kind = lab.plan.option("kind", "invite")
    token = f"{caller.rng.getrandbits(64):016x}"
    if kind == "garbage":
        data = caller.rng.randbytes(caller.rng.randint(1, 1200))
    else:
        data = _message(caller, kind.upper(), token)
    lab.callers.send_raw(data)
    lab.meter.count("completed_flood", lab.at_s())


def _message(caller: Caller, method: str, token: str) -> bytes:
    agent = caller.lab.callers
    host, port = agent.local
    user = caller.account.number
    number = caller.lab.plan.dial or "100"
    target = f"sip:{agent.domain}" if method == "REGISTER" else f"sip:{number}@{agent.domain}"
    lines = [
        f"{method} {target} SIP/2.0",
        f"Via: SIP/2.0/UDP {host}:{port};branch=z9hG4bK{token};rport",
        "Max-Forwards: 70",
        f"From: {NameAddr(f'sip:{user}@{agent.domain}')};tag={token[:8]}",
        f"To: <{target}>",
        f"Call-ID: {token}",
        f"CSeq: 1 {method}",
        f"Contact: <{agent.contact_of(user)}>",
        "Content-Length: 0",
        "",
        "",
    ]
    return "\r\n".join(lines).encode()
