"""Drive calls through a real media worker over loopback and print what they cost.

    python bench/media_relay.py --calls 100 --seconds 8
    python bench/media_relay.py --calls 800 --mode record
    python bench/media_relay.py --calls 400 --mode dtmf            (digits looked for in the sound)
    python bench/media_relay.py --calls 200 --mode conference      (participants)
    python bench/media_relay.py --calls 200 --mode kill            (kill -9 of the worker)
    python bench/media_relay.py --calls 800 --mode floor           (relay_floor.c instead of a worker)
    python bench/media_relay.py --calls 800 --mode uring           (relay_uring.c: the floor with io_uring)
    python bench/media_relay.py --calls 800 --mode rtpengine       (rtpengine in user space instead)

Each call has two legs of G.711, 50 packets a second each way (`rtp_generator.py`). CPU is that of the
worker process alone, as the kernel accounts it, the loopback path of what it sends included.
bench/media_plane.py runs all of it and keeps the figures.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bench import rtpengine
from bench.rtp_generator import Generator, Outcome, drive, rss_kib
from media.client import LocalStream, MediaClient
from media.dsp import g711
from media.protocol import RecordingStopped, StreamClosed, StreamParams, WorkerLoad

MODES = (
    "relay",
    "record",
    "dtmf",
    "conference",
    "transcode",
    "floor",
    "uring",
    "rtpengine",
    "kill",
)
_FLOOR_PORT = 39_000
_GATHER_US = 2000


@dataclass(frozen=True, slots=True)
class Run:
    """One measurement; `back_end` as in `MediaClient`."""

    mode: str
    calls: int
    seconds: float = 6.0
    back_end: str = "mmsg"
    warm_s: float = 2.0
    speech: bool = False
    """The legs say the prompts of the project, not noise."""


@dataclass(slots=True)
class Account:
    """What the worker itself says at the end: drops by reason, why recordings ended, memory."""

    drops: Counter[str] = field(default_factory=Counter)
    recordings: Counter[str] = field(default_factory=Counter)
    worker_kib: int = 0
    empty_kib: int = 0
    gap: WorkerLoad | None = None
    """The second with the longest time between two fetches."""


def floor(run: Run, directory: Path, name: str = "relay_floor") -> Outcome:
    """The same legs through `relay_floor.c`, or another program that takes its input."""
    program = directory / name
    source = Path(__file__).with_name(f"{name}.c")
    subprocess.run(["cc", "-O2", "-o", str(program), str(source)], check=True)
    count = 2 * run.calls
    sockets = max(4, -(-count // 128))
    process = subprocess.Popen(
        [str(program), str(_FLOOR_PORT), str(sockets), str(_GATHER_US)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdout.readline()
    legs = [LocalStream(i, "127.0.0.1", _FLOOR_PORT + 2 * (i % sockets), 0) for i in range(count)]
    generator = Generator(legs)
    for leg, address in enumerate(generator.addresses):
        process.stdin.write(f"{leg} {address[1]}\n")
    process.stdin.write("go\n")
    process.stdin.flush()
    outcome = drive(generator, process.pid, run.seconds, warm_s=run.warm_s)
    process.stdin.close()
    process.wait()
    generator.io.close()
    return outcome


def through_rtpengine(run: Run, directory: Path) -> Outcome:
    """The same legs through rtpengine without its kernel module."""
    with rtpengine.running(directory) as engine:
        legs = [LocalStream(i, "127.0.0.1", 1, 0) for i in range(2 * run.calls)]
        # Its ports are known only when it has been told ours.
        generator = Generator(
            [LocalStream(i, "127.0.0.1", 2 + i, 0) for i in range(len(legs))], 128
        )
        for call in range(run.calls):
            first, second = generator.addresses[2 * call : 2 * call + 2]
            towards = engine.bridge(call, first, second)
            for leg, address in zip((2 * call, 2 * call + 1), towards, strict=True):
                generator.io.set_destination(leg, address)
        outcome = drive(generator, engine.pid, run.seconds)
        generator.io.close()
    return outcome


async def through_worker(
    run: Run, directory: Path, *, kill: bool = False
) -> tuple[Outcome | str, Account]:
    """Through a worker of ours; with `kill` it is killed in mid-run, and a line says for how long its
    calls were silent."""
    events: list[object] = []
    client = MediaClient(
        address="127.0.0.1",
        ports=(30_000, 39_999),
        workers=1,
        recordings_dir=directory,
        on_event=events.append,
        spare=kill,
        back_end=run.back_end,
    )
    await client.start()
    pid = client.snapshot()["workers"][0]["pid"]
    account = Account(empty_kib=rss_kib(pid))
    conference = run.mode == "conference"
    legs = [
        client.reserve(group=1, signalled_host=None)
        for _ in range(run.calls if conference else 2 * run.calls)
    ]
    generator = Generator(legs, sound=spoken_packets() if run.speech else None)
    wire(client, run, legs, generator.addresses)
    await asyncio.sleep(run.warm_s / 2)
    found: Outcome | str
    if kill:
        found = await _outage(generator, client, run)
    else:
        found = drive(generator, pid, run.seconds, timed=not conference, warm_s=run.warm_s)
    before = len(events)
    await asyncio.sleep(0.05)
    # The loop stood still meanwhile: the second before the first of these was in the warming up.
    loads = [event for event in events[before:] if isinstance(event, WorkerLoad)]
    account.gap = max(loads[-int(run.seconds) :], key=lambda load: load.gap_ms, default=None)
    account.worker_kib = rss_kib(client.snapshot()["workers"][0]["pid"])
    for leg in legs:
        client.release(leg.stream_id)
    for _ in range(200):
        await asyncio.sleep(0.02)
        if sum(isinstance(event, StreamClosed) for event in events) == len(legs):
            break
    _add_up(events, account)
    await client.stop()
    generator.io.close()
    return found, account


def spoken_packets() -> np.ndarray:
    """Return (n, 160) uint8: minutes of speech as packets of u-law."""
    from bench.digits_heard import spoken

    samples = spoken()
    return g711.encode_ulaw(samples[: len(samples) // 160 * 160].reshape(-1, 160))


def wire(
    client: MediaClient, run: Run, legs: list[LocalStream], addresses: list[tuple[str, int]]
) -> None:
    """Make the legs what `run` asks for: calls of two, or all in one room."""
    for number, (leg, address) in enumerate(zip(legs, addresses, strict=True)):
        alaw = run.mode == "transcode" and number % 2
        params = StreamParams(
            address,
            codec="PCMA" if alaw else "PCMU",
            payload_type=0,
            inband_dtmf=run.mode == "dtmf",
        )
        client.configure(leg.stream_id, params)
        if run.mode == "conference":
            client.join_room(1, leg.stream_id)
        elif number % 2:
            other = legs[number - 1]
            client.connect(other.stream_id, leg.stream_id)
            if run.mode == "record":
                client.start_recording(
                    number, left=other.stream_id, right=leg.stream_id, name=f"{number}.wav"
                )


async def _outage(generator: Generator, client: MediaClient, run: Run) -> str:
    running = asyncio.get_running_loop().run_in_executor(None, generator.run, 6.0, True)
    await asyncio.sleep(3.0)
    generator.longest_gap_s = 0.0
    os.kill(client.snapshot()["workers"][0]["pid"], signal.SIGKILL)
    await running
    missing = (generator.sent - generator.received) / run.calls / 2
    return (
        f"kill       {run.calls:5d} calls  silent for {1000 * generator.longest_gap_s:.0f} ms  "
        f"{missing:.1f} packets lost a leg"
    )


def _add_up(events: list[object], account: Account) -> None:
    for event in events:
        if isinstance(event, StreamClosed):
            account.drops.update(event.stats.dropped)
            account.drops["lost"] += event.stats.lost
            account.drops["late"] += event.stats.late
        elif isinstance(event, RecordingStopped):
            account.recordings[event.reason] += 1


def gap_line(load: WorkerLoad) -> str:
    """What the worker says of its longest gap."""
    return (
        f"{load.gap_ms:.1f} ms, of it {load.gap_own_ms:.1f} own work ({load.gap_collector_ms:.1f} the "
        f"collector), woken {load.gap_overslept_ms:.1f} late"
    )


def measure(run: Run, directory: Path) -> tuple[Outcome | str, Account]:
    """Carry out one run."""
    if run.mode == "floor":
        return floor(run, directory), Account()
    if run.mode == "uring":
        return floor(run, directory, "relay_uring"), Account()
    if run.mode == "rtpengine":
        return through_rtpengine(run, directory), Account()
    return asyncio.run(through_worker(run, directory, kill=run.mode == "kill"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--mode", choices=MODES, default="relay")
    parser.add_argument("--portable", action="store_true")
    parser.add_argument("--speech", action="store_true", help="speech in the packets, not noise")
    chosen = parser.parse_args()
    back_end = "portable" if chosen.portable else "mmsg"
    run = Run(chosen.mode, chosen.calls, chosen.seconds, back_end, speech=chosen.speech)
    with tempfile.TemporaryDirectory() as directory:
        found, account = measure(run, Path(directory))
    print(found if isinstance(found, str) else found.line(run.mode, run.calls))
    if account.gap is not None:
        print("   longest without a fetch:", gap_line(account.gap))
    if account.worker_kib:
        held = (account.worker_kib - account.empty_kib) / run.calls
        print(f"   worker {account.worker_kib} KiB, {held:.1f} KiB a call")
    print("  ", {**{k: v for k, v in account.drops.items() if v}, **account.recordings})


if __name__ == "__main__":
    main()
