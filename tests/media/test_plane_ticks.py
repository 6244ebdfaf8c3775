"""Ticks gather where nobody hears the sound, and nobody who begins to hear it gets what has gathered."""

from __future__ import annotations

import pytest

from media.dsp import g711, tones
from media.plane.ticks import TICK_S, Ticks
from media.protocol import Connect, DigitReceived, JoinRoom, StartRecording, StopRecording

A, B = ("127.0.0.1", 4000), ("127.0.0.1", 4002)


def test_at_a_pace_of_one_each_tick_is_due_at_its_time():
    ticks = Ticks(100.0, 160 * 54)
    assert ticks.due_s(1) == 100.0
    assert ticks.pending(99.999) == 0
    assert ticks.pending(100.0) == 1
    ticks.done = 3
    assert ticks.due_s(1) == pytest.approx(100.06)


def test_a_slower_pace_waits_for_a_multiple_of_it_on_the_time_axis():
    ticks = Ticks(100.0, 160 * 54)
    # Ticks 54 to 59 of the time axis: the next begins at 60.
    assert ticks.due_s(10) == pytest.approx(100.0 + 5 * TICK_S)
    assert ticks.pending(ticks.due_s(10)) == 6
    ticks.done = 6
    assert ticks.due_s(10) == pytest.approx(100.0 + 15 * TICK_S)


def test_only_more_than_so_many_overdue_ticks_are_left_out():
    ticks = Ticks(100.0, 1_600)
    assert ticks.skip(100.0 + 10 * TICK_S, 10) is None
    assert ticks.skip(100.0 + 11 * TICK_S + 0.001, 10) == 1_600 + 11 * 160
    assert ticks.done == 11


def call(world, make_talker, **params):
    world.open(1, A, **params)
    world.open(2, B, port_id=2, **params)
    world.do(Connect(1, 2))
    talkers = make_talker(A), make_talker(B, ssrc=2)
    talk(world, talkers, 10)
    return talkers


def talk(world, talkers, packets):
    for _ in range(packets):
        for port_id, talker in zip((0, 2), talkers, strict=True):
            world.hear(talker, port_id=port_id)
        world.now_s += 0.02


@pytest.mark.parametrize("gathered", range(1, 11))
def test_who_joins_a_room_while_ticks_gather_hears_a_packet_a_tick(world, make_talker, gathered):
    talkers = call(world, make_talker)
    world.do(StartRecording(5, 1, 2, "5.wav"))
    talk(world, talkers, 20 + gathered)
    world.do(JoinRoom(1, 7))
    world.do(JoinRoom(2, 7))
    world.io.sent.clear()
    for tick in range(1, 20):
        talk(world, talkers, 1)
        packets = sum(datagram.remote == A for datagram in world.io.sent)
        assert tick - 1 <= packets <= tick + 1
    world.do(StopRecording(5))


def test_digits_are_heard_at_their_length_where_ticks_gather(world, make_talker):
    talkers = call(world, make_talker, inband_dtmf=True)
    sound = g711.encode_ulaw(tones.dtmf("5")[None])[0].tobytes()
    silence = b"\xff" * 160
    pieces = [sound[at : at + 160].ljust(160, b"\xff") for at in range(0, len(sound), 160)]
    for piece in [*[silence] * 7, *pieces, *[silence] * 12]:
        world.hear(talkers[0], piece)
        world.now_s += 0.02
    digits = world.events_of(DigitReceived)
    assert [(each.stream_id, each.digit) for each in digits] == [(1, "5")]
    assert 80 <= digits[0].duration_ms <= 120
