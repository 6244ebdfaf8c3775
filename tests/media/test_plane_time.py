"""What senders do with time, through a whole engine: packet lengths, clocks that run wrong, new time scales."""

from __future__ import annotations

import numpy as np
import pytest

from media.dsp import g711
from media.protocol import JoinRoom
from tests.media.party import Party, level, talk

RATE_HZ = 8000


@pytest.fixture
def room(world, make_talker):
    """A says a tone of 500 Hz for a minute, B listens; both in one mix."""
    a, b = (Party(world, make_talker, number, "PCMU") for number in (1, 2))
    a.tone((500, 6000), seconds=60)
    for party in (a, b):
        world.do(JoinRoom(1, party.number))
    talk(world, (a, b), 50)
    return a, b


def assert_tone(sound, seconds=0.2):
    assert level(sound, 500, RATE_HZ, seconds) == pytest.approx(6000, rel=0.03)


def silence_in(sound):
    """Milliseconds of the longest stretch without sound."""
    whole = sound[: len(sound) // 80 * 80]
    quiet = np.abs(whole.reshape(-1, 80)).max(axis=1) < 50
    longest = run = 0
    for each in quiet:
        run = run + 1 if each else 0
        longest = max(longest, run)
    return 10 * longest


@pytest.mark.parametrize("sent_ms", [10, 20, 30, 40, 50, 60])
@pytest.mark.parametrize("wanted_ms", [10, 60])
def test_each_side_may_have_its_own_packet_time(world, make_talker, sent_ms, wanted_ms):
    a = Party(world, make_talker, 1, "PCMU").tone((500, 6000), seconds=8)
    b = Party(world, make_talker, 2, "PCMU", ptime_ms=wanted_ms)
    for party in (a, b):
        world.do(JoinRoom(1, party.number))
    samples = sent_ms * RATE_HZ // 1000
    now_s, due_s, sent = world.now_s, world.now_s, []
    while world.now_s < now_s + 3.0:
        if world.now_s >= due_s - 1e-9:
            due_s += sent_ms / 1000
            payload = g711.encode_ulaw(a.says[None, a.at : a.at + samples]).tobytes()
            a.at += samples
            world.io.deliver(2, a.address, a.talker.packet(payload))
            a.talker.timestamp += samples - 160
        if round((world.now_s - now_s) * 1000) % 20 == 0:
            world.io.deliver(4, b.address, b.packet())
        world.engine.poll(world.now_s)
        sent += world.sent()
        world.now_s += 0.01
    packets = [packet for packet in sent if packet.remote == b.address]
    assert {len(packet.payload) for packet in packets} == {wanted_ms * RATE_HZ // 1000}
    sound = b.heard(packets)
    assert_tone(sound, 1.0)
    assert silence_in(sound[-RATE_HZ:]) == 0


def test_another_ssrc_of_the_same_source_is_heard_again(world, room, make_talker):
    a, b = room
    fresh = make_talker(a.address, ssrc=99, sequence=65_000, timestamp=77)
    talk(world, (b,), 4)  # the old one has fallen silent
    a.talker = fresh
    sound = b.heard(talk(world, (a, b), 50))
    assert_tone(sound)
    assert silence_in(sound) < 160
    assert not world.engine.stats(1).dropped.get("malformed")


@pytest.mark.parametrize("jump", [-1_000_000, -8000, 8000, 160_000, 1 << 31, 0x7FFFFF00])
def test_a_jump_of_the_timestamp_costs_a_moment(world, room, jump):
    a, b = room
    a.talker.timestamp += jump
    sound = b.heard(talk(world, (a, b), 75))
    assert_tone(sound, 0.5)
    assert silence_in(sound) <= 160


def test_sequence_numbers_and_timestamps_wrap_without_a_sound(world, room):
    a, b = room
    assert a.talker.sequence < 65_536
    a.talker.sequence = 65_530
    a.talker.timestamp = (1 << 32) - 160 * 20
    talk(world, (a, b), 10)
    before = world.engine.stats(1).lost
    sound = b.heard(talk(world, (a, b), 100))
    assert_tone(sound, 1.0)
    assert silence_in(sound) == 0
    assert world.engine.stats(1).lost == before


@pytest.mark.parametrize("clock", ["runs", "stands"])
def test_a_talk_spurt_without_a_marker_is_heard_from_its_start(world, room, clock):
    """While a peer is silent its timestamps go on, or, with some, do not."""
    a, b = room
    for _ in range(4):
        talk(world, (b,), 40)
        if clock == "runs":
            a.talker.timestamp += 40 * 160
        sound = b.heard(talk(world, (a, b), 40))
        first = np.flatnonzero(np.abs(sound) > 1000)[0]
        assert first < (0.2 if clock == "stands" else 0.1) * RATE_HZ
        assert_tone(sound, 0.3)
        assert silence_in(sound[first:]) < (200 if clock == "stands" else 20)


@pytest.mark.parametrize("ppm", [-500, -100, 100, 500])
def test_a_clock_that_runs_wrong_neither_starves_nor_delays(world, room, ppm):
    """500 ppm are 30 ms in a minute: more than the delay that a stream begins with can lose."""
    a, b = room
    step_s = 0.02 / (1 + ppm / 1e6)
    due_s, sent = world.now_s, []
    ticks = 0
    begin_s = world.now_s
    while ticks < 60 * 50:
        while due_s <= world.now_s + 1e-9:
            a.at %= 8000
            world.io.deliver(2, a.address, a.packet())
            due_s += step_s
        if ticks % 50 == 0:
            world.io.deliver(4, b.address, b.packet())
        world.engine.poll(world.now_s)
        sent += world.sent()
        ticks += 1
        world.now_s = begin_s + ticks * 0.02
    sound = b.heard(sent)
    assert silence_in(sound) == 0
    assert_tone(sound, 1.0)
    said_s = (due_s - begin_s) / step_s * 0.02
    waiting_ms = 1000 * (said_s - len(sound) / RATE_HZ)
    slot = int(world.engine._streams.slot[0])
    timeline = world.engine._timelines.narrow
    delay_ms = (int(timeline._base[slot]) + 160 - timeline.now) / 8
    assert abs(waiting_ms) < 80 + abs(ppm) * 0.12, "what was said but shortened or drawn out"
    assert 0 <= delay_ms <= 100, "the play-out delay has not grown with the drift"
    assert world.engine.stats(1).late <= 20
