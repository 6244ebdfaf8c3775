"""The admin socket: a Unix socket beside the database through which the command line asks a running
server. One JSON object a line in, one or more JSON lines out. Who may open the socket (mode 0600) may ask.
"""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from softswitch.errors import SoftswitchError

SOCKET_NAME = "control.sock"
_LINE_MAX = 1 << 20
CLIENTS_MAX = 32
_TURN_AWAY_S = 1.0
# sun_path of Linux holds 108 octets; a longer path is reached through its open directory.
_PATH_MAX = 100

Answer = dict[str, Any]
Command = Callable[[dict[str, Any]], Awaitable[Answer] | AsyncIterator[Answer]]


class ServerNotRunning(SoftswitchError):
    """Nobody answers on the admin socket."""

    def __init__(self, directory: Path) -> None:
        told = f"no server is running on {directory}; start one with `softswitch serve`"
        if os.environ.get("SOFTSWITCH_URL"):
            told += " (this command asks one on this machine, not that of SOFTSWITCH_URL)"
        super().__init__(told)


@contextlib.contextmanager
def _short_path(path: Path) -> Iterator[str]:
    if len(os.fsencode(path)) <= _PATH_MAX:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


class AdminServer:
    """Serves `commands` on `directory`/control.sock.

    A command gets the request's object and returns one answer, or an async iterator of answers for
    those that follow something live. A refused or failed command answers ``{"error": ...}``.
    """

    def __init__(self, directory: Path, commands: dict[str, Command]) -> None:
        self._path = directory / SOCKET_NAME
        self._commands = commands
        self._server: asyncio.AbstractServer | None = None
        self._clients: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Bind; a socket left behind by a crash is replaced, a live one is refused."""
        if self._path.exists():
            with _short_path(self._path) as short, socket.socket(socket.AF_UNIX) as probe:
                try:
                    probe.connect(short)
                except OSError:
                    self._path.unlink()
                else:
                    raise SoftswitchError(f"another server runs on {self._path.parent}")
        with _short_path(self._path) as short:
            listener = socket.socket(socket.AF_UNIX)
            old = os.umask(0o177)
            try:
                listener.bind(short)
            finally:
                os.umask(old)
        self._server = await asyncio.start_unix_server(self._client, sock=listener, limit=_LINE_MAX)

    async def stop(self) -> None:
        if self._server is None:
            return
        self._server.close()
        for task in list(self._clients):
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        self._server = None
        self._path.unlink(missing_ok=True)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._clients) >= CLIENTS_MAX:
            await _turn_away(reader, writer)
            return
        self._clients.add(task)
        try:
            while line := await reader.readline():
                async for answer in self._answers(line):
                    writer.write(json.dumps(answer, default=str).encode() + b"\n")
                    await writer.drain()
                writer.write(b"\n")
                await writer.drain()
        except (ConnectionError, ValueError):
            pass  # the client has gone, or sent a line without an end
        except asyncio.CancelledError:
            pass  # the server stops
        finally:
            self._clients.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _answers(self, line: bytes) -> AsyncIterator[Answer]:
        request = read_request(line)
        command = self._commands.get(str(request.get("command")))
        if command is None:
            yield {"error": f"unknown command; there are: {', '.join(sorted(self._commands))}"}
            return
        try:
            result = command(request)
            if isinstance(result, AsyncIterator):
                async for answer in result:
                    yield answer
            else:
                yield await result
        except SoftswitchError as error:
            yield {"error": str(error)}


async def _turn_away(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say that there are too many, once the question was read: a close on it would take the words along."""
    with contextlib.suppress(ConnectionError, ValueError, TimeoutError):
        async with asyncio.timeout(_TURN_AWAY_S):
            await reader.readline()
        words = f"{CLIENTS_MAX} commands are being answered; try again in a moment"
        writer.write(json.dumps({"error": words}).encode() + b"\n\n")
        await writer.drain()
    writer.close()


def read_request(line: bytes) -> dict[str, Any]:
    """The object of a line; one without anything for whatever is none, which asks for no command."""
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return request if isinstance(request, dict) else {}


def _connect(connection: socket.socket, directory: Path) -> None:
    try:
        with _short_path(directory / SOCKET_NAME) as short:
            connection.connect(short)
    except OSError:
        raise ServerNotRunning(directory) from None


def runs(directory: Path) -> bool:
    """Does a server run on `directory`?"""
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            _connect(connection, directory)
        except ServerNotRunning:
            return False
    return True


def _user() -> str:
    """Who asks, for the audit log."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "somebody"


def ask(directory: Path, command: str, **arguments: Any) -> Iterator[Answer]:
    """The answers of the server on `directory`, as they come. Raises `ServerNotRunning`,
    `SoftswitchError` with the server's own words."""
    with socket.socket(socket.AF_UNIX) as connection:
        _connect(connection, directory)
        request = {"command": command, "who": f"{_user()} by command line", **arguments}
        connection.sendall(json.dumps(request).encode() + b"\n")
        with connection.makefile("rb") as lines:
            for line in lines:
                if line == b"\n":
                    return
                answer: Answer = json.loads(line)
                if "error" in answer:
                    raise SoftswitchError(str(answer["error"]))
                yield answer
