"""The UDP transport on real loopback sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from softswitch.errors import SoftswitchError
from softswitch.sip.flow import Flow
from softswitch.transport.address import unmapped
from softswitch.transport.udp import UdpTransport
from tests.transport.inbox import Inbox
from tests.waiting import until

Opener = Callable[..., tuple[UdpTransport, Inbox]]


@pytest.fixture
async def open_udp() -> AsyncIterator[Opener]:
    opened: list[UdpTransport] = []

    def open_(host: str = "127.0.0.1", **options: Any) -> tuple[UdpTransport, Inbox]:
        try:
            transport = UdpTransport.bind(host, 0, **options)
        except SoftswitchError as error:
            if ":" in host:
                pytest.skip(f"this machine has no IPv6: {error}")
            raise
        inbox = Inbox()
        transport.start(inbox.receive, inbox.unreachable)
        opened.append(transport)
        return transport, inbox

    yield open_
    for transport in opened:
        transport.close()


def to(source: UdpTransport, target: tuple[str, int]) -> Flow:
    return Flow("udp", source.local, target)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_datagrams_arrive_with_their_flow(open_udp: Opener, host: str) -> None:
    a, _ = open_udp(host)
    b, inbox = open_udp(host)
    a.send(b"one", to(a, b.local))
    a.send(b"two", to(a, b.local))
    await until(lambda: len(inbox.messages) == 2)
    flow = Flow("udp", b.local, a.local)
    assert inbox.messages == [(b"one", flow), (b"two", flow)]
    assert inbox.messages[0][1] is inbox.messages[1][1]
    assert a.snapshot()["sent"] == 2
    assert b.snapshot()["received"] == 2


async def test_a_mapped_address_is_unwrapped_and_answered(open_udp: Opener) -> None:
    both, inbox = open_udp("::")
    four, answers = open_udp("127.0.0.1")
    four.send(b"ping", to(four, ("127.0.0.1", both.local[1])))
    await until(lambda: bool(inbox.messages))
    data, flow = inbox.messages[0]
    assert (data, flow.remote) == (b"ping", four.local)
    both.send(b"pong", flow)
    await until(lambda: bool(answers.messages))
    assert answers.messages[0][0] == b"pong"


@pytest.mark.parametrize(
    ("host", "expected"),
    [("::ffff:10.0.0.1", "10.0.0.1"), ("::ffff:abcd", "::ffff:abcd"), ("::1", "::1")],
)
def test_unmapped(host: str, expected: str) -> None:
    assert unmapped(host) == expected


async def test_the_largest_datagram_passes_and_a_larger_one_is_counted(open_udp: Opener) -> None:
    a, _ = open_udp()
    b, inbox = open_udp()
    a.send(b"x" * 65_507, to(a, b.local))
    a.send(b"x" * 65_508, to(a, b.local))
    a.send(b"end", to(a, b.local))
    await until(lambda: len(inbox.messages) == 2)
    assert [len(data) for data, _ in inbox.messages] == [65_507, 3]
    assert a.counters.send_errors == 1


async def test_an_empty_datagram_is_a_datagram(open_udp: Opener) -> None:
    a, _ = open_udp()
    b, inbox = open_udp()
    a.send(b"", to(a, b.local))
    await until(lambda: len(inbox.messages) == 1)
    assert inbox.messages[0][0] == b""


async def test_a_wake_up_reads_a_bounded_number(open_udp: Opener) -> None:
    a, _ = open_udp()
    b, inbox = open_udp(drain_max=3)
    for number in range(10):
        a.send(b"%d" % number, to(a, b.local))
    turns: list[int] = []
    while len(inbox.messages) < 10:
        await asyncio.sleep(0)
        turns.append(len(inbox.messages))
    steps = [after - before for before, after in zip([0, *turns], turns, strict=False)]
    assert max(steps) == 3
    assert [data for data, _ in inbox.messages] == [b"%d" % number for number in range(10)]


async def test_a_host_name_or_a_bad_port_is_refused_without_a_look_up(open_udp: Opener) -> None:
    a, _ = open_udp()
    for remote in [("localhost", 5060), ("", 5060), ("127.0.0.1", 0), ("127.0.0.1", 65_536)]:
        a.send(b"x", to(a, remote))
    a.send(b"x", to(a, ("::1", 5060)))
    assert a.counters.bad_destinations == 5
    assert a.counters.sent == 0


class FullSocket:
    """A socket that takes nothing until told so; everything else is the real one's."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.full = True

    def sendto(self, data: bytes, address: tuple[str, int]) -> int:
        if self.full:
            raise BlockingIOError
        return self._sock.sendto(data, address)

    def __getattr__(self, name: str) -> object:
        return getattr(self._sock, name)


