"""What media workers say of themselves each second, kept for `status`, the API and Prometheus."""

from __future__ import annotations

from typing import Any

from media.protocol import WorkerLoad

_MINUTE_S = 60.0


class WorkerLoads:
    """The last report of each worker, and the longest time of the last one to two minutes in which it fetched
    no packet: whoever asks every fifteen seconds misses what a second's report says."""

    def __init__(self) -> None:
        self._last: dict[int, WorkerLoad] = {}
        self._longest: dict[int, tuple[WorkerLoad, WorkerLoad]] = {}
        self._minute = 0

    def note(self, load: WorkerLoad, now_s: float) -> None:
        """A worker has reported."""
        minute = int(now_s // _MINUTE_S)
        if minute != self._minute:
            one_on = minute == self._minute + 1
            for worker, (_, this) in self._longest.items():
                self._longest[worker] = this if one_on else _none(worker), _none(worker)
            self._minute = minute
        self._last[load.worker] = load
        before, this = self._longest.get(load.worker, (_none(load.worker),) * 2)
        self._longest[load.worker] = before, max(this, load, key=_gap_ms)

    def row(self, worker: int) -> dict[str, Any]:
        """Share of a core, and the longest gap with its parts in milliseconds: see `WorkerLoad`."""
        last = self._last.get(worker)
        gap = max(self._longest.get(worker, (_none(worker),)), key=_gap_ms)
        return {
            "cpu": last.cpu if last is not None else 0.0,
            "gap_ms": gap.gap_ms,
            "gap_own_ms": gap.gap_own_ms,
            "gap_collector_ms": gap.gap_collector_ms,
            "gap_overslept_ms": gap.gap_overslept_ms,
        }


def _gap_ms(load: WorkerLoad) -> float:
    return load.gap_ms


def _none(worker: int) -> WorkerLoad:
    return WorkerLoad(worker, 0.0, 0, 0, 0, 0)
