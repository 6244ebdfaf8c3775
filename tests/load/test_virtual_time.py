"""Scenarios on a simulated network: an hour of load in seconds, the same story for a seed."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from softswitch.load import Caller, Lab, Plan
from softswitch.load.result import Result, summarise
from softswitch.load.scenarios import load
from softswitch.sim.link import Link
from softswitch.sim.loop import simulated
from softswitch.sim.world import World, small_office


async def run(plan: Plan, *, seed: int = 7, loss: float = 0.0, scenario: object = None) -> Result:
    office = small_office(extensions=4)
    async with World(seed=seed, office=office, link=Link(loss=loss)) as world:
        target = world.switch.office.sip.listen[0]
        run = scenario if scenario is not None else load(plan.scenario).run
        changes = {
            "target": (target.host, target.port),
            "domain": "office.example",
            "host": "10.0.9.1",
        }
        plan = msgspec.structs.replace(plan, **changes)
        async with Lab(plan, run, network=world.network) as lab:  # type: ignore[arg-type]
            meter = await lab.run()
        await world.settle()
        return summarise(plan, meter, 0.0, {})


def plan(**options: object) -> Plan:
    return Plan(
        **{  # type: ignore[arg-type]
            "scenario": "uac-uas", "target": ("", 0), "media": False, "calls": 60, "rate": 0.5, "hold": "exp:2",
            "callers": [("1001", "secret-1001"), ("1002", "secret-1002")],
            "callees": [("1003", "secret-1003"), ("1004", "secret-1004")],
            "register": True, **options,
        }
    )  # fmt: skip


@simulated(seed=7)
async def test_two_minutes_of_calls_through_an_office_leave_nothing() -> None:
    result = await run(plan())
    assert result.figures["answered"] == result.figures["completed"] == 60
    assert result.figures["received"] == 60
    assert result.figures["sessions_left"] == 0
    assert result.findings == []


@simulated(seed=7)
async def test_loss_costs_time_and_no_call() -> None:
    lossy, clean = await run(plan(), loss=0.1), await run(plan())
    assert lossy.figures["completed"] == 60
    assert lossy.figures["resent"] > clean.figures["resent"] == 0
    assert lossy.figures["setup_p99_ms"] > 400 > clean.figures["setup_p99_ms"]


@simulated(seed=7)
async def test_the_same_seed_tells_the_same_story() -> None:
    one, two = await run(plan(calls=20), loss=0.2), await run(plan(calls=20), loss=0.2)
    keys = ("answered", "completed", "resent", "setup_p50_ms", "setup_max_ms", "bye_max_ms")
    # The clock goes on between the two, so that its last bits differ.
    assert [one.figures[k] for k in keys] == pytest.approx([two.figures[k] for k in keys], rel=1e-4)


@simulated(seed=7)
async def test_a_slow_start_is_charged_from_when_the_call_was_due() -> None:
    """Coordinated omission: with one call at a time nobody waits unseen."""
    result = await run(plan(calls=10, rate=10.0, hold="3", concurrent=1))
    assert result.figures["held_back"] == 9
    assert "waited for --concurrent" in result.notes[0]


@simulated(seed=7)
async def test_set_up_counts_from_when_the_call_was_due_not_from_when_we_came_to_it() -> None:
    """Also coordinated omission: what the generator was late itself is in the latency, and is said."""

    async def late(caller: Caller) -> None:
        await asyncio.sleep(0.25)
        call = caller.dial()
        await call.answered()
        call.hang_up()
        await call.ended()

    result, prompt = await run(plan(calls=10), scenario=late), await run(plan(calls=10, hold="0"))
    assert prompt.figures["setup_max_ms"] < 100
    assert result.figures["setup_p50_ms"] > 250


@simulated(seed=7)
async def test_a_generator_that_is_late_accuses_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    prompt = Lab._until

    async def oversleep(lab: Lab, at_s: float) -> None:
        await prompt(lab, at_s)
        await asyncio.sleep(0.08)

    monkeypatch.setattr(Lab, "_until", oversleep)
    result = await run(plan(calls=10, hold="0"))
    assert result.figures["late_p50_ms"] == pytest.approx(80, rel=0.05)
    assert result.figures["setup_p50_ms"] > 80
    assert "late" in result.saturated


@simulated(seed=7)
async def test_a_scenario_of_ones_own_and_its_failures_are_told_apart() -> None:
    async def scenario(caller: Caller) -> None:
        match caller.number % 4:
            case 0:
                await caller.dial("4711").answered()  # nobody there
            case 1:
                caller.fail("as it pleases")
            case 2:
                raise KeyError("a bug")
            case _:
                call = caller.dial()
                await call.answered()
                call.hang_up()
                await call.ended()
                caller.lab.meter.note("own_step", 5000)

    result = await run(plan(calls=8), scenario=scenario)
    assert result.figures["completed"] == 2
    assert result.figures["own_step_p50_ms"] == 5.0
    assert result.causes["as it pleases"] == 2
    assert result.causes["scenario: KeyError: 'a bug'"] == 2
    assert any(cause.startswith("404") for cause in result.causes)
    ladder = next(v for k, v in result.ladders.items() if k.startswith("404"))[0]["messages"]
    assert ladder[0]["line"].startswith("INVITE sip:4711@office.example")
    assert "404" in ladder[-2]["line"] + ladder[-1]["line"]
