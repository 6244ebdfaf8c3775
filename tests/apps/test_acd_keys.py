"""Every key of [[queue]], [[region]], [[customer]] and [[agent]] does what its comment says: a test a key."""

from __future__ import annotations

import asyncio
from datetime import datetime

import pytest

from softswitch.sim.behaviour import answer, ring
from softswitch.sim.centre import QUEUE_NUMBER, centre_office, heard, press, talks_to
from softswitch.sim.loop import simulated
from softswitch.sim.world import World

NORTH, EAST, UNKNOWN = "01065550001", "02165550001", "07551234567"

REGIONS = """
[[region]]
name = "north"
prefixes = ["+8610", "+8622"]

[[region]]
name = "east"
prefixes = ["+8621"]
"""

SECOND = """
[[queue]]
name = "billing"
number = "5001"
"""


async def arrive(world, number=UNKNOWN):
    carrier = world.trunks.get("carrier-1") or await world.trunk("carrier-1")
    call = await carrier.call(QUEUE_NUMBER, from_user=number)
    await call.answered()
    return call


async def staff(world, **agents):
    """agent=extension: telephones that answer after a second, one agent after the other."""
    phones = {}
    for agent, extension in agents.items():
        phones[agent] = await world.phone(extension, behaviour=answer(after_s=1.0))
        world.switch.agents.log_in(agent)
        await asyncio.sleep(1)
    return phones


async def served_by(world, phones, timeout_s=120.0):
    """(agent, his call, seconds) of the next that is rung."""
    began_s = world.clock.monotonic_s()
    waits = {asyncio.ensure_future(p.incoming()): name for name, p in phones.items()}
    done, late = await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    for task in late:
        task.cancel()
    if not done:
        return None, None, timeout_s
    task = done.pop()
    return waits[task], task.result(), world.clock.monotonic_s() - began_s


async def finish(world, *calls):
    for call in calls:
        call.hang_up()
        await call.ended()
    await asyncio.sleep(25)


def offers(world):
    return [entry.data for entry in world.journal.of_kind("acd-offered")]


# -- route: priority, region, last-agent, skill, the orders ---------------------------------------------


@simulated()
async def test_region_and_prefixes_by_the_longest():
    agents = {"lilei": 'regions = ["north"]', "hanmeimei": 'regions = ["east"]'}
    keys = 'route = ["region", "longest-idle"]\nregion = { wait_s = 15 }\nwrap_up_s = 0'
    async with World(1, office=centre_office(keys, agents=agents, more=REGIONS)) as world:
        phones = await staff(world, hanmeimei="1002", lilei="1001")
        for number, expected in ((NORTH, "lilei"), (EAST, "hanmeimei"), ("02265550001", "lilei")):
            call = await arrive(world, number)
            agent, _, waited_s = await served_by(world, phones)
            assert agent == expected
            assert waited_s < 1.0
            await finish(world, call)
        why = offers(world)[0]["why"]
        assert why["rule"] == ["region north"]
        assert {"agent_id": "hanmeimei", "reason": "not of region north"} in why["excluded"]
        await world.settle()


@simulated()
async def test_region_wait_s_then_any():
    agents = {"lilei": 'regions = ["north"]', "hanmeimei": 'regions = ["east"]'}
    keys = 'route = ["region", "longest-idle"]\nregion = { wait_s = 12 }'
    async with World(2, office=centre_office(keys, agents=agents, more=REGIONS)) as world:
        phones = await staff(world, hanmeimei="1002")
        call = await arrive(world, NORTH)
        agent, _, waited_s = await served_by(world, phones)
        assert (agent, waited_s) == ("hanmeimei", pytest.approx(12.0, abs=0.2))
        await finish(world, call)
        await world.settle()


