"""Bodies of several parts (RFC 5621): the session description is found among others."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softswitch.errors import RemoteProtocolError
from softswitch.sip.events import InviteReceived
from softswitch.sip.multipart import PARTS_MAX, parts_of, sdp_of_parts
from tests.sip.conftest import OFFER
from tests.sip.test_reception import STRANGER, message, status
from tests.sip.test_sip_fuzz import mutate

TYPE = 'multipart/mixed;boundary="b 1"'
ISUP = (
    b"Content-Type: application/ISUP;version=x\r\nContent-Disposition: signal;handling=optional\r\n"
)
SDP = b"Content-Type: application/sdp\r\n"


def body(*parts, boundary=b"b 1", end=b"--"):
    told = b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts)
    return b"preamble\r\n" + told + b"--" + boundary + end + b"\r\nepilogue"


def part(lines, octets):
    return lines + b"\r\n" + octets


@pytest.mark.parametrize("first", [True, False])
def test_the_session_description_is_found_among_others(first):
    parts = [part(SDP, OFFER), part(ISUP, b"\x01\x00\r\n--b 2\r\n\xff")]
    assert sdp_of_parts(TYPE, body(*(parts if first else parts[::-1]))) == OFFER


def test_it_may_stand_at_the_very_beginning_or_in_a_part_of_parts():
    inner = b"Content-Type: multipart/alternative; boundary=in\r\n"
    nested = part(inner, body(part(SDP, OFFER), boundary=b"in"))
    assert sdp_of_parts(TYPE, body(nested)) == OFFER
    assert sdp_of_parts(TYPE, body(part(SDP, OFFER)).removeprefix(b"preamble\r\n")) == OFFER
    deeper = part(inner.replace(b"=in", b"=out"), body(nested, boundary=b"out"))
    assert sdp_of_parts(TYPE, body(deeper)) is None


def test_a_part_without_header_lines_is_text():
    (only,) = parts_of(TYPE, body(b"\r\nwords"))
    assert (only.content_type, only.body) == ("text/plain", b"words")


def test_what_must_be_understood_and_is_not():
    must = b"Content-Type: application/x\r\nContent-Disposition: x; Handling = required\r\n"
    with pytest.raises(RemoteProtocolError) as refused:
        sdp_of_parts(TYPE, body(part(SDP, OFFER), part(must, b"?")))
    assert refused.value.status_hint == 415


@pytest.mark.parametrize(
    ("kind", "octets"),
    [
        ("multipart/mixed", body(part(SDP, OFFER))),
        ('multipart/mixed;boundary=""', body(part(SDP, OFFER))),
        (f"multipart/mixed;boundary={'b' * 71}", body(part(SDP, OFFER), boundary=b"b" * 71)),
        (TYPE, body(part(SDP, OFFER), end=b"")),
        (TYPE, b"nothing"),
        (TYPE, body(part(SDP, OFFER)).replace(b"--b 1\r\n", b"--b 1x\r\n", 1)),
    ],
)
def test_broken_ones_are_refused(kind, octets):
    with pytest.raises(RemoteProtocolError) as refused:
        sdp_of_parts(kind, octets)
    assert refused.value.status_hint == 400


@pytest.mark.limit("parts of a body")
def test_the_number_of_parts_has_a_limit():
    many = [part(ISUP, b"?")] * (PARTS_MAX - 1) + [part(SDP, OFFER)]
    assert sdp_of_parts(TYPE, body(*many)) == OFFER
    with pytest.raises(RemoteProtocolError):
        sdp_of_parts(TYPE, body(*many, part(SDP, OFFER)))


def invite(octets):
    return message(extra=f"Content-Type: {TYPE}\r\n", body=octets.decode("latin-1"))


def test_an_invite_with_more_than_a_session_description(world):
    bob = world.station("bob", "10.0.0.2")
    world.inject(invite(body(part(ISUP, b"?"), part(SDP, OFFER))), bob, STRANGER)
    assert bob.last(InviteReceived).sdp == OFFER


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (body(part(SDP, OFFER), end=b""), "400"),
        (body(part(ISUP.replace(b"optional", b"required"), b"?"), part(SDP, OFFER)), "415"),
    ],
)
def test_one_that_cannot_be_taken(world, octets, expected):
    bob = world.station("bob", "10.0.0.2")
    world.inject(invite(octets), bob, STRANGER)
    assert status(world) == expected
    assert bob.events == []


@given(st.integers(0, 2**32))
def test_whatever_comes_is_read_or_refused(seed):
    octets = mutate(body(part(ISUP, b"?"), part(SDP, OFFER)), random.Random(seed))
    try:
        found = sdp_of_parts(TYPE, octets)
    except RemoteProtocolError as error:
        hint = error.status_hint
    else:
        hint = 400 if found is None or found in octets else 0
    assert hint in (400, 415)
