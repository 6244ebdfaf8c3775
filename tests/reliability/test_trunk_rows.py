"""Row 40: a thousand calls out while the first of two trunks falls ill and recovers, on virtual time; and calls
by TLS that nobody takes, on real sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from softswitch.call.trunk_health import Condition
from softswitch.sim.behaviour import answer
from softswitch.sim.loop import simulated
from softswitch.sim.phone import VirtualPhone
from softswitch.sim.phone_call import CallNotAnswered
from softswitch.sim.real_network import RealNetwork
from softswitch.sim.trunk import VirtualTrunk
from softswitch.sim.world import World, small_office
from tests.real_exchange import signalling
from tests.rows import Row

FIRST, SECOND = "10.0.1.1", "10.0.1.2"
STRETCH = 50
"""Calls in illness, then as many in health."""

FAILOVER_S = {"silence": 2.0}
"""Within which the second trunk has its INVITE; 50 ms where the first says something."""


class Patient:
    """The first trunk, which can be made ill."""

    def __init__(self, world: World, trunk: VirtualTrunk, illness: str) -> None:
        self.world, self.trunk, self.illness = world, trunk, illness

    def fall_ill(self) -> None:
        if self.illness == "silence":
            self.world.network.cut(FIRST)
        else:
            self.trunk.available, self.trunk.refusal = False, int(self.illness)

    def recover(self) -> None:
        self.world.network.mend(FIRST)
        self.trunk.available = True


async def one_call(world: World, caller: VirtualPhone) -> tuple[bool, float]:
    """Whether it came about, and how long after the first trunk the second had its INVITE (0: it was not
    needed, or the first was passed over)."""
    world.trace.clear()
    call = await caller.call("901065551234")
    came = True
    try:
        await call.answered()
    except CallNotAnswered:
        came = False
    at = {e.destination[0]: e.at_s for e in reversed(world.trace.requests("INVITE"))}
    gap_s = at[SECOND] - at[FIRST] if {FIRST, SECOND} <= set(at) else 0.0
    await asyncio.sleep(0.5)
    if came:
        call.hang_up()
        await call.ended()
    await asyncio.sleep(0.5)
    return came, gap_s


async def ill_trunk(illness: str, count: int, row: Row) -> None:
    failed = tried = failed_over = 0
    slowest_s = 0.0
    opened: list[int] = []
    trials: list[int] = []
    async with World(40, office=small_office(trunks=2, health_check_s=20)) as world:
        caller = await world.phone("1001")
        first = await world.trunk("carrier-1")
        await world.trunk("carrier-2")
        patient, known = Patient(world, first, illness), world.switch.trunks.named("carrier-1")
        for number in range(count):
            if number % (2 * STRETCH) == 0:
                patient.fall_ill()
                tried = 0
            elif number % STRETCH == 0:
                patient.recover()
                await asyncio.sleep(60.0)
                assert not known.targets[0].health.down, number
            before = known.condition
            came, gap_s = await one_call(world, caller)
            failed += not came
            failed_over += gap_s > 0
            slowest_s = max(slowest_s, gap_s)
            tried += gap_s > 0
            if known.condition is Condition.DOWN and before is not Condition.DOWN:
                (trials if before is Condition.HALF_OPEN else opened).append(tried)
                tried = 0
            if number % (2 * STRETCH) >= STRETCH:
                assert (known.condition, gap_s) == (Condition.UP, 0.0), "taken, so it is well"
        # OPTIONS go on for ever: nothing else is left.
        loads = [world.switch.trunks.named(f"carrier-{n}").load.calls for n in (1, 2)]
        assert (loads, list(world.switch.control.calls)) == ([0, 0], [])
        assert world.switch.driver.counters.exceptions == 0
    row(
        40, f"a trunk that answers {illness}" if illness != "silence" else "a trunk that is silent",
        seed=40, calls=count, failed=failed, failed_over=failed_over, slowest_ms=round(1000 * slowest_s),
        circuit_opened=len(opened), calls_before_it_opens_at_most=max(opened),
        trials_in_vain=len(trials),
    )  # fmt: skip
    assert failed == 0
    assert failed_over > 0
    assert slowest_s < FAILOVER_S.get(illness, 0.05)
    assert max(opened) <= 3
    assert all(calls <= 1 for calls in trials)


@simulated(limit_s=1e7)
@pytest.mark.parametrize("illness", ["503", "500", "408", "silence"])
@pytest.mark.parametrize("count", [200, pytest.param(1_000, marks=pytest.mark.soak)])
async def test_all_calls_come_about(illness: str, count: int, row: Row) -> None:
    await ill_trunk(illness, count, row)


@simulated(limit_s=1e7)
@pytest.mark.parametrize("count", [100, pytest.param(1_000, marks=pytest.mark.soak)])
async def test_a_port_where_nobody_listens(count: int, row: Row) -> None:
    """The ICMP message that says so is as good as an answer."""
    failed, slowest_s = 0, 0.0
    async with World(41, office=small_office(trunks=2, health_check_s=20)) as world:
        world.network._icmp = True
        world.network.bind(FIRST, 9)  # the host is there
        caller = await world.phone("1001")
        await world.trunk("carrier-2")
        for _ in range(count):
            came, gap_s = await one_call(world, caller)
            failed += not came
            slowest_s = max(slowest_s, gap_s)
        assert list(world.switch.control.calls) == []
    row(40, "ICMP unreachable", calls=count, failed=failed, slowest_ms=round(1000 * slowest_s))
    assert failed == 0
    assert slowest_s < 0.05


# -- TLS, real sockets ---------------------------------------------------------------------------------

CARRIERS = """
[[trunk]]
name = "first"
uri = "sip:127.0.0.1:{closed}"
transport = "tls"
from_addresses = ["127.0.0.9"]
health_check_s = 0
max_calls_per_s = 1000
[[trunk]]
name = "second"
uri = "sip:127.0.0.1:{open}"
from_addresses = ["127.0.0.1:{open}"]
health_check_s = 0
max_calls_per_s = 1000
[[outbound]]
prefix = "9"
strip = 1
permission = "national"
trunks = ["first", "second"]
"""


@pytest.fixture
async def refused_tls(tmp_path: Path) -> AsyncIterator[VirtualPhone]:
    """A phone of an office whose first trunk is a port for TLS where nobody listens."""
    network = RealNetwork()
    with socket.socket() as nobody, socket.socket(type=socket.SOCK_DGRAM) as later:
        nobody.bind(("127.0.0.1", 0))
        later.bind(("127.0.0.1", 0))
        closed, opened = nobody.getsockname()[1], later.getsockname()[1]
        later.close()
        office = small_office(
            extensions=1,
            trunks=0,
            listen=["udp://127.0.0.1:0", "tls://127.0.0.1:0"],
            more=CARRIERS.format(closed=closed, open=opened),
        )
        async with signalling(office, tmp_path) as exchange:
            server = next(t.local for t in exchange.driver.transports if t.name == "udp")
            carrier = VirtualTrunk(
                network, name="second", server=server, port=opened, behaviour=answer(), sound=False
            )
            await carrier.open()
            phone = VirtualPhone(
                network, number="1001", password="secret-1001", server=server,
                domain="office.example", sound=False,
            )  # fmt: skip
            await phone.open()
            assert (await phone.register()).status == 200
            yield phone
            await phone.close()
            await carrier.close()
            await asyncio.sleep(0)


async def test_tls_that_is_refused_costs_a_call_nothing(
    refused_tls: VirtualPhone, row: Row
) -> None:
    took: list[float] = []
    for _ in range(20):
        call = await refused_tls.call("901065551234")
        await call.answered()
        took.append(call.times["up"] - call.times["calling"])
        call.hang_up()
        await call.ended()
    row(
        40,
        "TLS refused, real sockets",
        calls=len(took),
        failed=0,
        slowest_ms=round(1000 * max(took)),
    )
    assert len(took) == 20