@simulated()
async def test_last_agent_within_h_and_wait_s():
    keys = (
        'route = ["last-agent", "top-down"]\nwrap_up_s = 0\n'
        "last_agent = { within_h = 1, wait_s = 20 }"
    )
    agents = {"lilei": "", "hanmeimei": ""}
    async with World(3, office=centre_office(keys, agents=agents)) as world:
        phones = await staff(world, hanmeimei="1002")
        first = await arrive(world)
        assert (await served_by(world, phones))[0] == "hanmeimei"
        await asyncio.sleep(15)
        await finish(world, first)
        phones |= await staff(world, lilei="1001")
        again = await arrive(world)
        agent, _, waited_s = await served_by(world, phones)
        assert (agent, waited_s < 1) == ("hanmeimei", True), "though lilei stands above him"
        assert offers(world)[-1]["why"]["rule"] == ["last agent hanmeimei"]
        await finish(world, again)

        world.switch.agents.pause("hanmeimei")
        absent = await arrive(world)
        assert (await served_by(world, phones))[0] == "lilei", "who is away is not waited for"
        await asyncio.sleep(15)
        await finish(world, absent)
        world.switch.agents.resume("hanmeimei")

        await world.phone("1004")
        keeps_busy = await phones["lilei"].call("1004")
        await keeps_busy.answered()
        busy = await arrive(world)
        agent, _, waited_s = await served_by(world, phones)
        assert (agent, waited_s) == ("hanmeimei", pytest.approx(20.0, abs=0.2))
        await finish(world, busy)
        keeps_busy.hang_up()

        await asyncio.sleep(3700)
        late = await arrive(world)
        assert (await served_by(world, phones))[0] == "lilei", "an hour is over"
        await finish(world, late)
        await world.settle()


SKILLED = {
    "lilei": 'skills = { support = 3, "lang.zh" = 5 }',
    "hanmeimei": 'skills = { support = 1, "lang.en" = 4 }',
}


@simulated()
async def test_skill_and_relax():
    keys = (
        'route = ["skill", "longest-idle"]\nskill = "support >= 2"\n'
        'relax = [{ after_s = 60, skill = "" }]'
    )
    async with World(4, office=centre_office(keys, agents=SKILLED)) as world:
        phones = await staff(world, hanmeimei="1002")
        call = await arrive(world)
        agent, _, waited_s = await served_by(world, phones)
        assert (agent, waited_s) == ("hanmeimei", pytest.approx(60.0, abs=0.2))
        await finish(world, call)
        phones |= await staff(world, lilei="1001")
        call = await arrive(world)
        agent, _, waited_s = await served_by(world, phones)
        assert (agent, waited_s < 1) == ("lilei", True)
        excluded = {e["agent_id"]: e["reason"] for e in offers(world)[-1]["why"]["excluded"]}
        assert excluded["hanmeimei"] == "skill: support >= 2 (has 1)"
        await finish(world, call)
        await world.settle()


@simulated()
async def test_a_chinese_speaker_reaches_a_chinese_speaking_agent():
    def prepare(switch):
        @switch.extension("7000")
        async def chinese(call):
            await call.answer()
            await call.enqueue("support", skill="lang.zh >= 3")

    keys = 'route = ["skill", "longest-idle"]'
    office = centre_office(keys, agents=SKILLED)
    async with World(5, office=office, prepare=prepare) as world:
        phones = await staff(world, hanmeimei="1002", lilei="1001")
        caller = await world.phone("1003")
        call = await caller.call("7000")
        assert (await served_by(world, phones))[0] == "lilei"
        await finish(world, call)
        await world.settle()


@simulated()
async def test_priority_of_customers_and_their_phones():
    more = (
        '[[customer]]\nphone = ["+8613800000001", "13800000002"]\nname = "Wang Wei"\n'
        'priority = 5\ntags = ["vip"]\n'
    )
    keys = 'route = ["priority", "longest-idle"]'
    async with World(6, office=centre_office(keys, agents={"lilei": ""}, more=more)) as world:
        early = await arrive(world)
        await asyncio.sleep(60)
        first = await arrive(world, "13800000001")
        second = await arrive(world, "+8613800000002")
        phones = await staff(world, lilei="1001")
        order = []
        for _ in range(3):
            _, rung, _ = await served_by(world, phones)
            order.append(rung.number)
            if len(order) == 1:
                shown = rung.invite.request.from_.display_name
                assert shown == "support: Wang Wei", "the agent is told whom he gets"
            await asyncio.sleep(15)
            rung.hang_up()
        assert order == ["13800000001", "+8613800000002", UNKNOWN]
        for call in (early, first, second):
            await call.ended()
        await world.settle()


