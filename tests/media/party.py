"""Peers that say sound in some codec, and hear it."""

from __future__ import annotations

import numpy as np
import pytest

from media.dsp import opus
from media.dsp.codecs import codec_of

TYPES = {"PCMU": 0, "PCMA": 8, "G722": 9, "opus": 96, "L16": 97, "L16/16000": 98}
STEPS = {"PCMU": 160, "PCMA": 160, "G722": 160, "opus": 960, "L16": 160, "L16/16000": 320}
needs_opus = pytest.mark.skipif(not opus.available(), reason="libopus is not installed")
ROW = np.zeros(1, np.intp)


class Party:
    """A peer in some codec that says given samples (at its own rate) and collects what it hears."""

    def __init__(self, world, make_talker, number, codec, **params):
        self.number, self.codec = number, codec
        self.address = (f"10.0.0.{number}", 4000)
        kind = TYPES[codec]
        world.open(
            number, self.address, port_id=2 * number, codec=codec, payload_type=kind, **params
        )
        self.talker = make_talker(self.address, ssrc=number, payload_type=kind)
        self.encoder, self.decoder = codec_of(codec, 1), codec_of(codec, 1)
        self.rate_hz = self.encoder.rate_hz
        self.frame = self.rate_hz // 50
        self.says = np.zeros(0, np.int16)
        self.at = 0

    def tone(self, *tones, seconds=2.0):
        """Say a sum of (hertz, peak)."""
        at = np.arange(int(seconds * self.rate_hz)) / self.rate_hz
        self.says = np.rint(sum(peak * np.sin(2 * np.pi * hz * at) for hz, peak in tones))
        self.says = self.says.astype(np.int16)
        return self

    def packet(self):
        frame = self.says[self.at : self.at + self.frame]
        frame = np.pad(frame, (0, self.frame - len(frame)))
        self.at += self.frame
        payload, sizes = self.encoder.encode(ROW, frame[None])
        packet = self.talker.packet(payload[0, : sizes[0]].tobytes())
        self.talker.timestamp += STEPS[self.codec] - 160
        return packet

    def heard(self, packets):
        frames = []
        for packet in packets:
            if packet.remote != self.address or packet.payload_type != TYPES[self.codec]:
                continue
            payload = np.frombuffer(packet.payload, np.uint8)[None, :]
            size = np.array([payload.shape[1]])
            count = int(self.decoder.samples_in(payload, size)[0])
            frames.append(self.decoder.decode(ROW, payload, size, count)[0])
        return np.concatenate(frames).astype(float)


def talk(world, parties, ticks):
    for _ in range(ticks):
        for party in parties:
            world.io.deliver(2 * party.number, party.address, party.packet())
        world.engine.poll(world.now_s)
        world.now_s += 0.02
    return world.sent()


def level(sound, hz, rate_hz, seconds=0.5):
    """The peak of the tone `hz` in the last half second of what was heard."""
    part = sound[-int(seconds * rate_hz) :]
    assert len(part) == int(seconds * rate_hz)
    window = np.hanning(len(part))
    at = np.arange(len(part)) / rate_hz
    return float(2 * np.abs((part * window) @ np.exp(-2j * np.pi * hz * at)) / window.sum())
