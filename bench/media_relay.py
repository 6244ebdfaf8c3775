"""Drive calls through a real media worker over loopback and print what they cost.

    python bench/media_relay.py --calls 100 --seconds 8
    python bench/media_relay.py --calls 800 --mode record
    python bench/media_relay.py --calls 200 --mode conference      (participants)
    python bench/media_relay.py --calls 200 --mode kill            (kill -9 of the worker)
    python bench/media_relay.py --calls 800 --mode floor           (relay_floor.c instead of a worker)

Each call has two legs of G.711, 50 packets a second each way. The generator shares few sockets among
its legs as the worker does, sends each millisecond a twentieth of them, and writes the time into the
payload, so that the delay it prints is from its send call to its receive call. CPU is that of the
worker process alone, as the kernel accounts it, the loopback path of what it sends included.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from media.client import LocalStream, MediaClient
from media.plane.io_mmsg import MmsgIo
from media.protocol import RecordingStopped, StreamClosed, StreamParams

SLOTS = 20
PACKET = 172


class Generator:
    """The other ends of all legs."""

    def __init__(self, legs: list[LocalStream]) -> None:
        self.legs = len(legs)
        self.io = MmsgIo(self.legs)
        rank: dict[int, int] = defaultdict(int)
        self.port_of = np.zeros(self.legs, np.int32)
        self.addresses: list[tuple[str, int]] = []
        sockets: list[socket.socket] = []
        for leg, stream in enumerate(legs):
            # Legs that meet at one port of the worker come from different addresses.
            index = rank[stream.port]
            rank[stream.port] += 1
            if index == len(sockets):
                sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                for option in (32, 33):
                    try:
                        sock.setsockopt(socket.SOL_SOCKET, option, 4 << 20)
                    except OSError:
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
                sock.bind(("127.0.0.1", 0))
                sockets.append(sock)
                self.io.open_port(index, sock)
            self.port_of[leg] = index
            self.addresses.append(sockets[index].getsockname())
            self.io.set_destination(leg, (stream.host, stream.port))
        self.sent = self.received = 0
        self.heard_s = time.perf_counter()
        self.longest_gap_s = 0.0
        self.delays: list[np.ndarray] = []
        self._sequence = 0
        # Soft noise: two hundred parties of it do not clip, as two hundred people do not.
        self._template = np.frombuffer(os.urandom(160), np.uint8) & 0x8F | 0x60

    def send(self, slot: int, tick: int) -> None:
        rows = np.arange(slot, self.legs, SLOTS)
        if not len(rows):
            return
        count = len(rows)
        tx = self.io.tx
        words = tx.words[:count]
        words[:, 0] = 0x80000000 | (tick & 0xFFFF)
        words[:, 1] = (tick * 160) & 0xFFFFFFFF
        words[:, 2] = rows + 1000
        tx.octets[:count, 12:PACKET] = self._template
        stamp = time.perf_counter_ns() // 1000
        words[:, 4] = stamp & 0xFFFFFFFF
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
            self.send(step % SLOTS, self._sequence + step // SLOTS)
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


def drive(generator: Generator, pid: int, arguments: argparse.Namespace) -> None:
    """Warm up, run, print."""
    generator.run(2.0, False)
    generator.sent = generator.received = 0
    before, own_before = cpu_ns(pid), time.process_time()
    started = time.perf_counter()
    generator.run(arguments.seconds, arguments.mode in ("relay", "record", "floor"))
    elapsed = time.perf_counter() - started
    spent, own = (cpu_ns(pid) - before) / 1e9, time.process_time() - own_before
    share = 100 * spent / elapsed
    delays = np.concatenate(generator.delays) / 1000.0 if generator.delays else np.zeros(1)
    moved = generator.sent + (generator.received if arguments.mode == "conference" else 0)
    print(
        f"{arguments.mode:10} {arguments.calls:5d} calls  {share:6.2f} % of a core  "
        f"{share / arguments.calls:.4f} % each  {1e6 * spent / max(moved, 1):5.2f} us/packet  "
        f"lost {generator.sent - generator.received:d} of {generator.sent}  "
        f"delay p50 {np.percentile(delays, 50):.2f} p99 {np.percentile(delays, 99):.2f} "
        f"max {delays.max():.2f} ms  generator {100 * own / elapsed:.0f} %"
    )


async def outage(generator: Generator, client: MediaClient, arguments: argparse.Namespace) -> None:
    """Kill the worker in mid-run, and print how long its calls were silent."""
    run = asyncio.get_running_loop().run_in_executor(None, generator.run, 6.0, True)
    await asyncio.sleep(3.0)
    generator.longest_gap_s = 0.0
    os.kill(client.snapshot()["workers"][0]["pid"], signal.SIGKILL)
    await run
    missing = (generator.sent - generator.received) / arguments.calls / 2
    print(
        f"kill       {arguments.calls:5d} calls  silent for {1000 * generator.longest_gap_s:.0f} ms  "
        f"{missing:.1f} packets lost a leg"
    )


def floor(arguments: argparse.Namespace, directory: Path) -> None:
    """The same legs through `relay_floor.c`."""
    program = directory / "relay_floor"
    source = Path(__file__).with_name("relay_floor.c")
    subprocess.run(["cc", "-O2", "-o", str(program), str(source)], check=True)
    count = 2 * arguments.calls
    sockets = max(4, -(-count // 128))
    process = subprocess.Popen(
        [str(program), "39000", str(sockets), "2000"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdout.readline()
    legs = [LocalStream(i, "127.0.0.1", 39_000 + 2 * (i % sockets), 0) for i in range(count)]
    generator = Generator(legs)
    for leg, address in enumerate(generator.addresses):
        process.stdin.write(f"{leg} {address[1]}\n")
    process.stdin.write("go\n")
    process.stdin.flush()
    drive(generator, process.pid, arguments)
    process.stdin.close()
    print("  ", process.stdout.readline().strip())
    process.wait()
    generator.io.close()


async def measure(arguments: argparse.Namespace, directory: Path) -> None:
    events: list[object] = []
    client = MediaClient(
        address="127.0.0.1",
        ports=(30_000, 39_999),
        workers=1,
        recordings_dir=directory,
        on_event=events.append,
        spare=arguments.mode == "kill",
        back_end="portable" if arguments.portable else "mmsg",
    )
    await client.start()
    pid = client.snapshot()["workers"][0]["pid"]
    empty_kib = rss_kib(pid)
    conference = arguments.mode == "conference"
    count = arguments.calls if conference else 2 * arguments.calls
    legs = [client.reserve(group=1, signalled_host=None) for _ in range(count)]
    generator = Generator(legs)
    for number, (leg, address) in enumerate(zip(legs, generator.addresses, strict=True)):
        alaw = arguments.mode == "transcode" and number % 2
        codec, payload_type = ("PCMA", 0) if alaw else ("PCMU", 0)
        client.configure(
            leg.stream_id, StreamParams(address, codec=codec, payload_type=payload_type)
        )
        if conference:
            client.join_room(1, leg.stream_id)
        elif number % 2:
            client.connect(legs[number - 1].stream_id, leg.stream_id)
            if arguments.mode == "record":
                client.start_recording(
                    number, left=legs[number - 1].stream_id, right=leg.stream_id,
                    name=f"{number}.wav",
                )  # fmt: skip
    await asyncio.sleep(1.0)
    if arguments.mode == "kill":
        await outage(generator, client, arguments)
    else:
        drive(generator, pid, arguments)
    pid = client.snapshot()["workers"][0]["pid"]
    held = (rss_kib(pid) - empty_kib) / arguments.calls
    print(f"   worker {rss_kib(pid)} KiB, {held:.1f} KiB a call")
    for leg in legs:
        client.release(leg.stream_id)
    for _ in range(200):
        await asyncio.sleep(0.02)
        if sum(isinstance(event, StreamClosed) for event in events) == count:
            break
    reasons = {event.reason for event in events if isinstance(event, RecordingStopped)}
    drops: dict[str, int] = defaultdict(int)
    for event in events:
        if isinstance(event, StreamClosed):
            for reason, number in event.stats.dropped.items():
                drops[reason] += number
            drops["lost"] += event.stats.lost
            drops["late"] += event.stats.late
    print("  ", {reason: number for reason, number in drops.items() if number}, reasons or "")
    await client.stop()
    generator.io.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument(
        "--mode",
        choices=("relay", "record", "conference", "transcode", "floor", "kill"),
        default="relay",
    )
    parser.add_argument("--portable", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        if arguments.mode == "floor":
            floor(arguments, Path(directory))
        else:
            asyncio.run(measure(arguments, Path(directory)))


if __name__ == "__main__":
    main()
