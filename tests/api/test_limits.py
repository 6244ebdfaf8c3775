"""Limits of the API at N and at N+1 whose owners have no test of their own."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from softswitch.api.access import Identity
from softswitch.api.accounts import HASHING_MAX
from softswitch.api.admin import CLIENTS_MAX, SOCKET_NAME, AdminServer
from softswitch.api.events.desk import READERS_MAX, READERS_MAX_EACH
from softswitch.api.events.hub import Hub
from softswitch.api.events.reader import COMMAND_OCTETS_MAX, MALFORMED, Reader
from softswitch.api.paging import LIMIT_MAX
from softswitch.api.problem import Refused
from softswitch.api.routes.events import require_room

ROOT = Identity("root", "admin", "user")


@pytest.mark.limit("rows of a page of the API")
async def test_a_page_has_so_many_rows_at_most(api: Any) -> None:
    admin = await api.as_role("admin")
    await admin.get(f"/customers?limit={LIMIT_MAX}")
    await admin.get(f"/customers?limit={LIMIT_MAX + 1}", 422)


@pytest.mark.limit("passwords being checked")
async def test_so_many_passwords_are_checked_at_once(
    api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts, guess = api.service.accounts, {"name": "nobody", "password": "guess"}
    for others, status in ((HASHING_MAX - 1, 401), (HASHING_MAX, 429)):
        monkeypatch.setattr(accounts, "_hashing", others)
        await api.client().post("/session", guess, status)


@pytest.mark.limit("event connections", "of them of one user or token")
def test_connections_to_the_events_are_bounded() -> None:
    def full(own: int, others: int) -> bool:
        names = ["root"] * own + [f"u{number}" for number in range(others)]
        readers = [SimpleNamespace(identity=Identity(name, "admin", "user")) for name in names]
        service: Any = SimpleNamespace(events=SimpleNamespace(readers=readers))
        try:
            require_room(service, ROOT)
        except Refused:
            return True
        return False

    assert [full(0, READERS_MAX - 1), full(0, READERS_MAX)] == [False, True]
    assert [full(READERS_MAX_EACH - 1, 0), full(READERS_MAX_EACH, 0)] == [False, True]


@pytest.mark.limit("command of an event reader")
@pytest.mark.parametrize("more", [0, 1])
def test_a_command_has_so_many_octets_at_most(more: int) -> None:
    ping = json.dumps({"type": "ping"})
    reader = Reader(Hub("r"), ROOT, lambda wanted: {}, lambda: None)
    reader.take_text(ping.ljust(COMMAND_OCTETS_MAX + more))
    assert (reader.closed or (0, ""))[0] == (MALFORMED[0] if more else 0)


@pytest.mark.limit("clients of the admin socket")
async def test_so_many_clients_of_the_admin_socket_are_heard(tmp_path: Path) -> None:
    async def hello(request: dict[str, Any]) -> dict[str, Any]:
        return {"hello": True}

    async def answer(*of: Any) -> bytes:
        reader, writer = of
        writer.write(b'{"command": "hello"}\n')
        line: bytes = await reader.readline()
        return line

    server = AdminServer(tmp_path, {"hello": hello})
    await server.start()
    clients = []
    try:
        for number in range(CLIENTS_MAX + 1):
            clients.append(await asyncio.open_unix_connection(tmp_path / SOCKET_NAME))
            heard = b'"error"' if number == CLIENTS_MAX else b'{"hello": true}\n'
            assert heard in await answer(*clients[-1])
        assert await clients[0][0].readline() == b"\n"
        assert await answer(*clients[0]) == b'{"hello": true}\n', "the others are heard as before"
    finally:
        for _, writer in clients:
            writer.close()
        await server.stop()
