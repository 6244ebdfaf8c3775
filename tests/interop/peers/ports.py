"""Loopback ports for the peers of a test."""

from __future__ import annotations

from pathlib import Path

from softswitch.ports import free_port

HOST = "127.0.0.1"

__all__ = ["HOST", "free_port", "free_ports", "listening"]


def free_ports(count: int) -> int:
    """The first of `count` consecutive free ports, even, never given out before."""
    return free_port(HOST, count)


def listening(port: int) -> bool:
    """Whether some process has this UDP port open (Linux)."""
    tables = (Path("/proc/net/udp"), Path("/proc/net/udp6"))
    return any(f":{port:04X} " in table.read_text() for table in tables if table.exists())
