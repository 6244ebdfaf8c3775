"""How long an engine may be left alone: nobody is woken ten times a second for nothing."""

from __future__ import annotations

import pytest

from media.protocol import (
    Connect,
    DigitReceived,
    File,
    PlayFinished,
    RecordingStopped,
    ReleaseStream,
    StartPlay,
    StartRecording,
    StopRecording,
)

A, B = ("127.0.0.1", 4000), ("127.0.0.1", 4002)


class Later:
    """A disk whose jobs are done when the test says so."""

    def __init__(self):
        self.jobs = []

    def submit(self, job, octets=0):
        self.jobs.append(job)
        return True

    def close(self, timeout_s):
        return True

    def work(self):
        while self.jobs:
            self.jobs.pop(0)()


def rest_s(world):
    """How long after a poll the next is due."""
    world.engine.poll(world.now_s)
    return world.engine.deadline_s() - world.now_s


def left_alone(world, until):
    """Poll when it is due, and not before; returns how often that was until something is true."""
    polls = 0
    while not until():
        polls += 1
        assert polls < 100
        world.now_s = max(world.now_s, world.engine.deadline_s())
        world.engine.poll(world.now_s)
    return polls


def test_where_nothing_happens_it_is_once_a_second_with_calls_and_without(world):
    begin_s = world.now_s
    assert left_alone(world, lambda: world.now_s > begin_s + 9.5) <= 11
    world.open(1, A)
    world.open(2, B, port_id=2)
    world.do(Connect(1, 2))
    begin_s = world.now_s
    assert left_alone(world, lambda: world.now_s > begin_s + 9.5) <= 11
    assert rest_s(world) > 0.0  # what is due is done, or it would be asked for again and again


def test_one_who_is_reported_to_is_reported_to_in_time_although_nobody_speaks(world, make_talker):
    world.open(1, A)
    world.run(0.2, make_talker(A))
    assert 0.0 < rest_s(world) <= 0.1001
    world.do(ReleaseStream(1))
    left_alone(world, lambda: rest_s(world) > 0.5)


def test_a_digit_whose_end_is_lost_ends_in_time(world, make_talker):
    world.open(1, A, dtmf_payload_type=101)
    talker = make_talker(A)
    world.run(0.1, talker)
    world.io.deliver(0, A, talker.packet(bytes((5, 10, 0, 160)), payload_type=101))
    world.engine.poll(world.now_s)
    begin_s = world.now_s
    left_alone(world, lambda: world.events_of(DigitReceived))
    assert world.now_s - begin_s == pytest.approx(0.3, abs=0.1)


def test_a_file_that_is_read_or_finished_is_told_of_in_time(make_world, make_talker, tmp_path):
    disk = Later()
    world = make_world(disk=disk)
    world.engine._library._disk = reader = Later()
    world.open(1, A)
    world.do(StartRecording(5, 1, None, "5.wav"))
    world.run(0.2)
    world.do(StopRecording(5))
    assert not world.engine.ticking
    left_alone(world, lambda: world.now_s >= 102.0)
    disk.work()
    begin_s = world.now_s
    left_alone(world, lambda: world.events_of(RecordingStopped))
    assert world.now_s - begin_s <= 0.1001
    world.do(StartPlay(1, 7, File(str(tmp_path / "absent.wav"))))
    reader.work()
    begin_s = world.now_s
    left_alone(world, lambda: world.events_of(PlayFinished))
    assert world.now_s - begin_s <= 0.1001
    left_alone(world, lambda: rest_s(world) > 0.5)
