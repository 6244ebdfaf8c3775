"""Look-ups: what answers well is read, whatever else is nothing, and nothing waits for long."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from urllib.parse import parse_qs, urlsplit

import pytest

from softswitch.call.lookup import ANSWER_OCTETS_MAX, look_up


@contextlib.asynccontextmanager
async def program(answer, *, hangs=False):
    """A server that gives the same answer to everything; yields its URL and the requests it got."""
    asked, serving = [], []

    async def serve(reader, writer):
        serving.append(asyncio.current_task())
        asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(answer)
        if hangs:
            with contextlib.suppress(ConnectionError):
                await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}/customer?from=office", asked
    finally:
        server.close()
        await server.wait_closed()
        await asyncio.gather(*serving)


def reply(body, *, status="200 OK", length=True):
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n"
    head += f"Content-Length: {len(body)}\r\n" if length else ""
    return head.encode() + b"\r\n" + body


@pytest.mark.parametrize("length", [True, False])
async def test_json_comes_back_and_the_query_is_encoded(length):
    async with program(reply(b'{"vip": true}', length=length)) as (url, asked):
        found = await look_up(url, number="+86 138&admin=1\r\nX: y", queue="support")
    assert found == {"vip": True}
    line = asked[0].split("\r\n")[0].split(" ")[1]
    query = parse_qs(urlsplit(line).query)
    assert query == {
        "from": ["office"],
        "number": ["+86 138&admin=1\r\nX: y"],
        "queue": ["support"],
    }
    assert "\r\nX: y" not in asked[0]


@pytest.mark.parametrize(
    "answer",
    [
        reply(b"{}", status="404 Not Found"),
        reply(b"{}", status="302 Found"),
        reply(b"not json"),
        reply(b"[" * 5_000),
        reply(b""),
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 40_000 + b"\r\n\r\n{}",
        b"",
    ],
)
async def test_whatever_is_no_good_answer_is_none(answer, caplog):
    caplog.set_level(logging.CRITICAL)
    async with program(answer) as (url, _):
        assert await look_up(url) is None


@pytest.mark.limit("answer to a look-up")
async def test_as_long_as_allowed_and_not_an_octet_more():
    whole = b'"' + b"x" * (ANSWER_OCTETS_MAX - 2) + b'"'
    for length in (True, False):
        async with program(reply(whole, length=length)) as (url, _):
            assert len(await look_up(url)) == ANSWER_OCTETS_MAX - 2
        async with program(reply(whole[:-1] + b'x"', length=length)) as (url, _):
            assert await look_up(url) is None


async def test_a_silent_program_costs_its_time_limit():
    async with program(b"HTTP/1.1 200 OK\r\n", hangs=True) as (url, _):
        assert await look_up(url, timeout_s=0.05) is None


async def test_nobody_listens():
    assert await look_up("http://127.0.0.1:1/") is None


@pytest.mark.parametrize("url", ["ftp://a/", "file:///etc/passwd", "http://", "nothing"])
async def test_only_the_web_is_asked(url):
    with pytest.raises(ValueError, match="not an http"):
        await look_up(url)
