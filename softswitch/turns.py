"""Long work in the loop that carries calls: a few milliseconds at a time, and one piece in each turn of the
loop of all that is long.

What takes long is an iterator; between two of its steps others may have their turn. A thread would be no
better: it has the interpreter for 5 ms at a time, and each answer to a call would wait for that.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator, MutableMapping
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

SLICE_S = 0.003
_JUST_S = 1.0

_T = TypeVar("_T")


class _Turns:
    """Whose turn it is in one loop."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.last_s = float("-inf")


_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, _Turns] = WeakKeyDictionary()


def _here() -> _Turns:
    loop = asyncio.get_running_loop()
    found = _turns.get(loop)
    if found is None:
        found = _turns[loop] = _Turns()
    return found


def is_working() -> bool:
    """Whether something long is under way, or was just now."""
    return time.monotonic() - _here().last_s < _JUST_S


async def flowing(steps: Iterable[_T], slice_s: float = SLICE_S) -> AsyncIterator[list[_T]]:
    """What an iterator gives, as much at a time as takes `slice_s`; the loop has its turn in between."""
    turns, rest = _here(), iter(steps)
    more = True
    while more:
        async with turns.lock:
            found, more = _slice(rest, slice_s)
            if more:
                turns.last_s = time.monotonic()
            # Still holding the lock: whoever waits for it works in the loop's next turn.
            await asyncio.sleep(0)
        if found:
            yield found


def _slice(rest: Iterator[_T], slice_s: float) -> tuple[list[_T], bool]:
    found: list[_T] = []
    until_s = time.perf_counter() + slice_s
    for each in rest:
        found.append(each)
        if time.perf_counter() >= until_s:
            return found, True
    return found, False


async def done(steps: Iterable[Any]) -> None:
    """Go through an iterator that works as it goes."""
    async for _ in flowing(steps):
        pass


async def emptied(found: MutableMapping[Any, Any]) -> None:
    """Let go of what a large mapping holds: all at once, that takes as long as it took to make."""

    def let_go() -> Iterator[None]:
        while found:
            found.popitem()
            yield

    await done(let_go())
