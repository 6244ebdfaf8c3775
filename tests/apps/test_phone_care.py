"""OPTIONS to telephones: who is asked, what keeps a NAT open, what becomes of calls to who is silent."""

from __future__ import annotations

import asyncio

from softswitch.config import parse_office
from softswitch.sim.loop import simulated
from softswitch.sim.world import World, small_office

EVERY_S = 25.0


def row(world, number):
    rows = world.switch.snapshot()["registrations"]
    return next(entry for entry in rows if entry["extension"] == number)


def asked(phone):
    return [e for e in phone.history if e.method == "OPTIONS" and e.destination == phone.local]


async def behind_nat(world, number="1002", **options):
    nat = world.network.nat("203.0.113.9")
    phone = await world.phone(number, network=nat, host="192.168.1.2", **options)
    return nat, phone


def with_qualify(text, number, mode):
    line = f'password = "secret-{number}"\n'
    return text.replace(line, f'{line}qualify = "{mode}"\n')


@simulated()
async def test_a_telephone_behind_a_nat_is_asked_and_others_are_not():
    async with World(1) as world:
        plain = await world.phone("1001")
        _, phone = await behind_nat(world)
        assert row(world, "1002")["reachable"] is None
        await asyncio.sleep(4 * EVERY_S)
        assert 3 <= len(asked(phone)) <= 4
        assert asked(plain) == []
        assert row(world, "1002")["reachable"] is True
        assert 0 < row(world, "1002")["round_trip_ms"] < 1000
        assert row(world, "1001")["reachable"] is None
        await phone.unregister()
        await world.settle()
        assert world.switch.snapshot()["apps"]["phone_care"] == {
            "asked": 0,
            "unreachable": 0,
            "waiting": 0,
        }


@simulated()
async def test_who_is_silent_is_not_rung_and_is_there_again_when_it_registers():
    office = small_office().replace(
        'password = "secret-1002"\n',
        'password = "secret-1002"\nforward = { unreachable = "1003" }\n',
    )
    async with World(2, office=office) as world:
        told = []
        world.switch.registrar.listen(lambda extension, there: told.append((extension, there)))
        caller, third = await world.phone("1001"), await world.phone("1003")
        nat, phone = await behind_nat(world)
        told.clear()
        nat.rebind()  # what we send is lost from now on
        await asyncio.sleep(2 * EVERY_S)
        assert row(world, "1002")["reachable"] is False
        assert told == [("1002", False)]
        call = await caller.call("1002")
        await call.answered()
        assert third.calls, "as if it were not registered"
        assert call.times["up"] - call.times["calling"] < 1.0
        call.hang_up()
        await phone.register()
        assert ("1002", True) in told
        call = await caller.call("1002")
        await call.answered()
        assert (await phone.incoming()).state == "up"
        call.hang_up()
        await phone.unregister()
        await asyncio.sleep(70)


@simulated()
async def test_another_telephone_of_the_extension_is_rung_at_once():
    async with World(3) as world:
        caller = await world.phone("1001")
        nat, _ = await behind_nat(world)
        other = await world.phone("1002")
        nat.rebind()
        await asyncio.sleep(2 * EVERY_S)
        call = await caller.call("1002")
        await call.answered()
        assert (await other.incoming()).state == "up"
        assert len(other.calls) == 1
        call.hang_up()
        await asyncio.sleep(70)


@simulated()
async def test_a_call_goes_on_though_the_telephone_answers_no_options():
    office = with_qualify(small_office(), "1002", "all")
    async with World(4, office=office) as world:
        caller, phone = await world.phone("1001"), await world.phone("1002")
        call = await caller.call("1002")
        await call.answered()
        world.network.cut(phone.local[0])
        await asyncio.sleep(3 * EVERY_S)
        assert row(world, "1002")["reachable"] is False
        assert call.state == "up"
        world.network.mend(phone.local[0])
        await asyncio.sleep(2 * EVERY_S)
        assert row(world, "1002")["reachable"] is True
        call.hang_up()
        await call.ended()
        await phone.unregister()
        await asyncio.sleep(70)
        assert world.switch.snapshot()["calls"] == []


@simulated()
async def test_extensions_may_ask_for_it_and_the_office_may_change():
    text = with_qualify(with_qualify(small_office(), "1001", "all"), "1002", "off")
    async with World(5, office=text) as world:
        wanted = await world.phone("1001")
        _, unwanted = await behind_nat(world)
        await asyncio.sleep(3 * EVERY_S)
        assert asked(wanted)
        assert asked(unwanted) == []
        changed = with_qualify(with_qualify(small_office(), "1001", "off"), "1002", "all")
        world.switch.use_office(parse_office(changed))
        before = len(asked(wanted))
        await asyncio.sleep(3 * EVERY_S)
        assert len(asked(wanted)) <= before + 1
        assert row(world, "1001")["reachable"] is None
        assert row(world, "1002")["reachable"] is True
        await unwanted.unregister()
        await world.settle()
