"""The TCP transport on real loopback connections."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
from collections.abc import AsyncIterator, Callable

import pytest

from softswitch.errors import SoftswitchError
from softswitch.sip.flow import Flow
from softswitch.transport.limits import (
    ConnectionQuota,
    StreamLimits,
)
from softswitch.transport.tcp import TcpTransport
from tests.rows import Row
from tests.transport.inbox import Inbox
from tests.waiting import until


def message(number: int = 1, body: bytes = b"") -> bytes:
    return (
        b"OPTIONS sip:x SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK%d\r\nFrom: <sip:a>;tag=1\r\n"
        b"To: <sip:b>\r\nCall-ID: %d\r\nCSeq: 1 OPTIONS\r\nContent-Length: %d\r\n\r\n"
        % (number, number, len(body))
    ) + body


Opener = Callable[..., tuple[TcpTransport, Inbox]]


@pytest.fixture
async def open_tcp() -> AsyncIterator[Opener]:
    opened: list[TcpTransport] = []

    def open_(
        host: str = "127.0.0.1", quota: ConnectionQuota | None = None, **limits: object
    ) -> tuple[TcpTransport, Inbox]:
        try:
            settings = StreamLimits(**limits)  # type: ignore[arg-type]
            transport = TcpTransport.bind(host, 0, limits=settings, quota=quota)
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
    await asyncio.sleep(0)
    await asyncio.sleep(0)


class Peer:
    """A plain TCP client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    @contextlib.asynccontextmanager
    async def to(cls, transport: TcpTransport) -> AsyncIterator[Peer]:
        reader, writer = await asyncio.open_connection(*transport.local)
        try:
            yield cls(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def closed(self) -> None:
        """Wait for the other side to hang up."""
        async with asyncio.timeout(5):
            with contextlib.suppress(ConnectionError):
                while await self.reader.read(65_536):
                    pass


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_messages_and_answers_share_the_connection(open_tcp: Opener, host: str) -> None:
    transport, inbox = open_tcp(host)
    async with Peer.to(transport) as peer:
        await peer.send(message(1, b"hello"))
        await until(lambda: len(inbox.messages) == 1)
        data, flow = inbox.messages[0]
        assert data == message(1, b"hello")
        assert (flow.transport, flow.local) == ("tcp", transport.local)
        assert flow.remote == peer.writer.get_extra_info("sockname")[:2]
        assert flow.connection_id > 0
        transport.send(b"the answer", flow)
        assert await peer.reader.readexactly(10) == b"the answer"
        assert transport.snapshot()["connections"] == 1
    await until(lambda: transport.snapshot()["connections"] == 0)
    assert inbox.gone == [flow]


async def test_octet_by_octet_and_all_at_once_are_the_same(open_tcp: Opener, row: Row) -> None:
    transport, inbox = open_tcp()
    stream = b"".join(message(number, "ü\r\n\r\n".encode() * number) for number in range(10))
    async with Peer.to(transport) as whole:
        await whole.send(stream)
        await until(lambda: len(inbox.messages) == 10)
    at_once = [data for data, _ in inbox.messages]
    inbox.messages.clear()
    async with Peer.to(transport) as slow:
        slow.writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(len(stream)):
            slow.writer.write(stream[at : at + 1])
            await asyncio.sleep(0)
        await until(lambda: len(inbox.messages) == 10)
    assert [data for data, _ in inbox.messages] == at_once
    assert len({flow for _, flow in inbox.messages}) == 1
    inbox.messages.clear()
    cuts = [at for at in range(1, len(stream)) if stream[at - 1] in b"\r\n\xc3"]
    async with Peer.to(transport) as cut:
        cut.writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for begin, end in itertools.pairwise([0, *cuts, len(stream)]):
            cut.writer.write(stream[begin:end])
            await asyncio.sleep(0)
        await until(lambda: len(inbox.messages) == 10)
    assert [data for data, _ in inbox.messages] == at_once
    row(33, "one octet at a time, ten at once, cut in CRLF and UTF-8", messages=30, different=0)


async def test_pings_are_answered(open_tcp: Opener, row: Row) -> None:
    transport, inbox = open_tcp()
    async with Peer.to(transport) as peer:
        await peer.send(message(1))
        await peer.send(b"\r\n\r\n" * 5000)
        assert await peer.reader.readexactly(10_000) == b"\r\n" * 5000
        await peer.send(message(2))
        await until(lambda: len(inbox.messages) == 2)
    row(33, "pings", sent=5000, answered=5000)


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (message(1).replace(b"Content-Length: 0", b"Content-Length: x"), b"SIP/2.0 400 "),
        (message(1).replace(b"Content-Length: 0", b"Content-Length: 65537"), b"SIP/2.0 413 "),
        (message(1).replace(b"Content-Length: 0\r\n", b""), b"SIP/2.0 400 "),
        (b"x" * 70_000, b""),
    ],
)
async def test_a_stream_that_cannot_be_cut_is_answered_and_closed(
    open_tcp: Opener, data: bytes, answer: bytes
) -> None:
    transport, inbox = open_tcp()
    async with Peer.to(transport) as peer:
        await peer.send(message(7) + data + message(8))
        got = b""
        with contextlib.suppress(ConnectionError):
            while part := await peer.reader.read(65_536):
                got += part
        assert got[: len(answer)] == answer
        assert bool(got) == bool(answer)
    assert [each for each, _ in inbox.messages] == [message(7)]
    assert transport.counters.malformed == 1
    async with Peer.to(transport) as peer:
        await peer.send(message(9))
        await until(lambda: len(inbox.messages) == 2)


