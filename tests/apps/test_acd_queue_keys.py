"""Keys of queues and agents beyond the reference file: each does what the documentation says."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from routing.model import LevelStep, Relaxation
from softswitch.apps.acd_config import acd_config_of
from softswitch.apps.checks import OFFICE_CHECKS
from softswitch.config import InvalidOffice, parse_office
from softswitch.sim.behaviour import answer, ring
from softswitch.sim.centre import QUEUE_NUMBER, centre_office, heard, talks_to
from softswitch.sim.loop import simulated
from softswitch.sim.world import World

ROUTING = (Path(__file__).parents[2] / "docs" / "routing.md").read_text()
FIRST, SECOND = "lilei", "hanmeimei"


def config(queue="", agents=None, more=""):
    agents = agents if agents is not None else {FIRST: "", SECOND: ""}
    office = parse_office(centre_office(queue, agents=agents, more=more), checks=OFFICE_CHECKS)
    return acd_config_of(office, 0.0)


def refused(queue="", agents=None):
    with pytest.raises(InvalidOffice) as error:
        config(queue, agents)
    return [f"{p.key_path}: {p.problem}" for p in error.value.problems]


async def arrive(world, number="01055550001"):
    carrier = world.trunks.get("carrier-1") or await world.trunk("carrier-1")
    return await carrier.call(QUEUE_NUMBER, from_user=number)


def level(number, position=0):
    return f"membership = {{ support = {{ level = {number}, position = {position} }} }}"


# -- how they reach the engine ----------------------------------------------------------------------


def test_rules_of_the_office_file_are_those_of_the_engine():
    found = config(
        'route = ["priority", "last-agent", "region", "level", "skill", "ring-all"]\n'
        'priority = { aging_s = 0 }\nweight = 3\nprefer = ["region"]\n'
        "last_agent = { wait_for_absent = true }\nregion = { skip_absent = true }\n"
        'relax = [{ after_s = 10, drop = ["lang.zh"] }, { after_s = 20, also = "a", require = "b" },'
        " { after_s = 30 }]\n"
        "ring_max = 4\nprogressive_s = 7\nrona = { after = 2, no_answer_rest_s = 3, again_s = 5 }\n"
        "leave_after_s = 9\nplace_from_call = true\nexpect = { handle_s = 60, patience_s = 90 }\n"
        'announce = { first_s = 8 }\noptions = { colour = "red" }\n'
        "callback = { dial_s = 20, agent_wait_s = 30 }\n"
    ).queues[0]
    assert found.priority.aging_s is None
    assert (found.weight, found.prefer) == (3, ("region",))
    assert (found.last_agent.wait_for_absent, found.region.skip_absent) == (True, True)
    assert found.relax == (
        Relaxation(after_s=10, drop=("lang.zh",)),
        Relaxation(after_s=20, also="a", require="b"),
        Relaxation(after_s=30, skill=""),
    )
    assert (found.ring_max, found.progressive_s) == (4, 7)
    assert (found.rona.after, found.rona.no_answer_rest_s, found.rona.again_s) == (2, 3, 5)
    assert (found.empty.leave_after_s, found.place_from_call) == (9, True)
    assert (found.handle_guess_s, found.patience_guess_s) == (60, 90)
    assert found.announce.first_s == 8
    assert (found.callback.dial_s, found.callback.agent_wait_s) == (20, 30)
    assert found.options == {"colour": "red"}


def test_levels_tiers_and_penalties():
    route = 'route = ["level", "longest-idle"]\n'
    steps = config(
        route + "levels = { steps = [{ maximum = 1 }, { after_s = 20, raise_to = 2 }], "
        "skip_absent = true, ignore_up_to = 2 }"
    )
    rule = steps.queues[0].levels
    assert rule.steps == (LevelStep(maximum=1), LevelStep(after_s=20, raise_to=2))
    assert (rule.skip_absent, rule.ignore_up_to) == (True, 2)
    tiers = config(
        route + "tiers = { wait_s = 10, multiply = true }", {FIRST: level(1), SECOND: level(3)}
    )
    assert tiers.queues[0].levels.steps == (
        LevelStep(maximum=1),
        LevelStep(after_s=30, maximum=3),
    )
    penalties = config(route + 'penalties = { changes = ["60,+2", "90,,1,r2"], maximum = 1 }')
    assert penalties.queues[0].levels.steps[1] == LevelStep(after_s=60, maximum=3)
    assert penalties.queues[0].levels.steps[2].raise_inside


def test_agents_membership_capacities_and_wrap_up():
    keys = (
        "membership = { support = { level = 2, position = 5, weight = 2.5 } }\n"
        "capacities = { voice = 2, text = 4, chat = 1 }\nwrap_up_s = 3"
    )
    agent, other = config(agents={FIRST: keys, SECOND: ""}).agents
    (membership,) = agent.queues
    assert (membership.level, membership.position, membership.weight) == (2, 5, 2.5)
    assert agent.capacities == {"voice": 2, "text": 4, "chat": 1}
    assert agent.wrap_up_s == 3
    assert (other.queues[0].level, other.wrap_up_s) == (0, None)


def test_joint_assignment():
    found = config(more='[routing]\nassignment = "joint"\nbatch_s = 0.5\njoint_max = 8\n')
    assert (found.assignment, found.batch_s, found.joint_max) == ("joint", 0.5, 8)


@pytest.mark.parametrize("name", ["asterisk.rrmemory", "freeswitch.top-down", "ring-progressive"])
def test_presets_are_named_in_the_route(name):
    assert config(f'route = ["{name}"]').queues[0].route == (name,)


def test_the_example_of_the_documentation():
    block = next(b for b in re.findall(r"```toml\n(.*?)```", ROUTING, re.S) if "[[agent]]" in b)
    text = block.replace('"support", "billing"', '"support"').replace("billing =", "support =")
    base = '[[extension]]\nnumber = "1001"\npassword = "secret-1001"\n'
    office = parse_office(base + text, checks=OFFICE_CHECKS)
    assert len(acd_config_of(office, 0.0).queues[0].levels.steps) == 3


@pytest.mark.parametrize(
    ("queue", "agents", "words"),
    [
        ("levels = { steps = [{ maximum = 1 }] }", None, "queue[0].levels: is set, but the route"),
        ("tiers = { wait_s = 1 }", None, "queue[0].tiers: is set, but the route"),
        (
            'route = ["level", "random"]\ntiers = { wait_s = 1 }\nlevels = {}',
            None,
            "queue[0].tiers: stands beside levels",
        ),
        ('prefer = ["region"]', None, "queue[0].prefer: is set, but the route"),
        ('penalties = { changes = ["soon"] }', None, "queue[0].penalties.changes[0]: is not"),
        ('relax = [{ after_s = 5, require = "(" }]', None, "queue[0].relax[0].require: "),
        ('tell_agent = ["weather"]', None, "queue[0].tell_agent[0]: is not one of"),
        ("", {FIRST: "membership = { sales = {} }"}, "agent[0].membership.sales: is a queue"),
        ("", {FIRST: "capacities = { fax = 1 }"}, "agent[0].capacities.fax: is not a key"),
    ],
)
def test_what_is_refused(queue, agents, words):
    found = refused(queue, agents)
    assert any(problem.startswith(words) for problem in found), found


# -- in calls ---------------------------------------------------------------------------------------


@simulated()
async def test_a_higher_level_rings_only_after_its_time():
    queue = 'route = ["level", "longest-idle"]\ntiers = { wait_s = 20 }\nring_s = 60'
    agents = {FIRST: level(1), SECOND: level(2)}
    async with World(1, office=centre_office(queue, agents=agents)) as world:
        first = await world.phone("1001", behaviour=answer(after_s=1))
        second = await world.phone("1002", behaviour=answer(after_s=1))
        for agent in agents:
            world.switch.agents.log_in(agent)
        one = await arrive(world)
        await one.answered()
        assert (await first.incoming()).number == "01055550001"
        await asyncio.sleep(10)
        two = await arrive(world, "01055550002")
        await two.answered()
        began_s = world.clock.monotonic_s()
        assert (await second.incoming()).number == "01055550002"
        assert world.clock.monotonic_s() - began_s == pytest.approx(20, abs=0.5)
        await asyncio.sleep(10)
        for call in (one, two):
            call.hang_up()
        await world.settle()


@simulated()
async def test_top_down_follows_positions():
    queue = 'route = ["priority", "top-down"]'
    agents = {FIRST: level(0, 2), SECOND: level(0, 1)}
    async with World(2, office=centre_office(queue, agents=agents)) as world:
        await world.phone("1001")
        phone = await world.phone("1002", behaviour=answer(after_s=1))
        for agent in agents:
            world.switch.agents.log_in(agent)
            await asyncio.sleep(1)
        call = await arrive(world)
        assert (await phone.incoming()).number == "01055550001"
        call.hang_up()
        await call.ended()
        await world.settle()


@simulated()
async def test_answer_false_and_messages_in_turn():
    queue = (
        'answer = false\nannounce = { position = false, wait = false, messages = ["please-hold", '
        '"all-agents-busy"], messages_every_s = 20 }\ntell_agent = []'
    )
    async with World(3, office=centre_office(queue)) as world:
        call = await arrive(world)
        said, at_s = [], world.clock.monotonic_s()
        for _ in range(280):
            await asyncio.sleep(0.25)
            now = heard(world, call)
            if now != "music:default" and (not said or said[-1] != now):
                said.append(now)
        assert said == ["please-hold", "all-agents-busy", "please-hold"]
        assert call.state != "up", "heard without having been answered"
        phone = await world.phone("1001", behaviour=answer(after_s=2.0))
        world.switch.agents.log_in(FIRST)
        rung = await phone.incoming()
        await asyncio.sleep(2.5)
        assert call.state == "up"
        assert talks_to(world, call, rung), "the agent was told nothing first"
        assert at_s < world.clock.monotonic_s()
        call.hang_up()
        await call.ended()
        await world.settle()


@simulated()
@pytest.mark.parametrize(
    ("record", "office", "recorded"), [("true", "none", 1), ("false", "all", 0), (None, "queue", 1)]
)
async def test_a_queue_says_whether_it_is_recorded(record, office, recorded):
    queue = "" if record is None else f"record = {record}"
    async with World(4, office=centre_office(queue, recording=office)) as world:
        phone = await world.phone("1001", behaviour=answer(after_s=1.0))
        world.switch.agents.log_in(FIRST)
        call = await arrive(world)
        await call.answered()
        rung = await phone.incoming()
        await asyncio.sleep(15)
        assert talks_to(world, call, rung)
        call.hang_up()
        await call.ended()
        await world.settle()
        assert len(world.journal.of_kind("recording-started")) == recorded


@simulated()
async def test_rona_after_two_and_wrap_up_of_the_agent():
    queue = "ring_s = 5\nwrap_up_s = 60\nrona = { after = 2, again_s = 1 }"
    office = centre_office(queue, agents={FIRST: "wrap_up_s = 4"})
    async with World(5, office=office) as world:
        phone = await world.phone("1001", behaviour=ring())
        world.switch.agents.log_in(FIRST)
        call = await arrive(world)
        await call.answered()
        await asyncio.sleep(5.5)
        assert world.switch.agents.state(FIRST).state == "available"
        await asyncio.sleep(7)
        status = world.switch.agents.state(FIRST)
        assert (status.state, status.reason) == ("unavailable", "rona")
        phone.behaviour = answer(after_s=1.0)
        world.switch.agents.resume(FIRST)
        await asyncio.sleep(20)
        call.hang_up()
        await call.ended()
        await asyncio.sleep(1)
        assert world.switch.agents.state(FIRST).state == "wrap-up"
        await asyncio.sleep(4)
        assert world.switch.agents.state(FIRST).state == "available"
        await world.settle()


@simulated()
async def test_a_place_from_the_beginning_of_the_call():
    menu = """
[[inbound]]
number = "+861065551009"
to = "ivr:long"
[[ivr]]
name = "long"
number = "7009"
dial_extension = false
options = { "9" = "hangup" }
timeout_s = 30
invalid_max = 1
otherwise = "queue:support"
"""
    async with World(6, office=centre_office("place_from_call = true", more=menu)) as world:
        carrier = await world.trunk("carrier-1")
        early = await carrier.call("+861065551009", from_user="01055550001")
        await early.answered()
        await asyncio.sleep(10)
        late = await arrive(world, "01055550002")
        await late.answered()
        await asyncio.sleep(60)
        engine = world.switch.centre.host.engine
        now_s = world.clock.monotonic_s()
        views = [engine.view_contact(c, now_s) for c in engine.contact_ids]
        places = {view.attributes["number"]: view.position for view in views}
        assert places == {"01055550001": 1, "01055550002": 2}
        for call in (early, late):
            call.hang_up()
        await world.settle()
