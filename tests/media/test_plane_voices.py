"""Bridges between codecs, recordings of any codec, digits as sound, SRTP."""

from __future__ import annotations

import io
import itertools
from pathlib import Path

import numpy as np
import pytest

from media.dsp import opus, tones, wav
from media.dsp.codecs import codec_of
from media.protocol import (
    CommandRefused,
    Connect,
    DigitReceived,
    Disconnect,
    JoinRoom,
    OpenStream,
    RecordingStopped,
    ReleaseStream,
    SetEcho,
    StartRecording,
    StopRecording,
    StreamClosed,
    StreamLatched,
)
from media.wire import srtp

A, B = ("10.0.0.1", 4000), ("10.0.0.2", 6000)
TYPES = {"PCMU": 0, "PCMA": 8, "G722": 9, "opus": 96, "L16": 97, "L16/16000": 98, "G729": 18}
STEPS = {
    "PCMU": 160,
    "PCMA": 160,
    "G722": 160,
    "opus": 960,
    "L16": 160,
    "L16/16000": 320,
    "G729": 160,
}

needs_opus = pytest.mark.skipif(not opus.available(), reason="libopus is not installed")
needs_srtp = pytest.mark.skipif(not srtp.available(), reason="pylibsrtp is not installed")
CODECS = ["PCMU", "PCMA", "G722", "L16", "L16/16000", pytest.param("opus", marks=needs_opus)]