async def test_we_connect_once_and_reuse(open_tcp: Opener) -> None:
    a, at_a = open_tcp()
    b, at_b = open_tcp()
    to_b = Flow("tcp", a.local, b.local)
    for number in range(3):
        a.send(message(number), to_b)
    await until(lambda: len(at_b.messages) == 3)
    assert [data for data, _ in at_b.messages] == [message(number) for number in range(3)]
    assert a.counters.connected == b.counters.accepted == 1
    b.send(message(9), at_b.messages[0][1])
    await until(lambda: len(at_a.messages) == 1)
    assert at_a.messages[0][1].remote == b.local
    a.send(message(4), to_b)
    await until(lambda: len(at_b.messages) == 4)
    assert a.counters.connected == 1


async def test_a_refused_connection_is_told(open_tcp: Opener) -> None:
    a, at_a = open_tcp()
    dead, _ = open_tcp()
    address = dead.local
    dead.close()
    flow = Flow("tcp", a.local, address)
    a.send(message(), flow)
    await until(lambda: flow in at_a.gone)
    assert a.counters.connect_failed == 1
    assert a.snapshot()["connections"] == 0


@pytest.mark.parametrize(
    "remote", [("localhost", 5060), ("::1", 5060), ("127.0.0.1", 0), ("127.0.0.1", 65_536)]
)
async def test_unusable_addresses_are_told(open_tcp: Opener, remote: tuple[str, int]) -> None:
    a, at_a = open_tcp()
    flow = Flow("tcp", a.local, remote)
    a.send(message(), flow)
    assert at_a.gone == []  # never from inside send
    await until(lambda: at_a.gone == [flow])
    assert a.counters.unsendable == 1


async def test_an_answer_never_takes_another_connection(open_tcp: Opener) -> None:
    a, at_a = open_tcp()
    async with Peer.to(a) as peer:
        await peer.send(message())
        await until(lambda: len(at_a.messages) == 1)
    flow = at_a.messages[0][1]
    await until(lambda: a.snapshot()["connections"] == 0)
    at_a.gone.clear()
    a.send(b"too late", flow)
    await until(lambda: at_a.gone == [flow])
    assert a.counters.connected == 0


