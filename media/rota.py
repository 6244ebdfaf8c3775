"""Which streams each worker has, and which worker a new call goes to. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable

_STREAM_CPU = 0.0003
"""Share of a core of a relayed stream: what has come since a worker's last report is reckoned so."""
_STEPS = 10
"""Loads that differ by less than a tenth of a core are alike: then the number of streams decides."""

LoadOf = Callable[[int], tuple[float, int] | None]
"""The last report of a worker: its share of a core, and its streams then."""


class Rota:
    """`streams`: those of each worker; `closing`: those whose account is still to come; `draining`: workers
    that get no new calls. Streams of one group (a call) share a worker, as bridges demand."""

    def __init__(self, workers: int) -> None:
        self.streams: list[set[int]] = [set() for _ in range(workers)]
        self.closing: list[set[int]] = [set() for _ in range(workers)]
        self.draining: set[int] = set()
        self._groups: dict[int, list[int]] = {}

    @property
    def groups(self) -> int:
        """How many groups there are."""
        return len(self._groups)

    def place(self, group: int, alive: Callable[[], Iterable[int]], load_of: LoadOf) -> int:
        """Return the worker for a new stream of `group`: that of the others of its group, or of those that
        are `alive` and take calls the one with the least to do."""
        known = self._groups.get(group)
        if known is not None:
            return known[0]
        if len(self.streams) == 1:
            return 0
        workers = list(alive()) or list(range(len(self.streams)))
        # Rather a call on one that is to be emptied than no call.
        taking = [worker for worker in workers if worker not in self.draining] or workers
        if len(taking) == 1:
            return taking[0]
        return min(taking, key=lambda worker: self._burden(worker, load_of(worker)))

    def _burden(self, worker: int, load: tuple[float, int] | None) -> tuple[int, int]:
        held = len(self.streams[worker])
        cpu, then = load or (0.0, 0)
        return int(_STEPS * (cpu + _STREAM_CPU * max(0, held - then))), held

    def add(self, group: int, worker: int, stream_id: int) -> None:
        """A stream is placed."""
        self.streams[worker].add(stream_id)
        entry = self._groups.get(group)
        if entry is None:
            self._groups[group] = [worker, 1]
        else:
            entry[1] += 1

    def remove(self, group: int, worker: int, stream_id: int) -> None:
        """A stream is given back."""
        self.streams[worker].discard(stream_id)
        entry = self._groups[group]
        entry[1] -= 1
        if not entry[1]:
            del self._groups[group]

    def drained(self, worker: int) -> bool:
        """Whether a worker was to be emptied and is."""
        return worker in self.draining and not self.streams[worker] and not self.closing[worker]