@simulated()
@pytest.mark.parametrize(
    ("route", "expected"),
    [
        ('["longest-idle"]', ["lilei", "hanmeimei", "lilei"]),
        ('["fewest-calls"]', ["lilei", "hanmeimei", "lilei"]),
        ('["top-down"]', ["lilei", "lilei", "lilei"]),
        ('["round-robin"]', ["lilei", "hanmeimei", "lilei"]),
        ('["asterisk.linear"]', ["lilei", "lilei", "lilei"]),
    ],
)
async def test_route_ends_with_an_order(route, expected):
    keys = f"route = {route}\nwrap_up_s = 0"
    agents = {"lilei": "", "hanmeimei": ""}
    async with World(7, office=centre_office(keys, agents=agents)) as world:
        phones = await staff(world, lilei="1001", hanmeimei="1002")
        got = []
        for _ in expected:
            call = await arrive(world)
            agent, _, _ = await served_by(world, phones)
            got.append(agent)
            await asyncio.sleep(15)
            await finish(world, call)
        assert got == expected
        await world.settle()


@simulated()
async def test_ring_all_rings_everybody_and_the_others_are_told_elsewhere():
    keys = 'route = ["ring-all"]'
    async with World(8, office=centre_office(keys, agents={"lilei": "", "hanmeimei": ""})) as world:
        phones = await staff(world, lilei="1001", hanmeimei="1002")
        phones["hanmeimei"].behaviour = ring()
        call = await arrive(world)
        mine, other = await phones["lilei"].incoming(), await phones["hanmeimei"].incoming()
        end = await other.ended()
        assert (end.by, end.cause.cause) == ("cancelled", 200), "no missed call is shown"
        await asyncio.sleep(15)
        assert talks_to(world, call, mine)
        assert world.switch.agents.state("hanmeimei").state == "available"
        await finish(world, call)
        await world.settle()


# -- times ---------------------------------------------------------------------------------------------


@simulated()
async def test_ring_s():
    async with World(10, office=centre_office("ring_s = 7", agents={"lilei": ""})) as world:
        phone = await world.phone("1001", behaviour=ring())
        world.switch.agents.log_in("lilei")
        call = await arrive(world)
        rung = await phone.incoming()
        await rung.ended()
        assert rung.times["ended"] - rung.times["ringing"] == pytest.approx(7.0, abs=0.1)
        await finish(world, call)
        await world.settle()


@simulated()
async def test_wrap_up_s_belongs_to_the_agent_and_not_to_the_queue():
    keys = "wrap_up_s = 33"
    agents = {"lilei": 'queues = ["support", "billing"]'}
    office = centre_office(keys, agents=agents, more=SECOND)
    async with World(11, office=office) as world:
        phones = await staff(world, lilei="1001")
        call = await arrive(world)
        await served_by(world, phones)
        await asyncio.sleep(15)
        call.hang_up()
        await call.ended()
        ended_s = world.clock.monotonic_s()
        caller = await world.phone("1003")
        other = await caller.call("5001")
        _, _, _ = await served_by(world, phones)
        assert world.clock.monotonic_s() - ended_s == pytest.approx(33.0, abs=0.3)
        await finish(world, other)
        await world.settle()


@simulated()
async def test_max_wait_s_then_overflow():
    keys = 'max_wait_s = 30\noverflow = "extension:1003"'
    async with World(12, office=centre_office(keys)) as world:
        other = await world.phone("1003")
        call = await arrive(world)
        began_s = world.clock.monotonic_s()
        rung = await other.incoming()
        assert world.clock.monotonic_s() - began_s == pytest.approx(30.0, abs=0.2)
        await asyncio.sleep(1)
        assert talks_to(world, call, rung)
        await finish(world, call)
        (end,) = world.journal.of_kind("acd-closed")
        assert (end.data["outcome"], end.data["reason"]) == ("overflowed", "max-wait")
        await world.settle()


@simulated()
async def test_max_waiting_n_and_n_plus_one():
    keys = 'max_waiting = 2\noverflow = "hangup"'
    async with World(13, office=centre_office(keys)) as world:
        waiting = [await arrive(world, f"0106555000{n}") for n in range(2)]
        await asyncio.sleep(2)
        third = await arrive(world)
        await asyncio.sleep(1)
        assert heard(world, third) == "queue-full"
        end = await third.ended()
        assert end.cause.cause == 17
        assert [call.state for call in waiting] == ["up", "up"]
        assert world.switch.queues.states()[0].waiting == 2
        await finish(world, *waiting)
        await world.settle()


