"""Offices that run for hours: random people, and everything accounted for at the end."""

from __future__ import annotations

import pytest

from softswitch.sim.centre import centre_office
from softswitch.sim.loop import simulated
from softswitch.sim.world import World
from tests.apps.people import KEYS, MORE, NUMBERS, People, agents_of, check_accounts, run_office


@simulated()
@pytest.mark.parametrize("seed", range(4))
async def test_a_random_office_loses_nobody(seed):
    office = centre_office(KEYS, agents=agents_of(4), more=MORE, extensions=99)
    async with World(seed, office=office) as world:
        people = People(world, seed, numbers=NUMBERS)
        await run_office(world, people, agents=4, callers=60, mean_s=6.0, until_s=600)
        outcomes = check_accounts(world, people)
        assert outcomes["answered"] > 5
        assert outcomes["abandoned"] > 3
        await world.settle()


@pytest.mark.unhurried
@simulated()
async def test_a_hundred_agents_and_five_hundred_callers():
    office = centre_office(KEYS, agents=agents_of(100), more=MORE, extensions=100)
    office = office.replace(
        '"+861000"\n', '"+861000"\nmax_calls = 1000\nmax_calls_per_s = 100\n', 1
    )
    numbers = [f"010{60000000 + n}" for n in range(300)]
    async with World(100, office=office) as world:
        people = People(world, 100, numbers=numbers)
        await run_office(world, people, agents=97, callers=500, mean_s=1.2, until_s=600)
        outcomes = check_accounts(world, people)
        assert outcomes["answered"] > 300
        await world.settle()
