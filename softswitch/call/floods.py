"""Which addresses send most of what is dropped or refused by limits: named, with counts, and no more. Pure.

Anybody can send in anybody's name over UDP, so to be named here has no consequence; only a wrong answer to a
challenge bans (`Guard`). What is kept is bounded whatever comes: counters for as many sources as `SOURCES_MAX`,
by the algorithm of Misra and Gries. When all are taken, one more source lowers each of them by one, so that
whoever sends more than one in `SOURCES_MAX` + 1 of all messages always has one. A count is what was seen since
its source has had a counter: never too high.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from softswitch.sources import source_of

SOURCES_MAX = 256
"""Counted at once."""
NAMED_MAX = 16
REPORTS_MAX = 8
"""Told in one window, and not again in it."""
WINDOW_S = 60.0
NAMED_FROM = 100
"""Messages in this window and the one before it; below that it is no flood."""
REPORTED_FROM = 1_000

Report = Callable[[str, dict[str, Any]], None]


@dataclass(slots=True)
class _Counter:
    """`credit` is what keeps it; the others say what has become of the messages since it was made."""

    credit: int = 1
    dropped: int = 0
    refused: int = 0


class Floods:
    """Counts in windows of a minute. `report(kind, data)` gets ``security-flood`` when a source has had
    `REPORTED_FROM` messages dropped or refused within one."""

    def __init__(self, report: Report = lambda kind, data: None) -> None:
        self._report = report
        self._now: dict[str, _Counter] = {}
        self._before: dict[str, _Counter] = {}
        self._since_s = 0.0
        self._reports = 0
        self.messages = 0
        """Dropped or refused since the start, whoever sent them."""

    def note(self, host: str, refused: bool, now_s: float) -> None:
        """A message from there was answered 503 (`refused`), or not looked at."""
        self.messages += 1
        if now_s - self._since_s >= WINDOW_S:
            self._turn(now_s)
        source = host if ":" not in host else source_of(host)
        counter = self._now.get(source)
        if counter is None:
            if len(self._now) >= SOURCES_MAX:
                self._lower()
                return
            counter = self._now[source] = _Counter()
        else:
            counter.credit += 1
        if refused:
            counter.refused += 1
        else:
            counter.dropped += 1
        if counter.dropped + counter.refused == REPORTED_FROM and self._reports < REPORTS_MAX:
            self._reports += 1
            data = {"source": source, "dropped": counter.dropped, "refused": counter.refused}
            self._report(
                "security-flood", {**data, "within_s": max(1, round(now_s - self._since_s))}
            )

    def rows(self, now_s: float) -> list[dict[str, Any]]:
        """Rows of (source, dropped, refused) of this window and the one before it, most first."""
        since_s = now_s - self._since_s
        found = {} if since_s >= 2 * WINDOW_S else {**self._now}
        for source, earlier in self._before.items() if since_s < WINDOW_S else ():
            now = found.get(source, _Counter())
            found[source] = _Counter(
                0, earlier.dropped + now.dropped, earlier.refused + now.refused
            )
        rows: list[dict[str, Any]] = [
            {"source": source, "dropped": each.dropped, "refused": each.refused}
            for source, each in found.items()
            if each.dropped + each.refused >= NAMED_FROM
        ]
        rows.sort(key=lambda row: (-row["dropped"] - row["refused"], row["source"]))
        return rows[:NAMED_MAX]

    def __len__(self) -> int:
        return len(self._now) + len(self._before)

    def _turn(self, now_s: float) -> None:
        fresh = now_s - self._since_s < 2 * WINDOW_S
        self._before = self._now if fresh else {}
        self._now = {}
        self._since_s = now_s
        self._reports = 0

    def _lower(self) -> None:
        for counter in self._now.values():
            counter.credit -= 1
        self._now = {s: counter for s, counter in self._now.items() if counter.credit > 0}
