"""Looks on while a switch is measured, for `beside.py`.

Sources: /proc/stat and /proc/PID/task/*/schedstat (proc(5)), /proc/net/udp.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from bench.beside import Beside
from bench.serving import Serving, children_of, tree_cpu_s
from softswitch.load.kernel_drops import DropWatch

EVERY_S = 0.25
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_IDLE, _IO_WAIT, _STOLEN = 3, 4, 7


@dataclass(frozen=True, slots=True)
class _Sample:
    at_s: float
    switch: dict[str, float]
    generator_s: float
    core: list[float]
    other: list[float]


class Watch:
    """Looks four times a second, in a thread. What drives the switch are the other children of this process."""

    def __init__(self, switch: Serving, core: int, generator_core: int) -> None:
        self._switch = switch
        self._cores = core, generator_core
        self._drops = DropWatch()
        self._samples: list[_Sample] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look_on, daemon=True)

    def __enter__(self) -> Watch:
        self._drops.begin()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def found(self, since_s: float, until_s: float, *, begun: float, offered: float) -> Beside:
        """Between two moments after the beginning, as far as there are samples."""
        first = self._samples[0].at_s
        inside = [s for s in self._samples if since_s <= s.at_s - first <= until_s]
        before, after = (inside or self._samples)[0], (inside or self._samples)[-1]
        took_s = max(EVERY_S / 10, after.at_s - before.at_s)
        switch = {k: (after.switch[k] - before.switch[k]) / took_s for k in after.switch}
        core = [(b - a) / took_s for a, b in zip(before.core, after.core, strict=True)]
        other = [(b - a) / took_s for a, b in zip(before.other, after.other, strict=True)]
        drops = self._drops.found
        return Beside(
            **switch,
            idle=core[_IDLE] + core[_IO_WAIT],
            stolen=core[_STOLEN],
            generator=(after.generator_s - before.generator_s) / took_s,
            generator_idle=other[_IDLE] + other[_IO_WAIT],
            dropped=drops.target,
            generator_dropped=drops.generator,
            begun_per_s=begun,
            offered_per_s=offered,
        )

    def _look_on(self) -> None:
        while True:
            generators = [pid for pid in children_of(os.getpid()) if pid != self._switch.pid]
            self._samples.append(
                _Sample(
                    time.monotonic(),
                    self._switch.cpu_s(),
                    sum(map(_cpu_s, generators)),
                    *(_of_core(core) for core in self._cores),
                )
            )
            self._drops.look([self._switch.pid], generators)
            if self._over.wait(EVERY_S):
                return


def _cpu_s(pid: int) -> float:
    try:
        return tree_cpu_s(pid)
    except OSError:
        return 0.0  # has just ended


def _of_core(core: int) -> list[float]:
    """The seconds of one core so far by what it did: user, nice, system, idle, io-wait, ..., stolen."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *ticks = line.split()
        if name == f"cpu{core}":
            return [int(each) / _TICKS_PER_S for each in ticks]
    return [0.0] * 10
