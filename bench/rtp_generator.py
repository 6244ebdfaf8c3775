"""The other ends of many calls: RTP at 20 ms pace over few sockets, and what became of it.

The generator shares few sockets among its legs as the worker does, sends each millisecond a twentieth
of them, and writes the time into the payload where the delay is measured, which is from its send call to
its receive call.
"""

from __future__ import annotations

import os
import socket
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from media.client import LocalStream
from media.plane.io_mmsg import MmsgIo

SLOTS = 20
PACKET = 172


def socket_of_each(legs: Sequence[LocalStream], sockets: int = 1) -> list[int]:
    """Which socket of a generator each leg speaks from, of `sockets` at least: legs that meet at one port of
    the worker come from different ones."""
    rank: dict[int, int] = defaultdict(int)
    chosen: list[int] = []
    for leg, stream in enumerate(legs):
        chosen.append(max(rank[stream.port], leg % sockets))
        rank[stream.port] += 1
    return chosen


class Generator:
    """The other ends of all legs; `sockets`: over so many at least; `sound` (n, 160) uint8: what is said
    in packets of u-law, by each leg from another place on."""

    def __init__(
        self, legs: Sequence[LocalStream], sockets: int = 1, sound: np.ndarray | None = None
    ) -> None:
        self.legs = len(legs)
        self.io = MmsgIo(self.legs)
        self.port_of = np.zeros(self.legs, np.int32)
        self.addresses: list[tuple[str, int]] = []
        made: list[socket.socket] = []
        for leg, index in enumerate(socket_of_each(legs, sockets)):
            while index >= len(made):
                sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                for option in (32, 33):
                    try:
                        sock.setsockopt(socket.SOL_SOCKET, option, 4 << 20)
                    except OSError:
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
                sock.bind(("127.0.0.1", 0))
                made.append(sock)
                self.io.open_port(len(made) - 1, sock)
            self.port_of[leg] = index
            self.addresses.append(made[index].getsockname())
            self.io.set_destination(leg, (legs[leg].host, legs[leg].port))
        self.sent = self.received = 0
        self.heard_s = time.perf_counter()
        self.longest_gap_s = 0.0
        self.delays: list[np.ndarray] = []
        self._sequence = 0
        # Soft noise, of each leg another: two hundred parties of it do not clip, as two hundred people do not.
        noise = np.frombuffer(os.urandom(101 * 160), np.uint8) & 0x8F | 0x60
        self._sound = noise.reshape(101, 160) if sound is None else sound

    def send(self, slot: int, tick: int, stamped: bool) -> None:
        """Send what is due; `stamped`: with the time in it, which is a loud click to whoever hears it."""
        rows = np.arange(slot, self.legs, SLOTS)
        if not len(rows):
            return
        count = len(rows)
        tx = self.io.tx
        words = tx.words[:count]
        words[:, 0] = 0x80000000 | (tick & 0xFFFF)
        words[:, 1] = (tick * 160) & 0xFFFFFFFF
        words[:, 2] = rows + 1000
        tx.octets[:count, 12:PACKET] = self._sound[(tick + 97 * rows) % len(self._sound)]
        if stamped:
            words[:, 4] = (time.perf_counter_ns() // 1000) & 0xFFFFFFFF
        octets = np.full(count, PACKET, np.int32)
        self.sent += self.io.send(tx, np.arange(count), octets, self.port_of[rows], rows)

    def receive(self, measure: bool) -> None:
        self.io.wait(0.0)
        found = self.io.receive()
        # RTCP for one leg may come to the socket of another: it goes to the next port.
        chosen = (self.io.lengths[:found] == PACKET).nonzero()[0]
        count = len(chosen)
        if count:
            self.received += count
            now_s = time.perf_counter()
            self.longest_gap_s = max(self.longest_gap_s, now_s - self.heard_s)
            self.heard_s = now_s
            if measure:
                now = (time.perf_counter_ns() // 1000) & 0xFFFFFFFF
                self.delays.append(now - self.io.rx.words[chosen, 4].astype(np.int64))

    def run(self, seconds: float, measure: bool) -> None:
        start = time.perf_counter()
        ticks = round(seconds * 50)
        for step in range(ticks * SLOTS):
            due = start + step * 0.02 / SLOTS
            while True:
                self.receive(measure)
                left = due - time.perf_counter()
                if left <= 0:
                    break
                time.sleep(min(left, 0.0003))
            self.send(step % SLOTS, self._sequence + step // SLOTS, measure)
        self._sequence += ticks
        end = time.perf_counter() + 0.1
        while time.perf_counter() < end:
            self.receive(measure)
            time.sleep(0.001)


def cpu_ns(pid: int) -> int:
    """Run time of all threads of a process in nanoseconds."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total


def rss_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    return 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run took of a core (percent), packets both ways, delays in ms, what the generator took."""

    core: float
    sent: int
    received: int
    p50_ms: float
    p99_ms: float
    worst_ms: float
    generator: float
    seconds: float
    planned_s: float

    @property
    def kept_pace(self) -> bool:
        """The machine let the generator send at its pace; otherwise shares of a core say nothing."""
        return self.seconds < 1.05 * self.planned_s + 0.15

    @property
    def lost(self) -> int:
        return self.sent - self.received

    def line(self, name: str, calls: int) -> str:
        """One line for the terminal."""
        packets = max(1, self.sent)
        return (
            f"{name:10} {calls:5d} calls  {self.core:6.2f} % of a core  "
            f"{self.core / calls:.4f} % each  {1e4 * self.core * self.seconds / packets:5.2f} us/packet  "
            f"lost {self.lost:d} of {self.sent}  delay p50 {self.p50_ms:.2f} p99 {self.p99_ms:.2f} "
            f"max {self.worst_ms:.2f} ms  generator {self.generator:.0f} %"
            f"{'' if self.kept_pace else '  FELL BEHIND'}"
        )


def drive(
    generator: Generator, pid: int, seconds: float, *, timed: bool = True, warm_s: float = 2.0
) -> Outcome:
    """Warm up, run, and tell what process `pid` took; `timed`: what comes back carries the time."""
    generator.run(warm_s, False)
    generator.sent = generator.received = 0
    before, own_before = cpu_ns(pid), time.process_time()
    started = time.perf_counter()
    generator.run(seconds, timed)
    elapsed = time.perf_counter() - started
    spent, own = (cpu_ns(pid) - before) / 1e9, time.process_time() - own_before
    delays = np.concatenate(generator.delays) / 1000.0 if generator.delays else np.zeros(1)
    return Outcome(
        100 * spent / elapsed,
        generator.sent,
        generator.received,
        float(np.percentile(delays, 50)),
        float(np.percentile(delays, 99)),
        float(delays.max()),
        100 * own / elapsed,
        elapsed,
        seconds,
    )
