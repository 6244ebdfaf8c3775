"""Loopback ports for the peers of a test."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from softswitch.ports import free_port

HOST = "127.0.0.1"

__all__ = ["HOST", "free_port", "free_ports", "listening"]


def free_ports(count: int) -> int:
    """The first of `count` consecutive free ports, even, never given out before."""
    return free_port(HOST, count)


def listening(port: int, pid: int | None = None) -> bool:
    """Whether some process, or the one of this id, has this UDP port open (Linux)."""
    inodes = {words[9] for words in _sockets() if words[1].endswith(f":{port:04X}")}
    return bool(inodes if pid is None else inodes & _sockets_of(pid))


def _sockets() -> Iterator[list[str]]:
    for table in (Path("/proc/net/udp"), Path("/proc/net/udp6")):
        if table.exists():
            yield from (line.split() for line in table.read_text().splitlines()[1:])


def _sockets_of(pid: int) -> set[str]:
    """The inodes of the sockets that a process has."""
    found = set()
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found.add(str(entry.readlink()).removeprefix("socket:[").removesuffix("]"))
    return found
