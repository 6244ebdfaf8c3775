"""What is read once a second: calls that are up, the generator's own CPU and lateness, its counters."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from softswitch.load.ladder import Ladders
from softswitch.load.measure import Meter

if TYPE_CHECKING:
    from softswitch.load.agent import LoadAgent
    from softswitch.load.sound import SoundPlane

_BYE_OVERDUE_S = 1.0


class Gauges:
    """Writes into `meter` how the generator itself does."""

    def __init__(self, meter: Meter) -> None:
        self.sound: SoundPlane | None = None
        self._meter = meter
        self._cpu_before = self._read_at = 0.0

    def begin(self) -> None:
        """The first second begins."""
        self._cpu_before, self._read_at = time.process_time(), time.perf_counter()

    def read(self, number: int, live: int) -> None:
        """Second `number` is over, with so many calls up."""
        now, cpu = time.perf_counter(), time.process_time()
        share = (cpu - self._cpu_before) / max(now - self._read_at, 1e-6)
        self._cpu_before, self._read_at = cpu, now
        meter = self._meter
        second = meter.second(number)
        second.live, second.cpu = live, share
        meter.cpu_peak = max(meter.cpu_peak, share)
        meter.cpu_s = cpu
        if self.sound is not None:
            counters = self.sound.counters
            second.delay.merge(counters.delay)
            meter.delay.merge(counters.delay)
            second.late_ms = counters.pacer_late.percentile(99) / 1000
            meter.pacer_late.merge(counters.pacer_late)
            counters.delay, counters.pacer_late = type(counters.delay)(), type(counters.delay)()
            self.sound.listener.renew()

    def end(
        self,
        ladders: Ladders,
        agents: tuple[LoadAgent, ...],
        now_s: float,
        live: int,
        start_s: float = 0.0,
    ) -> None:
        """The run that began at `start_s` is over: the last second, and what others have counted."""
        self.read(max(self._meter.seconds, default=0), live)
        counts = self._meter.counts
        self._meter.said_s = {way: at_s - start_s for way, at_s in ladders.said_s.items()}
        counts["resent"] += ladders.resent
        counts["received_again"] += ladders.received_again
        counts["messages_in"] += ladders.messages_in
        counts["messages_out"] += ladders.messages_out
        for method, many in ladders.methods.items():
            counts[f"sent_{method}"] += many
        if self.sound is not None:
            counts["rebindings"] += self.sound.rebindings
            counts["frames_skipped"] += self.sound.counters.skipped_frames
        late = [s for s in ladders.unanswered_byes(now_s) if s > _BYE_OVERDUE_S]
        counts["byes_unanswered"] += len(late)
        for agent in agents:
            counts["sessions_left"] += agent.snapshot()["sessions"]
