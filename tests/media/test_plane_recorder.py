"""Recordings: sample-exact, aligned, valid at every moment, never a reason to fail a call."""

from __future__ import annotations

import errno
import io
import os
import struct
from pathlib import Path

import numpy as np
import pytest

from media.dsp import g711, wav
from media.errors import BadName
from media.plane.disk import InlineDisk
from media.plane.recorder import PIECE, RecordingFile, checked_path
from media.plane.timeline import LATE
from media.protocol import (
    CommandRefused,
    Connect,
    PauseRecording,
    RecordingStopped,
    ReleaseStream,
    ResumeRecording,
    StartRecording,
    StopRecording,
)

A, B = ("10.0.0.1", 4000), ("10.0.0.2", 6000)


def sides(path: str):
    rate_hz, samples = wav.read(io.BytesIO(Path(path).read_bytes()))
    assert rate_hz == 8000
    return samples


def call(world, make_talker, *, alaw=False):
    world.open(1, A)
    codec = {"codec": "PCMA", "payload_type": 8} if alaw else {}
    world.open(2, B, port_id=2, **codec)
    world.do(Connect(1, 2))
    return make_talker(A, ssrc=1), make_talker(B, ssrc=2, payload_type=8 if alaw else 0)


def talk(world, a, b, ticks):
    said_a, said_b = [], []
    for _ in range(ticks):
        said_a.append(world.hear(a))
        said_b.append(world.hear(b, port_id=2))
        world.now_s += 0.02
    return b"".join(said_a), b"".join(said_b)


def samples_of(octets, *, alaw=False):
    codes = np.frombuffer(octets, np.uint8)
    return g711.decode_alaw(codes) if alaw else g711.decode_ulaw(codes)


def stopped(world):
    (event,) = world.events_of(RecordingStopped)
    return event


@pytest.mark.parametrize("alaw", [False, True])
@pytest.mark.parametrize("ticks", [3, 75, 260])
def test_recording_is_what_was_sent_sample_by_sample(world, make_talker, alaw, ticks):
    a, b = call(world, make_talker, alaw=alaw)
    world.do(StartRecording(5, 1, 2, "5.wav"))
    said_a, said_b = talk(world, a, b, ticks)
    world.do(StopRecording(5))
    world.engine.poll(world.now_s + 0.2)
    done = stopped(world)
    assert done.reason == "stopped"
    left, right = sides(done.path)
    assert len(left) == done.frames == 160 * ticks
    assert np.array_equal(left, samples_of(said_a))
    assert np.array_equal(right, samples_of(said_b, alaw=alaw))
    assert os.stat(done.path).st_mode & 0o777 == 0o640


def test_relay_stays_byte_identical_and_without_a_seam_while_recording(world, make_talker):
    a, b = call(world, make_talker)
    said, _ = talk(world, a, b, 10)
    world.do(StartRecording(5, 1, 2, "5.wav"))
    more, _ = talk(world, a, b, 10)
    world.do(StopRecording(5))
    last, _ = talk(world, a, b, 10)
    packets = [packet for packet in world.sent() if packet.remote == B]
    assert b"".join(packet.payload for packet in packets) == said + more + last
    assert [packet.sequence - packets[0].sequence for packet in packets] == list(range(30))


def test_loss_is_silence_and_reordering_and_duplicates_are_put_right(world, make_talker):
    a, b = call(world, make_talker)
    world.do(StartRecording(5, 1, 2, "5.wav"))
    expected = np.zeros(160 * 100, np.int16)
    held = None
    for number in range(100):
        payload = bytes([number]) * 160
        packet = a.packet(payload)
        expected[160 * number : 160 * (number + 1)] = samples_of(payload)
        if number % 10 == 3:
            expected[160 * number : 160 * (number + 1)] = 0
        elif number % 10 == 5:
            held = packet
        else:
            world.io.deliver(0, A, packet)
            if number % 10 == 7:
                world.io.deliver(0, A, held)
                world.io.deliver(0, A, packet)
        world.engine.poll(world.now_s)
        world.now_s += 0.02
    world.do(StopRecording(5))
    world.engine.poll(world.now_s + 0.2)
    left, right = sides(stopped(world).path)
    assert np.array_equal(left, expected)
    assert not right.any()
    assert b.ssrc == 2


def test_a_side_that_begins_late_is_aligned_by_arrival(world, make_talker):
    a, b = call(world, make_talker)
    world.do(StartRecording(5, 1, 2, "5.wav"))
    said_a = world.run(0.5, a)
    for _ in range(25):
        said_a.append(world.hear(a))
        world.hear(b, b"\x10" * 160, port_id=2)
        world.now_s += 0.02
    world.do(StopRecording(5))
    world.engine.poll(world.now_s + 0.2)
    left, right = sides(stopped(world).path)
    assert np.array_equal(left, samples_of(b"".join(said_a)))
    assert not right[:4000].any()
    assert (right[4000:] == samples_of(b"\x10")[0]).all()


