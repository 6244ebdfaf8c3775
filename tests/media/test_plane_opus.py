"""Opus in the engine: what the peer asks of our encoder, and what its packets say of lost ones."""

from __future__ import annotations

import numpy as np
import pytest

from media.dsp.opus import OpusEncoder, OpusParameters
from media.plane.voices import OPUS, Voices
from media.protocol import ConfigureStream, Connect, StreamParams
from media.wire import rtcp
from tests.media.party import ROW, STEPS, TYPES, Party, needs_opus, talk

pytestmark = needs_opus
RATE_HZ = 16_000


def speech(seconds):
    """A voice that glides and stops: a sum of harmonics with syllables."""
    at = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    pitch = 2 * np.pi * np.cumsum(120 + 40 * np.sin(2 * np.pi * 0.7 * at)) / RATE_HZ
    sound = sum(np.sin(k * pitch) / k for k in range(1, 12))
    return np.rint(4000 * sound * (0.15 + np.abs(np.sin(2 * np.pi * 2.3 * at)))).astype(np.int16)


def heard_with_loss(make_world, make_talker, lossy, *, fec):
    """What a wideband listener hears of a voice of which the packets in `lossy` never come."""
    world = make_world()
    talker = Party(world, make_talker, 1, "opus")
    listener = Party(world, make_talker, 2, "L16/16000")
    world.do(Connect(1, 2))
    wanted = OpusParameters(inband_fec=fec, loss_percent=20 if fec else 0)
    talker.encoder.configure(0, wanted)
    talker.encoder.reset(0)
    talker.says = speech(4.0)
    packets = []
    for number in range(200):
        packet = talker.packet()
        if number not in lossy:
            world.io.deliver(2, talker.address, packet)
        world.engine.poll(world.now_s)
        world.now_s += 0.02
        packets += world.sent()
    return listener.heard(packets)


def test_what_is_lost_is_heard_of_the_packet_behind_it(make_world, make_talker):
    lossy = {*range(21, 190, 7)}
    frames = np.array(sorted(lossy))
    errors = {}
    for fec in (False, True):
        whole = heard_with_loss(make_world, make_talker, set(), fec=fec)
        broken = heard_with_loss(make_world, make_talker, lossy, fec=fec)
        assert len(whole) == len(broken)
        # Two ticks of play-out delay, and the sound of a lost packet is where it would have been.
        squares = (whole - broken) ** 2
        places = [squares[320 * (n + 2) : 320 * (n + 3)].mean() for n in frames]
        loud = [(whole[320 * (n + 2) : 320 * (n + 3)] ** 2).mean() for n in frames]
        errors[fec] = float(np.sum(places) / np.sum(loud))
    assert errors[True] < 0.25
    assert errors[True] < 0.5 * errors[False]


def test_the_peer_says_what_our_encoder_makes(world, make_talker):
    """`maxaveragebitrate` and `useinbandfec` of its SDP, at first and when they change."""
    sizes = []
    talker = Party(world, make_talker, 1, "L16/16000")
    Party(world, make_talker, 2, "opus", fmtp="maxaveragebitrate=8000")
    world.do(Connect(1, 2))
    talker.says = speech(4.0)
    for fmtp in (None, "maxaveragebitrate=32000;useinbandfec=1", None):
        if fmtp is not None or sizes:
            params = StreamParams(("10.0.0.2", 4000), "opus", TYPES["opus"], fmtp=fmtp)
            world.do(ConfigureStream(2, params))
        packets = [p for p in talk(world, [talker], 40) if p.remote == ("10.0.0.2", 4000)]
        sizes.append(float(np.mean([len(packet.payload) for packet in packets[5:]])))
    assert sizes[0] < 30 < sizes[2] < sizes[1]


def test_redundancy_follows_the_loss_that_the_peer_reports(world, make_talker):
    talker = Party(world, make_talker, 1, "L16/16000")
    listener = Party(world, make_talker, 2, "opus", fmtp="useinbandfec=1")
    world.do(Connect(1, 2))
    talker.says = speech(4.0)
    (first, *_) = [p for p in talk(world, [talker, listener], 20) if p.remote == listener.address]
    codec = world.engine._voices._codecs[OPUS]
    row = world.engine._roster.get(2).row
    assert codec._parameters[row].loss_percent == 0
    for lost, percent in ((64, 25), (0, 0)):
        block = rtcp.ReportBlock(first.ssrc, lost, 3, 1000, 0, 0, 0)
        report = rtcp.build_report(rtcp.ReceiverReport(listener.talker.ssrc, (block,)), "phone")
        world.io.deliver(5, (listener.address[0], 4001), report)
        world.engine.poll(world.now_s)
        assert codec._parameters[row].loss_percent == percent
    codec.expect_loss(99, 10)  # of a row that has asked for nothing


@pytest.mark.parametrize("missing", [0, 1, 2, 3, 4])
def test_only_what_was_lost_straight_before_is_recovered(missing):
    encoder, voices = (
        OpusEncoder(RATE_HZ, OpusParameters(inband_fec=True, loss_percent=30)),
        Voices(4),
    )
    voices.choose(1, "opus")
    sound, octets = speech(1.0), np.zeros((1, 300), np.uint8)
    found = []
    for number in range(20):
        packet = encoder.encode(sound[320 * number : 320 * (number + 1)])
        if 10 <= number < 10 + missing:
            continue
        octets[0, 12 : 12 + len(packet)] = np.frombuffer(packet, np.uint8)
        when = np.array([STEPS["opus"] * number], np.uint32)
        size = np.array([12 + len(packet)], np.int32)
        for part, samples, lost in voices.decode(ROW + 1, octets, ROW, size, 12, when):
            assert (part.tolist(), samples.shape) == ([0], (1, 320))
            found += [number] if lost else []
    assert found == ([10 + missing] if 0 < missing <= 3 else [])
