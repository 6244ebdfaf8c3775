"""What is remembered of messages is short and of a fixed number; of the messages themselves nothing is kept."""

from __future__ import annotations

import gc
import random
import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from softswitch.call.leg_media import _codecs_of
from softswitch.errors import RemoteProtocolError
from softswitch.sip.parser import parse_message
from softswitch.sip.sdp import SessionDescription, address, canonical_address, make_offer
from softswitch.sip.sdp.negotiation import read_answer
from softswitch.sip.session_timer import interval_of
from tests.sip.test_sip_fuzz import SEEDS, exercise, mutate

LONG = 8000
TIMES = 30
KEPT_MAX = LONG * TIMES // 8
"""Octets; so many messages leave eight times this behind where something long is remembered."""

HEAD = (
    b"INVITE sip:100@pbx.example SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKa\r\n"
    b"From: <sip:200@pbx.example>;tag=f\r\nTo: <sip:100@pbx.example>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n"
)
LINES = {
    "Via, a parameter": b"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKa;x=%b\r\n",
    "Via, not readable": b"Via: SIP/2.0/UDP %b\r\n",
    "From": b'From: "%b" <sip:200@pbx.example>;tag=f\r\n',
    "From, its tag": b"From: <sip:200@pbx.example>;tag=%b\r\n",
    "To": b"To: <sip:%b@pbx.example>\r\n",
    "Call-ID": b"Call-ID: %b\r\n",
    "CSeq": b"CSeq: 1 %b\r\n",
    "Contact": b"Contact: <sip:200@192.0.2.1;x=%b>\r\n",
    "Route": b"Route: <sip:p;lr>, <tel:%b>\r\n",
    "Supported": b"Supported: timer, %b\r\n",
    "Session-Expires": b"Session-Expires: 1800;x=%b\r\n",
    "Content-Type": b"Content-Type: application/%b\r\n",
    "Authorization": b'Authorization: Digest username="%b"\r\n',
    "Reason": b'Reason: Q.850;cause=16;text="%b"\r\n',
    "an unknown value": b"X-Unknown: %b\r\n",
    "an unknown name": b"X-%b: y\r\n",
}
SDP = (
    b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
    b"m=audio 4000 RTP/AVP 0 8\r\n"
)
BODIES = {
    "SDP, the name of the session": SDP.replace(b"s=-", b"s=%b"),
    "SDP, the origin": SDP.replace(b"o=-", b"o=%b"),
    "SDP, an attribute of the session": SDP.replace(b"t=0 0\r\n", b"t=0 0\r\na=x:%b\r\n"),
    "SDP, an attribute": SDP + b"a=x:%b\r\n",
    "SDP, an attribute's name": SDP + b"a=%b:x\r\n",
    "SDP, parameters of a format": SDP + b"a=fmtp:0 %b\r\n",
    "SDP, the address of RTCP": SDP + b"a=rtcp:4001 IN IP4 %b\r\n",
    "SDP, the information of a section": SDP + b"i=%b\r\n",
    "SDP, formats": SDP.replace(b"0 8", b"0 8 " + b" ".join([b"%s"] * 10)),
    "SDP, a kind in capitals": SDP.replace(b"m=audio", b"m=AUDIO") + b"a=x:%b\r\n",
}


def message_with(place: str, text: bytes) -> bytes:
    """A request in which `text` stands for what is written %b, and its beginning for %s."""
    if place in BODIES:
        body = BODIES[place].replace(b"%s", text[:800]).replace(b"%b", text)
        return HEAD + b"Content-Type: application/sdp\r\n\r\n" + body
    line = LINES[place].replace(b"%b", text)
    name = line.partition(b":")[0]
    kept = [each for each in HEAD.splitlines(keepends=True) if each.partition(b":")[0] != name]
    return b"".join([*kept, line, b"Content-Length: 0\r\n\r\n"])


OFFER = make_offer("192.0.2.7", 9000)


def read_all(data: bytes) -> None:
    """As a call reads it, beside what `exercise` asks."""
    exercise(data)
    try:
        message = parse_message(data)
        interval_of(message)
        message.headers.lists("Supported", "timer")
        description = SessionDescription.parse(message.body)
        for media in description.media:
            _codecs_of(media.told, ("PCMU",))
        read_answer(OFFER, description)
    except RemoteProtocolError:
        pass


@contextmanager
def no_collector() -> Iterator[None]:
    """As the exchange is while calls are up: what is freed then lets go of itself."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.mark.parametrize("place", [*LINES, *BODIES])
def test_nothing_long_is_remembered(place: str) -> None:
    def read(first: int) -> None:
        for number in range(first, first + TIMES):
            read_all(message_with(place, (b"%d" % number).ljust(LONG, b"x")))

    read(0)
    tracemalloc.start()
    try:
        with no_collector():
            before, _ = tracemalloc.get_traced_memory()
            read(TIMES)
            kept = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert kept < KEPT_MAX


def test_of_bent_messages_nothing_is_kept_but_what_is_remembered_of_all() -> None:
    """The same messages again and again: what is remembered is the same after each round, and so is all that
    there is. No cycle is left to the collector, which does not run while calls are up. (A template in
    `re.sub` left 10 to 20 strings a round in Python's cache of attributes.)"""
    source = random.Random(6)
    bent = [mutate(source.choice(SEEDS), source) for _ in range(1000)]

    def blocks() -> int:
        for data in bent:
            exercise(data)
        assert gc.collect() == 0  # which gives Python's lists of free objects back, too
        return sys.getallocatedblocks()

    for data in bent:
        exercise(data)
    with no_collector():
        rounds = [blocks() for _ in range(6)]
    assert rounds[-1] - rounds[1] < 20


@pytest.mark.limit("addresses of media remembered")
def test_addresses_of_media_push_each_other_out() -> None:
    most, info = address.REMEMBERED_MAX, address.literal.cache_info
    for number in range(most):
        canonical_address(f"2001:db8::{number:x}")
    assert info().currsize == most
    canonical_address("2001:db8::1:0")
    assert info().currsize == most
    hits = info().hits
    canonical_address("2001:db8::0")  # pushed out
    canonical_address("2001:db8::1:0")  # still there
    assert info().hits == hits + 1


def test_names_are_not_remembered() -> None:
    address.literal.cache_clear()
    for name in ("pbx.example", "fe80::1%eth0", "1" * 46, "x" * 60_000, "fe80::1%" + "x" * 60_000):
        assert canonical_address(name) is None
    assert address.literal.cache_info().currsize == 0