@simulated()
async def test_overflow_to_a_queue_keeps_the_call_and_circles_end():
    keys = 'max_wait_s = 20\noverflow = "queue:billing"'
    more = SECOND + 'max_wait_s = 20\noverflow = "queue:support"\nmusic = "default"\n'
    async with World(14, office=centre_office(keys, more=more)) as world:
        call = await arrive(world)
        began_s = world.clock.monotonic_s()
        await call.ended()
        assert world.clock.monotonic_s() - began_s == pytest.approx(42.0, abs=1.0)
        moved = [e.data["to_queue"] for e in world.journal.of_kind("acd-moved")]
        assert moved == ["billing"]
        (end,) = world.journal.of_kind("acd-closed")
        assert (end.data["queue"], end.data["outcome"]) == ("billing", "overflowed")
        await world.settle()


@simulated()
@pytest.mark.parametrize(
    ("local", "open_"),
    [("2026-01-05T09:00", True), ("2026-01-05T12:30", False), ("2026-10-01T10:00", False)],
)
async def test_hours_with_holidays_in_the_zone_of_the_office(local, open_):
    keys = 'hours = "office-hours"\noverflow = "extension:1003"'
    more = (
        '[[hours]]\nname = "office-hours"\nholidays = ["2026-10-01"]\n'
        'open = { mon-fri = ["09:00-12:00", "13:00-18:00"] }\n'
    )
    world = World(15, office=centre_office(keys, agents={"lilei": ""}, more=more))
    wanted = datetime.fromisoformat(local).replace(tzinfo=world.office.office.zone)
    world.clock.shift_wall(wanted.timestamp() - world.clock.wall_s())
    async with world:
        night = await world.phone("1003")
        phones = await staff(world, lilei="1001")
        assert world.switch.queues.states()[0].open is open_
        call = await arrive(world)
        agent, _, _ = await served_by(world, {**phones, "overflow": night})
        assert agent == ("lilei" if open_ else "overflow")
        await finish(world, call)
        await world.settle()


# -- what a caller hears and presses -----------------------------------------------------------------


@simulated()
async def test_music_of_the_office(tmp_path):
    async with World(20, office=centre_office('music = "default"')) as world:
        call = await arrive(world)
        await asyncio.sleep(0.5)
        assert heard(world, call) == "music:default"
        await finish(world, call)
        await world.settle()


@simulated()
@pytest.mark.parametrize(
    ("announce", "expected"),
    [
        ("{ position = true, wait = false, every_s = 30 }", [1.0, 31.0, 61.0]),
        ("{ position = false, wait = true, every_s = 30 }", []),
    ],
)
async def test_announce_position_wait_every_s(announce, expected):
    async with World(21, office=centre_office(f"announce = {announce}")) as world:
        call = await arrive(world)
        began_s = world.clock.monotonic_s()
        said = []
        while world.clock.monotonic_s() - began_s < 80:
            await asyncio.sleep(0.25)
            if heard(world, call) == "you-are-next":
                at_s = world.clock.monotonic_s() - began_s
                if not said or at_s - said[-1] > 5:
                    said.append(at_s)
        assert said == pytest.approx(expected, abs=0.4), "an uncalibrated wait is not announced"
        await finish(world, call)
        await world.settle()


@simulated()
async def test_keys_lead_out_at_any_moment():
    keys = 'keys = { "0" = "extension:1003", "#" = "hangup" }'
    async with World(22, office=centre_office(keys)) as world:
        other = await world.phone("1003")
        call = await arrive(world)
        await asyncio.sleep(2)
        assert heard(world, call) == "you-are-next"
        press(world, call, "7")
        await asyncio.sleep(0.5)
        assert heard(world, call) == "you-are-next", "a key without meaning changes nothing"
        press(world, call, "0")
        rung = await other.incoming()
        await asyncio.sleep(0.5)
        assert talks_to(world, call, rung)
        await finish(world, call)
        second = await arrive(world)
        await asyncio.sleep(10)
        press(world, second, "#")
        await second.ended()
        ends = [e.data["reason"] for e in world.journal.of_kind("acd-closed")]
        assert ends == ["key", "key"]
        await world.settle()


@simulated()
async def test_a_key_stops_the_ringing():
    keys = 'keys = { "0" = "extension:1003" }'
    async with World(23, office=centre_office(keys, agents={"lilei": ""})) as world:
        await world.phone("1003")
        phone = await world.phone("1001", behaviour=ring())
        world.switch.agents.log_in("lilei")
        call = await arrive(world)
        rung = await phone.incoming()
        press(world, call, "0")
        assert (await rung.ended()).by == "cancelled"
        assert world.switch.agents.state("lilei").state == "available"
        await finish(world, call)
        await world.settle()


