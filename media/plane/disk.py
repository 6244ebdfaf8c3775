"""Files are touched on threads of their own; the tick never waits for a disk."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Protocol

Job = Callable[[], None]

OCTETS_MAX = 64 << 20


class Disk(Protocol):
    """Runs jobs in order. A job handles its own errors."""

    def submit(self, job: Job, octets: int = 0) -> bool:
        """Queue a job that holds `octets` of memory; False if too much is waiting already."""

    def close(self, timeout_s: float) -> bool:
        """Wait for what is queued; False if that took too long."""


class DiskThread:
    """A `Disk` on one thread with a queue bounded by the octets that wait in it."""

    def __init__(self, name: str, octets_max: int = OCTETS_MAX) -> None:
        self._octets_max = octets_max
        self._jobs: deque[tuple[Job, int]] = deque()
        self._waiting = 0
        self._wake = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, job: Job, octets: int = 0) -> bool:
        """See `Disk.submit`. Jobs without octets (opening, closing) are always taken."""
        with self._wake:
            if octets and self._waiting + octets > self._octets_max:
                return False
            self._jobs.append((job, octets))
            self._waiting += octets
            self._wake.notify()
        return True

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._jobs:
                    if self._closing:
                        return
                    self._wake.wait()
                job, octets = self._jobs.popleft()
            job()
            with self._wake:
                self._waiting -= octets

    def close(self, timeout_s: float) -> bool:
        """See `Disk.close`."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()


class InlineDisk:
    """A `Disk` that does each job at once: for tests and the simulation."""

    def submit(self, job: Job, octets: int = 0) -> bool:
        """See `Disk.submit`."""
        job()
        return True

    def close(self, timeout_s: float) -> bool:
        """See `Disk.close`."""
        return True