def test_file_is_whole_at_every_tick_and_at_most_a_second_behind(world, make_talker):
    a, b = call(world, make_talker)
    world.do(StartRecording(5, 1, 2, "5.wav"))
    path = world.recordings / "5.wav"
    for tick in range(200):
        talk(world, a, b, 1)
        info = wav.inspect(io.BytesIO(path.read_bytes()))
        assert info.whole
        frames = info.data_octets // 4
        assert 160 * (tick + 1) - frames <= 8_000


def test_release_of_one_side_keeps_the_other_and_of_both_ends_it(world, make_talker):
    a, b = call(world, make_talker)
    world.do(StartRecording(5, 1, 2, "5.wav"))
    talk(world, a, b, 50)
    world.do(ReleaseStream(1))
    for _ in range(50):
        world.hear(b, port_id=2)
        world.now_s += 0.02
    assert not world.events_of(RecordingStopped)
    world.do(ReleaseStream(2))
    world.engine.poll(world.now_s + 0.2)
    done = stopped(world)
    assert done.reason == "released"
    left, right = sides(done.path)
    assert len(left) == 16_000
    assert left[:8000].any()
    assert not left[8000:].any()
    assert right[8000:].any()
    snapshot = world.engine.snapshot()
    assert (snapshot["slots"], snapshot["recordings"]) == (0, 0)


@pytest.mark.parametrize("stall_s", [0.14, 0.26, 0.5, 0.8, 1.1, 3.0, 25.0])
def test_a_process_that_stands_still_loses_no_time(world, make_talker, stall_s):
    a, b = call(world, make_talker)
    world.do(StartRecording(5, 1, 2, "5.wav"))
    begun_s = world.now_s
    for _ in range(3):
        talk(world, a, b, 40)
        waiting = []
        for _ in range(round(stall_s / 0.02)):
            waiting.append((0, a))
            waiting.append((2, b))
        for port_id, talker in waiting:
            world.io.deliver(port_id, talker.address, talker.packet())
        world.now_s += stall_s
        world.engine.poll(world.now_s)
    talk(world, a, b, 40)
    world.do(StopRecording(5))
    elapsed = 8000 * (world.now_s - begun_s)
    world.engine.poll(world.now_s + 0.2)
    done = stopped(world)
    assert done.reason == "stopped"
    assert abs(done.frames - elapsed) <= 320
    left, right = sides(done.path)
    assert len(left) == done.frames
    assert left[:6000].any()
    assert right[-6000:].any()
    if stall_s < 0.9:
        assert (left == 0).mean() < 0.01


def test_mono(world, make_talker):
    world.open(1, A)
    a = make_talker(A)
    world.do(StartRecording(6, 1, None, "6.wav"))
    said = world.run(1.0, a)
    world.do(StopRecording(6))
    world.engine.poll(world.now_s + 0.2)
    samples = sides(stopped(world).path)
    assert samples.shape == (1, 8000)
    assert np.array_equal(samples[0], samples_of(b"".join(said)))


class FailingDisk(InlineDisk):
    """Does its jobs until `full`, then takes no more octets."""

    full = False

    def submit(self, job, octets=0):
        if octets and self.full:
            return False
        return super().submit(job, octets)


def test_slow_disk_stops_the_recording_and_not_the_call(make_world, make_talker):
    disk = FailingDisk()
    world = make_world(disk=disk)
    a, b = call(world, make_talker)
    world.do(StartRecording(5, 1, 2, "5.wav"))
    talk(world, a, b, 60)
    disk.full = True
    world.sent()
    said, _ = talk(world, a, b, 60)
    done = stopped(world)
    assert done.reason.startswith("disk")
    assert len(sides(done.path)[0]) == done.frames
    heard = b"".join(packet.payload for packet in world.sent() if packet.remote == B)
    assert heard == said
    assert world.engine.snapshot()["slots"] == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_recording_onto_a_device_that_is_full_ends_and_the_call_goes_on(
    world, make_talker, monkeypatch
):
    """Row 48: each write to /dev/full is refused by the kernel itself, the very first one too."""
    opened, ftruncate = os.open, os.ftruncate
    full = set()

    def open_full(path, flags, mode=0o777):
        full.add(opened("/dev/full", flags & ~(os.O_CREAT | os.O_EXCL), mode))
        return max(full)

    monkeypatch.setattr(os, "open", open_full)
    # A device has no length to be cut to.
    monkeypatch.setattr(os, "ftruncate", lambda fd, size: fd in full or ftruncate(fd, size))
    a, b = call(world, make_talker)
    world.do(StartRecording(5, 1, 2, "5.wav"))
    world.sent()
    said, _ = talk(world, a, b, 80)
    done = stopped(world)
    assert (done.recording_id, done.frames) == (5, 0)
    assert done.reason == "disk: No space left on device"
    heard = b"".join(packet.payload for packet in world.sent() if packet.remote == B)
    assert heard == said
    snapshot = world.engine.snapshot()
    assert snapshot["recordings"] == snapshot["slots"] == 0


