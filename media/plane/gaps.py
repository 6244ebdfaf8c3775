"""The longest time between two fetches of datagrams, and whose it was: what delays packets most.

A gap has three parts: we asked to wake up later (a cycle), the machine woke us up late or gave the core to
others, and our own work. Only the last is ours to shorten.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Gap:
    """Milliseconds: in all, of our own CPU time in it, of that the garbage collector's, and how late we
    woke up."""

    all_ms: float = 0.0
    own_ms: float = 0.0
    collector_ms: float = 0.0
    overslept_ms: float = 0.0


class Gaps:
    """Feed it one fetch after the other; `take` returns the longest gap since it was last asked."""

    def __init__(self) -> None:
        self._fetched_s: float | None = None
        self._cpu_s = self._collected_s = 0.0
        self._longest = Gap()

    def fetched(self, now_s: float, due_s: float, cpu_s: float, collected_s: float) -> None:
        """Datagrams are fetched at `now_s`, which was to be `due_s`; our thread has used `cpu_s` so far,
        the collector has taken `collected_s` in all."""
        before_s = self._fetched_s
        if before_s is not None and 1000 * (now_s - before_s) > self._longest.all_ms:
            self._longest = Gap(
                round(1000 * (now_s - before_s), 3),
                round(1000 * (cpu_s - self._cpu_s), 3),
                round(1000 * (collected_s - self._collected_s), 3),
                round(1000 * max(0.0, now_s - due_s), 3),
            )
        self._fetched_s, self._cpu_s, self._collected_s = now_s, cpu_s, collected_s

    def idle(self) -> None:
        """Nothing was there to be fetched: the time until the next fetch delays nobody."""
        self._fetched_s = None

    def take(self) -> Gap:
        """Return the longest gap since the last time."""
        longest, self._longest = self._longest, Gap()
        return longest


class CollectorClock:
    """A callback for `gc.callbacks` that adds up the time of collections in `total_s`."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began_s = 0.0
        self.total_s = 0.0

    def __call__(self, phase: str, info: dict[str, int]) -> None:
        """See `gc.callbacks`."""
        if phase == "start":
            self._began_s = self._clock()
        else:
            self.total_s += self._clock() - self._began_s
