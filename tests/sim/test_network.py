"""The network in memory: links, determinism, cuts, NAT."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from softswitch.sim.link import CUT, PERFECT, Direction, Link, LinkCounters
from softswitch.sim.loop import run, simulated, virtual_loop
from softswitch.sim.network import AddressInUse, SimNetwork
from softswitch.sip.flow import Flow

A = ("10.0.0.1", 5060)
B = ("10.0.0.2", 5060)


def traffic(link: Link, seed: int = 1, count: int = 2000) -> tuple[list[tuple[float, int]], dict]:
    """Send `count` numbered datagrams 10 ms apart; return (arrival, number) and the snapshot."""

    async def main() -> tuple[list[tuple[float, int]], dict]:
        network = SimNetwork(seed, default=link)
        a, b = network.bind(*A), network.bind(*B)
        arrived: list[tuple[float, int]] = []
        b.start(lambda data, _: arrived.append((virtual_loop().time(), int(data))))
        for number in range(count):
            a.send_to(b"%d" % number, B)
            await asyncio.sleep(0.010)
        await asyncio.sleep(10)
        return arrived, network.snapshot()

    return run(main(), seed=seed)


def test_a_perfect_link_delivers_everything_at_once_and_in_order() -> None:
    arrived, counts = traffic(PERFECT, count=100)
    assert [number for _, number in arrived] == list(range(100))
    assert arrived[50][0] == pytest.approx(0.5)
    assert (counts["delivered"], counts["lost"], counts["in_flight"]) == (100, 0, 0)


def test_delay_is_added() -> None:
    arrived, _ = traffic(Link(delay_s=0.2), count=3)
    assert [at_s for at_s, _ in arrived] == pytest.approx([0.2, 0.21, 0.22])


def test_jitter_varies_the_delay_but_keeps_the_order() -> None:
    arrived, _ = traffic(Link(jitter_s=0.1))
    assert [number for _, number in arrived] == list(range(2000))
    delays = [at_s - number * 0.010 for at_s, number in arrived]
    assert 0.09 < max(delays) <= 0.1006
    assert min(delays) < 0.02


@pytest.mark.parametrize("loss", [0.05, 0.2])
def test_loss_has_its_rate(loss: float) -> None:
    arrived, counts = traffic(Link(loss=loss))
    assert counts["lost"] == pytest.approx(2000 * loss, rel=0.25)
    assert len(arrived) == 2000 - counts["lost"]


def test_bursts_have_the_same_rate_and_the_mean_length() -> None:
    direction, counters = Direction("bursts"), LinkCounters()
    link = Link(loss=0.1, loss_burst=8.0)
    fates = [bool(direction.deliveries(link, 0.0, counters)) for _ in range(50_000)]
    assert counters.lost == pytest.approx(5000, rel=0.15)
    bursts = sum(
        1 for before, now in zip([True, *fates], fates, strict=False) if before and not now
    )
    assert counters.lost / bursts == pytest.approx(8.0, rel=0.15)


def test_duplicates_and_reordering() -> None:
    arrived, counts = traffic(Link(duplicate=0.1, reorder=0.1))
    numbers = [number for _, number in arrived]
    assert counts["duplicated"] == pytest.approx(200, rel=0.3)
    assert len(numbers) == 2000 + counts["duplicated"]
    assert set(numbers) == set(range(2000))
    overtakes = sum(1 for before, now in itertools.pairwise(numbers) if now < before)
    assert overtakes > 50


def test_the_seed_decides() -> None:
    rough = Link(loss=0.1, duplicate=0.1, reorder=0.1, jitter_s=0.05)
    assert traffic(rough, seed=5, count=300) == traffic(rough, seed=5, count=300)
    assert traffic(rough, seed=5, count=300) != traffic(rough, seed=6, count=300)


def test_other_traffic_does_not_change_a_conversation() -> None:
    async def main(noise: bool) -> list[bytes]:
        network = SimNetwork(9, default=Link(loss=0.3))
        a, b = network.bind(*A), network.bind(*B)
        other = network.bind("10.0.0.3", 1)
        got: list[bytes] = []
        b.start(lambda data, source: got.append(data) if source == A else None)
        for number in range(100):
            if noise:
                other.send_to(b"noise", B)
            a.send_to(b"%d" % number, B)
        await asyncio.sleep(1)
        return got

    assert run(main(False)) == run(main(True))


@simulated()
async def test_directions_have_links_of_their_own() -> None:
    network = SimNetwork(default=PERFECT)
    network.set_link(CUT, source=A[0], destination=B[0])
    a, b = network.bind(*A), network.bind(*B)
    got: list[str] = []
    a.start(lambda data, source: got.append("a"))
    b.start(lambda data, source: got.append("b"))
    a.send_to(b"x", B)
    b.send_to(b"x", A)
    await asyncio.sleep(1)
    assert got == ["a"]


@simulated()
async def test_the_most_particular_link_wins() -> None:
    network = SimNetwork()
    everywhere, from_a, to_b, pair = (Link(delay_s=delay) for delay in (1.0, 2.0, 3.0, 4.0))
    network.set_link(everywhere)
    assert network.link_between("a", "b") is everywhere
    network.set_link(to_b, destination="b")
    assert network.link_between("a", "b") is to_b
    network.set_link(from_a, source="a")
    assert network.link_between("a", "b") is from_a
    network.set_link(pair, source="a", destination="b")
    assert network.link_between("a", "b") is pair
    network.cut("b")
    assert network.link_between("a", "b") is CUT
    assert network.link_between("b", "c") is CUT
    network.mend("b")
    assert network.link_between("a", "b") is pair


@simulated()
async def test_ports_are_owned_once_and_freed() -> None:
    network = SimNetwork()
    first = network.bind(*A)
    with pytest.raises(AddressInUse):
        network.bind(*A)
    first.close()
    first.close()
    second = network.bind(*A)
    first.close()
    assert network.snapshot()["endpoints"] == 1
    second.close()
    assert network.snapshot()["endpoints"] == 0
    assert network.bind("10.0.0.1").local != network.bind("10.0.0.1").local


@simulated()
async def test_nobody_there_is_counted_and_reported_when_asked() -> None:
    network = SimNetwork(icmp=True)
    a = network.bind(*A)
    network.bind(B[0], 9)
    refused: list[tuple[str, int]] = []
    a.on_unreachable = refused.append
    a.send_to(b"x", B)
    a.send_to(b"x", ("10.9.9.9", 1))  # a host that does not exist answers nothing
    await asyncio.sleep(1)
    assert refused == [B]
    assert network.counters.unreachable == 2


@simulated()
async def test_transports_carry_flows() -> None:
    network = SimNetwork()
    a, b = network.transport(*A), network.transport(*B)
    got: list[tuple[bytes, Flow]] = []
    a.start(lambda data, flow: got.append((data, flow)), lambda flow: None)
    b.start(lambda data, flow: b.send(data.upper(), flow), lambda flow: None)
    a.send(b"hello", Flow("udp", A, B))
    await asyncio.sleep(1)
    assert got == [(b"HELLO", Flow("udp", A, B))]
    assert a.snapshot() == {"received": 1, "sent": 1}


@simulated()
async def test_the_largest_datagram() -> None:
    network = SimNetwork()
    a, b = network.bind(*A), network.bind(*B)
    got: list[int] = []
    b.start(lambda data, _: got.append(len(data)))
    a.send_to(bytes(65_507), B)
    a.send_to(bytes(65_508), B)
    await asyncio.sleep(1)
    assert got == [65_507]


@simulated()
async def test_a_nat_maps_filters_and_rebinds() -> None:
    network = SimNetwork()
    server, stranger = network.bind(*B), network.bind("10.6.6.6", 6)
    nat = network.nat("203.0.113.7")
    phone = nat.bind("192.168.1.10", 5060)
    at_server: list[tuple[str, int]] = []
    at_phone: list[bytes] = []

    def answer(data: bytes, source: tuple[str, int]) -> None:
        at_server.append(source)
        server.send_to(b"answer", source)

    server.start(answer)
    phone.start(lambda data, source: at_phone.append(data))
    assert nat.public_address(phone.local) is None
    phone.send_to(b"hello", B)
    await asyncio.sleep(1)
    seen = at_server[0]
    assert seen[0] == "203.0.113.7"
    assert seen == nat.public_address(("192.168.1.10", 5060))
    stranger.send_to(b"bleed", seen)
    await asyncio.sleep(1)
    assert at_phone == [b"answer"]
    assert network.counters.filtered == 1
    nat.rebind()
    phone.send_to(b"again", B)
    await asyncio.sleep(1)
    assert at_server[1] != seen
    assert at_phone == [b"answer", b"answer"]
    phone.close()
    assert nat.public_address(("192.168.1.10", 5060)) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"loss": 1.1},
        {"duplicate": -0.1},
        {"reorder": 2},
        {"delay_s": -1},
        {"loss": 1, "loss_burst": 2},
    ],
)
def test_impossible_links_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"probability|negative|end"):
        Link(**wrong)
