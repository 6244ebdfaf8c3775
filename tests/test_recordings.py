"""The folder of recordings: archived in the background, crash-safe, deleted when old, alarmed when it fails."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from media.dsp import wav
from softswitch.call.audio import Recorded
from softswitch.clock import SystemClock
from softswitch.errors import StoreError
from softswitch.recordings import Recordings
from softswitch.store import Store

CALL = "c18b-abc123"


class Folder:
    """A store with one ended call that has a recording, and the folder beside it."""

    def __init__(self, directory: Path, store: Store, archive: str) -> None:
        self.recordings = directory / "recordings"
        self.recordings.mkdir(exist_ok=True)
        self.store = store
        self.settings = SimpleNamespace(archive=archive, retain_days=10)
        self.alarms: dict[str, str] = {}
        self.made = Recordings(
            self.recordings,
            lambda: SimpleNamespace(recording=self.settings),  # type: ignore[arg-type, return-value]
            store,
            SystemClock(),
            self.alarms.__setitem__,
        )

    def call(self, name: str, *, call_id: str = CALL, days_ago: float = 0.0) -> Path:
        append, now_s = self.store.journal.append, time.time() - days_ago * 86_400
        append("call-started", call_id, {"number_from": "1001", "number_to": "1002"}, now_s)
        append("recording-started", call_id, {"name": name}, now_s)
        append(
            "recording-stopped", call_id, {"name": name, "frames": 8000, "reason": "stopped"}, now_s
        )
        append("call-ended", call_id, {"by": "caller"}, now_s)
        samples = (3000 * np.sin(np.arange(16_000) / 5)).astype("<i2")
        path = self.recordings / name
        path.write_bytes(wav.header(wav.WavFormat(8000, 2), samples.nbytes) + samples.tobytes())
        return path

    async def names(self, call_id: str = CALL) -> list[str]:
        await self.store.journal.flush()
        record = await self.store.calls.get(call_id)
        assert record is not None
        return [recording["name"] for recording in record.recordings]

    async def until_archived(self, count: int = 1) -> None:
        for _ in range(1000):
            if self.made.archived >= count:
                return
            await asyncio.sleep(0.02)
        raise AssertionError(f"not archived: {self.made.snapshot()} {self.alarms}")

    def files(self) -> list[str]:
        return sorted(path.name for path in self.recordings.iterdir())


@pytest.fixture
async def open_folder(tmp_path):
    opened: list[Folder] = []

    async def open_one(archive: str = "flac") -> Folder:
        folder = Folder(tmp_path, await Store.open(tmp_path), archive)
        opened.append(folder)
        return folder

    yield open_one
    for folder in opened:
        await folder.made.stop()
        await folder.store.close()


@pytest.mark.parametrize("kind", ["flac", "opus"])
async def test_a_closed_recording_is_archived_under_a_new_name(open_folder, kind):
    folder = await open_folder(kind)
    path = folder.call(f"{CALL}.wav")
    await folder.made.start()
    await folder.store.journal.flush()
    folder.made.closed(CALL, Recorded(path.name, 8000, "stopped"))
    await folder.until_archived()
    assert folder.files() == [f"{CALL}.{kind}"]
    assert await folder.names() == [f"{CALL}.{kind}"]
    samples, rate_hz = soundfile.read(folder.recordings / f"{CALL}.{kind}", dtype="int16")
    assert (samples.shape, rate_hz) == ((8000, 2), 8000)
    assert not any(folder.alarms.values())


async def test_without_archive_nothing_is_touched(open_folder):
    folder = await open_folder("none")
    path = folder.call(f"{CALL}.wav")
    await folder.made.start()
    folder.made.closed(CALL, Recorded(path.name, 8000, "stopped"))
    await asyncio.sleep(0.05)
    assert folder.files() == [f"{CALL}.wav"]
    assert folder.made.snapshot() == {"waiting": 0, "archived": 0, "deleted": 0}


async def test_a_start_takes_up_what_a_crash_left(open_folder):
    folder = await open_folder()
    cut = folder.call(f"{CALL}-1.wav")
    with cut.open("r+b") as file:  # the process died between two headers
        file.write(wav.header(wav.WavFormat(8000, 2), 4))
    (folder.recordings / f"{CALL}-1.flac.part").write_bytes(b"half")
    other = "c18b-ffffff"
    done = folder.call(f"{other}.wav", call_id=other)
    soundfile.write(done.with_suffix(".flac"), np.zeros(8000, np.int16), 8000)
    folder.store.journal.append(
        "recording-archived", other, {"name": done.name, "stored": f"{other}.flac"}, time.time()
    )
    stranger = folder.recordings / "notes.wav"
    stranger.write_bytes(b"mine")
    await folder.store.journal.flush()
    await folder.made.start()
    await folder.until_archived()
    assert folder.files() == [f"{CALL}-1.flac", f"{other}.flac", "notes.wav"]
    assert len(soundfile.read(folder.recordings / f"{CALL}-1.flac")[0]) == 8000


async def test_a_kill_at_any_moment_of_archiving_loses_nothing(open_folder):
    """Stop the work at several moments; after each there is a whole file under the recorded name."""
    folder = await open_folder()
    folder.call(f"{CALL}.wav")
    await folder.store.journal.flush()
    for pause_s in (0.0, 0.05, 0.15, 0.3, 0.6):
        await folder.made.start()
        await asyncio.sleep(pause_s)
        await folder.made.stop()
        (name,) = await folder.names()
        assert len(soundfile.read(folder.recordings / name)[0]) == 8000
    await folder.made.start()
    for _ in range(500):
        if folder.files() == [f"{CALL}.flac"]:
            break
        await asyncio.sleep(0.02)
    assert folder.files() == [f"{CALL}.flac"]
    assert await folder.names() == [f"{CALL}.flac"]


async def test_a_recording_that_cannot_be_archived_stays_and_is_told(open_folder):
    folder = await open_folder()
    path = folder.call(f"{CALL}.wav")
    path.write_bytes(b"not sound")
    await folder.store.journal.flush()
    await folder.made.start()
    for _ in range(500):
        if folder.alarms.get("recording.archive"):
            break
        await asyncio.sleep(0.02)
    assert CALL in folder.alarms["recording.archive"]
    assert folder.files() == [f"{CALL}.wav"]


async def test_a_failing_disk_raises_an_alarm_that_the_next_whole_recording_clears(open_folder):
    folder = await open_folder("none")
    folder.made.written(Recorded("a.wav", 100, "disk: No space left on device"))
    assert folder.alarms["recording.disk"] == "a.wav: disk: No space left on device"
    folder.made.written(Recorded("b.wav", 100, "stopped"))
    assert folder.alarms["recording.disk"] == ""


async def test_old_recordings_of_calls_are_deleted_and_nothing_else(open_folder):
    folder = await open_folder("none")
    old, young = folder.call(f"{CALL}.wav"), folder.call("c18c-abc123.wav", call_id="c18c-abc123")
    stranger = folder.recordings / "c0-000000.wav"
    stranger.write_bytes(b"whose?")
    day_s = 86_400
    for path, days in ((old, 10.01), (young, 9.9), (stranger, 400)):
        then = time.time() - days * day_s
        os.utime(path, (then, then))
    await folder.store.journal.flush()
    believed, folder.made._believed = folder.made._believed, lambda: False
    assert await folder.made.sweep() == 0, "its clock has just been set by years"
    folder.made._believed = believed
    assert await folder.made.sweep() == 1
    assert folder.files() == ["c0-000000.wav", "c18c-abc123.wav"]
    await folder.store.journal.flush()
    record = await folder.store.calls.get(CALL)
    assert record is not None
    assert record.recordings[0]["deleted_at_s"] > 0


async def test_a_recording_is_as_old_as_its_call_whatever_was_done_to_its_file(open_folder):
    """Files that came back from a backup are as new as the restore, those of a careless copy are anything: what
    is to be gone goes, what is to be kept stays."""
    folder = await open_folder("none")
    old = folder.call(f"{CALL}.wav", days_ago=11)
    young = folder.call("c18c-abc123.wav", call_id="c18c-abc123", days_ago=9)
    stranger = folder.recordings / "c0-000000.wav"
    stranger.write_bytes(b"whose?")
    os.utime(young, (1.0, 1.0))
    await folder.store.journal.flush()
    await folder.made.start()
    for _ in range(500):
        if folder.made.deleted:
            break
        await asyncio.sleep(0.02)
    assert folder.files() == ["c0-000000.wav", "c18c-abc123.wav"]
    assert abs(young.stat().st_mtime - (time.time() - 9 * 86_400)) < 60
    assert not old.exists()
    assert await folder.made.date_files() == 0


async def test_what_is_made_of_a_recording_is_as_old_as_it(open_folder):
    folder = await open_folder("flac")
    path = folder.call(f"{CALL}.wav", days_ago=5)
    then = time.time() - 5 * 86_400
    os.utime(path, (then, then))
    await folder.store.journal.flush()
    await folder.made.start()
    await folder.until_archived()
    assert abs((folder.recordings / f"{CALL}.flac").stat().st_mtime - then) < 60


async def test_nothing_is_deleted_without_a_word(open_folder, monkeypatch):
    """The database is away: the file stays until it can be logged that it goes."""
    folder = await open_folder("none")
    path = folder.call(f"{CALL}.wav", days_ago=11)
    await folder.store.journal.flush()
    await folder.made.date_files()
    with monkeypatch.context() as patch:
        patch.setattr(folder.store.recordings, "note_deleted", away)
        with pytest.raises(StoreError):
            await folder.made.sweep()
        assert path.exists()
    assert await folder.made.sweep() == 1
    assert not path.exists()


async def away(*_):
    raise StoreError("the database cannot be written")
