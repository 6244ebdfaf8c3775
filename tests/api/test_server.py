"""The server in the exchange's own loop."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest

from softswitch.config import parse_office
from softswitch.errors import ConfigError
from softswitch.ports import free_port
from softswitch.switch import Switch


def make_switch(tmp_path: Path, machine: type, port: int) -> Switch:
    class Served(machine):  # type: ignore[misc]
        def http(self) -> bool:
            return True

    office = parse_office(
        f'[sip]\nlisten = ["udp://127.0.0.1:0"]\n[http]\nlisten = "127.0.0.1:{port}"\n'
    )
    storage = office.storage.model_copy(update={"directory": tmp_path})
    return Switch(office.model_copy(update={"storage": storage}), environment=Served())


def files_with(directory: Path, secret: str) -> list[Path]:
    files = (path for path in directory.rglob("*") if path.is_file())
    return [path for path in files if secret.encode() in path.read_bytes()]


def at_once(switch: Switch) -> list[int]:
    """Of each connection of the API: whether what is written to it is sent without waiting."""
    assert switch.http is not None
    assert switch.http._server is not None
    connections = switch.http._server.server_state.connections
    assert connections
    sockets = [connection.transport.get_extra_info("socket") for connection in connections]
    return [one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for one in sockets]


async def test_first_start_shows_a_password_once_and_serves(
    tmp_path: Path, quiet_machine: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    for first in (True, False):
        switch = make_switch(tmp_path, quiet_machine, port)
        notices: list[str] = []
        switch.notice = notices.append
        await switch.start()
        try:
            assert switch.http is not None
            await asyncio.wait_for(switch.http.ready.wait(), 30)
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}/api/v1") as http:
                assert (await http.get("/ready")).json()["ok"] is True
                assert all(at_once(switch)), "Nagle's algorithm holds answers up"
                if first:
                    (notice,) = notices
                    password = notice.split(" with ")[1].split(" ")[0]
                    body = {"name": "admin", "password": password}
                    found = (await http.post("/session", json=body)).json()
                    assert found["must_change"] is True
                else:
                    assert notices == []
        finally:
            await switch.stop()
    assert files_with(tmp_path, password) == []


async def test_a_taken_port_is_an_error_at_once_and_leaves_nothing_behind(
    tmp_path: Path, quiet_machine: Any
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        switch = make_switch(tmp_path, quiet_machine, taken.getsockname()[1])
        with pytest.raises(ConfigError, match=r"http\.listen"):
            await switch.start()
    assert not switch.is_running


async def test_a_stop_before_it_is_ready(tmp_path: Path, quiet_machine: Any) -> None:
    switch = make_switch(tmp_path, quiet_machine, free_port())
    switch.notice = lambda _: None
    await switch.start()
    await switch.stop()


async def test_without_the_table_nothing_is_loaded(tmp_path: Path, quiet_machine: Any) -> None:
    office = parse_office('[sip]\nlisten = ["udp://127.0.0.1:0"]\n')
    storage = office.storage.model_copy(update={"directory": tmp_path})
    switch = Switch(office.model_copy(update={"storage": storage}), environment=quiet_machine())
    await switch.start()
    assert switch.http is None
    await switch.stop()
