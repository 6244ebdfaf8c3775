"""Datagrams that the kernel threw away because a socket's buffer was full: whose sockets those were.

What is lost there has arrived, and nobody's network is at fault. Sources: /proc/net/snmp (`RcvbufErrors`) and
/proc/net/udp of Linux (proc_net(5), the column `drops`); elsewhere nothing is counted.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

_TABLES = ("udp", "udp6")


def receive_errors(snmp: str) -> int:
    """The machine's `RcvbufErrors` so far, from the text of /proc/net/snmp; 0 where there is none."""
    lines = [line.split() for line in snmp.splitlines() if line.startswith("Udp:")]
    for names, values in zip(lines[::2], lines[1::2], strict=False):
        if "RcvbufErrors" in names:
            return int(values[names.index("RcvbufErrors")])
    return 0


def receive_errors6(snmp6: str) -> int:
    """The same of /proc/net/snmp6."""
    for line in snmp6.splitlines():
        if line.startswith("Udp6RcvbufErrors"):
            return int(line.split()[1])
    return 0


def drops_by_inode(table: str) -> dict[int, tuple[int, int]]:
    """Of /proc/net/udp: local port and drops so far of each socket that has dropped anything."""
    found = {}
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) >= 13 and fields[12] != "0":
            port = int(fields[1].rpartition(":")[2], 16)
            found[int(fields[9])] = (port, int(fields[12]))
    return found


@dataclass(slots=True)
class Drops:
    """Sums over a run; `others` are sockets of neither side, or closed before anybody looked."""

    target: int = 0
    generator: int = 0
    machine: int = 0
    ports: dict[int, int] = field(default_factory=dict)
    """Of the target: drops by local port."""


class DropWatch:
    """Looks at the kernel's counters: `begin`, then `look` now and then (sockets that close take their
    count with them), `found` at the end."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._first = self._last = 0
        self._before: dict[int, int] = {}
        self._sockets: dict[int, tuple[str, int, int]] = {}

    def begin(self) -> None:
        """What was dropped before does not count."""
        self._first = self._last = self._errors()
        self._before = {inode: drops for inode, (_, drops) in self._table().items()}

    def look(self, target: Iterable[int], generator: Iterable[int]) -> None:
        """Look again, whose processes are these; costs next to nothing while nothing is dropped."""
        errors = self._errors()
        if errors == self._last:
            return
        self._last = errors
        table = self._table()
        for side, pids in (("target", target), ("generator", generator)):
            for inode in self._inodes(pids):
                if inode in table:
                    port, drops = table[inode]
                    self._sockets[inode] = (side, port, drops - self._before.get(inode, 0))

    @property
    def found(self) -> Drops:
        """What was dropped since `begin`."""
        drops = Drops(machine=self._last - self._first)
        for side, port, many in self._sockets.values():
            if side == "generator":
                drops.generator += many
            elif many:
                drops.target += many
                drops.ports[port] = drops.ports.get(port, 0) + many
        return drops

    def _errors(self) -> int:
        return receive_errors(self._text("snmp")) + receive_errors6(self._text("snmp6"))

    def _text(self, name: str) -> str:
        try:
            return (self._proc / "net" / name).read_text()
        except OSError:
            return ""

    def _table(self) -> dict[int, tuple[int, int]]:
        found: dict[int, tuple[int, int]] = {}
        for name in _TABLES:
            found |= drops_by_inode(self._text(name))
        return found

    def _inodes(self, pids: Iterable[int]) -> set[int]:
        found = set()
        for pid in pids:
            with contextlib.suppress(OSError):  # gone, or not ours to look at
                for entry in (self._proc / str(pid) / "fd").iterdir():
                    with contextlib.suppress(OSError):  # closed meanwhile
                        name = str(entry.readlink())
                        if name.startswith("socket:["):
                            found.add(int(name[8:-1]))
        return found