@simulated()
@pytest.mark.parametrize("join_when", ["always", "present", "free"])
async def test_join_when(join_when):
    keys = f'join_when = "{join_when}"\noverflow = "extension:1003"\nwrap_up_s = 0'
    async with World(24, office=centre_office(keys, agents={"lilei": ""})) as world:
        other = await world.phone("1003")
        phones = await staff(world, lilei="1001")
        busy = await arrive(world)
        assert (await served_by(world, phones))[0] == "lilei"
        await asyncio.sleep(15)
        second = await arrive(world)
        agent, _, _ = await served_by(world, {"overflow": other}, timeout_s=5.0)
        assert agent == ("overflow" if join_when == "free" else None)
        await finish(world, second, busy)
        world.switch.agents.pause("lilei")
        third = await arrive(world)
        agent, _, _ = await served_by(world, {"overflow": other}, timeout_s=5.0)
        assert agent == (None if join_when == "always" else "overflow"), "a break is not at work"
        await finish(world, third)
        await world.settle()


@simulated()
async def test_stay_when_present():
    keys = 'stay_when = "present"\noverflow = "extension:1003"\nroute = ["skill", "longest-idle"]\nskill = "x"'
    async with World(25, office=centre_office(keys, agents={"lilei": ""})) as world:
        other = await world.phone("1003")
        await staff(world, lilei="1001")
        call = await arrive(world)
        await asyncio.sleep(10)
        world.switch.agents.log_out("lilei")
        rung = await other.incoming()
        assert rung.state in ("ringing", "up")
        await finish(world, call)
        await world.settle()


@simulated()
async def test_place_held_s():
    keys = 'place_held_s = 60\nroute = ["longest-idle"]'
    async with World(26, office=centre_office(keys, agents={"lilei": ""})) as world:
        dropped = await arrive(world, "01065550009")
        await asyncio.sleep(5)
        second = await arrive(world)
        await asyncio.sleep(5)
        dropped.hang_up()
        await asyncio.sleep(30)
        back = await arrive(world, "01065550009")
        await asyncio.sleep(2)
        assert heard(world, back) == "you-are-next", "before the one who came after him"
        await finish(world, back)
        await asyncio.sleep(90)
        late = await arrive(world, "01065550009")
        await asyncio.sleep(2)
        assert heard(world, late) == "your-position-is"
        await finish(world, second, late)
        await world.settle()


@simulated()
async def test_service_level_of_today():
    keys = "service_level = { within_s = 20, target = 0.8 }\nwrap_up_s = 0"
    async with World(27, office=centre_office(keys, agents={"lilei": ""})) as world:
        slow = await arrive(world)
        await asyncio.sleep(40)
        phones = await staff(world, lilei="1001")
        await served_by(world, phones)
        await asyncio.sleep(15)
        await finish(world, slow)
        quick = await arrive(world)
        await served_by(world, phones)
        await asyncio.sleep(15)
        (status,) = world.switch.queues.states()
        assert (status.answered, status.service_level) == (2, 0.5)
        assert (status.within_s, status.target) == (20, 0.8)
        await finish(world, quick)
        await world.settle()


@simulated()
async def test_survey_after_the_call_is_tied_to_agent_and_queue():
    keys = 'survey = "satisfaction"'
    async with World(28, office=centre_office(keys, agents={"lilei": ""})) as world:
        phones = await staff(world, lilei="1001")
        call = await arrive(world)
        _, rung, _ = await served_by(world, phones)
        await asyncio.sleep(15)
        rung.hang_up()
        await asyncio.sleep(1)
        assert heard(world, call) == "survey-question"
        press(world, call, "5")
        await call.ended()
        (survey,) = world.journal.of_kind("survey")
        assert survey.data["score"] == 5
        assert (survey.data["queue"], survey.data["agent"]) == ("support", "lilei")
        assert [e.data["reason"] for e in world.journal.of_kind("acd-closed")] == ["agent"]
        await asyncio.sleep(25)
        await world.settle()


@simulated()
async def test_an_agent_serves_all_his_queues_and_no_other():
    agents = {"lilei": 'queues = ["billing"]', "hanmeimei": 'queues = ["support", "billing"]'}
    async with World(
        29, office=centre_office("wrap_up_s = 0", agents=agents, more=SECOND)
    ) as world:
        phones = await staff(world, lilei="1001", hanmeimei="1002")
        call = await arrive(world)
        assert (await served_by(world, phones))[0] == "hanmeimei"
        await finish(world, call)
        await world.settle()
