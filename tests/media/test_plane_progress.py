"""What called lines say, heard through packets: while the call goes on as it was."""

from __future__ import annotations

import numpy as np
import pytest

from media.dsp import g711, tones
from media.protocol import (
    CommandRefused,
    Connect,
    HearProgress,
    ProgressHeard,
    ReleaseStream,
)

A, B = ("10.0.0.1", 4000), ("10.0.0.2", 6000)


def say(world, talker, samples):
    """The peer says `samples`; returns the payloads."""
    codes = g711.encode_ulaw(np.resize(samples, len(samples) // 160 * 160))
    said = []
    for frame in codes.reshape(-1, 160):
        said.append(world.hear(talker, frame.tobytes()))
        world.now_s += 0.02
    return said


def what(world):
    return [event.what for event in world.events_of(ProgressHeard)]


def sine(hz, seconds, peak=8000):
    return tones.to_int16(peak * np.sin(2 * np.pi * hz * np.arange(int(8000 * seconds)) / 8000))


def silence(seconds):
    return np.zeros(int(8000 * seconds), np.int16)


@pytest.mark.parametrize(
    ("country", "name", "expected"),
    [
        ("us", "busy", "busy"),
        ("us", "reorder", "congestion"),
        ("gb", "ringback", "ringback"),
        ("de", "busy", "busy"),
    ],
)
def test_tones_of_the_country(world, make_talker, country, name, expected):
    world.open(1, A)
    a = make_talker(A)
    say(world, a, silence(0.3))
    world.do(HearProgress(1, country))
    say(world, a, np.resize(tones.render(country, name), 8 * 8000))
    assert what(world) == [expected]


@pytest.mark.parametrize(("hz", "name"), [(1100.0, "cng"), (2100.0, "ced")])
def test_fax(world, make_talker, hz, name):
    world.open(1, A)
    a = make_talker(A)
    world.do(HearProgress(1, "us"))
    say(world, a, np.concatenate([silence(0.5), sine(hz, 1.0), silence(0.5)]))
    assert name in what(world)


def test_a_machine_speaks_at_length_and_beeps(world, make_talker):
    world.open(1, A)
    a = make_talker(A)
    world.do(HearProgress(1, "us"))
    say(world, a, silence(0.5))
    world.do(HearProgress(1, "us", answered=True))
    rng = np.random.default_rng(3)
    speech = (rng.standard_normal(8000 * 3) * 2500).astype(np.int16)
    say(world, a, np.concatenate([silence(0.3), speech, silence(0.4)]))
    say(world, a, np.concatenate([sine(1000.0, 0.5), silence(0.5)]))
    assert what(world) == ["machine", "beep"]


def test_a_person_says_a_word_and_waits(world, make_talker):
    world.open(1, A)
    a = make_talker(A)
    world.do(HearProgress(1, "us", answered=True))
    rng = np.random.default_rng(3)
    word = (rng.standard_normal(4800) * 2500).astype(np.int16)
    say(world, a, np.concatenate([silence(0.4), word, silence(2.0)]))
    assert what(world) == ["person"]
    world.do(HearProgress(1, "us", answered=True))
    say(world, a, silence(3.5))
    assert what(world) == ["person", "unsure"]


def test_nothing_is_heard_before_and_after_and_the_call_is_relayed_throughout(world, make_talker):
    world.open(1, A)
    world.open(2, B, port_id=2)
    world.do(Connect(1, 2))
    a = make_talker(A)
    busy = np.resize(tones.render("us", "busy"), 4 * 8000)
    said = say(world, a, busy)
    world.do(HearProgress(1, "us"))
    world.do(HearProgress(1, "us"))
    said += say(world, a, busy)
    world.do(HearProgress(1, None))
    world.do(HearProgress(1, None))
    said += say(world, a, busy)
    assert what(world) == ["busy"]
    assert [packet.payload for packet in world.sent() if packet.remote == B] == said
    assert world.engine.snapshot()["slots"] == 0


def test_a_stream_that_goes_is_forgotten(world, make_talker):
    world.open(1, A)
    a = make_talker(A)
    world.do(HearProgress(1, "us", answered=True))
    say(world, a, silence(0.5))
    world.do(ReleaseStream(1))
    assert world.engine.snapshot()["slots"] == 0
    world.open(2, A)
    say(world, make_talker(A, ssrc=5), np.resize(tones.render("us", "busy"), 4 * 8000))
    assert what(world) == []


def test_another_country_takes_over_and_their_number_is_bounded(world, make_talker):
    world.open(1, A)
    a = make_talker(A)
    for number in range(16):
        world.do(HearProgress(1, f"x{number}" if number else "us"))
    assert not world.events_of(CommandRefused)
    world.do(HearProgress(1, "x99"))
    assert len(world.events_of(CommandRefused)) == 1
    world.do(HearProgress(1, "us"))
    say(world, a, np.resize(tones.render("us", "busy"), 4 * 8000))
    assert what(world) == ["busy"]
