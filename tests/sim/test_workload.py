"""Random office life under faults, from seeds: the invariants hold after every one."""

from __future__ import annotations

import pytest

from softswitch.sim.link import Link
from softswitch.sim.loop import run
from softswitch.sim.workload import Workload
from softswitch.sim.world import World, small_office

LINKS = {
    "perfect": Link(),
    "slow": Link(delay_s=0.15, jitter_s=0.05),
    "lossy": Link(loss=0.1, delay_s=0.02),
    "rough": Link(loss=0.2, duplicate=0.2, reorder=0.2, delay_s=0.05, jitter_s=0.03),
}


async def office_life(seed: int, link: Link, calls_each: int = 5) -> World:
    office = small_office(extensions=6, trunks=1, recording="all")
    async with World(seed, office=office, link=link) as world:
        numbers = [str(1001 + index) for index in range(6)]
        phones = [await world.phone(number) for number in numbers]
        carrier = await world.trunk("carrier-1")
        chosen = [*numbers, "9139000", "9139001", "*43"]
        life = Workload(seed, [*phones, *phones[:2]], chosen, calls_each=calls_each)
        visitors = Workload(seed + 1, [carrier], ["+861000"], calls_each=calls_each)
        await life.run()
        await visitors.run()
        # A phone whose CANCEL was lost for good rings its three minutes.
        await world.settle(quiet_s=300)
        assert sum(life.outcomes.values()) == 8 * calls_each
        return world


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("seed", range(3))
def test_office_life(seed: int, link: str) -> None:
    run(office_life(seed, LINKS[link]), seed=seed, limit_s=86_400)


@pytest.mark.soak
@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("seed", range(3, 103))
def test_office_life_for_long(seed: int, link: str) -> None:
    run(office_life(seed, LINKS[link]), seed=seed, limit_s=86_400)