@pytest.mark.limit("message on a stream, or handshakes")
async def test_a_message_that_never_ends_meets_its_deadline(open_tcp: Opener) -> None:
    transport, inbox = open_tcp(message_s=0.3)
    async with Peer.to(transport) as peer:
        await peer.send(message(1))
        await until(lambda: len(inbox.messages) == 1)
        await asyncio.sleep(0.4)  # between messages that deadline does not run
        whole = message(2) + b"OPT"
        await peer.send(whole[:50])
        await asyncio.sleep(0.1)
        await peer.send(whole[50:])  # in time
        await until(lambda: len(inbox.messages) == 2)
        dripping = asyncio.create_task(drip(peer))
        await peer.closed()
        dripping.cancel()
    assert transport.counters.late == 1


async def drip(peer: Peer) -> None:
    with contextlib.suppress(ConnectionError):
        for _ in range(1000):
            await peer.send(b"I")
            await asyncio.sleep(0.01)


async def test_a_connection_that_says_nothing_is_closed(open_tcp: Opener) -> None:
    transport, _ = open_tcp(message_s=0.05)
    async with Peer.to(transport) as peer:
        await peer.closed()
    assert transport.counters.late == 1


@pytest.mark.limit("silence of a stranger's stream")
async def test_idle_connections_close_and_pings_keep_them(open_tcp: Opener) -> None:
    transport, inbox = open_tcp(idle_s=0.5)
    async with Peer.to(transport) as lively, Peer.to(transport) as idle:
        await lively.send(message(1))
        await idle.send(message(2))
        await until(lambda: len(inbox.messages) == 2)
        for _ in range(8):
            await lively.send(b"\r\n\r\n")
            await asyncio.sleep(0.1)
        await idle.closed()
        assert transport.snapshot()["connections"] == 1
        assert transport.counters.late == 1


async def test_we_ping_what_we_opened(open_tcp: Opener) -> None:
    a, _ = open_tcp(idle_s=0.5)
    b, at_b = open_tcp()
    a.send(message(), Flow("tcp", a.local, b.local))
    await until(lambda: len(at_b.messages) == 1)
    await asyncio.sleep(1.2)
    assert a.snapshot()["connections"] == 1
    assert a.counters.late == 0


@pytest.mark.parametrize(("clients", "refused"), [(3, 0), (4, 1)])
@pytest.mark.limit("of them from one source")
async def test_connections_of_one_source_are_limited(
    open_tcp: Opener, clients: int, refused: int
) -> None:
    transport, _ = open_tcp(quota=ConnectionQuota(per_source=3))
    told: list[str] = []
    transport.on_refused = lambda host, refused, now_s: told.append(host)
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(clients):
            with contextlib.suppress(ConnectionResetError):  # who is refused may see it at once
                await stack.enter_async_context(Peer.to(transport))
        await until(lambda: transport.counters.accepted + transport.counters.refused == clients)
        assert transport.counters.refused == refused
        assert told == ["127.0.0.1"] * refused
        assert transport.snapshot()["connections"] == 3


async def test_a_telephone_does_not_wait_for_the_crowd_before_it(open_tcp: Opener) -> None:
    """60 connections of one address wait to be accepted when it comes; it is among the first let in."""
    transport, inbox = open_tcp()
    loop = asyncio.get_running_loop()
    crowd = [socket.socket() for _ in range(60)]
    phone = socket.socket()
    phone.bind(("127.0.0.9", 0))
    for sock in (*crowd, phone):
        sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            sock.connect(transport.local)  # nothing is accepted meanwhile: the loop stands still
    await until(lambda: len(transport._arrivals) > 0 or transport.counters.accepted > 0)
    await loop.sock_sendall(phone, message(1))
    await until(lambda: len(inbox.messages) == 1)
    seen = sorted(transport._connections.values(), key=lambda each: each.flow.connection_id)
    place = [each.source for each in seen].index("127.0.0.9")
    assert place <= 1, "one of the crowd had as few"
    await until(lambda: transport.counters.accepted == 61)
    for sock in (*crowd, phone):
        sock.close()
    await until(lambda: transport.snapshot()["connections"] == 0)


