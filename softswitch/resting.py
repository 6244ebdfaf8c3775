"""An event loop whose turns are kept apart while many come, as network cards hold back their interrupts.

ADR 0037 has what that costs and brings.
"""

from __future__ import annotations

import asyncio
import selectors
import socket
import time
from collections.abc import Callable
from typing import Any

APART_S = 0.002
"""From one waking to the next, while many come."""
_REST_MIN_S = 0.0002
_WINDOW_S = 0.05
MANY_PER_S = 300
FEW_PER_S = 100
"""Far below `MANY_PER_S`, since rests make one waking of some."""


class Pace:
    """Whether the loop rests before it asks what has come. Pure.

    Wakings are counted, not turns: a turn for which the loop did not sleep costs little. More than 300 a second
    begin the rests, fewer than 100 end them. A rest lasts until `apart_s` after the last waking, and not beyond
    the next timer: after a turn that took longer there is none, so nobody rests while work waits.
    """

    def __init__(self, now_s: float, apart_s: float = APART_S) -> None:
        self.resting = False
        self.rests = 0
        self.wakings = 0
        self._apart_s = apart_s
        self._woken_s = self._since_s = now_s
        self._counted = 0

    def rest_s(self, now_s: float, timeout_s: float | None) -> float:
        """Return for how long to rest; `timeout_s` until the next timer, None without one."""
        if not self.resting:
            return 0.0
        rest_s = self._woken_s + self._apart_s - now_s
        if timeout_s is not None and timeout_s < rest_s:
            rest_s = timeout_s
        if rest_s < _REST_MIN_S:
            return 0.0
        self.rests += 1
        return rest_s

    def woken(self, now_s: float) -> None:
        """The loop has slept and goes on."""
        self.wakings += 1
        self._woken_s = now_s
        passed_s = now_s - self._since_s
        if passed_s >= _WINDOW_S:
            many = FEW_PER_S if self.resting else MANY_PER_S
            self.resting = self.wakings - self._counted > many * passed_s
            self._since_s, self._counted = now_s, self.wakings

    def snapshot(self) -> dict[str, int]:
        """Return what `status` shows."""
        return {"resting": int(self.resting), "rests": self.rests, "wakings": self.wakings}


def is_patient(fd: int) -> bool:
    """Whether what comes here may wait for a rest: messages by themselves, as SIP over UDP and what a media
    worker says. Streams and threads have somebody who waits for each step, a request to the API for twenty."""
    try:
        asked = socket.socket(fileno=fd)
    except OSError:  # a pipe, a signal
        return False
    kind = asked.type
    asked.detach()
    return kind in (socket.SOCK_DGRAM, socket.SOCK_SEQPACKET)


class RestingSelector(selectors.DefaultSelector):
    """The system's selector with the rests of a `Pace`, which what is not patient ends."""

    def __init__(
        self,
        pace: Pace,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Any] | None = None,
    ) -> None:
        super().__init__()
        self._prompt = selectors.DefaultSelector()
        self.pace, self._clock = pace, clock
        self._rest = sleep or self._prompt.select

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """As the system's; what is prompt is asked during a rest, too."""
        key = super().register(fileobj, events, data)
        if not is_patient(key.fd):
            self._prompt.register(key.fd, events)
        return key

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """As the system's."""
        key = super().modify(fileobj, events, data)
        if key.fd in self._prompt.get_map():
            self._prompt.modify(key.fd, events)
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """As the system's."""
        key = super().unregister(fileobj)
        if key.fd in self._prompt.get_map():
            self._prompt.unregister(key.fd)
        return key

    def close(self) -> None:
        """Close both."""
        self._prompt.close()
        super().close()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready; asked after a rest if that is called for."""
        if timeout is not None and timeout <= 0:
            return super().select(timeout)
        rest_s = self.pace.rest_s(self._clock(), timeout)
        if rest_s:
            if self._rest(rest_s):
                timeout = 0.0
            elif timeout is not None:
                timeout = max(timeout - rest_s, 0.0)
        found = super().select(timeout)
        self.pace.woken(self._clock())
        return found


class RestingLoop(asyncio.SelectorEventLoop):
    """asyncio's own loop with such a selector."""

    def __init__(self) -> None:
        self.pace = Pace(time.monotonic())
        super().__init__(RestingSelector(self.pace))


def pace_of(loop: asyncio.AbstractEventLoop) -> Pace | None:
    """Return the pace of a loop, None where it never rests."""
    return loop.pace if isinstance(loop, RestingLoop) else None
