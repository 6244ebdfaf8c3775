"""Free ports of this machine for peers that are started by number: tests, benches, demonstrations.

A port that was only looked at is anybody's until it is bound, and one from the kernel's own range is likely
to be somebody's by then. These lie below that range, are given out once in a process, and no two processes
that ask here get the same: each holds a slice of them by a name that ends with it.
"""

from __future__ import annotations

import os
import socket

from softswitch.errors import SoftswitchError

FIRST, LAST = 10_240, 29_952
SLICE = 512
"""Ports; also the most that can be had in one piece."""
_SLICES_MAX = 4


class FreePorts:
    """Gives out the ports from `first` up to `last`."""

    def __init__(self, first: int = FIRST, last: int = LAST) -> None:
        self._first, self._slices = first, (last - first) // SLICE
        self._begin()

    def _begin(self) -> None:
        self._locks: list[int] = []
        self._held: list[int] = []
        self._at = self._end = 0
        self._pid = os.getpid()

    def take(self, host: str = "127.0.0.1", count: int = 1) -> int:
        """The first of `count` consecutive ports, an even one, that are free at `host`, UDP and TCP."""
        if not 0 < count <= SLICE:
            raise SoftswitchError(f"{count} ports in one piece: at most {SLICE}")
        if self._pid != os.getpid():  # a child has the slices of its parent, who goes on using them
            self._begin()
        for _ in range(2 * self._slices + 2):
            while self._at + count <= self._end:
                first = self._at
                self._at += count + count % 2
                if all(_is_free(host, port) for port in range(first, first + count)):
                    return first
            self._next_slice()
        raise SoftswitchError(f"no {count} free ports at {host}")

    def close(self) -> None:
        """Let others have the slices."""
        for descriptor in self._locks:
            os.close(descriptor)
        self._begin()

    def _next_slice(self) -> None:
        """Another slice. Once there are as many as one process may have, the one held the longest, whose users
        are the likeliest gone; where others hold all, any: better shared than none."""
        number = self._lock() if len(self._held) < _SLICES_MAX else None
        if number is None:
            number = self._held.pop(0) if self._held else self._pid % self._slices
        self._held.append(number)
        self._at = self._first + number * SLICE
        self._end = self._at + SLICE

    def _lock(self) -> int | None:
        for offset in range(self._slices):
            number = (self._pid + offset) % self._slices
            if number in self._held:
                continue
            name = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            try:
                name.bind(f"\0softswitch-ports-{self._first + number * SLICE}")
            except OSError:
                name.close()
                continue
            self._locks.append(name.detach())  # until the process ends
            return number
        return None


def _is_free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(family, kind) as probe:
            try:
                probe.bind((host, port))
            except OSError:
                return False
    return True


_ours = FreePorts()


def free_port(host: str = "127.0.0.1", count: int = 1) -> int:
    """A port, or the first of `count`, that is free at `host` and that nobody else is given."""
    return _ours.take(host, count)