async def test_who_waits_to_be_let_in_is_dropped_at_the_end(open_tcp: Opener) -> None:
    quota = ConnectionQuota()
    transport, _ = open_tcp(quota=quota)
    crowd = [socket.create_connection(transport.local) for _ in range(40)]
    transport._accept()
    assert quota.sources == 1
    transport.close()
    assert (quota.sources, len(quota)) == (0, 0)
    for sock in crowd:
        sock.close()


async def test_when_all_places_are_proven_accepting_pauses_and_goes_on(open_tcp: Opener) -> None:
    quota = ConnectionQuota(total=2)
    transport, inbox = open_tcp(quota=quota)
    other, at_other = open_tcp(quota=quota)
    async with contextlib.AsyncExitStack() as stack:
        first = await stack.enter_async_context(Peer.to(transport))
        second = await stack.enter_async_context(Peer.to(other))
        await first.send(message(1))
        await second.send(message(2))
        await until(lambda: len(inbox.messages) + len(at_other.messages) == 2)
        transport.prove(inbox.messages[0][1])
        other.prove(at_other.messages[0][1])
        third = await stack.enter_async_context(Peer.to(transport))  # waits in the kernel
        await third.send(message(3))
        await until(lambda: transport.counters.accept_pauses == 1)
        assert transport.counters.accepted == 1
        second.writer.close()
        await until(lambda: len(inbox.messages) == 2)
        assert transport.counters.accepted == 2
    assert transport.counters.refused == transport.counters.displaced == 0


@pytest.mark.limit("stream connections to us")
async def test_the_oldest_stranger_gives_way_and_who_is_proven_stays(open_tcp: Opener) -> None:
    quota = ConnectionQuota(total=3)
    transport, inbox = open_tcp(quota=quota)
    async with contextlib.AsyncExitStack() as stack:
        phone = await stack.enter_async_context(Peer.to(transport))
        await phone.send(message(1))
        await until(lambda: len(inbox.messages) == 1)
        transport.prove(inbox.messages[0][1])
        strangers = []
        for number in range(1, 6):
            strangers.append(await stack.enter_async_context(Peer.to(transport)))
            await until(lambda number=number: transport.counters.accepted == number + 1)
            assert transport.counters.displaced == max(0, number - 2), "three fit"
        for stranger in strangers[:3]:
            await stranger.closed()
        assert transport.counters.displaced == 3
        assert len(quota) == 3
        for number, peer in enumerate((phone, *strangers[3:]), 2):
            await peer.send(message(number))
        await until(lambda: len(inbox.messages) == 4)
    await until(lambda: len(quota) == 0)
    assert quota.sources == 0


async def test_who_is_proven_may_be_silent_for_longer(open_tcp: Opener) -> None:
    transport, inbox = open_tcp(idle_s=0.3)
    async with Peer.to(transport) as phone, Peer.to(transport) as stranger:
        await phone.send(message(1))
        await stranger.send(message(2))
        await until(lambda: len(inbox.messages) == 2)
        transport.prove(next(flow for data, flow in inbox.messages if data == message(1)))
        await stranger.closed()
        await asyncio.sleep(0.4)
        assert transport.snapshot()["connections"] == 1
        await phone.send(message(3))
        await until(lambda: len(inbox.messages) == 3)


async def test_many_messages_at_once_leave_the_loop_to_others(open_tcp: Opener) -> None:
    transport, inbox = open_tcp(messages_a_turn=8)
    turns = 0

    def count() -> None:
        nonlocal turns
        turns += 1
        if len(inbox.messages) < 400:
            asyncio.get_running_loop().call_soon(count)

    async with Peer.to(transport) as peer:
        await peer.send(b"".join(message(number) for number in range(400)))
        count()
        await until(lambda: len(inbox.messages) == 400)
    assert turns >= 50
    assert [data for data, _ in inbox.messages] == [message(number) for number in range(400)]


