"""What the bench of the API counts."""

from __future__ import annotations

import asyncio

from bench import api


async def test_what_is_made_beforehand_is_answered_before_the_first_request_that_counts() -> None:
    """Sixteen POSTs that were under way still made the first one that counted the slowest of all."""
    under_way = 0
    seen: list[tuple[bool, int]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal under_way
        while head := await reader.readuntil(b"\r\n\r\n"):
            body = b""
            if b"Content-Length: " in head:
                body = await reader.readexactly(int(head.split(b"Content-Length: ")[1].split()[0]))
            seen.append((b"Customer 1000" in body, under_way))
            under_way += 1
            await asyncio.sleep(0.005)
            under_way -= 1
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except asyncio.IncompleteReadError:
            writer.close()

    load = api.Load(seconds=0.05)
    async with await asyncio.start_server(client, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        await load.ask(f"http://127.0.0.1:{port}", "token")
    before = [others for first, others in seen if first]
    assert before == [0]
    assert len(seen) == api.CUSTOMERS // 4 + 10
    assert [one.what for one in load.asked].count("POST /api/v1/customers") == 1
    assert load.failed == 0
