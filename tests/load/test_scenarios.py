"""Every scenario that comes with the lab, as the command runs it, against switches of our own."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import msgspec
import pytest

from softswitch.load import demo
from softswitch.load.demo import DemoSwitch
from softswitch.load.plan import Plan
from softswitch.load.result import Result
from softswitch.load.run import run
from softswitch.load.verdict import Limits
from softswitch.ports import free_port

pytestmark = pytest.mark.realtime


def plan(scenario: str, **options: Any) -> Plan:
    given = {"calls": 4, "rate": 4.0, "hold": "1", "media": True, **options}
    return Plan(scenario=scenario, target=("127.0.0.1", 9), **given)


ONE = {
    "uac-uas": plan("uac-uas", processes=2),
    "uac": plan("uac", hold="uniform:0.5-1"),
    "register": plan("register", calls=40, rate=80.0, media=False),
    "refresh": plan(
        "register", hold="1.2", media=False, options={"mode": "refresh", "every": "0.5"}
    ),
    "transfer": plan("transfer"),
    "flood": plan("flood", calls=0, rate=60.0, duration_s=2.0, media=False),
    "garbage": plan(
        "flood", calls=0, rate=60.0, duration_s=1.5, media=False, options={"kind": "garbage"}
    ),
}
OTHER = {
    "ivr": plan("ivr", calls=6),
    # Shorter than what an agent is told before he hears his customer, which he must not hang up in.
    "queue": plan("queue", calls=5, rate=5.0, hold="0.5", patience="20"),
    # The agents of the first have logged out, or those of the second could not log in.
    "queue again": plan("queue", calls=2, rate=5.0, hold="0.5", patience="20"),
    "conference": plan("conference", rate=8.0, hold="6.5", options={"turn": "3"}),
}
MIXED = {
    "mixed": plan(
        "mixed", calls=6, rate=6.0, options={"mix": "uac-uas:2,ivr:1,conference:1", "turn": "1"}
    ),
}
WHOLE = ONE | OTHER | MIXED
SOON = Limits(hanging_s=1.0)
MOVED = {
    # A carrier says nothing in a call: nobody can know where it is now.
    "moved carrier": plan("uac-uas", rate=8.0, hold="3", faults=["rebind-sip=2s"], limits=SOON),
    # Telephones register from there, and the exchange follows them.
    "moved telephones": plan("transfer", hold="2.5", faults=["rebind-sip=2.5s"], limits=SOON),
}


async def all_of(plans: dict[str, Plan]) -> dict[str, Result]:
    async with DemoSwitch(2) as switch:
        # A switch remembers the Call-IDs of a run for a while: each has its own.
        return {
            name: await run(msgspec.structs.replace(switch.adapt(wanted), run=1000 * number))
            for number, (name, wanted) in enumerate(plans.items(), 1)
        }


@pytest.fixture(scope="module")
def results() -> dict[str, Result]:
    """Three switches at once: the scenarios wait more than they work."""

    async def main() -> dict[str, Result]:
        found: dict[str, Result] = {}
        for some in await asyncio.gather(all_of(ONE), all_of(OTHER), all_of(MIXED | MOVED)):
            found |= some
        return found

    return asyncio.run(main())


@pytest.mark.parametrize("name", WHOLE)
def test_each_call_comes_to_its_end_and_nothing_is_found(
    name: str, results: dict[str, Result]
) -> None:
    result = results[name]
    wanted = WHOLE[name].calls
    assert result.causes == {}, result.ladders
    assert result.figures["failed"] == 0
    if wanted:
        assert result.figures["completed"] == result.figures["attempted"] == wanted
    if not result.saturated:
        assert result.findings == []


def test_each_scenario_counts_what_it_is_about(results: dict[str, Result]) -> None:
    def of(name: str, key: str) -> float:
        return results[name].figures.get(key, 0.0)

    assert of("uac-uas", "received") == of("uac-uas", "answered") == 4
    assert of("register", "registered") == 40
    assert of("refresh", "registered") == 4 * 3  # at once, after 0.5 and 1 s
    assert of("transfer", "transfer_p50_ms") > 0
    assert of("transfer", "received") == 2 * 4
    assert [of("ivr", f"digits_{by}") for by in ("rfc4733", "info", "inband")] == [2, 2, 2]
    assert of("queue", "served") == 5
    assert of("queue again", "served") == 2
    assert of("queue", "answer_wait_p50_ms") > 0
    assert of("queue", "agents_without_customer") == 0
    assert of("conference", "heard_nobody") == 0
    assert sum(of("mixed", f"mixed_{kind}") for kind in ("uac_uas", "ivr", "conference")) == 6
    assert of("flood", "options_answered") >= 1
    assert of("garbage", "options_answered") >= 1
    assert of("flood", "options_unanswered") == of("garbage", "options_unanswered") == 0


def test_who_was_moved_and_has_said_nothing_is_no_leak_of_the_target(
    results: dict[str, Result],
) -> None:
    carrier, telephones = (results[name] for name in MOVED)
    assert {entry["code"] for entry in carrier.findings} == {"unreachable"}
    # One that hangs up in the second in which a telephone has not noticed yet may not reach it.
    assert {entry["code"] for entry in telephones.findings} <= {"unreachable"}
    for result in (carrier, telephones):
        assert result.figures["completed"] == 4, result.causes


async def test_a_port_that_somebody_else_took_meanwhile_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was free when it was looked at may be a media stream's of another switch when it is bound."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stream:
        stream.bind(("127.0.0.1", 0))
        taken = stream.getsockname()[1]
        given = [taken]
        monkeypatch.setattr(
            demo, "free_port", lambda host: given.pop() if given else free_port(host)
        )
        async with DemoSwitch(1, extensions=2) as switch:
            assert not given
            assert taken not in switch.ports.values()
            wanted = plan("uac", calls=1, media=False)
            assert (await run(switch.adapt(wanted))).figures["answered"] == 1
