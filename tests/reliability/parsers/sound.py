"""Parsers of the media plane: packets, codecs, files."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from functools import cache
from itertools import islice
from typing import Any

import numpy as np

from media.dsp import codecs, comfort_noise, wav
from media.dsp.opus import OpusParameters
from media.errors import SrtpError, WavError
from media.wire import rtcp, rtp, srtp, telephone_event
from tests.reliability.parsers.register import add, parser, text_of

WIDTH = 256
RTP = [
    bytes.fromhex("8000000100000000deadbeef") + bytes(160),
    bytes.fromhex("9085000200000140deadbeefbede000110aa0000") + bytes(40),
    bytes.fromhex("a2650003000001e0deadbeef0000000100000002") + bytes(20) + b"\0\0\0\4",
]
EVENTS = [bytes.fromhex("8065000400000000deadbeef058a0320"), RTP[0]]
STUN = [bytes.fromhex("000100082112a442" + "11" * 12 + "0006000461626364")]
CRYPTO = (
    b"1 AES_CM_128_HMAC_SHA1_80 inline:" + b"QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNk" + b"|2^20"
)
OPUS_FRAME = bytes.fromhex("08") + bytes(range(1, 60))

Batch = Callable[[np.ndarray, np.ndarray], object]


def batches(take: Batch, at_once: int = 512) -> Callable[[Iterator[bytes]], None]:
    """Feed many at once, as they come from a socket."""

    def run(data: Iterator[bytes]) -> None:
        while some := list(islice(data, at_once)):
            rows = np.zeros((len(some), WIDTH), np.uint8)
            lengths = np.array([min(len(each), WIDTH) for each in some], np.int32)
            for row, each in zip(rows, some, strict=True):
                row[: min(len(each), WIDTH)] = np.frombuffer(each[:WIDTH], np.uint8)
            take(rows, lengths)

    return run


def take_rtp(rows: np.ndarray, lengths: np.ndarray) -> None:
    columns = rtp.parse(rows, lengths)
    good = columns.ok
    assert (columns.payload_at[good] + columns.payload_octets[good] <= lengths[good]).all()
    assert (columns.payload_octets[good] >= 0).all()


def take_events(rows: np.ndarray, lengths: np.ndarray) -> None:
    columns = rtp.parse(rows, lengths)
    found = telephone_event.parse(rows, columns.payload_at, columns.payload_octets)
    assert (columns.payload_octets[found.ok & columns.ok] >= 4).all()


def take_stun(rows: np.ndarray, lengths: np.ndarray) -> None:
    kinds = rtp.classify(rows, lengths)
    stun = kinds == rtp.STUN
    assert not (rtp.parse(rows, lengths).ok & stun).any(), "never both"


add("RTP", RTP, batches(take_rtp))
add("RFC 4733", EVENTS, batches(take_events))
add("STUN on a media port", STUN, batches(take_stun))


@parser(
    "RTCP",
    lambda: [
        rtcp.build_report(
            rtcp.ReceiverReport(7, (rtcp.ReportBlock(1, 2, 3, 4, 5, 6, 7),)), "me@here"
        ),
        rtcp.build_bye([7, 8], "me@here", "gone"),
    ],
)
def take_rtcp(data: bytes) -> None:
    rtcp.parse(data)


# -- SRTP -------------------------------------------------------------------------------------------


@parser("crypto attributes", [CRYPTO, CRYPTO + b" WSH=128"], SrtpError)
def take_crypto(data: bytes) -> None:
    assert srtp.parse_crypto(text_of(data)).master


@parser(
    "Opus parameters", [b"maxplaybackrate=16000;useinbandfec=1; maxaveragebitrate=20000;usedtx=1"]
)
def take_fmtp(data: bytes) -> None:
    assert 6000 <= OpusParameters.from_fmtp(text_of(data)).bitrate_bps <= 128_000


@cache
def _sealed() -> tuple[srtp.SrtpTable, list[bytes]]:
    """A table that expects SRTP and SRTCP, and packets that are genuine to it."""
    table = srtp.SrtpTable(2)
    key = srtp.parse_crypto(CRYPTO.decode())
    table.set_inbound(0, key)
    table.set_outbound(1, key)
    packets = []
    report = rtcp.build_bye([7], "me@here", "gone")
    for packet, is_rtcp in ((RTP[0], False), (report, True)):
        batch = np.zeros((1, WIDTH), np.uint8)
        batch[0, : len(packet)] = np.frombuffer(packet, np.uint8)
        lengths = np.array([len(packet)], np.int32)
        assert table.protect(np.array([1]), batch, lengths, rtcp=is_rtcp).all()
        packets.append(batch[0, : int(lengths[0])].tobytes())
    return table, packets


def take_sealed(rows: np.ndarray, lengths: np.ndarray) -> None:
    table, _ = _sealed()
    at = np.zeros(len(rows), np.intp)
    before = lengths.copy()
    is_rtcp = rtp.classify(rows, lengths) == rtp.RTCP
    for kind in (False, True):
        some = np.flatnonzero(is_rtcp == kind)
        held, octets = rows[some], lengths[some]
        table.unprotect(at[some], held, octets, rtcp=kind)
        assert (octets <= before[some]).all()


add("SRTP", lambda: _sealed()[1], batches(take_sealed))


# -- sound ------------------------------------------------------------------------------------------


@cache
def _decoders() -> list[Any]:
    made = [codecs.G711Codec("PCMU"), codecs.G711Codec("PCMA"), codecs.LinearCodec(16_000)]
    return [*made, codecs.G722Codec(64)]


def _decode(decoder: Any, rows: np.ndarray, lengths: np.ndarray) -> None:
    at = np.arange(len(rows), dtype=np.intp)
    wanted = decoder.samples_in(rows, lengths)
    assert (wanted >= 0).all()
    samples = decoder.decode(at, rows, lengths, 160 * decoder.rate_hz // 8000)
    assert samples.dtype == np.int16
    assert len(samples) == len(rows)


def take_payloads(rows: np.ndarray, lengths: np.ndarray) -> None:
    for decoder in _decoders():
        _decode(decoder, rows, lengths)
    noise = comfort_noise.parse(rows, lengths)
    assert (np.abs(noise.reflection) < 1).all()


@cache
def _opus() -> codecs.OpusCodec:
    return codecs.OpusCodec(16_000)


@cache
def _g729() -> codecs.G729Codec:
    return codecs.G729Codec()


add("payloads of sound", [bytes(range(160)), bytes.fromhex("4e7f80ff")], batches(take_payloads))
add(
    "Opus payloads",
    [OPUS_FRAME, b"\xfc\xff\xfe", b"\x0b\x03" + OPUS_FRAME],
    batches(lambda rows, lengths: _decode(_opus(), rows, lengths), 64),
)
add(
    "G.729 payloads",
    [bytes(range(20)), bytes(10), b"\1\2"],
    batches(lambda rows, lengths: _decode(_g729(), rows, lengths), 64),
)


# -- files ------------------------------------------------------------------------------------------


_MARKS = wav.marks([wav.Mark(3, "pause")])


@parser(
    "WAV",
    lambda: [
        wav.header(wav.WavFormat(8000, 2, wav.PCM), 64) + bytes(64),
        wav.header(wav.WavFormat(8000, 1, wav.ULAW), 32, len(_MARKS)) + bytes(32) + _MARKS,
    ],
    WavError,
)
def take_wav(data: bytes) -> None:
    rate_hz, parties = wav.read(io.BytesIO(data))
    assert rate_hz > 0
    assert parties.ndim == 2
    wav.read_marks(io.BytesIO(data))
    file = io.BytesIO(data)
    repaired = wav.repair(file)
    assert repaired.data_octets == wav.inspect(file).data_octets
