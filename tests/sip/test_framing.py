"""Streams: the same items however the octets are cut, and limits before anything is kept."""

from __future__ import annotations

import random

import pytest

from softswitch.sip.framing import KeepAlive, StreamFramer
from softswitch.sip.parser import Limits, parse_message

HEAD = (
    b"MESSAGE sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP c;branch=z9hG4bK%d\r\nFrom: <sip:d@e>;tag=f\r\n"
    b"To: <sip:a@b>\r\nCall-ID: %d\r\nCSeq: 1 MESSAGE\r\n"
)


def message(number: int, body: bytes = b"") -> bytes:
    return HEAD % (number, number) + b"Content-Length: %d\r\n\r\n" % len(body) + body


MIXED = [
    message(1),
    KeepAlive.PING,
    message(2, "ünï\r\n\r\nçødé".encode()),
    KeepAlive.PONG,
    message(3, b"\r\n\r\n"),
    KeepAlive.PING,
    KeepAlive.PING,
    message(4, b"x" * 3000),
    message(5).replace(b"Content-Length: 0", b"l :\r\n 0"),
]
OCTETS = b"".join(
    item if isinstance(item, bytes) else b"\r\n" * (2 if item is KeepAlive.PING else 1)
    for item in MIXED
)


def feed(framer: StreamFramer, cuts: list[int]) -> list[bytes | KeepAlive]:
    items: list[bytes | KeepAlive] = []
    for start, end in zip([0, *cuts], [*cuts, len(OCTETS)], strict=True):
        items += framer.feed(OCTETS[start:end])
    return items


def test_one_segment() -> None:
    framer = StreamFramer()
    assert framer.feed(OCTETS) == MIXED
    assert framer.pending == 0
    for item in MIXED:
        if isinstance(item, bytes):
            assert parse_message(item).headers.get("Content-Length") is not None


def test_every_single_cut() -> None:
    for cut in range(len(OCTETS)):
        assert feed(StreamFramer(), [cut]) == MIXED


def test_octet_by_octet() -> None:
    assert feed(StreamFramer(), list(range(1, len(OCTETS)))) == MIXED


def test_random_cuts() -> None:
    source = random.Random(7)
    for _ in range(200):
        cuts = sorted(source.sample(range(1, len(OCTETS)), source.randrange(1, 40)))
        assert feed(StreamFramer(), cuts) == MIXED


def test_a_client_hears_its_pong_at_once() -> None:
    framer = StreamFramer(client=True)
    assert framer.feed(b"\r") == []
    assert framer.feed(b"\n") == [KeepAlive.PONG]
    assert framer.feed(b"\r\n" + message(1)) == [KeepAlive.PONG, message(1)]


def test_many_pings() -> None:
    framer = StreamFramer()
    assert framer.feed(b"\r\n" * 5000) == [KeepAlive.PING] * 2500
    assert framer.pending == 0


def test_half_a_ping_waits() -> None:
    framer = StreamFramer()
    assert framer.feed(b"\r\n") == []
    assert framer.feed(b"\r") == []
    assert framer.feed(b"\n") == [KeepAlive.PING]


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (b"", 400),
        (b"Content-Length: -1\r\n", 400),
        (b"Content-Length: 1_0\r\n", 400),
        (b"Content-Length:\r\n", 400),
        (b"Content-Length: 5\r\nl: 6\r\n", 400),
        (b"l: 5\r\nl: 5\r\n", 400),
        (b"Content-Length: 65537\r\n", 413),
        (b"Content-Length: 9999999999\r\n", 413),
        (b"Content-Length: 99999999999\r\n", 400),
    ],
)
def test_bad_lengths_end_the_stream_with_an_answer(lines: bytes, status: int) -> None:
    framer = StreamFramer()
    good = message(1)
    assert framer.feed(good + HEAD % (2, 2) + lines + b"\r\n" + good) == [good]
    assert framer.error is not None
    assert framer.error.status_hint == status
    assert framer.error.request is not None
    assert framer.error.request.call_id == "2"
    assert framer.feed(good) == []
    assert framer.pending == 0


def test_head_limit() -> None:
    limits = Limits(head=len(message(1)) - 4)
    assert StreamFramer(limits).feed(message(1)) == [message(1)]
    tight = StreamFramer(Limits(head=limits.head - 1))
    assert tight.feed(message(1)) == []
    assert tight.error is not None
    assert tight.error.status_hint == 513


def test_an_endless_head_is_not_kept() -> None:
    framer = StreamFramer(Limits(head=1000))
    kept = 0
    for _ in range(100):
        framer.feed(b"x" * 100)
        kept = max(kept, framer.pending)
    assert kept <= 1003
    assert framer.error is not None
    assert framer.pending == 0


def test_body_limit() -> None:
    limits = Limits(body=10)
    assert StreamFramer(limits).feed(message(1, b"x" * 10)) == [message(1, b"x" * 10)]
    framer = StreamFramer(limits)
    assert framer.feed(message(1, b"x" * 11)) == []
    assert framer.error is not None
    assert framer.error.status_hint == 413
