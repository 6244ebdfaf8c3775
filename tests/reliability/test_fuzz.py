"""Rows 6 to 9: whatever arrives is a value or the typed error, in bounded time, and is written as read.

`make test` runs a share of each; `make soak` ten million mutated SIP messages and a million of each other
kind (`SOFTSWITCH_FUZZ_SCALE` scales both). A failure names the seed and the input.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import resource
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from media.dsp import wav
from media.errors import WavError
from media.wire import rtcp, rtp, telephone_event
from softswitch.config import parse_office
from softswitch.errors import ConfigError, RemoteProtocolError
from softswitch.sip.parser import Limits, ParseError, parse_message
from softswitch.sip.sdp import SessionDescription
from softswitch.transport.ws_framing import WebSocketFraming
from tests.reliability.anomalies import SDP, message, sweep
from tests.reliability.mutation import mutated
from tests.rows import Row
from tests.sip.test_sip_fuzz import SEEDS, exercise, mutate

SCALE = float(os.environ.get("SOFTSWITCH_FUZZ_SCALE", "1"))
SEED = int(os.environ.get("SOFTSWITCH_SEED", "1"))
EXAMPLE = (Path(__file__).parents[2] / "examples" / "office.toml").read_bytes()
_WIDTH = 256


def inputs(seeds: list[bytes], seed: int) -> Iterator[bytes]:
    source = random.Random(seed)
    while True:
        yield mutated(source.choice(seeds), source, seeds)


def one_by_one(take: Callable[[bytes], object], *errors: type[Exception]) -> Callable[..., None]:
    def run(data: Iterator[bytes]) -> None:
        for each in data:
            try:
                take(each)
            except errors:
                continue
            except Exception as error:
                raise AssertionError(f"{error!r} for {each!r}") from error

    return run


# -- the nine kinds ---------------------------------------------------------------------------------

RTP_SEEDS = [
    bytes.fromhex("8000000100000000deadbeef") + bytes(160),
    bytes.fromhex("9085000200000140deadbeefbede000110aa0000") + bytes(40),
    bytes.fromhex("a2650003000001e0deadbeef0000000100000002") + bytes(20) + b"\0\0\0\4",
]
EVENT_SEEDS = [bytes.fromhex("8065000400000000deadbeef058a0320"), RTP_SEEDS[0]]
RTCP_SEEDS = [
    rtcp.build_report(rtcp.ReceiverReport(7, (rtcp.ReportBlock(1, 2, 3, 4, 5, 6, 7),)), "me@here"),
    rtcp.build_bye([7, 8], "me@here", "gone"),
]
STUN_SEEDS = [bytes.fromhex("000100082112a442" + "11" * 12 + "0006000461626364")]
DNS_SEEDS = [
    bytes.fromhex(
        "0001818000010002000000010473697073076578616d706c6503636f6d0000210001"
        "c00c00210001000000200010000000051" "3c4" "02703103636f6d00"
    ),
]  # fmt: skip
WAV_SEEDS = [
    wav.header(wav.WavFormat(8000, 2, wav.PCM), 64) + bytes(64),
    wav.header(wav.WavFormat(8000, 1, wav.ULAW), 32)
    + bytes(32)
    + wav.marks([wav.Mark(3, "pause")]),
]
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: office.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: sip\r\n\r\n"
)
FRAMES = [
    b"\x82\x84\1\2\3\4" + bytes(a ^ b for a, b in zip(b"\r\n\r\n", b"\1\2\3\4", strict=True)),
    b"\x01\xfe\x00\x80\0\0\0\0" + b"A" * 128 + b"\x80\x80\0\0\0\0",
    b"\x82\xff\0\0\0\0\0\1\0\0\0\0\0\0" + b"B" * 64,
    b"\x88\x82\0\0\0\0\x03\xe8\x89\x80\0\0\0\0",
]


def batches(take: Callable[[np.ndarray, np.ndarray], object]) -> Callable[..., None]:
    """Feed 512 at once, as they come from a socket."""

    def run(data: Iterator[bytes]) -> None:
        while some := list(islice(data, 512)):
            rows = np.zeros((len(some), _WIDTH), np.uint8)
            lengths = np.array([min(len(each), _WIDTH) for each in some], np.int32)
            for row, each in zip(rows, some, strict=True):
                row[: min(len(each), _WIDTH)] = np.frombuffer(each[:_WIDTH], np.uint8)
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


def take_dns(data: bytes) -> None:
    import dns.exception
    import dns.message

    from softswitch.transport.dns_lookup import _record

    try:
        answer = dns.message.from_wire(data)
    except (dns.exception.DNSException, ValueError):  # as `DnsLookup.query` takes them
        return
    for rrset in answer.answer:
        for each in rrset:
            kind = {1: "A", 28: "AAAA", 33: "SRV", 35: "NAPTR"}.get(int(each.rdtype))
            if kind and int(each.rdclass) == 1 and type(each).__name__ != "GenericRdata":
                _record(each, kind)


def take_wav(data: bytes) -> None:
    rate_hz, parties = wav.read(io.BytesIO(data))
    assert rate_hz > 0
    assert parties.ndim == 2


def take_frames(data: bytes) -> None:
    framing = WebSocketFraming(Limits(), lambda origin, host: True)
    for part in (HANDSHAKE, data[: len(data) // 2], data[len(data) // 2 :]):
        framing.feed(part)
        framing.take_output()
    other = WebSocketFraming(Limits(), lambda origin, host: True)
    other.feed(data)
    other.take_output()


def take_office(data: bytes) -> None:
    parse_office(data.decode("utf-8", "replace"), source="fuzz")


LINES = EXAMPLE.splitlines(keepends=True)
OFFICE_SEEDS = [b"".join(LINES[at : at + 12]) for at in range(0, len(LINES), 12)]
KINDS: dict[str, tuple[list[bytes], Callable[..., None], int]] = {
    "SDP": ([SDP], one_by_one(SessionDescription.parse, RemoteProtocolError), 60_000),
    "RTP": (RTP_SEEDS, batches(take_rtp), 200_000),
    "RTCP": (RTCP_SEEDS, one_by_one(rtcp.parse), 100_000),
    "RFC 4733": (EVENT_SEEDS, batches(take_events), 200_000),
    "STUN": (STUN_SEEDS, batches(take_stun), 100_000),
    "DNS answers": (DNS_SEEDS, one_by_one(take_dns), 20_000),
    "WAV": (WAV_SEEDS, one_by_one(take_wav, WavError), 60_000),
    "HTTP and WebSocket frames": ([HANDSHAKE, *FRAMES], one_by_one(take_frames), 5_000),
    "configuration files": (OFFICE_SEEDS, one_by_one(take_office, ConfigError), 2_000),
}  # fmt: skip


def memory_kb() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() // 1024


def fuzz(kind: str, count: int, row: Row) -> None:
    seeds, run, _ = KINDS[kind]
    run(islice(inputs(seeds, SEED), max(2000, count // 20)))  # warms caches
    before_kb = memory_kb()
    run(islice(inputs(seeds, SEED), count))
    row(7, kind, seed=SEED, inputs=count, unhandled=0, grown_KB=memory_kb() - before_kb)


@pytest.mark.parametrize("kind", KINDS)
def test_a_value_or_the_typed_error(kind: str, row: Row) -> None:
    fuzz(kind, KINDS[kind][2], row)


@pytest.mark.soak
@pytest.mark.parametrize("kind", KINDS)
def test_a_million_of_each(kind: str, row: Row) -> None:
    fuzz(kind, int(1_000_000 * SCALE), row)


@pytest.mark.parametrize("kind", KINDS)
def test_the_seeds_themselves_are_right(kind: str) -> None:
    """What is bent must be right before, or only refusals would be tested."""
    seeds, run, _ = KINDS[kind]
    run(iter(seeds))


# -- row 6 ------------------------------------------------------------------------------------------


def mutated_sip(seed: int, count: int, row: Row) -> None:
    source = random.Random(seed)
    took_us = np.full(count, -1.0, np.float32)  # touched, or its pages would be counted as growth
    messages = 0
    before_kb = 0
    for number in range(count):
        data = mutate(source.choice(SEEDS), source)
        began = time.thread_time_ns()  # whoever else runs here is no part of it
        try:
            messages += exercise(data)
        except Exception as error:
            raise AssertionError(
                f"seed {seed}, message {number}: {error!r} for {data!r}"
            ) from error
        took_us[number] = (time.thread_time_ns() - began) / 1000
        if number == count // 20:
            before_kb = memory_kb()
    row(
        6,
        "mutated SIP messages",
        seed=seed,
        messages=count,
        parsed=messages,
        unhandled=0,
        grown_KB=memory_kb() - before_kb,
        p99_us=round(float(np.percentile(took_us, 99))),
        max_ms=round(float(took_us.max()) / 1000, 1),
    )
    assert 0 < messages < count


@pytest.mark.parametrize("seed", range(2))
def test_mutated_sip(seed: int, row: Row) -> None:
    mutated_sip(100 + seed, 50_000, row)


@pytest.mark.soak
def test_ten_million_mutated_messages(row: Row) -> None:
    mutated_sip(SEED, int(10_000_000 * SCALE), row)


# -- row 8 ------------------------------------------------------------------------------------------


def test_the_price_of_an_octet_does_not_rise_with_the_length(row: Row) -> None:
    """The figure beside `tests/sip/test_linear_time.py`, which proves it by counting lines."""

    def ns_an_octet(size: int, unit: bytes) -> float:
        head = message(1, body=b"", length=b"0")[:-4]
        data = head + b"\r\nX-Bomb: " + unit * (size // len(unit)) + b"\r\n\r\n"
        best = min(_timed(data) for _ in range(7))
        return best / len(data)

    def _timed(data: bytes) -> int:
        began = time.perf_counter_ns()
        with contextlib.suppress(ParseError):
            parse_message(data)
        return time.perf_counter_ns() - began

    worst = max(
        ns_an_octet(60_000, unit) / ns_an_octet(1000, unit)
        for unit in (b",", b'"', b" ", b";a=b", b"<", b"\\", b"\xe4")
    )
    row(8, "ns an octet at 60 KiB against 1 KiB, worst of 7 bombs", ratio=round(worst, 2))


# -- row 9 ------------------------------------------------------------------------------------------


def round_trips(count: int, row: Row) -> None:
    source = random.Random(SEED)
    names = [b"X-%d" % n for n in range(50)]
    odd = bytes(octet for octet in range(32, 256) if octet != 127)
    plain = message(1)
    at = plain.index(b"Content-Length")
    for _ in range(count):
        extra = b"".join(
            source.choice(names) + b": " + bytes(source.choices(odd, k=source.randrange(40))).strip(b" ")
            + b"\r\n"
            for _ in range(source.randrange(4))
        )  # fmt: skip
        body = source.randbytes(source.randrange(80))
        data = plain[:at] + extra + b"Content-Length: %d\r\n\r\n" % len(body) + body
        first = parse_message(data)
        written = first.serialise()
        assert written == data, (data, written)
        assert parse_message(written) == first
    row(9, "generated messages written as read", seed=SEED, messages=count, differences=0)


def test_what_is_generated_is_written_as_read(row: Row) -> None:
    round_trips(30_000, row)


@pytest.mark.soak
def test_a_million_round_trips(row: Row) -> None:
    round_trips(int(1_000_000 * SCALE), row)


def test_the_sweep_is_the_same_every_time() -> None:
    assert [data for _, data in islice(sweep(), 500)] == [data for _, data in islice(sweep(), 500)]
