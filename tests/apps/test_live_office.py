"""An office that changes while calls go on: who is concerned notices at once, nobody else does."""

from __future__ import annotations

import asyncio

import pytest

from softswitch.apps.checks import OFFICE_CHECKS
from softswitch.config import parse_office
from softswitch.sim.behaviour import answer
from softswitch.sim.centre import QUEUE_NUMBER, centre_office, heard, talks_to
from softswitch.sim.loop import simulated
from softswitch.sim.phone_call import CallNotAnswered
from softswitch.sim.world import World, small_office

CUSTOMER = "01055550001"


def become(world, text):
    """The office is this one from now on, but for what is read at the start."""
    office = parse_office(text, checks=OFFICE_CHECKS)
    now = world.switch.office
    fixed = {name: getattr(now, name) for name in ("office", "sip", "storage", "media", "codes")}
    world.office = office.model_copy(update=fixed)
    world.switch.use_office(world.office)


async def arrive(world, number=CUSTOMER):
    carrier = world.trunks.get("carrier-1") or await world.trunk("carrier-1")
    call = await carrier.call(QUEUE_NUMBER, from_user=number)
    await call.answered()
    return call


@simulated()
async def test_a_new_extension_registers_and_rings_and_a_removed_one_is_gone():
    small, large = small_office(extensions=2), small_office(extensions=3)
    async with World(1, office=small) as world:
        caller = await world.phone("1001")
        become(world, large)
        await world.phone("1003")
        call = await caller.call("1003")
        await call.answered()
        become(world, small)
        await asyncio.sleep(3)
        assert call.state == "up", "what goes on goes on"
        call.hang_up()
        await asyncio.sleep(1)
        assert world.switch.registrar.endpoints("1003") == ()
        with pytest.raises(CallNotAnswered):
            await (await caller.call("1003")).answered()
        await world.settle()


@simulated()
async def test_another_password_ends_what_was_registered_with_the_old_one():
    text = small_office(extensions=2)
    async with World(2, office=text) as world:
        await world.phone("1001")
        await world.phone("1002")
        old = next(e.password for e in world.switch.office.extensions if e.number == "1002")
        become(world, text.replace(old, "another-long-secret"))
        assert world.switch.registrar.endpoints("1001")
        assert world.switch.registrar.endpoints("1002") == ()


@simulated()
async def test_who_waits_keeps_his_place_when_the_queue_changes_and_is_served_by_a_new_agent():
    alone = centre_office("ring_s = 10", agents={"lilei": ""})
    async with World(3, office=alone) as world:
        first = await arrive(world)
        second = await arrive(world, "01055550002")
        await asyncio.sleep(5)
        both = {"lilei": "", "hanmeimei": ""}
        become(world, centre_office("ring_s = 12\nwrap_up_s = 3", agents=both))
        phone = await world.phone("1002", behaviour=answer(after_s=1.0))
        world.switch.agents.log_in("hanmeimei")
        rung = await phone.incoming()
        await asyncio.sleep(15)
        assert talks_to(world, first, rung)
        assert heard(world, second)
        first.hang_up()
        await first.ended()
        again = await phone.incoming()
        await asyncio.sleep(15)
        assert talks_to(world, second, again)
        second.hang_up()
        await second.ended()
        assert world.switch.centre.host.broken == 0
        await world.settle()


@simulated()
async def test_a_queue_that_is_removed_sends_its_callers_on_and_leaves_conversations_alone():
    with_queue = centre_office('overflow = "extension:1005"')
    without = small_office(extensions=6)
    async with World(4, office=with_queue) as world:
        agent = await world.phone("1001", behaviour=answer(after_s=1.0))
        elsewhere = await world.phone("1005", behaviour=answer(after_s=1.0))
        world.switch.agents.log_in("lilei")
        talking = await arrive(world)
        rung = await agent.incoming()
        await asyncio.sleep(15)
        waiting = await arrive(world, "01055550002")
        await asyncio.sleep(2)
        become(world, without)
        onward = await elsewhere.incoming()
        await asyncio.sleep(5)
        assert talks_to(world, talking, rung)
        assert talks_to(world, waiting, onward)
        assert world.switch.queues.states() == []
        assert world.switch.agents.states() == []
        talking.hang_up()
        waiting.hang_up()
        await asyncio.sleep(30)
        assert world.switch.centre.host.broken == 0
        await world.settle()


@simulated()
async def test_a_new_trunk_carries_calls_and_a_removed_one_lets_them_end():
    one, two = small_office(trunks=1), small_office(trunks=2)
    async with World(5, office=one) as world:
        caller = await world.phone("1001")
        first = await world.trunk("carrier-1")
        become(world, two)
        second = await world.trunk("carrier-2")
        await asyncio.sleep(1)
        world.network.cut(first.local[0])
        for _ in range(2):
            call = await caller.call("901065551234")
            await call.answered()
            call.hang_up()
            await asyncio.sleep(0.5)
        assert len(second.past) == 2
        call = await caller.call("901065551234")
        await call.answered()
        become(world, one)
        await asyncio.sleep(3)
        assert call.state == "up"
        call.hang_up()
        await asyncio.sleep(1)
        assert world.switch.trunks.named("carrier-2") is None
        assert world.switch.trunks.named("carrier-1").load.calls == 0


@simulated()
async def test_a_trunk_that_changes_keeps_count_of_its_calls():
    text = small_office(trunks=1)
    async with World(6, office=text) as world:
        caller = await world.phone("1001")
        await world.trunk("carrier-1")
        call = await caller.call("901065551234")
        await call.answered()
        become(world, text.replace("[[trunk]]", "[[trunk]]\nmax_calls = 1"))
        await asyncio.sleep(1)
        load = world.switch.trunks.named("carrier-1").load
        assert load.calls == 1
        other = await caller.call("901065551235")
        with pytest.raises(CallNotAnswered):
            await other.answered()
        call.hang_up()
        await asyncio.sleep(1)
        assert load.calls == 0
        await world.settle()


@simulated()
async def test_a_menu_changes_between_two_calls():
    def menu(to):
        lines = '[[ivr]]\nname = "main"\nnumber = "7000"\ngreeting = "main-menu"\ntimeout_s = 2\n'
        return small_office(extensions=3, more=f'{lines}otherwise = "extension:{to}"\n')

    async with World(7, office=menu("1002")) as world:
        caller = await world.phone("1001")
        phones = {n: await world.phone(n, behaviour=answer()) for n in ("1002", "1003")}
        for number in ("1002", "1003"):
            become(world, menu(number))
            call = await caller.call("7000")
            await phones[number].incoming()
            await asyncio.sleep(1)
            call.hang_up()
            await call.ended()
        await world.settle()
