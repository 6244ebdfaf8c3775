"""The control plane is killed: relayed sound goes on for a while, and the next life finds who carries it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from media.client import MediaClient
from media.orphans import Orphans
from media.plane.orphan import Orphan
from media.process import worker_environment
from media.protocol import StreamParams
from softswitch.ports import free_port

CONTROL = """
import asyncio, sys
from pathlib import Path
from media.client import MediaClient
from media.protocol import StreamParams

async def main():
    folder, orphan_s, first, *phones = sys.argv[1:]
    client = MediaClient(
        address="127.0.0.1", ports=(int(first), int(first) + 19), workers=1,
        recordings_dir=Path(folder) / "recordings", on_event=lambda event: None, spare=True,
        orphan_s=float(orphan_s), orphan_dir=Path(folder),
    )
    await client.start()
    streams = []
    for port in phones:
        stream = client.reserve(group=1, signalled_host=None)
        client.configure(stream.stream_id, StreamParams(("127.0.0.1", int(port))))
        streams.append(stream)
    if streams:
        client.connect(*(stream.stream_id for stream in streams))
        client.start_recording(
            1, left=streams[0].stream_id, right=streams[1].stream_id, name="call.wav"
        )
    shown = client.snapshot()
    pids = [shown["workers"][0]["pid"], shown["spare"]]
    print(*pids, *(stream.port for stream in streams), flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


class Phone:
    """Talks at 50 packets a second and notes the longest time in which it heard nothing."""

    def __init__(self) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.sock.setblocking(False)
        self.port = self.sock.getsockname()[1]
        self.to = 0
        self.number = 0
        self.heard = 0
        self.heard_s = time.monotonic()
        self.longest_s = 0.0

    def turn(self) -> None:
        number = self.number
        head = b"\x80\0" + number.to_bytes(2, "big") + (160 * number).to_bytes(4, "big")
        self.sock.sendto(head + self.port.to_bytes(4, "big") + bytes(160), ("127.0.0.1", self.to))
        self.number += 1
        while True:
            try:
                data = self.sock.recv(2048)
            except OSError:
                return
            if data[1] & 0x7F == 0:
                now_s = time.monotonic()
                self.longest_s = max(self.longest_s, now_s - self.heard_s)
                self.heard, self.heard_s = self.heard + 1, now_s


async def talk(phones: list[Phone], seconds: float) -> None:
    for _ in range(round(50 * seconds)):
        for phone in phones:
            phone.turn()
        await asyncio.sleep(0.02)


def alive(pid: int) -> bool:
    """A process that runs; its reaper may be init, or nobody."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def gone(pid: int, patience_s: float) -> bool:
    for _ in range(round(patience_s / 0.02)):
        if not alive(pid):
            return True
        await asyncio.sleep(0.02)
    return False


@pytest.fixture
def control(tmp_path):
    """Start a control plane with a call between two phones; kill it, and tell of its workers."""
    started: list[subprocess.Popen[str]] = []
    pids: list[int] = []

    def start(phones: list[Phone], *, orphan_s: float) -> tuple[subprocess.Popen[str], int, int]:
        first = free_port(count=20)
        arguments = [str(tmp_path), str(orphan_s), str(first), *(str(p.port) for p in phones)]
        process = subprocess.Popen(
            [sys.executable, "-c", CONTROL, *arguments],
            env=worker_environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        worker, spare, *ports = map(int, process.stdout.readline().split())
        pids.extend((worker, spare))
        for phone, port in zip(phones, ports, strict=True):
            phone.to = port
        return process, worker, spare

    yield start
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
    for pid in pids:
        if alive(pid):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def phones():
    made = [Phone(), Phone()]
    yield made
    for phone in made:
        phone.sock.close()


def successor(folder: Path) -> MediaClient:
    first = free_port(count=40)
    return MediaClient(
        address="127.0.0.1",
        ports=(first, first + 39),
        workers=1,
        recordings_dir=folder / "recordings",
        on_event=lambda event: None,
        spare=False,
        orphan_s=60.0,
        orphan_dir=folder,
    )


@pytest.mark.realtime
async def test_sound_goes_on_when_the_control_plane_is_killed_until_the_next_one_ends_it(
    tmp_path, control, phones, row
):
    process, worker, spare = control(phones, orphan_s=60.0)
    await talk(phones, 1.0)
    for phone in phones:
        phone.longest_s = 0.0
    process.kill()
    process.wait()
    await talk(phones, 1.0)
    gap_ms = 1000 * max(phone.longest_s for phone in phones)
    row(44, "control plane killed", longest_silence_ms=round(gap_ms))
    assert gap_ms < 500
    assert await gone(spare, 2.0), "who carries nothing ends at once"
    assert (tmp_path / f"media-{worker}.sock").stat().st_mode & 0o777 == 0o600
    recording = tmp_path / "recordings" / "call.wav"
    size = recording.stat().st_size
    assert size > 44 + 2 * 2 * 8000 * 0.6

    client = successor(tmp_path)
    await client.start()
    heard = [phone.heard for phone in phones]
    await talk(phones, 1.5)
    assert all(phone.heard - before > 50 for phone, before in zip(phones, heard, strict=True))
    (orphan,) = client.snapshot()["orphans"]
    assert (orphan["pid"], orphan["streams"]) == (worker, 2)
    # It can make calls of its own beside: its ports are others.
    stream = client.reserve(group=1, signalled_host=None)
    client.configure(stream.stream_id, StreamParams(("127.0.0.1", phones[0].port)))
    assert recording.stat().st_size == size, "a recording ends with the life that began it"
    await client.stop()
    assert await gone(worker, 1.0)
    assert not list(tmp_path.glob("media-*.sock"))


@pytest.mark.realtime
async def test_no_worker_stays_longer_than_it_may(tmp_path, control, phones):
    process, worker, _ = control(phones, orphan_s=1.0)
    await talk(phones, 0.5)
    process.kill()
    killed_s = time.monotonic()
    while alive(worker) and time.monotonic() - killed_s < 4.0:
        await talk(phones, 0.1)
    assert 0.9 < time.monotonic() - killed_s < 2.5
    assert not list(tmp_path.glob("media-*.sock"))


@pytest.mark.realtime
@pytest.mark.parametrize("orphan_s", [0.0, 60.0])
async def test_without_a_call_or_the_permission_a_worker_ends_at_once(
    tmp_path, control, phones, orphan_s
):
    process, worker, _ = control([] if orphan_s else phones, orphan_s=orphan_s)
    if not orphan_s:
        await talk(phones, 0.3)
    process.kill()
    assert await gone(worker, 2.0)
    assert not list(tmp_path.glob("media-*.sock"))


async def test_what_is_left_of_one_that_is_gone_is_cleared_away(tmp_path):
    stale = tmp_path / "media-4711.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.bind(str(stale))
    other = tmp_path / "media-library.sock"
    other.touch()
    orphans = Orphans(tmp_path)
    orphans.find()
    assert len(orphans) == 0
    assert not stale.exists()
    assert other.exists(), "not ours"


def test_it_ends_when_its_time_is_over_or_nobody_speaks(tmp_path):
    orphan = Orphan(tmp_path, 100.0, 30.0)
    try:
        assert not orphan.over(100.0, 10)
        assert not orphan.over(104.9, 10)
        assert orphan.over(105.0, 10)
        assert not orphan.over(129.9, 11)
        assert orphan.over(130.0, 12)
    finally:
        orphan.close()
    assert not list(tmp_path.iterdir())


def test_a_folder_whose_name_is_too_long_for_a_socket_is_refused(tmp_path):
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    with pytest.raises(OSError, match="too long"):
        Orphan(folder, 0.0, 1.0)
