"""From relay to mix and back: nothing of what is said is lost, heard twice or interrupted."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from media.dsp import g711
from media.protocol import (
    Connect,
    JoinRoom,
    LeaveRoom,
    Monitor,
    ReleaseStream,
    StartPlay,
    StartRecording,
    StopMonitor,
    StopPlay,
    StopRecording,
    Tone,
)

A, B, C = (("10.0.0.1", 4000), ("10.0.0.2", 4000), ("10.0.0.3", 4000))
RNG = np.random.default_rng(4)


class Voice:
    """A peer who never says the same twice, in packets of `ptime_ms` that need between `delays_s` to come."""

    def __init__(
        self, world, make_talker, number, address, *, ptime_ms=20, silent=False, delay_s=0.0
    ):
        self.world, self.port, self.ptime_ms = world, 2 * number, ptime_ms
        world.open(number, address, port_id=self.port, ptime_ms=ptime_ms)
        self.talker = make_talker(address, ssrc=number)
        self.address, self.delay_s = address, delay_s
        quiet = np.zeros(80_000, np.int16)
        self.says = quiet if silent else RNG.integers(-8000, 8000, 80_000).astype(np.int16)
        self.codes = g711.encode_ulaw(self.says[None])[0]
        self.at, self.due_s = 0, world.now_s
        self.on_the_way = []

    def speak(self):
        while self.due_s <= self.world.now_s + 1e-9:
            size = 8 * self.ptime_ms
            packet = self.talker.packet(self.codes[self.at : self.at + size].tobytes())
            self.talker.timestamp += size - 160
            self.at += size
            self.due_s += self.ptime_ms / 1000
            self.on_the_way.append((self.world.now_s + RNG.uniform(0, self.delay_s), packet))
        for came_s, packet in list(self.on_the_way):
            if came_s <= self.world.now_s:
                self.world.io.deliver(self.port, self.address, packet)
                self.on_the_way.remove((came_s, packet))


class Scene:
    """Two who talk, and a third who says nothing; collects what everybody gets."""

    def __init__(self, world, make_talker, **voice):
        self.world = world
        self.voices = [
            Voice(world, make_talker, number, address, **voice, silent=address is C)
            for number, address in enumerate((A, B, C), 1)
        ]
        self.got = {A: [], B: [], C: []}
        world.do(Connect(1, 2))

    def run(self, duration_s):
        for _ in range(round(duration_s / 0.002)):
            for voice in self.voices:
                voice.speak()
            self.world.engine.poll(self.world.now_s)
            self.world.now_s += 0.002
            self.collect()

    def do(self, *commands):
        for command in commands:
            self.world.do(command)
        self.collect()

    def collect(self):
        for packet in self.world.sent():
            self.got[packet.remote].append(packet)

    def assert_seamless(self, listener, talker, *, gap=0):
        """What `listener` got is what `talker` said, sample by sample and number by number; at changes
        at most `gap` samples of the time axis are missing."""
        packets = self.got[listener]
        for before, after in itertools.pairwise(packets):
            assert (after.sequence - before.sequence) & 0xFFFF == 1
            step = (after.timestamp - before.timestamp) & 0xFFFFFFFF
            assert 0 <= step - len(before.payload) <= gap, step
            assert after.ssrc == before.ssrc
        heard = g711.decode_ulaw(np.frombuffer(b"".join(p.payload for p in packets), np.uint8))
        says = g711.decode_ulaw(self.voices[(A, B).index(talker)].codes)
        assert len(heard) > 8000
        assert np.array_equal(heard, says[: len(heard)])


@pytest.mark.parametrize("ptime_ms", [10, 20, 30, 60])
@pytest.mark.parametrize("shift_s", [0.0, 0.006, 0.014])
def test_a_supervisor_comes_and_goes_without_a_seam(world, make_talker, ptime_ms, shift_s):
    scene = Scene(world, make_talker, ptime_ms=ptime_ms)
    scene.run(0.4 + shift_s)
    for _ in range(3):
        scene.do(Monitor(3, 1, "barge"))
        scene.run(0.3)
        scene.do(StopMonitor(3))
        scene.run(0.3 + shift_s)
    scene.assert_seamless(A, B)
    scene.assert_seamless(B, A)
    assert world.engine.snapshot()["slots"] == 0


@pytest.mark.parametrize("ptime_ms", [20, 60])
def test_so_on_a_call_that_is_recorded(world, make_talker, ptime_ms):
    scene = Scene(world, make_talker, ptime_ms=ptime_ms)
    scene.run(0.3)
    scene.do(StartRecording(1, 1, 2, "x.wav"))
    scene.run(0.503)
    scene.do(Monitor(3, 1, "barge"))
    scene.run(0.4)
    scene.do(StopRecording(1))
    scene.run(0.4)
    scene.do(StopMonitor(3))
    scene.run(0.3)
    scene.assert_seamless(A, B)
    scene.assert_seamless(B, A)


def test_so_through_a_network_that_delays(world, make_talker):
    scene = Scene(world, make_talker, delay_s=0.012)
    scene.run(0.5)
    for _ in range(4):
        scene.do(Monitor(3, 1, "barge"))
        scene.run(0.407)
        scene.do(StopMonitor(3))
        scene.run(0.4)
    # What is mixed comes in order; what is relayed comes as it came.
    for listener, talker in ((A, B), (B, A)):
        scene.got[listener].sort(key=lambda packet: packet.sequence)
        scene.assert_seamless(listener, talker)


def test_an_announcement_begins_whole_and_the_call_goes_on_behind_it(world, make_talker):
    scene = Scene(world, make_talker)
    scene.run(0.3)
    scene.do(StartPlay(1, 5, Tone("silence", "us"), mix=True))
    scene.run(0.4)
    scene.do(StopPlay(1))
    scene.run(0.4)
    scene.assert_seamless(B, A)
    numbers = [packet.sequence for packet in scene.got[A]]
    assert [b - a for a, b in itertools.pairwise(numbers)] == [1] * (len(numbers) - 1)


def test_a_third_who_joins_interrupts_nobody(world, make_talker):
    scene = Scene(world, make_talker)
    scene.run(0.5)
    scene.do(*(JoinRoom(7, number) for number in (1, 2, 3)))
    scene.run(0.7)
    scene.assert_seamless(A, B)
    scene.assert_seamless(B, A)
    scene.do(*(LeaveRoom(number) for number in (1, 2, 3)), ReleaseStream(3), Connect(1, 2))
    scene.voices.pop()
    scene.run(0.4)
    numbers = [packet.sequence for packet in scene.got[A]]
    assert [b - a for a, b in itertools.pairwise(numbers)] == [1] * (len(numbers) - 1)


def test_nobody_waits_for_one_who_says_nothing(world, make_talker):
    """A talker who is muted at his telephone sends nothing: the supervisor is heard all the same."""
    scene = Scene(world, make_talker)
    scene.run(0.3)
    silent, boss = scene.voices[1], scene.voices[2]
    scene.voices.remove(silent)
    scene.run(0.05)
    boss.codes = g711.encode_ulaw(RNG.integers(-8000, 8000, (1, 80_000)).astype(np.int16))[0]
    scene.do(Monitor(3, 1, "whisper"))
    before = len(scene.got[A])
    scene.run(0.3)
    said = [packet for packet in scene.got[A][before:] if any(set(packet.payload) - {0xFF})]
    assert len(said) > 8


@pytest.mark.parametrize(("longest_ms", "octets"), [(None, {480}), (60, {480}), (40, {160})])
def test_nobody_is_sent_longer_packets_than_he_takes(world, make_talker, longest_ms, octets):
    """One who wants packets of 60 ms sends such; his partner who takes only shorter ones gets shorter ones."""
    scene = Scene(world, make_talker)
    world.configure(1, A, ptime_ms=60)
    world.configure(2, B, ptime_ms=20, maxptime_ms=longest_ms)
    scene.voices[0].ptime_ms = 60
    scene.run(1.0)
    scene.got[B].clear()
    scene.run(1.0)
    assert {len(packet.payload) for packet in scene.got[B]} == octets
    if longest_ms == 40:
        assert {len(packet.payload) for packet in scene.got[A][20:]} == {480}
    codes = np.frombuffer(b"".join(packet.payload for packet in scene.got[B]), np.uint8)
    says = g711.decode_ulaw(scene.voices[0].codes)
    assert g711.decode_ulaw(codes).tobytes() in says.tobytes()
