"""Connections to the API that take their time, over real sockets: they keep nobody else out."""

from __future__ import annotations

import asyncio
import contextlib
import json
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


def problem_of(answer: bytes) -> Any:
    """What an answer of ours says, which is the last of its connection."""
    head, _, body = answer.partition(b"\r\n\r\n")
    names = dict(line.split(b": ", 1) for line in head.lower().split(b"\r\n")[1:])
    assert names[b"content-type"] == b"application/problem+json"
    assert names[b"connection"] == b"close"
    found = json.loads(body)
    assert head.startswith(f"HTTP/1.1 {found['status']} {found['title']}".encode())
    found["retry"] = names.get(b"retry-after", b"").decode()
    return found


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
    async with opened(served) as (reader, _):
        assert await is_cut(reader, 5.0), "who has not begun is told nothing"
    for data in (HEAD, begun + b"Content-Length: 90\r\n\r\n{"):
        async with opened(served, data) as (reader, _):
            told = problem_of(await asyncio.wait_for(reader.read(), 5.0))
            assert (told["status"], told["title"]) == (408, "Request Timeout")
    async with opened(served, HEAD) as (reader, writer):
        began_s, told = time.monotonic(), b""
        while not told and time.monotonic() - began_s < 3.0:
            writer.write(b"X-Drop: 1\r\n")  # a drop now and then renews no patience
            with contextlib.suppress(TimeoutError):
                told = await asyncio.wait_for(reader.read(4_096), 0.1)
        assert told.startswith(b"HTTP/1.1 408")
        assert time.monotonic() - began_s > 0.3
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
        for reader, _ in many[3:]:
            told = problem_of(await asyncio.wait_for(reader.read(), 5.0))
            assert (told["status"], told["retry"]) == (429, "5")
        assert [await is_cut(reader, 0.05) for reader, _ in many[:3]] == [False] * 3
        for reader, writer in many[:3]:
            writer.write(b"\r\n")
            assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
        assert await healthy(served), "hundreds who work may be behind one address"
    await nobody(served)
    assert await healthy(served), "who has closed some has room again"


async def test_what_is_no_http_is_told_so_as_a_problem(served: Any) -> None:
    async with opened(served, b"\x16\x03\x01 no http\r\n\r\n") as (reader, _):
        answer = await reader.read()
    assert problem_of(answer)["status"] == 400


async def test_one_request_more_than_is_served_at_once_is_a_problem(
    served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "CONNECTIONS_MAX", 3)
    monkeypatch.setattr(connection, "SPARE", 0)
    begun = HEAD.replace(b"GET /api/v1/health", b"POST /api/v1/session")
    begun += b"Content-Type: application/json\r\nContent-Length: 90\r\n\r\n{"
    async with AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(opened(served, begun))
        assert await healthy(served), "the third is served"
        await stack.enter_async_context(opened(served, begun))
        async with opened(served, HEAD + b"\r\n") as (reader, _):
            told = problem_of(await asyncio.wait_for(reader.read(), 5.0))
        assert (told["status"], told["retry"]) == (503, "5")
    await nobody(served)
    assert await healthy(served)


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
