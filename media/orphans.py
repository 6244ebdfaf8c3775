"""Media workers of an earlier life of the exchange that still carry the sound of its calls."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from pathlib import Path
from typing import Any

from media.errors import ProtocolViolation
from media.plane.orphan import PREFIX, SUFFIX
from media.protocol import MESSAGE_OCTETS_MAX, Stop, WorkerLoad, encode, pack, unpack_events

_log = logging.getLogger("media.orphans")
_STEP_S = 0.02


class Orphans:
    """Those whose sockets lie in `folder`. They are looked at, left alone until their time is over, and ended
    with `end`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._found: dict[int, socket.socket] = {}
        self._loads: dict[int, WorkerLoad] = {}
        self._loop: asyncio.AbstractEventLoop

    def __len__(self) -> int:
        return len(self._found)

    def find(self) -> None:
        """Connect to all that are there; what is left of those that are gone is cleared away."""
        self._loop = asyncio.get_running_loop()
        for path in sorted(self._folder.glob(f"{PREFIX}*{SUFFIX}")):
            pid = path.name.removeprefix(PREFIX).removesuffix(SUFFIX)
            if not (pid.isascii() and pid.isdigit()):
                continue
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            sock.setblocking(False)
            try:
                sock.connect(str(path))
            except OSError:
                sock.close()
                with contextlib.suppress(OSError):
                    path.unlink()
                continue
            self._found[int(pid)] = sock
            self._loop.add_reader(sock.fileno(), self._read, int(pid))
        if self._found:
            _log.warning(
                "%d media workers of an earlier life still carry calls; they end with them or when their "
                "time is over",
                len(self._found),
            )

    def _read(self, pid: int) -> None:
        sock = self._found[pid]
        try:
            data = sock.recv(MESSAGE_OCTETS_MAX)
            events = unpack_events(data) if data else []
        except BlockingIOError:
            return
        except (OSError, ProtocolViolation):
            data, events = b"", []
        if not data:
            self._forget(pid)
            return
        for event in events:
            if isinstance(event, WorkerLoad):
                self._loads[pid] = event

    def _forget(self, pid: int) -> None:
        sock = self._found.pop(pid)
        self._loads.pop(pid, None)
        self._loop.remove_reader(sock.fileno())
        sock.close()
        _log.info("media worker %d of an earlier life has ended", pid)

    async def end(self, patience_s: float = 2.0) -> None:
        """Ask all to end now, and wait until they have."""
        data, _ = pack([encode(Stop())])
        for sock in self._found.values():
            with contextlib.suppress(OSError):
                sock.send(data)
        waited_s = 0.0
        while self._found and waited_s < patience_s:
            await asyncio.sleep(_STEP_S)
            waited_s += _STEP_S
        for pid in list(self._found):
            self._forget(pid)

    def snapshot(self) -> list[dict[str, Any]]:
        """Process id, streams and share of a core of each."""
        return [
            {
                "pid": pid,
                "streams": self._loads[pid].streams if pid in self._loads else 0,
                "cpu": self._loads[pid].cpu if pid in self._loads else 0.0,
            }
            for pid in self._found
        ]
