"""The one face of all codecs; Opus through libopus where it is installed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.dsp import opus, tones
from media.dsp.codecs import codec_of
from media.dsp.opus import OpusDecoder, OpusEncoder, OpusParameters
from media.errors import CodecError, NotSupported

needs_opus = pytest.mark.skipif(not opus.available(), reason="needs libopus")
NAMES = ["PCMU", "pcma", "G722", "L16", pytest.param("opus", marks=needs_opus)]


def tone(rate_hz: int, samples: int) -> np.ndarray:
    return tones.to_int16(tones.sines((500.0, 1100.0), samples, rate_hz=rate_hz))


def power_at(audio: np.ndarray, hz: float, rate_hz: int) -> float:
    phase = np.exp(-2j * np.pi * hz * np.arange(len(audio)) / rate_hz)
    return float(abs((audio * np.hanning(len(audio)) * phase).sum()) / len(audio))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("ptime_ms", [10, 20, 40, 60])
def test_speech_goes_through(name, ptime_ms) -> None:
    codec = codec_of(name, 4)
    assert codec.name.lower() == name.lower()
    rows = np.array([2, 0])
    frame = codec.rate_hz * ptime_ms // 1000
    audio = tone(codec.rate_hz, frame * 12)
    heard = []
    for at in range(0, len(audio), frame):
        payloads, octets = codec.encode(rows, np.tile(audio[at : at + frame], (2, 1)))
        assert payloads.dtype == np.uint8
        assert (codec.samples_in(payloads, octets) == frame).all()
        heard.append(codec.decode(rows, payloads, octets, frame))
    joined = np.concatenate(heard, axis=1)
    assert joined.shape == (2, len(audio))
    assert (joined[0] == joined[1]).all()
    tail = joined[0, len(audio) // 2 :].astype(float)
    for hz in (500.0, 1100.0):
        reference = power_at(audio[len(audio) // 2 :].astype(float), hz, codec.rate_hz)
        assert power_at(tail, hz, codec.rate_hz) == pytest.approx(reference, rel=0.25)


@pytest.mark.parametrize("name", ["PCMU", "PCMA", "G722", "L16"])
def test_short_long_and_empty_payloads(name) -> None:
    codec = codec_of(name, 3)
    rows = np.arange(3)
    frame = codec.rate_hz // 50
    payloads, octets = codec.encode(rows, np.tile(tone(codec.rate_hz, frame), (3, 1)))
    lengths = octets.copy()
    lengths[1], lengths[2] = octets[1] // 2, 0
    heard = codec.decode(rows, payloads, lengths, frame)
    assert heard[0].any()
    assert heard[1, : frame // 2].any()
    assert not heard[1, frame // 2 :].any()
    assert not heard[2].any()
    assert codec.decode(rows, payloads, octets, frame // 2).shape == (3, frame // 2)
    assert not codec.decode(rows, payloads, octets, frame * 2)[:, frame:].any()


@pytest.mark.parametrize("name", NAMES)
@given(st.data())
@settings(max_examples=40, deadline=None)
def test_garbage_becomes_sound_or_silence(name, data) -> None:
    codec = codec_of(name, 3)
    payloads = np.frombuffer(data.draw(st.binary(min_size=120, max_size=120)), np.uint8)
    octets = np.array(data.draw(st.lists(st.integers(0, 40), min_size=3, max_size=3)))
    heard = codec.decode(np.arange(3), payloads.reshape(3, 40), octets, 160)
    assert heard.shape == (3, 160)
    assert heard.dtype == np.int16


def test_l16_is_big_endian() -> None:
    payloads, octets = codec_of("L16", 1).encode(np.array([0]), np.array([[1, -2]], np.int16))
    assert payloads.tobytes() == b"\x00\x01\xff\xfe"
    assert octets.tolist() == [4]


def test_unknown_codecs_are_refused() -> None:
    with pytest.raises(NotSupported, match="G723"):
        codec_of("G723", 1)


def test_format_parameters_are_read_within_bounds() -> None:
    wanted = OpusParameters.from_fmtp("maxplaybackrate=16000; useinbandfec=1;usedtx=1; x=y;;=")
    assert wanted == OpusParameters(playback_rate_hz=16000, inband_fec=True, dtx=True)
    assert OpusParameters.from_fmtp("") == OpusParameters()
    loud = OpusParameters.from_fmtp("maxaveragebitrate=510000;maxplaybackrate=1")
    assert (loud.bitrate_bps, loud.playback_rate_hz) == (128000, 8000)
    assert (
        OpusParameters.from_fmtp("useinbandfec=٣;maxplaybackrate=99999999999999")
        == OpusParameters()
    )


@needs_opus
@pytest.mark.parametrize("rate_hz", [8000, 16000, 48000])
def test_opus_decodes_straight_to_the_rate_needed(rate_hz) -> None:
    encoder, decoder = OpusEncoder(16000), OpusDecoder(rate_hz)
    audio = tone(16000, 3200)
    heard = [decoder.decode(encoder.encode(audio[at : at + 320])) for at in range(0, 3200, 320)]
    joined = np.concatenate(heard).astype(float)
    assert len(joined) == rate_hz // 5
    assert power_at(joined[rate_hz // 10 :], 500.0, rate_hz) > 500


@needs_opus
def test_opus_conceals_and_recovers() -> None:
    encoder = OpusEncoder(16000, OpusParameters(inband_fec=True, loss_percent=20))
    decoder = OpusDecoder(16000)
    audio = tone(16000, 320 * 10)
    packets = [encoder.encode(audio[at : at + 320]) for at in range(0, len(audio), 320)]
    for packet in packets[:5]:
        decoder.decode(packet)
    assert len(decoder.recover(packets[6], 320)) == 320
    decoder.decode(packets[6])
    assert decoder.conceal(320).any()
    for wrong in (b"", b"\xff\xff\xff"):
        with pytest.raises(CodecError):
            decoder.decode(wrong)
    with pytest.raises(CodecError):
        encoder.encode(audio[:77])
    with pytest.raises(CodecError):
        OpusEncoder(44100)


@needs_opus
def test_opus_rows_keep_their_own_state_and_parameters() -> None:
    codec = codec_of("opus", 4, rate_hz=8000)
    codec.configure(1, OpusParameters(bitrate_bps=8000, complexity=0))
    audio = np.tile(tone(8000, 160), (2, 1))
    for _ in range(4):
        payloads, octets = codec.encode(np.array([0, 1]), audio)
    assert octets[1] < octets[0]
    broken = np.full((1, 3), 0xFF, np.uint8)
    assert not codec.decode(np.array([0]), broken, np.array([3]), 160).any()
    assert codec.broken == 1
    assert codec.samples_in(broken, np.array([3])).tolist() == [0]
    assert codec.decode(np.array([0]), payloads[:1], octets[:1], 160).any()
    codec.reset(0)
    codec.reset(3)
