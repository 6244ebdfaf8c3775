"""The same loads against several servers, by the load lab: calls, sound, menus, rooms, queues, floods.

Figures are CPU per unit of work from /proc of all processes of the server, and times from the moment a
call was due. Where the generator was the limit the note says so: such figures tell nothing of the server.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec

from bench.figures import Figure
from bench.peers import missing, peer
from softswitch.load.plan import Plan, against_itself
from softswitch.load.result import Result
from softswitch.load.run import run

Measure = Callable[[Plan], Awaitable[Result]]
ANY = ("127.0.0.1", 5060)
NEEDS = {"kamailio": ("kamailio", "kamcmd"), "sipp": ("sipp",), "baresip": ("baresip", "sox")}
NAMES = {
    "softswitch": "Softswitch",
    "kamailio": "Kamailio",
    "baresip": "baresip",
    "sipp": "SIPp UAS",
    "self": "generator alone",
}
PROXIES, ANSWERING = ("softswitch", "kamailio", "self"), ("baresip", "sipp")


@dataclass(frozen=True, slots=True)
class Work:
    """One load, and which targets can take it: `any_number` whatever answers a call."""

    name: str
    title: str
    plan: Plan
    targets: tuple[str, ...]
    any_number: bool = False


def programme(seconds: float) -> list[Work]:
    """All loads; those that last do so for `seconds`."""

    def plan(**options: Any) -> Plan:
        return Plan(**{"scenario": "uac-uas", "target": ANY, **options})

    calls = {"duration_s": seconds, "hold": "0", "media": False}
    hold = str(seconds)
    own = ("softswitch",)
    return [
        Work("set-up 50", "set-up and tear-down, 50 a second",
             plan(rate=50.0, **calls), ("softswitch", "kamailio", *ANSWERING), True),
        Work("set-up 150", "set-up and tear-down, 150 a second",
             plan(rate=150.0, ramp_s=2.0, **calls), (*PROXIES, "sipp"), True),
        Work("sound 50", "50 calls with sound",
             plan(rate=25.0, calls=50, hold=hold), ("softswitch", "baresip"), True),
        Work("sound 200", "200 calls with sound",
             plan(rate=50.0, calls=200, hold=hold), PROXIES, True),
        Work("registrations", "200 telephones register at once",
             plan(scenario="register", rate=200.0, calls=200, media=False), own),
        Work("menu", "20 callers in a menu, digits three ways",
             plan(scenario="ivr", rate=5.0, calls=20, hold="2"), own),
        Work("conference", "a conference of 20",
             plan(scenario="conference", rate=20.0, calls=20, hold=hold), own),
        Work("queue", "30 customers, 10 agents",
             plan(scenario="queue", rate=6.0, calls=30, hold="exp:3", patience="20"), own),
        Work("flood", "300 INVITEs a second from a stranger, OPTIONS beside",
             plan(scenario="flood", rate=300.0, duration_s=seconds, media=False),
             ("softswitch", "kamailio")),
    ]  # fmt: skip


def unavailable(target: str) -> str:
    """What is not installed that a target needs, "" if nothing is lacking."""
    return missing(*NEEDS.get(target, ()))


@asynccontextmanager
async def started(target: str) -> AsyncIterator[Measure]:
    """A target that takes one load after the other, started for them."""
    if target == "self":
        yield lambda plan: run(against_itself(plan))
        return
    async with peer(target, processes=1) as server:
        yield lambda plan: run(server.adapt(plan))


def against(other: Plan, plan: Plan) -> Plan:
    """`plan` against a server that somebody else has started: `other` says where and whom to call."""
    changes = {key: getattr(other, key) for key in ("target", "transport", "domain", "host", "dial",
               "callers", "callees", "register", "pids")}  # fmt: skip
    scenario = plan.scenario
    if scenario == "uac-uas" and not other.callees:
        scenario = "uac"
    return msgspec.structs.replace(plan, scenario=scenario, **changes)


def fresh(work: Work) -> Plan:
    """The plan of a load for one run: a server remembers the Call-IDs of the run before for a while."""
    return msgspec.structs.replace(work.plan, run=secrets.randbits(31))


def told(work: Work, target: str, result: Result) -> Iterator[Figure]:
    """A run as figures; the names are the same each time."""
    found, name = result.figures, f"{work.title}, {target}"
    attempted = found["attempted"]
    notes = [f"{attempted - found['failed']:.0f} of {attempted:.0f} in order"]
    notes += [f"{entry['code']} {entry['count']}" for entry in result.findings]
    notes += [f"{cause}: {many}" for cause, many in list(result.causes.items())[:2]]
    if result.saturated:
        notes.append(f"GENERATOR SATURATED: {result.saturated}")
    yield Figure(f"{name}: failed", found["failed"], "calls", note="; ".join(notes))
    if "target_cpu_ms_per_call" in found:
        note = f"memory at most {found['target_rss_kb_max'] / 1024:.0f} MB"
        yield Figure(f"{name}: CPU", found["target_cpu_ms_per_call"], "ms a call", note=note)
    for key, words in (
        ("setup", "set-up p50"),
        ("register", "registered p50"),
        ("options", "OPTIONS p50"),
    ):
        if found.get(f"{key}_p50_ms"):
            note = f"p99 {found[f'{key}_p99_ms']:.1f} ms"
            yield Figure(f"{name}: {words}", found[f"{key}_p50_ms"], "ms", note=note)
    if found.get("delay_p50_ms"):
        note = f"p99 {found['delay_p99_ms']:.2f} ms, lost {found['loss']:.3%}"
        note += f", MOS p5 {found.get('mos_p5', 0):.2f}"
        yield Figure(f"{name}: sound, one way, p50", found["delay_p50_ms"], "ms", note=note)
