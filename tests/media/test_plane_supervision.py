"""Supervisors and announcements in a call: who hears what, and the call itself goes on."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from media.dsp import g711, wav
from media.plane.player import DUCKED
from media.protocol import (
    CommandRefused,
    Connect,
    Disconnect,
    File,
    JoinRoom,
    Monitor,
    PlayFinished,
    Prompts,
    ReleaseStream,
    StartPlay,
    StartRecording,
    StopMonitor,
    StopPlay,
    Tone,
)

CUSTOMER, AGENT, BOSS = ("10.0.0.1", 4000), ("10.0.0.2", 4000), ("10.0.0.3", 4000)
CODES = {CUSTOMER: 0xC0, AGENT: 0xB8, BOSS: 0x45}


def level(*addresses):
    total = sum(int(g711.decode_ulaw(np.array([CODES[each]], np.uint8))[0]) for each in addresses)
    return int(g711.decode_ulaw(g711.encode_ulaw(np.array([total], np.int16)))[0])


@pytest.fixture
def office(world, make_talker):
    talkers = []
    for number, address in enumerate(CODES, start=1):
        world.open(number, address)
        talkers.append(make_talker(address, ssrc=number))
    world.do(Connect(1, 2))
    return talkers


def talk(world, talkers, ticks=20):
    """Everybody speaks; returns the packets that each one got."""
    world.sent()
    for _ in range(ticks):
        for talker in talkers:
            payload = bytes([CODES[talker.address]]) * 160
            world.io.deliver(0, talker.address, talker.packet(payload))
        world.engine.poll(world.now_s)
        world.now_s += 0.02
    packets = world.sent()
    return {address: [each for each in packets if each.remote == address] for address in CODES}


def heard(packets):
    return int(g711.decode_ulaw(np.frombuffer(packets[-1].payload, np.uint8))[80])


@pytest.mark.parametrize(
    ("mode", "customer", "agent"),
    [
        ("listen", (AGENT,), (CUSTOMER,)),
        ("whisper", (AGENT,), (CUSTOMER, BOSS)),
        ("barge", (AGENT, BOSS), (CUSTOMER, BOSS)),
    ],
)
def test_who_hears_the_supervisor(world, office, mode, customer, agent):
    talk(world, office)
    world.do(Monitor(3, 2, mode))
    got = talk(world, office)
    assert heard(got[CUSTOMER]) == level(*customer)
    assert heard(got[AGENT]) == level(*agent)
    assert heard(got[BOSS]) == level(CUSTOMER, AGENT)
    world.do(StopMonitor(3))
    got = talk(world, office)
    assert heard(got[CUSTOMER]) == level(AGENT)
    assert heard(got[AGENT]) == level(CUSTOMER)
    assert got[BOSS] == []
    snapshot = world.engine.snapshot()
    assert (snapshot["feeds"], snapshot["parties"], snapshot["slots"]) == (2, 0, 0)


def test_a_call_that_is_only_overheard_stays_byte_identical(world, office):
    customer, agent, boss = office
    said, got = [], []
    for tick in range(60):
        if tick == 20:
            world.do(Monitor(3, 1, "listen"))
        if tick == 40:
            world.do(StopMonitor(3))
        said.append(world.hear(customer))
        world.hear(agent)
        world.hear(boss)
        world.now_s += 0.02
    got = [packet for packet in world.sent() if packet.remote == AGENT]
    assert [packet.payload for packet in got] == said


def test_numbers_and_timestamps_go_on_through_every_change_of_mode(world, office):
    got = []
    for command in (
        Monitor(3, 2, "listen"),
        Monitor(3, 2, "whisper"),
        Monitor(3, 2, "barge"),
        Monitor(3, 2, "listen"),
        StopMonitor(3),
    ):
        got += talk(world, office, 10)[AGENT]
        world.do(command)
        got += [packet for packet in world.sent() if packet.remote == AGENT]
    got += talk(world, office, 10)[AGENT]
    sequence = [(packet.sequence - got[0].sequence) & 0xFFFF for packet in got]
    assert sequence == list(range(len(got)))
    steps = {
        (after.timestamp - before.timestamp) & 0xFFFFFFFF
        for before, after in itertools.pairwise(got)
    }
    assert steps == {160}
    assert len({packet.ssrc for packet in got}) == 1


def test_supervision_follows_the_agent_and_ends_with_him(world, office, make_talker):
    world.do(Monitor(3, 2, "whisper"))
    world.do(Disconnect(1, 2))
    got = talk(world, office)
    assert heard(got[AGENT]) == level(BOSS)
    assert heard(got[BOSS]) == level(AGENT)
    assert got[CUSTOMER] == []
    world.do(Connect(2, 1))
    got = talk(world, office)
    assert heard(got[BOSS]) == level(CUSTOMER, AGENT)
    world.do(ReleaseStream(2))
    got = talk(world, office)
    assert got[BOSS] == []
    assert world.engine.snapshot()["parties"] == 0


def test_a_supervisor_who_joins_something_else_leaves(world, office):
    world.do(Monitor(3, 2, "barge"))
    world.do(JoinRoom(9, 3))
    got = talk(world, office)
    assert heard(got[AGENT]) == level(CUSTOMER)
    world.do(Monitor(3, 2, "barge"))
    world.do(Connect(3, 1))
    got = talk(world, office)
    assert heard(got[BOSS]) == level(CUSTOMER)
    assert got[AGENT] == []


def test_a_conference_can_be_supervised(world, office):
    world.do(JoinRoom(4, 1))
    world.do(JoinRoom(4, 2))
    world.do(Monitor(3, 2, "whisper"))
    got = talk(world, office)
    assert heard(got[BOSS]) == level(CUSTOMER, AGENT)
    assert heard(got[AGENT]) == level(CUSTOMER, BOSS)
    assert heard(got[CUSTOMER]) == level(AGENT)


def test_two_supervisors_of_one_call_and_a_recording_of_it(world, office, make_talker):
    fourth = ("10.0.0.4", 4000)
    world.open(4, fourth)
    world.do(StartRecording(1, 1, 2, "1.wav"))
    world.do(Monitor(3, 2, "whisper"))
    world.do(Monitor(4, 1, "listen"))
    got = talk(world, office)
    assert heard(got[AGENT]) == level(CUSTOMER, BOSS)
    for stream_id in (1, 2, 3, 4):
        world.do(ReleaseStream(stream_id))
    snapshot = world.engine.snapshot()
    assert (snapshot["parties"], snapshot["slots"], snapshot["rows"]) == (0, 0, 0)


def test_nobody_supervises_himself_or_nobody(world, office):
    world.do(Monitor(3, 3))
    world.do(Monitor(3, 77))
    assert len(world.events_of(CommandRefused)) == 2
    world.do(StopMonitor(3))
    world.do(StopMonitor(77))
    assert len(world.events_of(CommandRefused)) == 2


def sound(path, value, samples):
    data = np.full(samples, value, "<i2").tobytes()
    path.write_bytes(wav.header(wav.WavFormat(), len(data)) + data)
    return File(str(path))


@pytest.mark.parametrize("bridge", ["call", "room"])
def test_an_announcement_lies_over_the_call_which_is_softer(world, office, tmp_path, bridge):
    if bridge == "room":
        world.do(JoinRoom(4, 1))
        world.do(JoinRoom(4, 2))
    talk(world, office)
    world.do(StartPlay(2, 5, sound(tmp_path / "a.wav", 1000, 8000), mix=True))
    got = talk(world, office, 40)
    expected = 1000 + DUCKED * level(CUSTOMER)
    assert abs(heard(got[AGENT][:30]) - expected) < 40
    assert heard(got[CUSTOMER]) == level(AGENT)
    got = talk(world, office, 30)
    assert heard(got[AGENT]) == level(CUSTOMER)
    assert world.events_of(PlayFinished) == [PlayFinished(2, 5, "end")]
    assert world.engine.snapshot()["feeds"] == (2 if bridge == "call" else 0)


def test_the_level_below_an_announcement_glides(world, office, tmp_path):
    talk(world, office)
    world.do(StartPlay(2, 5, sound(tmp_path / "a.wav", 0, 4000), mix=True))
    got = talk(world, office, 40)[AGENT]
    codes = np.frombuffer(b"".join(packet.payload for packet in got), np.uint8)
    told = g711.decode_ulaw(codes).astype(int)
    spoken = told[np.flatnonzero(told)[0] :]
    full = abs(level(CUSTOMER))
    # But for the moment in which the play-out delay of the mix begins.
    steps = np.abs(np.diff(spoken))
    assert np.count_nonzero(steps > full // 8) <= 2
    assert np.abs(told).min() <= full // 4


def test_an_announcement_can_be_stopped_and_replaced(world, office, tmp_path):
    source = sound(tmp_path / "a.wav", 1000, 800)
    world.do(StartPlay(2, 5, source, repeat=True, mix=True))
    talk(world, office)
    world.do(StartPlay(2, 6, source, repeat=True))
    got = talk(world, office)
    assert abs(heard(got[AGENT]) - 1000) < 40
    world.do(StartPlay(2, 7, source, repeat=True, mix=True))
    talk(world, office)
    world.do(StopPlay(2))
    got = talk(world, office)
    assert heard(got[AGENT]) == level(CUSTOMER)
    reasons = [event.reason for event in world.events_of(PlayFinished)]
    assert reasons == ["replaced", "replaced", "stopped"]


def test_an_announcement_without_a_call_is_just_heard(world, office, tmp_path):
    world.do(StartPlay(3, 5, sound(tmp_path / "a.wav", 1000, 1600), mix=True))
    got = talk(world, office, 5)
    assert abs(heard(got[BOSS]) - 1000) < 40
    talk(world, office, 20)
    assert world.events_of(PlayFinished) == [PlayFinished(3, 5, "end")]


def test_prompts_in_a_row_are_one_play(world, office, tmp_path):
    parts = tuple(sound(tmp_path / f"{n}.wav", 500 * n, 240) for n in (1, 2, 3))
    world.do(StartPlay(3, 5, Prompts(parts)))
    got = talk(world, office, 10)[BOSS]
    codes = np.frombuffer(b"".join(packet.payload for packet in got), np.uint8)
    expected = np.repeat([500, 1000, 1500], 240).astype(np.int16)
    assert np.array_equal(
        g711.decode_ulaw(codes)[:720], g711.decode_ulaw(g711.encode_ulaw(expected))
    )
    assert world.events_of(PlayFinished) == [PlayFinished(3, 5, "end")]


@pytest.mark.parametrize("count", [0, 64, 65])
def test_a_row_of_prompts_is_bounded(world, office, count):
    world.do(StartPlay(3, 5, Prompts((Tone("busy"),) * count)))
    world.run(0.1)
    failed = [event for event in world.events_of(PlayFinished) if "failed" in event.reason]
    assert len(failed) == int(count != 64)