def test_full_disk_stops_the_recording_with_what_there_is(tmp_path, monkeypatch):
    file = RecordingFile(str(tmp_path / "x.wav"), 2)
    file.open(0)
    file.write(np.ones((1000, 2), np.int16))

    def no_room(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", no_room)
    file.write(np.ones((1000, 2), np.int16))
    monkeypatch.undo()
    file.write(np.ones((1000, 2), np.int16))
    file.close()
    assert file.failed == "disk: No space left on device"
    assert sides(str(tmp_path / "x.wav")).shape == (2, 1000)
    with open(tmp_path / "x.wav", "rb") as wave:
        assert wav.read_marks(wave) == [wav.Mark(1000, "disk: No space left on device")]


def test_a_file_goes_on_where_another_worker_left_it(tmp_path):
    path = str(tmp_path / "x.wav")
    first = RecordingFile(path, 2)
    first.open(0)
    first.write(np.full((800, 2), 7, np.int16))
    with open(path, "ab") as torn:
        torn.write(b"\x01\x02\x03")
    second = RecordingFile(path, 2)
    second.open(0.2)
    second.write(np.full((400, 2), 9, np.int16))
    second.close()
    left, right = sides(path)
    assert len(left) == 2000
    assert np.array_equal(left, right)
    assert (left[:800] == 7).all()
    assert not left[800:1600].any()
    assert (left[1600:] == 9).all()


def test_nothing_is_overwritten(world, make_talker):
    (world.recordings / "5.wav").write_bytes(b"precious")
    call(world, make_talker)
    world.do(StartRecording(5, 1, 2, "5.wav"))
    world.run(2.0)
    assert stopped(world).reason.startswith("disk")
    assert (world.recordings / "5.wav").read_bytes() == b"precious"


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x.wav", "/etc/passwd", "a/b", "a\\..\\b", "x\0", "-x", "a..b", "x" * 201],
)
def test_names_that_lead_elsewhere_are_refused(world, make_talker, tmp_path, name):
    with pytest.raises(BadName):
        checked_path(str(tmp_path), name)
    call(world, make_talker)
    world.do(StartRecording(5, 1, 2, name))
    assert world.events_of(CommandRefused)
    assert stopped(world).reason.startswith("refused")
    assert world.engine.snapshot()["slots"] == 0


def test_a_link_out_of_the_directory_is_refused(tmp_path):
    inside = tmp_path / "in"
    inside.mkdir()
    (inside / "x.wav").symlink_to(tmp_path / "out.wav")
    with pytest.raises(BadName):
        checked_path(str(inside), "x.wav")
    assert checked_path(str(inside), "y.wav") == str(inside / "y.wav")


def marks_of(path):
    """Frames and labels of the marks, read by the letter of the RIFF specification."""
    data = Path(path).read_bytes()
    assert struct.unpack_from("<I", data, 4)[0] + 8 == len(data)
    at, frames, labels = 12, {}, {}
    while at < len(data):
        name, size = data[at : at + 4], struct.unpack_from("<I", data, at + 4)[0]
        body = data[at + 8 : at + 8 + size]
        if name == b"cue ":
            for number in range(struct.unpack_from("<I", body)[0]):
                point, frame = struct.unpack_from("<II", body, 4 + 24 * number)
                frames[point] = frame
        elif name == b"LIST":
            inner = 4
            while inner < len(body):
                length, point = struct.unpack_from("<II", body, inner + 4)
                labels[point] = body[inner + 12 : inner + 8 + length].rstrip(b"\0").decode()
                inner += 8 + length + (length & 1)
        at += 8 + size + (size & 1)
    return [(frames[point], labels[point]) for point in sorted(frames)]


