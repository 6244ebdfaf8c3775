"""Comfort noise (RFC 3389) in a mix: heard at its level until the peer speaks again."""

from __future__ import annotations

import numpy as np
import pytest

from media.dsp import g711
from media.dsp.levels import rms_of_dbov
from media.protocol import JoinRoom, ReleaseStream
from tests.media.party import Party, talk

LOUD = 48
"""The payload's one octet: -48 dBov."""


def silent(world, a, b, ticks, *, noise=None):
    """`a` sends nothing but `noise` now and then (each 10 ticks), `b` goes on."""
    for tick in range(ticks):
        if noise is not None and tick % 10 == 0:
            world.io.deliver(2, a.address, a.talker.packet(noise, payload_type=13))
            a.talker.timestamp -= 160
        a.talker.timestamp += 160
        world.io.deliver(4, b.address, b.packet())
        world.engine.poll(world.now_s)
        world.now_s += 0.02
    return world.sent()


def rms(sound):
    return float(np.sqrt(np.mean(np.square(sound))))


@pytest.fixture
def room(world, make_talker):
    a, b = (Party(world, make_talker, number, "PCMU") for number in (1, 2))
    a.tone((500, 6000), seconds=10)
    for party in (a, b):
        world.do(JoinRoom(1, party.number))
    talk(world, (a, b), 25)
    return a, b


@pytest.mark.parametrize("law", ["PCMU", "PCMA"])
def test_silence_sounds_as_the_peer_describes_it(world, make_talker, law):
    a, b = (Party(world, make_talker, number, law) for number in (1, 2))
    a.tone((500, 6000), seconds=10)
    for party in (a, b):
        world.do(JoinRoom(1, party.number))
    talk(world, (a, b), 25)
    noise = b.heard(silent(world, a, b, 50, noise=bytes([LOUD])))
    assert rms(noise[1600:]) == pytest.approx(float(rms_of_dbov(np.array([-LOUD]))[0]), rel=0.15)
    assert rms(noise[320:480]) < 400, "the end of the speech is not stretched over it"
    again = b.heard(talk(world, (a, b), 25))
    assert rms(again[1600:]) == pytest.approx(6000 / np.sqrt(2), rel=0.03), "and speech is back"


def test_without_comfort_noise_silence_is_silent(world, room):
    a, b = room
    assert rms(b.heard(silent(world, a, b, 50))[2400:]) == 0.0


def test_noise_ends_with_speech_and_with_the_stream(world, room):
    a, b = room
    silent(world, a, b, 30, noise=bytes([LOUD]))
    talk(world, (a, b), 25)
    assert rms(b.heard(silent(world, a, b, 40))[2400:]) == 0.0, "what ended is over"
    silent(world, a, b, 30, noise=bytes([LOUD, 90, 160]))
    world.do(ReleaseStream(1))
    assert rms(b.heard(talk(world, (b,), 20))[1600:]) == 0.0


@pytest.mark.parametrize("payload", [b"", b"\xff", bytes(40), bytes([LOUD]) + b"\xff" * 30])
def test_whatever_noise_says_does_no_harm(world, room, payload):
    a, b = room
    sound = b.heard(silent(world, a, b, 40, noise=payload))
    assert np.isfinite(sound).all()
    assert len(sound) == 40 * 160
    assert g711.encode_ulaw(sound.astype(np.int16)[None]).shape == (1, 6400)
