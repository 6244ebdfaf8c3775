"""Telephone numbers as URIs write them (RFC 3966, RFC 3261 19.1.6)."""

from __future__ import annotations

import pytest

from softswitch.errors import RemoteProtocolError
from softswitch.sip.message import SipRequest
from softswitch.sip.tel import TelUri, number_of
from softswitch.sip.uri import SHORT


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("tel:+1-201-555-0123", "+12015550123"),  # RFC 3966 6
        ("tel:7042;phone-context=example.com", "7042"),
        ("tel:863-1234;phone-context=+1-914-555", "8631234"),
        ("TEL:+358(9)555.1234567;ext=22;isub=1411", "+35895551234567"),
        ("tel:+15551212;npdi;rn=+15551000", "+15551212"),  # RFC 4694
        ("tel:1002", "1002"),
        ("tel:*72", "*72"),
        ("tel:%2A72%23;phone-context=office.example", "*72#"),
        ("sip:1002@office.example", "1002"),
        ("sip:alice@office.example;user=phone", "alice"),
        ("sip:+1-201-555-0123;phone-context=x@carrier;user=phone", "+12015550123"),
        ("sip:(030)12-34@carrier;user=PHONE", "0301234"),
        ("sip:+8613900000009;cpc=ordinary@carrier", "+8613900000009"),
        ("sips:13900000009;rn=1@carrier", "13900000009"),
        (
            "sip:1;%20SELECT%20pg_sleep(9)@carrier",
            "1; SELECT pg_sleep(9)",
        ),  # a name, and no parameter
        ("sip:10-02@office.example", "10-02"),  # a name, as long as nobody says it is a number
        ("sip:a;b@office.example", "a;b"),
        ("sip:+a@office.example", "+a"),
        ("sip:office.example", ""),
    ],
)
def test_who_is_meant(text, number):
    assert number_of(text) == number
    assert SipRequest("INVITE", text).called == number


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("tel:", 400),
        ("tel:;phone-context=x", 400),
        ("tel:+", 400),
        ("tel:+-.()", 400),
        ("tel:+1a", 400),
        ("tel:alice", 400),
        ("tel:1002@office.example", 400),
        ("tel:1;=x", 400),
        ("tel:1;", 400),
        ("urn:service:sos", 416),
        ("http://office.example/", 416),
        ("sip:", 400),
    ],
)
def test_what_is_no_number(text, status):
    with pytest.raises(RemoteProtocolError) as raised:
        number_of(text)
    assert (raised.value.status_hint or 400) == status


def test_parameters_are_read_and_long_numbers_are_not_remembered():
    uri = TelUri.parse("tel:+1;phone-context=%2b1;isub")
    assert (uri.param("phone-context"), uri.param("isub"), uri.param("ext")) == ("+1", "", None)
    assert number_of(f"tel:{'1' * SHORT}") == "1" * SHORT
    with pytest.raises(RemoteProtocolError) as raised:
        TelUri.parse("sip:1@a")
    assert raised.value.status_hint == 416
