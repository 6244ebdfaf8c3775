"""Connections to the API that take their time, over real sockets: they keep nobody else out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import pytest

from softswitch.api import connection

HEAD = b"GET /api/v1/health HTTP/1.1\r\nHost: x\r\n"


@asynccontextmanager
async def opened(served: Any, data: bytes = b"") -> AsyncIterator[Any]:
    host, _, port = served.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(data)
    try:
        yield reader, writer
    finally:
        writer.close()


async def is_cut(reader: asyncio.StreamReader, within_s: float) -> bool:
    """Whether the other side ends it without a word."""
    try:
        async with asyncio.timeout(within_s):
            return await reader.read(1) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


async def nobody(served: Any) -> None:
    """Wait until all connections are gone."""
    for _ in range(250):
        if not served.connections():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("some are left")


async def healthy(served: Any) -> bool:
    async with httpx.AsyncClient() as http:
        return (await http.get(f"{served.url}/api/v1/health")).status_code == 200


async def test_a_head_and_a_body_have_an_end(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_S", 0.4)
    monkeypatch.setattr(connection, "BODY_S", 0.2)
    begun = b"POST /api/v1/session HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    for data in (b"", HEAD, begun + b"Content-Length: 90\r\n\r\n{"):
        async with opened(served, data) as (reader, _):
            assert await is_cut(reader, 5.0), data
    async with opened(served, HEAD) as (reader, writer):
        began_s = time.monotonic()
        while time.monotonic() - began_s < 3.0:  # a drop now and then renews no patience
            writer.write(b"X-Drop: 1\r\n")
            if await is_cut(reader, 0.1):
                break
        assert 0.3 < time.monotonic() - began_s < 2.5
    async with opened(served, HEAD + b"\r\n") as (reader, writer):
        assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
        await reader.readuntil(b"}")
        assert not await is_cut(reader, 0.6), "who has asked may keep his connection for a while"
        writer.write(HEAD + b"\r\n")
        assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")


@pytest.mark.limit("connections to the API")
async def test_one_more_than_there_are_places_closes_the_oldest(
    served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "CONNECTIONS_MAX", 20)
    monkeypatch.setattr(connection, "SPARE", 10)
    async with AsyncExitStack() as stack:
        many = [await stack.enter_async_context(opened(served, HEAD)) for _ in range(10)]
        assert not any([await is_cut(reader, 0.05) for reader, _ in many])
        many.append(await stack.enter_async_context(opened(served, HEAD)))
        cut = [await is_cut(reader, 0.05) for reader, _ in many]
    assert cut == [True] + 10 * [False]


async def test_silent_connections_give_way(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CONNECTIONS_MAX", 20)
    monkeypatch.setattr(connection, "SPARE", 10)
    async with AsyncExitStack() as stack, httpx.AsyncClient() as kept:
        url = f"{served.url}/api/v1/health"
        assert (await kept.get(url)).status_code == 200
        many = [await stack.enter_async_context(opened(served, HEAD)) for _ in range(30)]
        assert await healthy(served)
        cut = [await is_cut(reader, 0.05) for reader, _ in many]
        assert cut[0]
        assert not cut[-1]
        assert 19 <= sum(cut) <= 23
        assert (await kept.get(url)).status_code == 200


@pytest.mark.limit("of them from one address, silent")
async def test_one_address_has_so_many(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "PER_SOURCE_MAX", 3)
    async with AsyncExitStack() as stack:
        for _ in range(8):
            await stack.enter_async_context(opened(served, HEAD))
        assert await healthy(served), "this machine has no limit"
    await nobody(served)
    monkeypatch.setattr(connection, "_is_here", lambda host: False)
    async with AsyncExitStack() as stack:
        many = [await stack.enter_async_context(opened(served, HEAD)) for _ in range(5)]
        assert [await is_cut(reader, 0.3) for reader, _ in many] == [False] * 3 + [True] * 2
        for reader, writer in many[:3]:
            writer.write(b"\r\n")
            assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
        assert await healthy(served), "hundreds who work may be behind one address"
    await nobody(served)
    assert await healthy(served), "who has closed some has room again"


async def test_what_is_no_http_is_told_so_as_a_problem(served: Any) -> None:
    async with opened(served, b"\x16\x03\x01 no http\r\n\r\n") as (reader, _):
        answer = await reader.read()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400")
    assert b"application/problem+json" in head
    assert b'"status":400' in body


async def test_who_does_not_read_his_answer_is_let_go(
    served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "READ_S", 0.3)
    async with httpx.AsyncClient(
        timeout=60
    ) as http:  # the document is made when it is first asked for
        assert len((await http.get(f"{served.url}/api/v1/openapi.json")).content) > 100_000
    await nobody(served)
    async with opened(served) as (reader, writer):
        reader._transport.pause_reading()
        asked = b"GET /api/v1/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
        connections = served.connections()
        for _ in range(200):
            writer.write(asked)
        await nobody(served)
        assert connections
