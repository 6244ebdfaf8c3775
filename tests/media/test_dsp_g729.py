"""G.729 through a library that the user installs; skipped by name where it is missing."""

from __future__ import annotations

import numpy as np
import pytest

from media.dsp import g729
from media.dsp.codecs import codec_of
from media.errors import NotSupported
from media.protocol import CommandRefused, Connect, JoinRoom

ROW = np.zeros(1, np.intp)
needs_g729 = pytest.mark.skipif(not g729.available(), reason="libbcg729 is not installed")


def test_without_the_library_it_is_refused_by_name(monkeypatch, world):
    monkeypatch.setattr(g729, "_library", lambda: None)
    assert not g729.available()
    with pytest.raises(NotSupported, match="libbcg729"):
        codec_of("G729", 1)
    world.open(1, ("10.0.0.1", 4000), codec="G729", payload_type=18)
    world.do(JoinRoom(1, 1))
    (refused,) = world.events_of(CommandRefused)
    assert "libbcg729" in refused.problem
    world.open(2, ("10.0.0.2", 4000), port_id=2, codec="G729", payload_type=18)
    world.do(Connect(1, 2))
    assert world.engine.snapshot()["feeds"] == 2, "relay needs no library"


def speech(seconds=2.0):
    """Something voiced: a pulse train through two formants."""
    at = np.arange(int(seconds * 8000))
    pulses = (at % 64 == 0).astype(float)
    for hz, width in ((600, 80), (1100, 90)):
        r = np.exp(-np.pi * width / 8000)
        a1, a2 = 2 * r * np.cos(2 * np.pi * hz / 8000), -r * r
        y = np.zeros(len(pulses))
        for n in range(len(pulses)):
            y[n] = pulses[n] + (a1 * y[n - 1] + a2 * y[n - 2] if n > 1 else 0.0)
        pulses = y
    return (6000 * pulses / np.abs(pulses).max()).astype(np.int16)


@needs_g729
def test_speech_goes_through_at_a_sixteenth():
    sound = speech()
    coder, decoder = codec_of("G729", 1), codec_of("G729", 1)
    heard = []
    for start in range(0, len(sound), 160):
        payload, sizes = coder.encode(ROW, sound[None, start : start + 160])
        assert sizes.tolist() == [20]
        heard.append(decoder.decode(ROW, payload, sizes, 160)[0])
    got = np.concatenate(heard).astype(float)
    # The coder looks 5 ms ahead, frames are 10 ms: find the delay, then compare.
    scores = [np.corrcoef(sound[2000:14_000], got[2000 + d : 14_000 + d])[0, 1] for d in range(120)]
    assert max(scores) > 0.8
    assert 30 <= int(np.argmax(scores)) <= 60


@needs_g729
@pytest.mark.parametrize(
    ("octets", "samples"),
    [(10, 80), (20, 160), (22, 240), (2, 80), (1, 0), (11, 0), (0, 0), (60, 480)],
)
def test_what_a_payload_holds(octets, samples):
    codec = codec_of("G729", 1)
    payload = np.zeros((1, max(octets, 1)), np.uint8)
    assert codec.samples_in(payload, np.array([octets])).tolist() == [samples]
    out = codec.decode(ROW, payload, np.array([octets]), 480)
    assert out.shape == (1, 480)


@needs_g729
def test_noise_of_any_length_is_no_error():
    rng = np.random.default_rng(1)
    codec = codec_of("G729", 1)
    for octets in range(120):
        payload = rng.integers(0, 256, (1, 120)).astype(np.uint8)
        codec.decode(ROW, payload, np.array([octets]), 960)