async def test_without_descriptors_accepting_pauses(
    open_tcp: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport, inbox = open_tcp(accept_pause_s=0.05)
    real = transport._sock
    failures = 1

    class Poor:
        """A listening socket in a process that has run out of file descriptors once."""

        def accept(self) -> object:
            nonlocal failures
            if failures:
                failures -= 1
                raise OSError(24, "Too many open files")
            return real.accept()

        def __getattr__(self, name: str) -> object:
            return getattr(real, name)

    monkeypatch.setattr(transport, "_sock", Poor())
    async with Peer.to(transport) as peer:
        await peer.send(message())
        await until(lambda: len(inbox.messages) == 1)
    assert transport.counters.accept_pauses == 1


@pytest.mark.limit("unread octets of a stream")
async def test_a_peer_that_reads_nothing_is_dropped(open_tcp: Opener) -> None:
    transport, inbox = open_tcp(unsent=65_536)
    async with Peer.to(transport) as peer:
        await peer.send(message())
        await until(lambda: len(inbox.messages) == 1)
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        flow = inbox.messages[0][1]
        for _ in range(2000):
            transport.send(bytes(65_536), flow)
            if transport.counters.unsendable:
                break
            await asyncio.sleep(0)
        await until(lambda: flow in inbox.gone)
        assert transport.snapshot()["connections"] == 0


@pytest.mark.limit("unread octets of a stream")
async def test_as_many_octets_may_wait_as_the_limit_says_and_not_one_more(
    open_tcp: Opener,
) -> None:
    transport, inbox = open_tcp(unsent=65_536)
    async with Peer.to(transport) as peer:
        await peer.send(message())
        await until(lambda: len(inbox.messages) == 1)
        flow = inbox.messages[0][1]
        (connection,) = transport._connections.values()
        real = connection._transport

        class Filled:
            waiting = 65_536

            def get_write_buffer_size(self) -> int:
                return self.waiting

            def __getattr__(self, name: str) -> object:
                return getattr(real, name)

        connection._transport = Filled()  # type: ignore[assignment]
        transport.send(b"fits", flow)
        assert await peer.reader.readexactly(4) == b"fits"
        assert transport.counters.unsendable == 0
        Filled.waiting += 1
        transport.send(b"more", flow)
        assert transport.counters.unsendable == 1
        await peer.closed()
        assert inbox.gone == [flow]


async def test_an_exception_in_the_handler_costs_that_connection_only(
    open_tcp: Opener, caplog: pytest.LogCaptureFixture
) -> None:
    transport, inbox = open_tcp()
    taken = inbox.receive

    def fragile(data: bytes, flow: Flow) -> None:
        if b"Call-ID: 666" in data:
            raise RuntimeError("a bug")
        taken(data, flow)

    transport._receive = fragile
    async with Peer.to(transport) as good, Peer.to(transport) as bad:
        await bad.send(message(666))
        await bad.closed()
        await good.send(message(1))
        await until(lambda: len(inbox.messages) == 1)
    assert transport.counters.exceptions == 1
    assert "a bug" in caplog.text


async def test_closing_frees_everything(open_tcp: Opener) -> None:
    transport, inbox = open_tcp()
    async with Peer.to(transport) as peer:
        await peer.send(message())
        await until(lambda: len(inbox.messages) == 1)
        transport.close()
        transport.close()
        await peer.closed()
    transport.send(b"x", inbox.messages[0][1])
    again = TcpTransport.bind(*transport.local)
    again.close()


@pytest.mark.parametrize("host", ["localhost", "203.0.113.7"])
async def test_an_address_that_cannot_be_bound_is_one_line(host: str) -> None:
    with pytest.raises(SoftswitchError, match=host.replace(".", r"\.")) as caught:
        TcpTransport.bind(host, 5060)
    assert "\n" not in str(caught.value)
