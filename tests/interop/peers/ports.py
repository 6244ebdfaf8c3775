"""Free loopback ports below the kernel's own range, so that no outgoing socket takes them."""

from __future__ import annotations

import itertools
import os
import socket
from pathlib import Path

_WORKERS, _SHARE = 3, 4_000
_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _WORKERS
FIRST = 20_000 + _worker * _SHARE
LAST = FIRST + _SHARE
"""Processes that test side by side have ports of their own: what one has given out but not yet bound,
such as an exchange's range for sound, looks free to the other."""

HOST = "127.0.0.1"

_next = itertools.count((os.getpid() * 37) % _SHARE)  # two test runs start apart


def _free(port: int) -> bool:
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                return False
    return True


def free_ports(count: int) -> int:
    """The first of `count` consecutive free ports (UDP and TCP), even, never given out before."""
    while True:
        first = FIRST + next(_next) % (LAST - FIRST)
        if first % 2 or first + count > LAST:
            continue
        if all(_free(port) for port in range(first, first + count)):
            for _ in range(count - 1):
                next(_next)
            return first


def free_port() -> int:
    return free_ports(1)


def listening(port: int) -> bool:
    """Whether some process has this UDP port open (Linux)."""
    tables = (Path("/proc/net/udp"), Path("/proc/net/udp6"))
    return any(f":{port:04X} " in table.read_text() for table in tables if table.exists())
