"""A worker whose control plane has died: for a while the sound of its calls goes on.

It listens at a socket in a folder that both lives of the exchange know, so that the next one finds it,
is told what it carries, and may end it. It ends by itself when its time is over, or nobody speaks.
"""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

PREFIX = "media-"
SUFFIX = ".sock"
_SILENT_S = 5.0
"""Nothing comes from anybody for so long: the calls are over, for phones hang up by themselves."""


class Orphan:
    """The bounds of such a life, and the socket at which it is found; raises `OSError` if that cannot be bound.

    `since_s` the control plane is gone, and `lasting_s` after it this ends; `folder` is only ours.
    """

    def __init__(self, folder: Path, since_s: float, lasting_s: float) -> None:
        self._path = folder / f"{PREFIX}{os.getpid()}{SUFFIX}"
        self._ends_s = since_s + lasting_s
        self._heard = -1
        self._heard_s = since_s
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._path.unlink(missing_ok=True)
            before = os.umask(0o177)
            try:
                self.listener.bind(str(self._path))
            finally:
                os.umask(before)
            self.listener.listen(1)
            self.listener.setblocking(False)
        except OSError:
            self.listener.close()
            raise

    def accept(self) -> socket.socket | None:
        """Return the connection of a control plane that has come, None if there is none."""
        try:
            found, _ = self.listener.accept()
        except OSError:
            return None
        found.setblocking(False)
        return found

    def over(self, now_s: float, packets_in: int) -> bool:
        """Whether it is time to end; `packets_in` have come so far."""
        if packets_in != self._heard:
            self._heard, self._heard_s = packets_in, now_s
        return now_s >= self._ends_s or now_s - self._heard_s >= _SILENT_S

    def close(self) -> None:
        """Nobody shall find us any more."""
        self.listener.close()
        with contextlib.suppress(OSError):
            self._path.unlink()