@pytest.mark.parametrize("ulaw", [False, True])
def test_a_pause_is_silence_of_the_same_length_between_two_marks(world, make_talker, ulaw):
    a, b = call(world, make_talker)
    world.do(StartRecording(5, 1, 2, "5.wav", ulaw=ulaw))
    talk(world, a, b, 77)
    world.do(PauseRecording(5))
    world.do(PauseRecording(5))
    talk(world, a, b, 90)
    world.do(ResumeRecording(5))
    world.do(ResumeRecording(5))
    more, more_b = talk(world, a, b, 73)
    world.do(StopRecording(5))
    world.engine.poll(world.now_s + 0.2)
    done = stopped(world)
    left, right = sides(done.path)
    assert len(left) == done.frames == 160 * 240
    (begun, first), (ended, second) = marks_of(done.path)
    assert (first, second) == ("paused", "resumed")
    assert 160 * 77 - 320 <= begun <= 160 * 77
    assert 160 * 167 <= ended <= 160 * 167 + LATE
    for side in (left, right):
        assert side[:begun].any()
        assert not np.abs(side[begun:ended]).any()
    kept = 160 * 240 - ended
    assert np.array_equal(left[ended:], samples_of(more)[-kept:])
    assert np.array_equal(right[ended:], samples_of(more_b)[-kept:])
    assert Path(done.path).stat().st_size < 160 * 240 * (2 if ulaw else 4) + 400


def test_a_recording_may_end_while_it_pauses(world, make_talker):
    a, b = call(world, make_talker)
    world.do(StartRecording(5, 1, 2, "5.wav"))
    world.do(PauseRecording(5))
    talk(world, a, b, 60)
    world.do(ResumeRecording(5))
    world.do(StopRecording(5))
    world.do(PauseRecording(5))
    world.do(ResumeRecording(77))
    world.engine.poll(world.now_s + 0.2)
    left, right = sides(stopped(world).path)
    assert len(left) == 160 * 60
    assert not left.any()
    assert not right.any()
    assert marks_of(stopped(world).path) == [(0, "paused"), (160 * 60, "resumed")]


def test_ulaw_keeps_the_octets_that_were_sent(world, make_talker):
    world.open(1, A)
    a = make_talker(A)
    world.do(StartRecording(6, 1, None, "6.wav", ulaw=True))
    said = samples_of(b"".join(world.run(1.0, a)))
    world.do(StopRecording(6))
    world.engine.poll(world.now_s + 0.2)
    assert np.array_equal(sides(stopped(world).path)[0], said)


def test_ulaw_goes_on_in_another_worker_with_silence_not_with_a_bang(tmp_path):
    path = str(tmp_path / "x.wav")
    first = RecordingFile(path, 1, ulaw=True)
    first.open(0)
    first.write(np.full((801, 1), 1000, np.int16))
    second = RecordingFile(path, 1, ulaw=True)
    second.open(0.2)
    second.write(np.full((401, 1), 1000, np.int16))
    second.close([wav.Mark(5000, "paused")])
    (samples,) = sides(path)
    assert len(samples) == 2001
    assert samples[:801].all()
    assert not samples[801:1600].any()
    assert samples[1600:].all()
    assert marks_of(path) == [(2001, "paused")]


def test_both_hear_a_beep_that_the_recording_does_not_hold(world, make_talker):
    a, b = call(world, make_talker)
    silence = b"\xff" * 160
    world.do(StartRecording(5, 1, 2, "5.wav", beep=True))
    for _ in range(50 * 32):
        world.io.deliver(0, A, a.packet(silence))
        world.io.deliver(2, B, b.packet(silence))
        world.engine.poll(world.now_s)
        world.now_s += 0.02
    packets = world.sent()
    for remote in (A, B):
        own = [packet for packet in packets if packet.remote == remote]
        beeping = [packet for packet in own if samples_of(packet.payload).any()]
        assert len(beeping) == 2 * 10
        spectrum = np.abs(np.fft.rfft(samples_of(beeping[4].payload)))
        assert int(np.argmax(spectrum)) * 50 == 1400
        assert len({(packet.sequence - own[0].sequence) & 0xFFFF for packet in own}) == len(own)
    world.do(StopRecording(5))
    world.engine.poll(world.now_s + 0.2)
    assert not np.concatenate(sides(stopped(world).path)).any()
    assert world.engine.snapshot()["feeds"] == 2


class CountingDisk(InlineDisk):
    """Notes how many octets each piece of work writes."""

    def __init__(self):
        self.written = []

    def submit(self, job, octets=0):
        if octets:
            self.written.append(octets)
        return super().submit(job)


@pytest.mark.parametrize(("count", "pace"), [(300, 10), (301, 5), (1_501, 1)])
def test_many_recordings_are_written_in_turns(make_world, count, pace):
    """Not all in one tick, in which packets would have to wait; nor each in one of its own."""
    disk = CountingDisk()
    world = make_world(disk=disk, streams_max=2_048)
    for number in range(count):
        world.open(number, ("10.0.0.1", 4000 + number))
        world.do(StartRecording(number, number, None, f"{number}.wav"))
    world.run(1.2, step_s=0.02)
    disk.written.clear()
    world.run(1.2, step_s=0.02)
    piece = 2 * PIECE
    assert sum(disk.written) == 2 * count * piece, "each is as long as the time"
    assert len(disk.written) == 2 * 30 // pace
    assert max(disk.written) <= (count * pace // 30 + pace) * piece
