"""Free ports of this machine for peers that are started by number: tests, benches, demonstrations.

A port that was only looked at is anybody's until it is bound, and one from the kernel's own range is likely
to be somebody's by then. These lie below that range, are given out once in a process, and no two processes
that ask here get the same: each holds a slice of them by a name that ends with it.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence

from softswitch.errors import SoftswitchError

FIRST, LAST = 10_240, 29_952
SLICE = 256
_SLICES_MAX = 8
PIECE_MAX = 16 * SLICE
"""The most that can be had in one piece; what is more than a slice stays its asker's while he lives."""


def _is_free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(family, kind) as probe:
            try:
                probe.bind((host, port))
            except OSError:
                return False
    return True


class FreePorts:
    """Gives out the ports from `first` up to `last` that `is_free` by host and port, each once among all that
    use the same `name`."""

    def __init__(
        self,
        first: int = FIRST,
        last: int = LAST,
        name: str = "softswitch-ports",
        is_free: Callable[[str, int], bool] = _is_free,
    ) -> None:
        self._first, self._slices = first, (last - first) // SLICE
        self._name, self._is_free = name, is_free
        self._begin()

    def _begin(self) -> None:
        self._locks: list[int] = []
        self._held: list[int] = []
        self._at = self._end = self._shared = 0
        self._pid = os.getpid()

    def take(self, host: str | Sequence[str] = "127.0.0.1", count: int = 1) -> int:
        """The first of `count` consecutive ports, an even one, that are free at `host` (at each of several),
        UDP and TCP."""
        hosts = (host,) if isinstance(host, str) else host
        if not 0 < count <= PIECE_MAX:
            raise SoftswitchError(f"{count} ports in one piece: at most {PIECE_MAX}")
        if self._pid != os.getpid():  # a child has the slices of its parent, who goes on using them
            self._begin()
        if count > SLICE:
            return self._take_slices(hosts, count)
        for _ in range(2 * self._slices + 2):
            while self._at + count <= self._end:
                first = self._at
                self._at += count + count % 2
                if self._are_free(hosts, first, count):
                    return first
            self._next_slice()
        raise SoftswitchError(f"no {count} free ports at {' and '.join(hosts)}")

    def close(self) -> None:
        """Let others have the slices."""
        for descriptor in self._locks:
            os.close(descriptor)
        self._begin()

    def _take_slices(self, hosts: Sequence[str], count: int) -> int:
        """A piece of several slices that nobody has a part of."""
        many = -(-count // SLICE)
        for start in range(self._slices - many + 1):
            first = self._first + start * SLICE
            names = [name for at in range(many) if (name := self._lock(start + at)) is not None]
            if len(names) == many and self._are_free(hosts, first, count):
                self._locks += names
                return first
            for name in names:
                os.close(name)
        raise SoftswitchError(f"no {count} free ports in one piece at {' and '.join(hosts)}")

    def _are_free(self, hosts: Sequence[str], first: int, count: int) -> bool:
        return all(self._is_free(host, at) for host in hosts for at in range(first, first + count))

    def _next_slice(self) -> None:
        """Another slice. Once there are as many as one process may have, the one held the longest, whose users
        are the likeliest gone; where others hold the rest, one after the other: better shared than none."""
        if len(self._held) == _SLICES_MAX:
            number = self._held.pop(0)
            self._held.append(number)
        elif (another := self._another()) is not None:
            number = another
            self._held.append(number)
        else:
            number = (self._pid + self._shared) % self._slices
            self._shared += 1
        self._at = self._first + number * SLICE
        self._end = self._at + SLICE

    def _another(self) -> int | None:
        """The number of a slice that is ours alone from now on."""
        for offset in range(self._slices):
            number = (self._pid + offset) % self._slices
            name = self._lock(number)
            if name is not None:
                self._locks.append(name)
                return number
        return None

    def _lock(self, number: int) -> int | None:
        """The descriptor that holds a slice until it is closed or the process ends; None: somebody's, or
        ours already."""
        name = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            name.bind(f"\0{self._name}-{self._first + number * SLICE}")
        except OSError:
            name.close()
            return None
        return name.detach()


_ours = FreePorts()


def give_back() -> None:
    """Let others have what this process was given, when all that used it has ended: many processes side by side
    have enough for each only where nobody keeps what he needs no longer."""
    _ours.close()


def free_port(host: str | Sequence[str] = "127.0.0.1", count: int = 1) -> int:
    """A port, or the first of `count` (up to PIECE_MAX), that is free at `host`, or at each of several, and
    that nobody else is given."""
    return _ours.take(host, count)