class Voice:
    """A peer that says a tone in some codec, and understands what it hears."""

    def __init__(self, talker, name, hz):
        self.talker, self.name = talker, name
        self._out, self._in = codec_of(name, 1), codec_of(name, 1)
        rate = self._out.rate_hz
        self._tone = (8000 * np.sin(2 * np.pi * hz * np.arange(4 * rate) / rate)).astype(np.int16)
        self._at = 0

    def say(self):
        count = self._out.rate_hz // 50
        frame = self._tone[self._at : self._at + count][None, :]
        self._at += count
        payloads, sizes = self._out.encode(np.zeros(1, np.intp), frame)
        packet = self.talker.packet(payloads[0, : sizes[0]].tobytes())
        self.talker.timestamp += STEPS[self.name] - 160
        return packet

    def understand(self, packets):
        """The strongest frequency of what it heard, in hertz."""
        frames = []
        for packet in packets:
            assert packet.payload_type == TYPES[self.name]
            payload = np.frombuffer(packet.payload, np.uint8)[None, :]
            size = np.array([payload.shape[1]])
            count = int(self._in.samples_in(payload, size)[0])
            assert count == self._in.rate_hz // 50
            frames.append(self._in.decode(np.zeros(1, np.intp), payload, size, count)[0])
        sound = np.concatenate(frames)[-self._in.rate_hz // 2 :].astype(float)
        assert np.abs(sound).max() > 3000
        return np.abs(np.fft.rfft(sound)).argmax() * 2


def voice(world, make_talker, number, remote, name, hz):
    kind = TYPES[name]
    world.open(number, remote, port_id=2 * number, codec=name, payload_type=kind)
    return Voice(make_talker(remote, ssrc=number, payload_type=kind), name, hz)


def talk(world, voices, ticks):
    for _ in range(ticks):
        for number, speaker in enumerate(voices, start=1):
            world.io.deliver(2 * number, speaker.talker.address, speaker.say())
        world.engine.poll(world.now_s)
        world.now_s += 0.02


@pytest.mark.parametrize("left", CODECS)
@pytest.mark.parametrize("right", CODECS)
def test_any_two_codecs_hear_each_other(world, make_talker, left, right):
    a = voice(world, make_talker, 1, A, left, 500)
    b = voice(world, make_talker, 2, B, right, 1200)
    world.do(Connect(1, 2))
    talk(world, (a, b), 100)
    packets = world.sent()
    to_a = [packet for packet in packets if packet.remote == A]
    to_b = [packet for packet in packets if packet.remote == B]
    for heard, name in ((to_a, left), (to_b, right)):
        assert len(heard) >= 98
        for before, after in itertools.pairwise(heard):
            assert (after.sequence - before.sequence) & 0xFFFF == 1
            assert (after.timestamp - before.timestamp) & 0xFFFFFFFF == STEPS[name]
    assert a.understand(to_a) == 1200
    assert b.understand(to_b) == 500
    relayed = world.engine.snapshot()["feeds"] == 2
    assert relayed == (left == right or {left, right} == {"PCMU", "PCMA"})
    world.do(Disconnect(1, 2))
    talk(world, (a, b), 5)
    assert world.sent() == []
    for number in (1, 2):
        world.do(ReleaseStream(number))
    snapshot = world.engine.snapshot()
    assert (snapshot["slots"], snapshot["parties"]) == (0, 0)


@pytest.mark.parametrize("name", CODECS)
def test_recordings_hold_any_codec(world, make_talker, name):
    a = voice(world, make_talker, 1, A, name, 500)
    b = voice(world, make_talker, 2, B, name, 1200)
    world.do(Connect(1, 2))
    world.do(StartRecording(1, 1, 2, "1.wav"))
    talk(world, (a, b), 100)
    world.do(StopRecording(1))
    world.engine.poll(world.now_s + 0.2)
    (done,) = world.events_of(RecordingStopped)
    rate_hz, sides = wav.read(io.BytesIO(Path(done.path).read_bytes()))
    assert rate_hz == codec_of(name, 1).rate_hz == done.rate_hz
    assert sides.shape == (2, 2 * rate_hz) == (2, done.frames)
    for side, hz in zip(sides, (500, 1200), strict=True):
        assert np.abs(np.fft.rfft(side[rate_hz:].astype(float))).argmax() == hz
    assert world.engine.snapshot()["feeds"] == 2


@needs_opus
def test_a_room_of_all_codecs(world, make_talker):
    names = ("PCMU", "PCMA", "G722", "opus")
    voices = []
    for number, name in enumerate(names, start=1):
        hz = 400 + 300 * number
        voices.append(voice(world, make_talker, number, (f"10.0.0.{number}", 4000), name, hz))
        world.do(JoinRoom(1, number))
    talk(world, voices, 100)
    packets = world.sent()
    for number, speaker in enumerate(voices, start=1):
        heard = [packet for packet in packets if packet.remote == (f"10.0.0.{number}", 4000)]
        assert speaker.understand(heard) in {400 + 300 * other for other in range(1, 5)} - {
            400 + 300 * number
        }
    world.do(ReleaseStream(2))
    talk(world, voices, 10)


def test_garbage_in_a_stateful_codec_is_silence(world, make_talker):
    a = voice(world, make_talker, 1, A, "G722", 500)
    b = voice(world, make_talker, 2, B, "PCMU", 1200)
    world.do(Connect(1, 2))
    talk(world, (a, b), 10)
    for octets in (0, 1, 7, 33, 700, 1400):
        world.hear(a.talker, b"\x55" * octets, port_id=2)
    talk(world, (a, b), 50)
    heard = [packet for packet in world.sent() if packet.remote == B]
    assert b.understand(heard) == 500


def test_digits_as_sound_are_reported(world, make_talker):
    world.open(1, A, inband_dtmf=True)
    a = make_talker(A)
    sound = tones.dtmf("159#", rate_hz=8000)
    sound = np.concatenate([np.zeros(1600, np.int16), sound, np.zeros(1600, np.int16)])
    codec = codec_of("PCMU", 1)
    for start in range(0, len(sound) - 159, 160):
        payload, _ = codec.encode(np.zeros(1, np.intp), sound[None, start : start + 160])
        world.hear(a, payload.tobytes())
        world.now_s += 0.02
    world.run(0.3)
    reports = world.events_of(DigitReceived)
    assert [report.digit for report in reports] == ["1", "5", "9", "#"]
    assert all(80 <= report.duration_ms <= 120 for report in reports)
    assert not world.sent()
    world.configure(1, A)
    assert world.engine.snapshot()["slots"] == 0


KEYS = [
    str(srtp.make_crypto(1, "AES_CM_128_HMAC_SHA1_80", bytes([number]) * 30)) for number in range(3)
]


def sealed_call(world, make_talker):
    """Stream 1 by SRTP, stream 2 in the clear, and the far end of 1 as a table of its own."""
    far = srtp.SrtpTable(2)
    far.set_outbound(0, srtp.parse_crypto(KEYS[0]))
    far.set_inbound(0, srtp.parse_crypto(KEYS[1]))
    far.set_outbound(1, srtp.parse_crypto(KEYS[2]))
    world.open(1, A, srtp_in=KEYS[0], srtp_out=KEYS[1])
    world.open(2, B, port_id=2)
    world.do(Connect(1, 2))
    return far, make_talker(A, ssrc=1), make_talker(B, ssrc=2)


def seal(far, packet, row=0):
    room = np.zeros((1, 400), np.uint8)
    room[0, : len(packet)] = np.frombuffer(packet, np.uint8)
    sizes = np.array([len(packet)], np.int32)
    assert far.protect(np.array([row]), room, sizes).all()
    return room[0, : sizes[0]].tobytes()


def unseal(far, packet):
    room = np.frombuffer(packet.ljust(400, b"\0"), np.uint8)[None, :].copy()
    sizes = np.array([len(packet)], np.int32)
    assert far.unprotect(np.array([0]), room, sizes).all()
    return room[0, 12 : sizes[0]].tobytes()


@needs_srtp
def test_srtp_on_one_side_of_a_relay(world, make_talker):
    far, a, b = sealed_call(world, make_talker)
    for number in range(50):
        said = bytes([number]) * 160
        world.io.deliver(0, A, seal(far, a.packet(said)))
        world.io.deliver(2, B, b.packet(said[::-1]))
        world.engine.poll(world.now_s)
        to_b, to_a = (packet for packet in world.io.take_sent())
        if to_b.remote == A:
            to_a, to_b = to_b, to_a
        assert to_b.data[12:] == said
        assert len(to_a.data) == 182
        assert unseal(far, to_a.data) == said
        world.now_s += 0.02
    assert world.events_of(StreamLatched)


@needs_srtp
def test_a_replacement_understands_a_peer_that_has_been_talking_for_hours(world, make_talker):
    """What the control plane tells a new worker holds no roll-over counter: it is found out."""
    far = srtp.SrtpTable(1)
    far.set_outbound(0, srtp.parse_crypto(KEYS[0]))
    a = make_talker(A, ssrc=1, sequence=65_000)
    while a.sequence < (7 << 16) + 123:
        seal(far, a.packet())
        a.sequence += 20_000
    world.do(OpenStream(1, 0, "10.0.0.1", latched=A))
    world.configure(1, A, srtp_in=KEYS[0], srtp_out=KEYS[1])
    world.open(2, B, port_id=2)
    world.do(Connect(1, 2))
    said = [bytes([number]) * 160 for number in range(10)]
    for each in said:
        world.io.deliver(0, A, seal(far, a.packet(each)))
        world.engine.poll(world.now_s)
        world.now_s += 0.02
    assert [packet.payload for packet in world.sent() if packet.remote == B] == said
    assert not world.engine.stats(1).dropped


@needs_srtp
def test_forged_replayed_and_open_packets_change_nothing(world, make_talker):
    far, a, _ = sealed_call(world, make_talker)
    forger = make_talker(A, ssrc=1)
    for _ in range(20):
        world.io.deliver(0, A, seal(far, forger.packet(), row=1))
        world.io.deliver(0, A, make_talker(A, ssrc=9).packet())
    world.engine.poll(world.now_s)
    assert not world.events_of(StreamLatched)
    kept = []
    for number in range(20):
        said = bytes([number]) * 160
        kept.append(seal(far, a.packet(said)))
        world.io.deliver(0, A, kept[-1])
        world.io.deliver(0, A, kept[-1])
        world.io.deliver(0, A, seal(far, forger.packet(), row=1))
        world.io.deliver(0, A, b"\x80")
        world.engine.poll(world.now_s)
        assert [packet.payload for packet in world.sent()] == [said]
        world.now_s += 0.02
    world.configure(1, A, srtp_in=KEYS[0], srtp_out=KEYS[1])
    for packet in kept:
        world.io.deliver(0, A, packet)
    world.engine.poll(world.now_s)
    assert world.sent() == []
    world.do(ReleaseStream(1))
    (closed,) = world.events_of(StreamClosed)
    assert closed.stats.dropped == {"srtp": 20 + 20 + 20 * 2 + 20, "malformed": 20}
    assert closed.stats.packets_in == 20


@needs_srtp
def test_wrong_keys_are_refused_and_nothing_leaves_in_the_clear(world, make_talker):
    world.open(1, A, srtp_in="1 NULL_CIPHER inline:xx", srtp_out=KEYS[1])
    assert world.events_of(CommandRefused)
    world.do(SetEcho(1, True))
    world.run(0.2, make_talker(A))
    assert world.sent() == []