@pytest.mark.parametrize(("queued", "dropped"), [(4, 0), (5, 1), (7, 3)])
@pytest.mark.limit("datagrams that a full socket keeps")
async def test_a_full_socket_queues_in_order_and_drops_the_oldest(
    open_udp: Opener, queued: int, dropped: int
) -> None:
    b, inbox = open_udp()
    raw = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    raw.bind(("127.0.0.1", 0))
    full = FullSocket(raw)
    a = UdpTransport(full, asyncio.get_running_loop(), backlog_max=4)  # type: ignore[arg-type]
    for number in range(queued):
        a.send(b"%d" % number, to(a, b.local))
    assert a.snapshot()["backlog"] == min(queued, 4)
    assert a.counters.backlog_dropped == dropped
    full.full = False
    a.send(b"last", to(a, b.local))  # may not overtake what waits
    lost = max(0, queued + 1 - 4)
    await until(lambda: len(inbox.messages) == queued + 1 - lost)
    expected = [b"%d" % number for number in range(lost, queued)] + [b"last"]
    assert [data for data, _ in inbox.messages] == expected
    assert a.snapshot()["backlog"] == 0
    a.close()


async def test_a_dead_port_is_reported_and_others_still_get_theirs(open_udp: Opener) -> None:
    a, errors = open_udp()
    b, inbox = open_udp()
    dead, _ = open_udp()
    dead_address = dead.local
    dead.close()
    for number in range(20):
        a.send(b"lost", to(a, dead_address))
        a.send(b"%d" % number, to(a, b.local))
        await asyncio.sleep(0)
    await until(lambda: len(inbox.messages) == 20)
    await until(lambda: bool(errors.gone))
    assert {flow.remote for flow in errors.gone} == {dead_address}
    assert a.counters.icmp_errors >= 1
    assert a.counters.send_errors == 0


async def test_after_the_errors_the_loop_rests(open_udp: Opener) -> None:
    a, errors = open_udp()
    dead, _ = open_udp()
    dead_address = dead.local
    dead.close()
    a.send(b"lost", to(a, dead_address))
    await until(lambda: bool(errors.gone))
    wakes = 0
    read = a._read

    def counted() -> None:
        nonlocal wakes
        wakes += 1
        read()

    asyncio.get_running_loop().add_reader(a._sock.fileno(), counted)
    await asyncio.sleep(0.05)
    assert wakes <= 1


@pytest.mark.limit("addresses of a socket remembered")
async def test_the_table_of_peers_is_bounded(
    open_udp: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("softswitch.transport.udp.PEERS_MAX", 2)
    b, inbox = open_udp()
    for _ in range(5):
        a, _ = open_udp()
        a.send(b"x", to(a, b.local))
    await until(lambda: len(inbox.messages) == 5)
    assert b.snapshot()["peers"] <= 2


@pytest.mark.parametrize("host", ["localhost", "999.1.1.1", "203.0.113.7"])
async def test_an_address_that_cannot_be_bound_is_one_line(host: str) -> None:
    with pytest.raises(SoftswitchError, match=host.replace(".", r"\.")) as caught:
        UdpTransport.bind(host, 5060)
    assert "\n" not in str(caught.value)


async def test_a_taken_port_is_one_line(open_udp: Opener) -> None:
    a, _ = open_udp()
    with pytest.raises(SoftswitchError, match="in use"):
        UdpTransport.bind("127.0.0.1", a.local[1])


async def test_closing_twice_and_sending_after_is_harmless(open_udp: Opener) -> None:
    a, _ = open_udp()
    a.close()
    a.close()
    a.send(b"x", to(a, ("127.0.0.1", 9)))
    assert a.counters.sent == 0


async def test_where_the_rest_can_wait_few_are_handed_on_at_once_and_all_are_read(
    open_udp: Opener,
) -> None:
    transport, inbox = open_udp()
    deferred: list[bytes] = []
    transport.defer = lambda data, flow: deferred.append(data)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        for number in range(200):
            peer.sendto(b"%d" % number, transport.local)
        await until(lambda: bool(deferred))
    assert len(inbox.messages) < 50
    assert [*(data for data, _ in inbox.messages), *deferred] == [b"%d" % n for n in range(200)]
