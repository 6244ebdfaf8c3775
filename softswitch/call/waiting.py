"""What a call's handler waits for: digits, prompts, conversations; each wait ends with the call."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from softswitch.errors import CallEnded, CallTransferred

if TYPE_CHECKING:
    from softswitch.call.dialplan import Route
    from softswitch.call.endpoint import Outcome

DIGITS_MAX = 256
_T = TypeVar("_T")


class Waiting:
    """The waits of one call.

    Attributes: `call_id`; `ended`, the call is over: every wait raises `CallEnded`; `onward`, where the
    call goes when its handler has left: every wait raises `CallTransferred`.
    """

    __slots__ = (
        "_dial_done",
        "_digit_waiter",
        "_digits",
        "_plays",
        "_waits",
        "call_id",
        "ended",
        "onward",
    )

    def __init__(self, call_id: str) -> None:
        self.call_id = call_id
        self.ended = False
        self.onward: Route | None = None
        self._digits: deque[str] = deque(maxlen=DIGITS_MAX)
        self._digit_waiter: Callable[[], None] | None = None
        self._dial_done: asyncio.Future[Outcome] | None = None
        self._plays: dict[int, asyncio.Future[None]] = {}
        self._waits: set[asyncio.Future[Any]] = set()

    # -- what call control tells a waiting handler -----------------------------------------------

    def digit_pressed(self, digit: str) -> None:
        self._digits.append(digit)
        if self._digit_waiter is not None:
            self._digit_waiter()

    def play_started(self, play_id: int) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._plays[play_id] = future
        return future

    def play_finished(self, play_id: int) -> None:
        future = self._plays.pop(play_id, None)
        if future is not None and not future.done():
            future.set_result(None)

    def conversation(self) -> asyncio.Future[Outcome]:
        """Done when the conversation with the partner, or the attempt to reach him, is over."""
        self._dial_done = asyncio.get_running_loop().create_future()
        return self._dial_done

    def leave_conversation(self) -> None:
        """The call goes on without whoever waited for its end: that wait lasts as long as the call."""
        self._dial_done = None

    async def wait_for(self, future: asyncio.Future[_T]) -> _T:
        """Await anything that has to do with this call; raises `CallEnded` when it ends."""
        return await self._wait(future)

    def dial_finished(self, outcome: Outcome) -> bool:
        """Whether a handler was waiting for it."""
        if self._dial_done is None:
            return False
        if not self._dial_done.done():
            self._dial_done.set_result(outcome)
        self._dial_done = None
        return True

    def redirect(self, route: Route) -> None:
        """Take the call away from its handler, wherever that waits, and send it on for good."""
        self._check()
        self.onward = route
        for future in [*self._waits, *self._plays.values()]:
            future.cancel()
        self._plays.clear()

    def release_waits(self) -> None:
        """The call is over: whoever waits for anything of it gets `CallEnded`."""
        self.ended = True
        for future in [*self._waits, *self._plays.values()]:
            if not future.done():
                future.cancel()
        self._plays.clear()

    # -- waiting ---------------------------------------------------------------------------------

    def _check(self) -> None:
        if self.ended:
            raise CallEnded(f"call {self.call_id} is over")

    async def _wait(self, future: asyncio.Future[_T]) -> _T:
        self._check()
        self._waits.add(future)
        try:
            return await future
        except asyncio.CancelledError:
            if self.ended:
                raise CallEnded(f"call {self.call_id} is over") from None
            if self.onward is not None:
                raise CallTransferred(f"call {self.call_id} is sent on") from None
            raise
        finally:
            self._waits.discard(future)

    async def _until_digit(
        self, timeout_s: float | None, other: asyncio.Future[None] | None = None
    ) -> None:
        """Return when a digit is there, after `timeout_s`, or when `other` is done."""
        self._check()
        if self._digits:
            return
        loop = asyncio.get_running_loop()
        woken: asyncio.Future[None] = loop.create_future()
        wake = partial(settle, woken)
        self._digit_waiter = wake
        timer = None if timeout_s is None else loop.call_later(timeout_s, wake)
        if other is not None:
            other.add_done_callback(wake)
        try:
            await self._wait(woken)
        finally:
            self._digit_waiter = None
            if timer is not None:
                timer.cancel()
            if other is not None:
                other.remove_done_callback(wake)


def settle(future: asyncio.Future[None], _: object = None) -> None:
    if not future.done():
        future.set_result(None)
