"""A bad network has two ways, and each meets only what was asked for it: sound and signalling."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import numpy as np
import pytest

from softswitch.load.faults import Faults, PacketFaults, parse_faults
from softswitch.load.network import LoadNetwork
from softswitch.sip.flow import Flow
from tests.load.test_broken_servers import plan, simulated
from tests.waiting import until

HOST = "127.0.0.1"


def sound(faults: Faults, count: int = 400) -> tuple[list[list[int]], list[int]]:
    """What becomes of packets of one stream, out and in: the times of each, in us after it."""
    made = PacketFaults(faults.up, faults.down, seed=5)
    out = [[at - n * 20_000 for at in made.outgoing(3, n * 20_000, 172)] for n in range(count)]
    came = []
    packets = np.zeros((1, 172), np.uint8)
    for number in range(count):
        packets[0, :4] = np.array([number], "<u4").view(np.uint8)
        at_us = np.array([number * 20_000])
        _, data, _, at, _ = made.incoming(
            np.array([3]), packets, np.array([172], np.int32), at_us, np.zeros(1, np.uint64)
        )
        numbers = data[:, :4].copy().view("<u4")[:, 0].astype(int)
        came += [int(a) - n * 20_000 for a, n in zip(at.tolist(), numbers.tolist(), strict=True)]
    return out, came


@pytest.mark.parametrize("way", ["up", "down"])
def test_sound_is_lost_delayed_and_doubled_on_its_own_way_only(way: str) -> None:
    out, came = sound(parse_faults([f"{way}:loss=20%,delay=30ms,duplicate=10%"]))
    sent = [at for times in out for at in times]
    bad, good = (sent, came) if way == "up" else (came, sent)
    assert len(good) == 400
    assert max(map(abs, good)) <= 1
    assert min(bad) >= 29_999
    assert sorted(bad)[len(bad) // 2] < 30_100
    assert 300 < len(bad) < 390  # 0.8 and 1.1 of 400, but for the last that are still on their way
    doubles = sum(len(times) == 2 for times in out)
    assert (doubles > 10) is (way == "up")


def fates(seed: int, parties: dict[int, int], packets: int = 200) -> dict[int, list[object]]:
    """What becomes of the packets of `parties` (slot to identity) that all speak at once, by identity."""
    links = parse_faults(["up:loss=10%,burst=2,jitter=8ms", "down:loss=5%,duplicate=5%"])
    made = PacketFaults(links.up, links.down, seed=seed)
    found: dict[int, list[object]] = {identity: [] for identity in parties.values()}
    for slot, identity in parties.items():
        made.begin(slot, identity)
    for number in range(packets):
        now_us = number * 20_000
        for slot, identity in parties.items():
            found[identity].append([at - now_us for at in made.outgoing(slot, now_us, 172)])
        slots = np.array(list(parties))
        one = np.full((len(slots), 12), number, np.uint8)
        at_us = np.full(len(slots), now_us)
        lengths, keys = np.full(len(slots), 12, np.int32), np.zeros(len(slots), np.uint64)
        came, _, _, _, _ = made.incoming(slots, one, lengths, at_us, keys)
        for slot in came.tolist():
            found[parties[slot]].append(number)
    return found


def test_the_same_seed_gives_the_packets_of_a_party_the_same_fates_whoever_else_speaks() -> None:
    alone, crowd = fates(5, {3: 71}), fates(5, {0: 9, 1: 71, 2: 12, 3: 8})
    assert alone[71] == crowd[71]
    assert len({str(crowd[identity]) for identity in crowd}) == 4
    assert fates(5, {3: 71}) == alone != fates(6, {3: 71})


def test_the_same_seed_tells_the_same_of_a_bad_network_each_way_for_itself() -> None:
    def told(seed: int, *faults: str) -> tuple[object, ...]:
        result = simulated(plan(seed=seed, faults=list(faults), hold="2"))
        names = ("packets_received", "packets_lost", "packets_duplicated", "packets_reordered")
        return tuple(result.figures[name] for name in names), result.findings

    up, down = "up:loss=4%,duplicate=3%", "down:loss=4%,reorder=5%"
    assert told(1, up, down) == told(1, up, down)
    assert told(1, up, down) != told(2, up, down)
    assert told(1, up) != told(1, down)


def test_reordered_packets_are_overtaken_by_those_after_them_on_their_way_only() -> None:
    out, came = sound(parse_faults(["up:reorder=20%"]))
    arrived = sorted((n * 20_000 + times[0], n) for n, times in enumerate(out))
    order = [number for _, number in arrived]
    overtaken = sum(order[place] > order[place + 1] for place in range(len(order) - 1))
    assert len(order) == 400
    assert (
        10 < overtaken < 80
    )  # a fifth is held back by up to 30 ms, a third of those by more than a packet
    assert max(map(abs, came)) <= 1


def test_jitter_bursts_and_a_narrow_line_come_through_the_options() -> None:
    out, _ = sound(parse_faults(["up:jitter=10ms"]))
    waits = [times[0] for times in out]
    assert min(waits) < 1000 < 5000 < max(waits) <= 40_000
    out, _ = sound(parse_faults(["up:loss=20%,burst=10"]))
    lost = "".join("-" if not times else "x" for times in out)
    assert max(map(len, lost.split("x"))) >= 5
    # 172 octets each 20 ms are 68.8 kbit/s: on half of that packets wait longer and longer.
    out, _ = sound(parse_faults(["up:bandwidth=34.4kbit"]), 20)
    waits = [times[0] for times in out if times]
    assert waits[10] > 3 * waits[0] > 0


class Peer:
    """Somebody who answers each datagram, and counts."""

    def __init__(self) -> None:
        self.received_s: list[float] = []
        self.sources: set[tuple[str, int]] = set()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((HOST, 0))
        self._socket.setblocking(False)
        self.address: tuple[str, int] = self._socket.getsockname()
        asyncio.get_running_loop().add_reader(self._socket, self._answer)

    def _answer(self) -> None:
        data, source = self._socket.recvfrom(2048)
        self.received_s.append(asyncio.get_running_loop().time())
        self.sources.add(source)
        self._socket.sendto(data, source)

    @property
    def received(self) -> int:
        return len(self.received_s)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()


async def signalling(fault: str, count: int = 40) -> tuple[int, int]:
    """Messages that reached the target, and answers that reached us."""
    came = 0

    def receive(data: bytes, flow: Flow) -> None:
        nonlocal came
        came += 1

    peer = Peer()
    transport = await LoadNetwork("udp", parse_faults([fault])).open_transport(HOST)
    transport.start(receive, lambda flow: None)
    try:
        for _ in range(count):
            transport.send(b"OPTIONS", Flow("udp", transport.local, peer.address))
        await settled(lambda: (peer.received, came))
        return peer.received, came
    finally:
        transport.close()
        peer.close()
        await asyncio.sleep(0)


async def settled(state: Callable[[], object]) -> None:
    """Wait until nothing moves any more."""
    before: object = None
    for _ in range(100):
        await asyncio.sleep(0.05)
        if state() == before:
            return
        before = state()


async def test_signalling_is_lost_on_its_own_way_only() -> None:
    assert await signalling("up:loss=100%") == (0, 0)
    assert await signalling("down:loss=100%") == (40, 0)
    assert await signalling("down:duplicate=100%") == (40, 80)
    assert await signalling("up:duplicate=100%") == (80, 80)


async def test_delay_of_signalling_is_that_of_its_way() -> None:
    came_s: list[float] = []
    loop = asyncio.get_running_loop()
    for fault in ("up:delay=60ms", "down:delay=60ms"):
        peer = Peer()
        transport = await LoadNetwork("udp", parse_faults([fault])).open_transport(HOST)
        transport.start(lambda data, flow: came_s.append(loop.time()), lambda flow: None)
        began_s = loop.time()
        transport.send(b"x", Flow("udp", transport.local, peer.address))
        await until(lambda: bool(came_s))
        (there_s,) = peer.received_s
        late_s = there_s - began_s if fault.startswith("up") else came_s.pop() - there_s
        assert late_s >= 0.06
        came_s.clear()
        transport.close()
        peer.close()


async def test_after_a_rebinding_signalling_comes_from_elsewhere_and_what_goes_to_the_old_port_is_lost() -> (
    None
):
    came: list[Flow] = []
    peer = Peer()
    transport = await LoadNetwork("udp", parse_faults(["rebind-sip=0.1s"])).open_transport(HOST)
    transport.start(lambda data, flow: came.append(flow), lambda flow: None)
    before = transport.local
    try:
        for sent in range(5):
            transport.send(b"OPTIONS", Flow("udp", transport.local, peer.address))
            await asyncio.gather(until(lambda most=sent: len(came) > most), asyncio.sleep(0.08))
        assert peer.received == len(came) == 5  # answers find us where we are now
        assert len(peer.sources) >= 3
        assert transport.local == before
        assert {flow.local for flow in came} == {before}
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as late:
            late.sendto(b"to the old port", before)
        await asyncio.sleep(0.05)
        assert len(came) == 5
    finally:
        transport.close()
        peer.close()
        await asyncio.sleep(0)


def test_after_a_rebinding_sound_comes_from_elsewhere_and_goes_on_where_that_is_followed() -> None:
    """A server that believes SDP sends to the old port; what we send goes on all the same."""
    result = simulated(plan(hold="2.5", faults=["rebind=0.8s"]))
    assert result.figures["rebindings"] >= 8
    quiet = simulated(plan(hold="2.5"))
    assert quiet.figures["rebindings"] == 0
    assert result.figures["packets_sent"] == pytest.approx(quiet.figures["packets_sent"], rel=0.02)
    assert result.figures["packets_received"] < 0.6 * quiet.figures["packets_received"]
