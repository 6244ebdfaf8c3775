"""The loss relay, on real loopback sockets."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from softswitch.sim.link import Link
from softswitch.sim.loss_relay import LossRelay
from softswitch.sim.real_network import RealSocket


class Echo:
    """A server that sends everything back in capitals, and a client that collects."""

    def __init__(self, server: RealSocket, client: RealSocket) -> None:
        self.server, self.client = server, client
        self.at_server: list[tuple[bytes, tuple[str, int]]] = []
        self.at_client: list[bytes] = []
        self._changed = asyncio.Event()
        server.start(self._serve)
        client.start(self._collect)

    def _serve(self, data: bytes, source: tuple[str, int]) -> None:
        self.at_server.append((data, source))
        self.server.send_to(data.upper(), source)
        self._changed.set()

    def _collect(self, data: bytes, source: tuple[str, int]) -> None:
        self.at_client.append(data)
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self._changed.clear()
                # Not all that a condition may ask wakes us: what the relay lost does not.
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), 0.01)

    def close(self) -> None:
        self.server.close()
        self.client.close()


@asynccontextmanager
async def echoing() -> AsyncIterator[Echo]:
    echo = Echo(await RealSocket.open("127.0.0.1"), await RealSocket.open("127.0.0.1"))
    try:
        yield echo
    finally:
        echo.close()


async def test_everything_passes_both_ways() -> None:
    async with echoing() as echo, LossRelay(echo.server.local) as relay:
        for number in range(50):
            echo.client.send_to(b"x%d" % number, relay.address)
        await echo.until(lambda: len(echo.at_client) == 50)
        assert echo.at_client == [b"X%d" % number for number in range(50)]
        assert {source for _, source in echo.at_server} == {relay.seen_as(echo.client.local)}
        assert relay.snapshot()["clients"] == 1


async def fates(seed: int, count: int = 200) -> list[bytes]:
    up = Link(loss=0.3, delay_s=0)
    async with echoing() as echo, LossRelay(echo.server.local, up=up, seed=seed) as relay:
        for number in range(count):
            echo.client.send_to(b"%d" % number, relay.address)
        await echo.until(lambda: relay.counters_up.sent == count)
        arrived = count - relay.counters_up.lost
        await echo.until(lambda: len(echo.at_server) == arrived)
        return [data for data, _ in echo.at_server]


async def test_the_seed_decides_what_is_lost() -> None:
    one, again, other = await fates(1), await fates(1), await fates(2)
    assert one == again
    assert one != other
    assert 100 < len(one) < 180


async def test_ways_are_separate_and_may_change() -> None:
    down = Link(loss=1.0)
    async with echoing() as echo, LossRelay(echo.server.local, down=down) as relay:
        echo.client.send_to(b"a", relay.address)
        await echo.until(lambda: relay.counters_down.lost == 1)
        assert len(echo.at_server) == 1
        relay.down = Link(delay_s=0.05, duplicate=1.0)
        loop = asyncio.get_running_loop()
        sent_s = loop.time()
        echo.client.send_to(b"b", relay.address)
        await echo.until(lambda: len(echo.at_client) == 2)
        assert echo.at_client == [b"B", b"B"]
        assert loop.time() - sent_s >= 0.05


@pytest.mark.parametrize("clients", [2, 3])
async def test_clients_are_limited(monkeypatch: pytest.MonkeyPatch, clients: int) -> None:
    monkeypatch.setattr("softswitch.sim.loss_relay._CLIENTS_MAX", 2)
    others = [await RealSocket.open("127.0.0.1") for _ in range(clients)]
    async with echoing() as echo, LossRelay(echo.server.local) as relay:
        for other in others:
            other.send_to(b"x", relay.address)
        await echo.until(lambda: len(echo.at_server) == 2)
        await echo.until(lambda: relay.snapshot()["refused"] == clients - 2)
        assert len({source for _, source in echo.at_server}) == 2
    for other in others:
        other.close()


async def test_bandwidth_delays_and_then_loses() -> None:
    """80 datagrams of 172 octets at 64 kbit/s: 25 ms each, and no more than 200 ms wait."""
    async with echoing() as echo:
        up = Link(delay_s=0.0, bandwidth_bps=64_000)
        async with LossRelay(echo.server.local, up=up) as relay:
            for number in range(80):
                echo.client.send_to(bytes([number]) * 172, relay.address)
            await echo.until(lambda: relay.counters_up.sent == 80 and relay.counters_up.lost > 0)
            passed = 80 - relay.counters_up.lost
            await echo.until(lambda: len(echo.at_server) == passed)
            assert 8 <= passed <= 12


async def test_a_nat_that_forgets_shows_another_port_and_nothing_comes_to_the_old_one() -> None:
    async with echoing() as echo, LossRelay(echo.server.local) as relay:
        echo.client.send_to(b"one", relay.address)
        await echo.until(lambda: b"ONE" in echo.at_client)
        old = relay.seen_as(echo.client.local)
        assert old is not None
        await relay.rebind()
        echo.server.send_to(b"LATE", old)
        echo.client.send_to(b"two", relay.address)
        await echo.until(lambda: b"TWO" in echo.at_client)
        assert relay.seen_as(echo.client.local) != old
        assert echo.at_server[-1][1] == relay.seen_as(echo.client.local)
        assert b"LATE" not in echo.at_client
