"""What the worker itself makes heard: tones, files, conferences, digits."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from media.dsp import g711, tones, wav
from media.protocol import (
    CommandRefused,
    Connect,
    DigitReceived,
    File,
    JoinRoom,
    LeaveRoom,
    PlayFinished,
    ReleaseStream,
    SendDigits,
    StartPlay,
    StopPlay,
    Tone,
)
from media.wire import telephone_event

A, B, C = ("10.0.0.1", 4000), ("10.0.0.2", 6000), ("10.0.0.3", 7000)


def write_wav(path, samples, rate_hz=8000, parties=1):
    form = wav.WavFormat(rate_hz, parties)
    data = np.asarray(samples, "<i2").tobytes()
    path.write_bytes(wav.header(form, len(data)) + data)
    return File(str(path))


def heard(packets):
    codes = np.frombuffer(b"".join(packet.payload for packet in packets), np.uint8)
    return g711.decode_ulaw(codes)


def steady(packets):
    """Sequence numbers and timestamps go on without a break."""
    for before, after in itertools.pairwise(packets):
        assert (after.sequence - before.sequence) & 0xFFFF == 1
        assert (after.timestamp - before.timestamp) & 0xFFFFFFFF == 160
    return len({packet.ssrc for packet in packets}) == 1


def test_file_is_played_to_its_end(world, tmp_path):
    world.open(1, A)
    samples = g711.decode_ulaw(np.arange(1000) % 251 + 2)
    world.do(StartPlay(1, 7, write_wav(tmp_path / "p.wav", samples)))
    world.run(0.4)
    packets = world.sent()
    assert steady(packets)
    assert len(packets) == 7
    assert np.array_equal(heard(packets)[:1000], samples)
    assert not heard(packets)[1000:].any()
    assert world.events_of(PlayFinished) == [PlayFinished(1, 7, "end")]
    assert world.engine.snapshot()["plays"] == 0


def test_repeat_goes_on_until_it_is_stopped_or_replaced(world, tmp_path):
    world.open(1, A)
    samples = g711.decode_ulaw(np.arange(100) % 251 + 2)
    source = write_wav(tmp_path / "p.wav", samples)
    world.do(StartPlay(1, 7, source, repeat=True))
    world.run(1.0)
    packets = world.sent()
    assert len(packets) == 50
    assert np.array_equal(heard(packets), np.resize(samples, 8000))
    world.do(StartPlay(1, 8, source, repeat=True))
    world.run(0.1)
    world.do(StopPlay(1))
    world.do(StopPlay(1))
    assert world.events_of(PlayFinished) == [
        PlayFinished(1, 7, "replaced"),
        PlayFinished(1, 8, "stopped"),
    ]
    world.sent()
    world.run(0.2)
    assert world.sent() == []


def test_tone_is_the_countrys(world):
    world.open(1, A)
    world.do(StartPlay(1, 1, Tone("busy", "gb"), repeat=True))
    world.run(1.0)
    expected = np.resize(tones.render("gb", "busy"), 8000)
    assert np.array_equal(heard(world.sent()), g711.decode_ulaw(g711.encode_ulaw(expected)))


@pytest.mark.parametrize(
    "source", [Tone("no such tone"), File("/nonexistent.wav"), File("/etc/hostname")]
)
def test_what_cannot_be_played_says_so(world, source):
    world.open(1, A)
    world.do(StartPlay(1, 3, source))
    world.run(0.2)
    (event,) = world.events_of(PlayFinished)
    assert event.play_id == 3
    assert event.reason.startswith("failed")


def test_stereo_and_other_rates_are_brought_to_one_voice_at_8000(world, tmp_path):
    world.open(1, A)
    at = np.arange(16_000) / 16_000
    tone = (8000 * np.sin(2 * np.pi * 440 * at)).astype(np.int16)
    stereo = np.stack([tone, tone], axis=1).reshape(-1)
    world.do(StartPlay(1, 1, write_wav(tmp_path / "p.wav", stereo, 16_000, 2)))
    world.run(1.2)
    packets = world.sent()
    assert len(packets) == 50
    expected = 8000 * np.sin(2 * np.pi * 440 * np.arange(8000) / 8000)
    error = heard(packets)[400:7600] - expected[400:7600]
    assert np.abs(error).max() < 300


def test_play_takes_the_place_of_the_bridge_and_gives_it_back(world, make_talker, tmp_path):
    world.open(1, A)
    world.open(2, B, port_id=2)
    world.do(Connect(1, 2))
    a = make_talker(A)
    world.run(0.2, a)
    world.do(StartPlay(2, 4, write_wav(tmp_path / "p.wav", np.full(1600, 1000))))
    world.run(0.4, a)
    packets = [packet for packet in world.sent() if packet.remote == B]
    assert steady(packets[:20])
    assert len({packet.ssrc for packet in packets}) == 1
    sequence = [packet.sequence - packets[0].sequence for packet in packets]
    assert sequence == list(range(len(packets)))
    played = g711.encode_ulaw(np.full(160, 1000, np.int16)).tobytes()
    assert sum(packet.payload == played for packet in packets) == 10
    assert packets[-1].payload != played


def room(world, make_talker, count, **options):
    talkers = []
    for number in range(count):
        where = (f"10.0.1.{number}", 4000)
        world.open(number, where, **options)
        world.do(JoinRoom(1, number))
        talkers.append(make_talker(where, ssrc=number + 1))
    return talkers


def say_all(world, talkers, codes, ticks):
    for _ in range(ticks):
        for talker, code in zip(talkers, codes, strict=True):
            world.io.deliver(0, talker.address, talker.packet(bytes([code]) * 160))
        world.engine.poll(world.now_s)
        world.now_s += 0.02


def last_level(world):
    """The level that each party hears in its last packet."""
    levels = {}
    for packet in world.sent():
        levels[packet.remote[0]] = int(
            g711.decode_ulaw(np.frombuffer(packet.payload, np.uint8))[80]
        )
    return levels


def coded(level):
    return int(g711.decode_ulaw(g711.encode_ulaw(np.array([level], np.int16)))[0])


def test_everybody_hears_the_sum_of_the_others(world, make_talker):
    talkers = room(world, make_talker, 4)
    codes = [0xC0, 0xB8, 0x45, 0xD2]
    level = [int(value) for value in g711.decode_ulaw(np.array(codes, np.uint8))]
    say_all(world, talkers, codes, 20)
    heard_levels = last_level(world)
    for number in range(4):
        assert heard_levels[f"10.0.1.{number}"] == coded(sum(level) - level[number])


def test_mute_deaf_gain_and_leaving(world, make_talker):
    talkers = room(world, make_talker, 3)
    codes = [0xC0, 0xB8, 0xD2]
    one, two, three = (int(value) for value in g711.decode_ulaw(np.array(codes, np.uint8)))
    world.do(JoinRoom(1, 0, mute=True))
    say_all(world, talkers, codes, 20)
    levels = last_level(world)
    assert levels == {
        "10.0.1.0": coded(two + three),
        "10.0.1.1": coded(three),
        "10.0.1.2": coded(two),
    }
    world.do(JoinRoom(1, 0, deaf=True, gain=2.0))
    say_all(world, talkers, codes, 20)
    levels = last_level(world)
    assert levels["10.0.1.0"] == 0
    assert levels["10.0.1.1"] == coded(2 * one + three)
    world.do(LeaveRoom(0))
    say_all(world, talkers, codes, 20)
    levels = last_level(world)
    assert "10.0.1.0" not in levels
    assert levels["10.0.1.1"] == coded(three)
    for number in range(3):
        world.do(ReleaseStream(number))
    snapshot = world.engine.snapshot()
    assert (snapshot["parties"], snapshot["slots"], snapshot["rows"]) == (0, 0, 0)


@pytest.mark.parametrize(("jitter_s", "late_max"), [(0.005, 0.0), (0.06, 0.02), (0.15, 0.02)])
def test_delay_follows_the_jitter(world, make_talker, jitter_s, late_max):
    talkers = room(world, make_talker, 2)
    rng = random.Random(5)
    arrivals = []
    for number in range(500):
        for talker in talkers:
            due_s = world.now_s + 0.02 * number + rng.random() * jitter_s
            arrivals.append((due_s, talker.address, talker.packet(b"\xc0" * 160)))
    begun_s = world.now_s
    late_before = None
    for due_s, address, packet in sorted(arrivals):
        world.now_s = max(world.now_s, due_s)
        world.io.deliver(0, address, packet)
        world.engine.poll(world.now_s)
        if late_before is None and world.now_s > begun_s + 5.0:
            late_before = world.engine.stats(0).late + world.engine.stats(1).late
    late = world.engine.stats(0).late + world.engine.stats(1).late
    assert (late - late_before) / 500 <= late_max
    assert world.engine.stats(0).jitter_ms <= 1000 * jitter_s


def test_one_lost_packet_is_concealed(world, make_talker):
    talkers = room(world, make_talker, 2)
    wave = (6000 * np.sin(2 * np.pi * 200 * np.arange(16_000) / 8000)).astype(np.int16)
    codes = g711.encode_ulaw(wave).reshape(-1, 160)
    for number in range(100):
        packet = talkers[0].packet(codes[number].tobytes())
        if number != 50:
            world.io.deliver(0, talkers[0].address, packet)
        world.engine.poll(world.now_s)
        world.now_s += 0.02
    packets = [packet for packet in world.sent() if packet.remote[0] == "10.0.1.1"]
    sound = heard(packets).astype(float)
    begin = int(np.flatnonzero(np.abs(sound) > 100)[0])
    sound = sound[begin : begin + 95 * 160]
    error = sound - wave[: len(sound)]
    assert np.abs(error).max() < 2500
    frames = np.abs(sound[: 94 * 160].reshape(-1, 160)).mean(axis=1)
    assert frames.min() > 2500


def test_both_laws_meet_in_a_room(world, make_talker):
    world.open(1, A)
    world.open(2, B, codec="PCMA", payload_type=8)
    for number in (1, 2):
        world.do(JoinRoom(1, number))
    a, b = make_talker(A), make_talker(B, ssrc=2, payload_type=8)
    for _ in range(20):
        world.io.deliver(0, A, a.packet(b"\xc0" * 160))
        world.io.deliver(0, B, b.packet(b"\x95" * 160))
        world.engine.poll(world.now_s)
        world.now_s += 0.02
    last = {packet.remote: packet for packet in world.sent()}
    assert last[A].payload == g711.ALAW_TO_ULAW[[0x95]].tobytes() * 160
    assert last[B].payload == g711.ULAW_TO_ALAW[[0xC0]].tobytes() * 160
    assert last[B].payload_type == 8


EVENT = {"dtmf_payload_type": 101}


def digit_packets(talker, digit, *, length=5, ends=3):
    """A digit as a phone sends it: (length) updates, then the end, repeated."""
    began = talker.timestamp
    event = telephone_event.event_of(digit)
    for number in range(length + ends):
        over = number >= length
        duration = 160 * min(number + 1, length)
        talker.timestamp = began
        payload = bytes([event, 0x8A if over else 0x0A, duration >> 8, duration & 255])
        yield talker.packet(payload, payload_type=101)
    talker.timestamp = began + 160 * (length + 3)


def test_digits_pass_the_relay_and_are_reported_once(world, make_talker):
    world.open(1, A, **EVENT)
    world.open(2, B, port_id=2, dtmf_payload_type=96)
    world.do(Connect(1, 2))
    a = make_talker(A)
    world.run(0.2, a)
    world.sent()
    for digit in "1*D":
        for packet in digit_packets(a, digit):
            world.io.deliver(0, A, packet)
            world.engine.poll(world.now_s)
            world.now_s += 0.02
        world.run(0.2, a)
    assert [event.digit for event in world.events_of(DigitReceived)] == ["1", "*", "D"]
    assert {event.duration_ms for event in world.events_of(DigitReceived)} == {100}
    packets = world.sent()
    events = [packet for packet in packets if packet.payload_type == 96]
    assert len(events) == 24
    assert all(len(packet.payload) == 4 for packet in events)
    sequence = [packet.sequence - packets[0].sequence for packet in packets]
    assert sequence == list(range(len(packets)))


def test_digit_without_its_end_is_reported_when_silent(world, make_talker):
    world.open(1, A, **EVENT)
    a = make_talker(A)
    world.run(0.2, a)
    for packet in digit_packets(a, "5", ends=0):
        world.io.deliver(0, A, packet)
        world.engine.poll(world.now_s)
        world.now_s += 0.02
    world.run(0.6)
    assert [event.digit for event in world.events_of(DigitReceived)] == ["5"]


def test_digits_of_strangers_and_forged_ssrc_are_ignored(world, make_talker):
    world.open(1, A, nat=True, **EVENT)
    a = make_talker(A)
    world.run(0.2, a)
    for forger in (make_talker(B), make_talker((A[0], 5555)), make_talker(A, ssrc=666)):
        for packet in digit_packets(forger, "9"):
            world.hear(a)
            world.io.deliver(0, forger.address, packet)
            world.engine.poll(world.now_s)
            world.now_s += 0.02
    assert not world.events_of(DigitReceived)


def test_sent_digits_are_heard_by_another_engine(world, make_world, make_talker):
    world.open(1, A, **EVENT)
    world.open(2, B, port_id=2, **EVENT)
    world.do(Connect(1, 2))
    b = make_talker(B, ssrc=2)
    other = make_world()
    other.open(1, ("10.9.9.9", 4000), **EVENT)
    for _ in range(10):
        world.hear(b, port_id=2)
        world.now_s += 0.02
    world.do(SendDigits(1, "12#"))
    packets = []
    for _ in range(80):
        world.io.deliver(2, B, b.packet())
        world.engine.poll(world.now_s)
        for datagram in world.io.take_sent():
            if datagram.port_id % 2:
                continue  # RTCP
            packets.append(datagram.data)
            other.io.deliver(0, ("10.9.9.9", 4000), datagram.data)
        other.engine.poll(other.now_s)
        world.now_s += 0.02
        other.now_s += 0.02
    assert [event.digit for event in other.events_of(DigitReceived)] == ["1", "2", "#"]
    assert all(80 <= event.duration_ms <= 120 for event in other.events_of(DigitReceived))
    assert len(packets[-1]) == 172
    sequence = [int.from_bytes(packet[2:4], "big") for packet in packets]
    assert [(number - sequence[0]) & 0xFFFF for number in sequence] == list(range(len(sequence)))


def test_digits_as_sound_where_the_peer_has_no_events(world):
    world.open(1, A)
    world.do(SendDigits(1, "5"))
    world.run(0.5)
    sound = heard(world.sent()).astype(float)
    spectrum = np.abs(np.fft.rfft(sound[:800]))
    strongest = set(np.argsort(spectrum)[-2:] * 10)
    assert strongest == {770, 1340} or strongest == {770, 1330}
    assert not world.events_of(PlayFinished)


@pytest.mark.parametrize("digits", ["x", "1 2", "1" * 257])
def test_what_is_no_digit_is_refused(world, digits):
    world.open(1, A, **EVENT)
    world.do(SendDigits(1, digits))
    assert world.events_of(CommandRefused)


def test_a_long_stall_is_not_made_up_for(world, make_talker, tmp_path):
    talkers = room(world, make_talker, 2)
    say_all(world, talkers, [0xC0, 0xB8], 10)
    world.sent()
    world.now_s += 40.0
    world.engine.poll(world.now_s)
    assert len(world.sent()) <= 2 * 11
    say_all(world, talkers, [0xC0, 0xB8], 20)
    levels = last_level(world)
    assert levels["10.0.1.0"] == g711.decode_ulaw(np.array([0xB8], np.uint8))[0]


@pytest.mark.parametrize("lost", [1, 2, 5])
@pytest.mark.parametrize("hz", [210.0, 437.0])
def test_what_comes_after_a_gap_comes_without_a_click(world, make_talker, lost, hz):
    talkers = room(world, make_talker, 2)
    sound = tones.to_int16(8000 * np.sin(2 * np.pi * hz * np.arange(160 * 60) / 8000))
    codes = g711.encode_ulaw(sound).reshape(60, 160)
    for number in range(60):
        packet = talkers[0].packet(codes[number].tobytes())
        if not 30 <= number < 30 + lost:
            world.io.deliver(0, talkers[0].address, packet)
        world.io.deliver(0, talkers[1].address, talkers[1].packet(b"\xff" * 160))
        world.engine.poll(world.now_s)
        world.now_s += 0.02
    packets = [packet for packet in world.sent() if packet.remote == talkers[1].address]
    told = heard(packets).astype(int)
    steady_step = np.abs(np.diff(told[160 * 10 : 160 * 25])).max()
    assert np.abs(np.diff(told[160 * 10 : 160 * 58])).max() <= 1.6 * steady_step
    assert np.abs(told[160 * 45 : 160 * 55]).max() > 7500


def test_a_room_of_three_hundred_hears_the_sum_of_the_others(make_world, make_talker):
    """Ten talk, all hear; whoever talks does not hear himself. Every packet comes, a tick each."""
    world = make_world(streams_max=512)
    parties = [
        make_talker((f"10.0.{1 + number // 200}.{number % 200}", 4000), ssrc=number + 1)
        for number in range(300)
    ]
    for number, party in enumerate(parties):
        world.open(number, party.address)
        world.do(JoinRoom(1, number))
    codes = [0xC5 + 2 * number for number in range(10)] + [0xFF] * 290
    levels = g711.decode_ulaw(np.array(codes, np.uint8)).astype(int)
    say_all(world, parties, codes, 20)
    world.sent()
    say_all(world, parties, codes, 10)
    packets = world.sent()
    assert len(packets) == 300 * 10
    expected = g711.encode_ulaw((levels.sum() - levels).astype(np.int16))
    for number, party in enumerate(parties):
        own = [packet for packet in packets if packet.remote == party.address]
        assert steady(own)
        assert {packet.payload for packet in own} == {bytes([int(expected[number])]) * 160}
