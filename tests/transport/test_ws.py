"""WebSocket and secure WebSocket (RFC 7118) on real loopback connections."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import ssl
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from softswitch.sip.framing import KeepAlive
from softswitch.sip.parser import DEFAULT_LIMITS, Limits
from softswitch.transport.credential import TlsIdentity
from softswitch.transport.limits import ConnectionQuota, StreamLimits
from softswitch.transport.tcp import TcpTransport
from softswitch.transport.ws import WssTransport, WsTransport
from softswitch.transport.ws_framing import OriginList, WebSocketFraming

MESSAGE = b"OPTIONS sip:x SIP/2.0\r\nCall-ID: 1\r\n\r\n"
LARGEST = DEFAULT_LIMITS.head + 4 + DEFAULT_LIMITS.body


@pytest.fixture
async def open_ws() -> AsyncIterator[Callable[..., WsTransport]]:
    opened: list[WsTransport] = []

    def open_(inbox: Any, *, origins: tuple[str, ...] = (), **limits: Any) -> WsTransport:
        quota = limits.pop("quota", None)
        transport = WsTransport.bind(
            "127.0.0.1",
            0,
            limits=StreamLimits(**limits),
            quota=quota,
            allows=OriginList(origins),
        )
        transport.start(inbox.receive, inbox.unreachable)
        opened.append(transport)
        return transport

    yield open_
    for transport in opened:
        transport.close()
    await asyncio.sleep(0)
    await asyncio.sleep(0)


def client(transport: WsTransport, **options: Any) -> Any:
    host, port = transport.local
    scheme = transport.name
    options.setdefault("subprotocols", ["sip"])
    return connect(f"{scheme}://{host}:{port}/", compression=None, **options)


@pytest.mark.parametrize("text", [True, False], ids=["text", "binary"])
async def test_one_message_a_websocket_message_answered_in_kind(
    text: bool, open_ws: Any, inbox: Any, until: Any
) -> None:
    ours = open_ws(inbox)
    async with client(ours) as phone:
        assert phone.subprotocol == "sip"
        await phone.send(MESSAGE.decode() if text else MESSAGE)
        await until(lambda: len(inbox.messages) == 1)
        data, flow = inbox.messages[0]
        assert data == MESSAGE
        assert flow.transport == "ws"
        ours.send(MESSAGE, flow)
        assert await phone.recv() == (MESSAGE.decode() if text else MESSAGE)
    await until(lambda: inbox.gone == [flow])


async def test_secure_websockets(authority: Any, inbox: Any, until: Any) -> None:
    good = authority("good")
    issued = good.issue("127.0.0.1")
    who = TlsIdentity(issued.certificate, issued.key, now_s=time.monotonic)
    ours = WssTransport.bind("127.0.0.1", 0, identity=who)
    ours.start(inbox.receive, inbox.unreachable)
    context = ssl.create_default_context(cafile=good.file)
    async with client(ours, ssl=context) as phone:
        await phone.send(MESSAGE.decode())
        await until(lambda: len(inbox.messages) == 1)
        flow = inbox.messages[0][1]
        assert flow.transport == "wss"
        ours.send(MESSAGE, flow)
        assert await phone.recv() == MESSAGE.decode()
    ours.close()
    await asyncio.sleep(0)


async def test_a_message_in_several_frames_is_one(open_ws: Any, inbox: Any, until: Any) -> None:
    ours = open_ws(inbox)
    async with client(ours) as phone:
        await phone.send([MESSAGE[:9], MESSAGE[9:10], MESSAGE[10:]])
        await phone.send(MESSAGE)
        await until(lambda: len(inbox.messages) == 2)
    assert [data for data, _ in inbox.messages] == [MESSAGE, MESSAGE]


async def test_keep_alives_of_both_kinds(open_ws: Any, inbox: Any) -> None:
    ours = open_ws(inbox)
    async with client(ours) as phone:
        await phone.send("\r\n\r\n")
        assert await phone.recv() == "\r\n"
        pong = await phone.ping()
        await pong
    assert inbox.messages == []


@pytest.mark.parametrize(
    ("origin", "allowed", "welcome"),
    [
        (None, (), True),
        ("http://127.0.0.1:8080", (), True),
        ("https://phone.example", (), False),
        ("https://phone.example", ("https://phone.example",), True),
        ("https://phone.example.evil.example", ("https://phone.example",), False),
        ("http://127.0.0.1:80.evil.example", (), False),
        ("http://phone.example", ("https://phone.example",), False),
        ("null", (), False),
        ("https://anybody.example", ("*",), True),
        ("http://[", (), False),
    ],
)
async def test_only_pages_that_are_allowed_get_in(
    origin: str | None, allowed: tuple[str, ...], welcome: bool, open_ws: Any, inbox: Any
) -> None:
    ours = open_ws(inbox, origins=allowed)
    if welcome:
        async with client(ours, origin=origin):
            pass
    else:
        with pytest.raises(InvalidStatus) as caught:
            await client(ours, origin=origin).__aenter__()
        assert caught.value.response.status_code == 403
        assert ours.counters.malformed == 1


def handshake(**changes: str | None) -> bytes:
    fields = {
        "Host": "127.0.0.1",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode(),
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Protocol": "sip",
    }
    for name, value in changes.items():
        fields[name.replace("_", "-")] = value  # type: ignore[assignment]
    lines = [f"{name}: {value}" for name, value in fields.items() if value is not None]
    return ("GET / HTTP/1.1\r\n" + "\r\n".join(lines) + "\r\n\r\n").encode()


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (handshake(Sec_WebSocket_Protocol="chat"), b"400"),
        (handshake(Sec_WebSocket_Protocol=None), b"400"),
        (handshake(Sec_WebSocket_Version="8"), b"400"),
        (handshake(Sec_WebSocket_Key="short"), b"400"),
        (handshake(Upgrade=None), b"426"),
        (handshake(Host=None), b"403"),
        (handshake(Origin="https://evil.example"), b"403"),
        (handshake().replace(b"GET", b"POST"), b"405"),
        (handshake(X="x" * 9000), b"431"),
        (MESSAGE, b""),
        (b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 5000, b"431"),
        (b"\0" * 20_000, b"414"),
    ],
)
async def test_handshakes_that_are_none(
    request_: bytes, status: bytes, open_ws: Any, inbox: Any, until: Any
) -> None:
    ours = open_ws(inbox)
    reader, writer = await asyncio.open_connection(*ours.local)
    writer.write(request_)
    got = b""
    with contextlib.suppress(ConnectionError):
        got = await reader.read()
    assert got[9:12] == status
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    await until(lambda: ours.snapshot()["connections"] == 0)
    assert inbox.messages == []


def frame(payload: bytes, *, opcode: int = 0x81, masked: bool = True, length: int = -1) -> bytes:
    octets = len(payload) if length < 0 else length
    flag = 0x80 if masked else 0
    if octets < 126:
        head = bytes([opcode, flag | octets])
    elif octets < 65_536:
        head = bytes([opcode, flag | 126]) + octets.to_bytes(2, "big")
    else:
        head = bytes([opcode, flag | 127]) + octets.to_bytes(8, "big")
    return head + (bytes(4) if masked else b"") + payload


@pytest.mark.parametrize(
    ("octets", "code"),
    [
        (frame(MESSAGE, masked=False), 1002),
        (frame(b"", length=2**63 - 1), 1009),
        (frame(b"", length=2**63), 1009),
        (frame(b"", length=LARGEST + 1), 1009),
        (frame(b"x" * 60_000, opcode=0x01) + frame(b"", opcode=0x00, length=LARGEST), 1009),
        (frame(MESSAGE, opcode=0xC1), 1002),
        (frame(MESSAGE, opcode=0x83), 1002),
        (frame(MESSAGE, opcode=0x80), 1002),
        (frame(b"x" * 126, opcode=0x89), 1002),
    ],
    ids=["unmasked", "63 bits", "64 bits", "N+1", "sum", "rsv", "opcode", "continuation", "ping"],
)
async def test_frames_that_are_refused(
    octets: bytes, code: int, open_ws: Any, inbox: Any, until: Any
) -> None:
    ours = open_ws(inbox)
    reader, writer = await asyncio.open_connection(*ours.local)
    writer.write(handshake())
    await reader.readuntil(b"\r\n\r\n")
    writer.write(octets)
    got = await reader.read()
    assert got[0] == 0x88
    assert int.from_bytes(got[2:4], "big") == code
    writer.close()
    await writer.wait_closed()
    await until(lambda: ours.snapshot()["connections"] == 0)
    assert inbox.messages == []
    assert ours.counters.malformed == 1


async def test_a_bad_frame_sent_ahead_of_the_answer_closes_too(open_ws: Any, inbox: Any) -> None:
    ours = open_ws(inbox)
    reader, writer = await asyncio.open_connection(*ours.local)
    writer.write(handshake() + frame(MESSAGE, masked=False))
    async with asyncio.timeout(5):
        await reader.read()
    writer.close()
    await writer.wait_closed()
    assert inbox.messages == []


def test_octets_behind_a_handshake_that_is_none_are_not_answered_twice() -> None:
    framing = WebSocketFraming(DEFAULT_LIMITS, OriginList(()))
    refused = b"GET / HTTP/1.1\r\nHost: office.example\r\nUpgrade: websocket\r\n\r\n"
    assert framing.feed(refused + b"\xff" * 40) == []
    assert framing.over
    assert framing.malformed


async def test_the_largest_message_passes_and_one_octet_more_does_not(
    open_ws: Any, inbox: Any, until: Any
) -> None:
    ours = open_ws(inbox)
    async with client(ours) as phone:
        await phone.send(b"x" * LARGEST)
        await until(lambda: len(inbox.messages) == 1)
        with contextlib.suppress(ConnectionClosedError):
            await phone.send(b"x" * (LARGEST + 1))
            await phone.recv()
        assert phone.protocol.close_rcvd.code == 1009
    assert len(inbox.messages) == 1


@pytest.mark.parametrize(
    "say",
    [b"", b"GET / HT", handshake()[:-2], handshake() + frame(b"", length=100)],
    ids=["nothing", "line", "head", "frame"],
)
async def test_what_is_begun_must_be_finished_in_time(
    say: bytes, open_ws: Any, inbox: Any, until: Any
) -> None:
    ours = open_ws(inbox, message_s=0.2)
    reader, writer = await asyncio.open_connection(*ours.local)
    writer.write(say[: len(handshake())])
    if len(say) > len(handshake()):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(say[len(handshake()) :])
    with contextlib.suppress(ConnectionError):
        await reader.read()
    await until(lambda: ours.snapshot()["connections"] == 0)
    assert ours.counters.late == 1
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def test_a_proven_browser_is_pinged_and_found_when_it_is_gone(
    open_ws: Any, inbox: Any, until: Any
) -> None:
    ours = open_ws(inbox, idle_s=0.4)
    async with client(ours, ping_interval=None) as phone:
        await phone.send(MESSAGE)
        await until(lambda: len(inbox.messages) == 1)
        ours.prove(inbox.messages[0][1])
        await asyncio.sleep(1.2)
        assert ours.snapshot()["connections"] == 1, "its pongs keep it"
        phone.transport.pause_reading()
        await until(lambda: ours.snapshot()["connections"] == 0)
        phone.transport.abort()
    assert ours.counters.late == 1


async def test_websockets_and_tcp_share_one_limit(open_ws: Any, inbox: Any, until: Any) -> None:
    quota = ConnectionQuota(per_source=2)
    ours = open_ws(inbox, quota=quota)
    tcp = TcpTransport.bind("127.0.0.1", 0, quota=quota)
    tcp.start(inbox.receive, inbox.unreachable)
    _, plain = await asyncio.open_connection(*tcp.local)
    async with client(ours):
        with contextlib.suppress(ConnectionError):  # a reset may be seen at once, or by reading
            reader, third = await asyncio.open_connection(*tcp.local)
            with contextlib.closing(third):
                assert await reader.read() == b""
        await until(lambda: tcp.counters.refused == 1)
    plain.close()
    await until(lambda: len(quota) == 0)
    tcp.close()


async def test_nobody_is_called_over_a_websocket_of_ours(
    open_ws: Any, inbox: Any, until: Any
) -> None:
    from softswitch.sip.flow import Flow

    ours = open_ws(inbox)
    flow = Flow("ws", ours.local, ("127.0.0.1", 5060))
    ours.send(MESSAGE, flow)
    await until(lambda: inbox.gone == [flow])


@given(cuts=st.lists(st.integers(0, 300), max_size=12), mask=st.binary(min_size=4, max_size=4))
def test_however_the_octets_are_cut(cuts: list[int], mask: bytes) -> None:
    def masked(opcode: int, payload: bytes) -> bytes:
        body = bytes(octet ^ mask[i % 4] for i, octet in enumerate(payload))
        return bytes([opcode, 0x80 | len(payload)]) + mask + body

    stream = (
        handshake()
        + masked(0x81, b"one")
        + masked(0x01, b"tw")
        + masked(0x89, b"ping")
        + masked(0x80, b"o")
        + masked(0x82, b"\r\n\r\n")
    )
    framing = WebSocketFraming(Limits(), lambda origin, host: True)
    items = []
    at = 0
    for cut in [*sorted(min(cut, len(stream)) for cut in cuts), len(stream)]:
        items += framing.feed(stream[at:cut])
        at = cut
    assert items == [b"one", KeepAlive.PONG, b"two", KeepAlive.PING]
    assert not framing.pending
    assert not framing.over


@given(st.binary(max_size=400), st.booleans())
def test_garbage_is_no_exception(garbage: bytes, after_handshake: bool) -> None:
    framing = WebSocketFraming(Limits(), OriginList())
    items = framing.feed(handshake() if after_handshake else b"")
    for at in range(0, len(garbage), 7):
        items += framing.feed(garbage[at : at + 7])
    framing.take_output()
    assert all(isinstance(item, bytes | KeepAlive) for item in items)


def test_random_frames_are_no_exception() -> None:
    for _ in range(300):
        framing = WebSocketFraming(Limits(head=200, body=200), OriginList())
        framing.feed(handshake())
        for _ in range(20):
            framing.feed(frame(os.urandom(30), opcode=os.urandom(1)[0]))
        framing.take_output()
