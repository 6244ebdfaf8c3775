"""kill -9 of a media worker under fifty recorded calls: they go on, and what was recorded can be heard."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import socket
import struct
import time
from pathlib import Path

import numpy as np
import pytest

from media.client import MediaClient
from media.dsp import wav
from media.protocol import RecordingStopped, StreamParams, WorkerReplaced
from softswitch.ports import free_port

pytestmark = [pytest.mark.soak, pytest.mark.realtime]

CALLS = 50
KILLS = 3
TICK_S = 0.02


class Legs:
    """Both ends of all calls: one socket a leg, a packet each 20 ms, and when each was heard."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.socks = []
        for leg in range(2 * CALLS):
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.setblocking(False)
            sock.bind(("127.0.0.1", 0))
            loop.add_reader(sock, self._hear, leg)
            self.socks.append(sock)
        self._loop = loop
        self.heard_s = np.zeros(len(self.socks))
        self.gap_s = np.zeros(len(self.socks))
        self.packets = np.zeros(len(self.socks), int)

    def _hear(self, leg: int) -> None:
        while True:
            try:
                data = self.socks[leg].recv(2048)
            except BlockingIOError:
                return
            if len(data) == 172:
                now_s = time.monotonic()
                if self.packets[leg]:
                    self.gap_s[leg] = max(self.gap_s[leg], now_s - self.heard_s[leg])
                self.heard_s[leg] = now_s
                self.packets[leg] += 1

    async def talk(self, streams, seconds: float, first: int) -> int:
        start_s = time.monotonic()
        for number in range(round(seconds / TICK_S)):
            for leg, (sock, stream) in enumerate(zip(self.socks, streams, strict=True)):
                count = first + number
                head = struct.pack(">BBHII", 0x80, 0, count & 0xFFFF, 160 * count, leg)
                sock.sendto(head + bytes([leg]) * 160, (stream.host, stream.port))
            await asyncio.sleep(max(0.0, start_s + (number + 1) * TICK_S - time.monotonic()))
        return first + round(seconds / TICK_S)

    def close(self) -> None:
        for sock in self.socks:
            self._loop.remove_reader(sock)
            sock.close()


async def started(client: MediaClient, legs: Legs):
    """All calls, bridged and recorded."""
    streams = []
    for leg, sock in enumerate(legs.socks):
        stream = client.reserve(group=leg // 2, signalled_host="127.0.0.1")
        client.configure(stream.stream_id, StreamParams(sock.getsockname()))
        streams.append(stream)
        if leg % 2:
            left, right = streams[-2].stream_id, stream.stream_id
            client.connect(left, right)
            client.start_recording(leg // 2, left=left, right=right, name=f"{leg // 2}.wav")
    return streams


async def test_calls_and_recordings_outlive_their_worker(tmp_path, capsys):
    events: list[object] = []
    first = free_port(count=2_000)
    client = MediaClient(
        address="127.0.0.1", ports=(first, first + 1_999), workers=1, recordings_dir=tmp_path,
        on_event=events.append,
    )  # fmt: skip
    await client.start()
    legs = Legs(asyncio.get_running_loop())
    began_s = time.monotonic()
    streams = await started(client, legs)
    number = await legs.talk(streams, 3.0, 0)
    gaps = []
    for kill in range(KILLS):
        legs.gap_s[:] = 0.0
        before = legs.packets.copy()
        os.kill(client.snapshot()["workers"][0]["pid"], signal.SIGKILL)
        number = await legs.talk(streams, 3.0, number)
        assert (legs.packets - before > 100).all()  # every one of them hears again
        assert sum(isinstance(event, WorkerReplaced) for event in events) == kill + 1
        gaps.append(legs.gap_s.copy())
    lasted_s = time.monotonic() - began_s
    for call in range(CALLS):
        client.stop_recording(call)
    for _ in range(500):
        done = [event for event in events if isinstance(event, RecordingStopped)]
        if len(done) == CALLS:
            break
        await asyncio.sleep(0.01)
    await client.stop()
    legs.close()
    missing_s = [lasted_s - length_s(event.path) for event in done]
    p99_s = float(np.percentile(np.concatenate(gaps), 99))
    with capsys.disabled():
        print(
            f"\n[row 43] kill -9 of a media worker x{KILLS}, N={CALLS} calls: silent p99 "
            f"{1000 * p99_s:.0f} ms (bar 1000), {len(done)}/{CALLS} recordings, "
            f"missing at most {max(missing_s):.2f} s of {lasted_s:.1f} s (bar 1)"
        )
    assert len(done) == CALLS
    assert p99_s < 1.0
    assert max(missing_s) < 1.0


def length_s(path: str) -> float:
    """How long a recording is, if both sides of it can be heard up to its end."""
    rate_hz, sides = wav.read(io.BytesIO(Path(path).read_bytes()))
    assert sides.shape[0] == 2
    tail = sides[:, -rate_hz // 2 :]
    assert tail.any(axis=1).all()
    return float(sides.shape[1] / rate_hz)
