"""Wrong PINs, counted so that nobody can try them all. Pure.

Counted by thing and by who tries, so that a stranger cannot lock the owner out of his own box; and by thing
over all strangers, so that many of them together get no further. A PIN of four digits stands for at least
10,000 tries: at 30 an hour that is two weeks of alarms in the journal.
"""

from __future__ import annotations

from collections import deque

WRONG_MAX = 9
"""Wrong tries of one source within the window; three calls' worth."""

STRANGERS_MAX = 30
"""Wrong tries of all sources but the owner within the window."""

WINDOW_S = 3600.0
_ENTRIES_MAX = 10_000


class PinGuard:
    """Remembers wrong tries for `window_s`. The oldest thing is forgotten beyond `entries_max`."""

    def __init__(
        self,
        *,
        wrong_max: int = WRONG_MAX,
        strangers_max: int = STRANGERS_MAX,
        window_s: float = WINDOW_S,
        entries_max: int = _ENTRIES_MAX,
    ) -> None:
        self._wrong_max = wrong_max
        self._strangers_max = strangers_max
        self._window_s = window_s
        self._entries_max = entries_max
        self._wrong: dict[tuple[str, str], deque[float]] = {}

    def is_locked(self, thing: str, source: str, now_s: float, *, owner: bool = False) -> bool:
        """Whether `source` may not try `thing` now; `owner`: it is his own."""
        if self._count((thing, source), now_s) >= self._wrong_max:
            return True
        return not owner and self._count((thing, ""), now_s) >= self._strangers_max

    def wrong(self, thing: str, source: str, now_s: float, *, owner: bool = False) -> None:
        """`source` got the PIN of `thing` wrong."""
        self._add((thing, source), now_s)
        if not owner:
            self._add((thing, ""), now_s)

    def right(self, thing: str, source: str) -> None:
        """`source` knows the PIN: his mistakes are forgiven, others' are not."""
        self._wrong.pop((thing, source), None)

    def _add(self, key: tuple[str, str], now_s: float) -> None:
        times = self._wrong.pop(key, None)
        if times is None:
            times = deque(maxlen=max(self._wrong_max, self._strangers_max))
        times.append(now_s)
        self._wrong[key] = times  # now the youngest
        while len(self._wrong) > self._entries_max:
            del self._wrong[next(iter(self._wrong))]

    def _count(self, key: tuple[str, str], now_s: float) -> int:
        times = self._wrong.get(key)
        if times is None:
            return 0
        while times and times[0] <= now_s - self._window_s:
            times.popleft()
        if not times:
            del self._wrong[key]
        return len(times)

    def snapshot(self) -> dict[str, int]:
        return {"watched": len(self._wrong)}
