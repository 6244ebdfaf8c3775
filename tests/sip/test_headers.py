"""Header lines: names, order, lookup, and what must never get in."""

from __future__ import annotations

import pytest

from softswitch.errors import LocalProtocolError, RemoteProtocolError
from softswitch.sip.headers import (
    COMPACT_FORMS,
    KNOWN_NAMES,
    SINGLE_VALUE,
    SPELLINGS,
    Headers,
    canonical_name,
)


def test_every_spelling_means_the_same() -> None:
    for name in KNOWN_NAMES:
        for spelling in (name, name.lower(), name.upper(), name.swapcase(), name.title()):
            assert canonical_name(spelling) == name
    for compact, name in COMPACT_FORMS.items():
        assert canonical_name(compact) == canonical_name(compact.upper()) == name


def test_unknown_names_keep_their_spelling_and_are_found_in_any_case() -> None:
    headers = Headers.of([("X-Own", "1"), ("x-OWN", "2")])
    assert list(headers.items()) == [("X-Own", "1"), ("x-OWN", "2")]
    assert headers.get_all("X-OWN") == ["1", "2"]
    assert "x-own" in headers
    headers.set("X-own", "3")
    assert list(headers.items()) == [("X-Own", "3")]


@pytest.mark.parametrize("name", ["", "a b", "Via ", "Vi\u0430", "\u212aind", "a\x0b", "a:b"])
def test_names_are_tokens(name: str) -> None:
    with pytest.raises(RemoteProtocolError):
        canonical_name(name)
    with pytest.raises(LocalProtocolError):
        Headers().add(name, "x")


@pytest.mark.parametrize("value", ["a\r\nVia: b", "a\nb", "a\rb"])
def test_our_own_code_cannot_inject_lines(value: str) -> None:
    headers = Headers.of([("Subject", "x")])
    for put in (headers.add, headers.set, headers.prepend, headers.replace_first):
        with pytest.raises(LocalProtocolError):
            put("Subject", value)
    assert list(headers.items()) == [("Subject", "x")]


def test_order_of_changes() -> None:
    headers = Headers.of([("f", "a"), ("Via", "1"), ("v", "2"), ("To", "b")])
    headers.prepend("Via", "0")
    assert headers.get_all("via") == ["0", "1", "2"]
    headers.replace_first("Via", "00")
    assert headers.get("VIA") == "00"
    headers.set("Via", "9")
    assert list(headers.items()) == [("Via", "9"), ("From", "a"), ("To", "b")]
    headers.prepend("Route", "r")
    assert next(iter(headers.items())) == ("Route", "r")
    headers.remove("v")
    headers.remove("Via")
    assert "Via" not in headers
    assert headers.count("Via") == 0
    with pytest.raises(LocalProtocolError):
        headers.replace_first("Via", "1")


def test_values_split_at_the_right_commas() -> None:
    headers = Headers.of(
        [("Contact", '"a, b" <sip:x,y@z>;q="1,2", <sip:c>'), ("m", "sip:d"), ("Supported", "")]
    )
    assert headers.values("Contact") == ['"a, b" <sip:x,y@z>;q="1,2"', "<sip:c>", "sip:d"]
    assert headers.values("Supported") == []
    assert headers.values("Require") == []


@pytest.mark.parametrize("value", ['"a, b', "<a, b", 'a, "\\"'])
def test_open_quotes_and_brackets_are_errors(value: str) -> None:
    with pytest.raises(RemoteProtocolError):
        Headers.of([("Contact", value)]).values("Contact")


def test_copies_are_independent() -> None:
    headers = Headers.of([("To", "a")])
    copy = headers.copy()
    copy.set("To", "b")
    assert headers.get("To") == "a"
    assert copy != headers
    assert Headers.of([("t", "a")]) == headers
    assert headers.get("X-None", "d") == "d"
    assert headers.get("Route", "d") == "d"


def test_repeated_single_values_are_named() -> None:
    headers = Headers.of([("To", "a"), ("Via", "1"), ("Via", "2"), ("t", "b"), ("Route", "x")])
    assert headers.repeated() == {"To"}


@pytest.mark.parametrize("name", [name for name in KNOWN_NAMES if "-" in name])
def test_no_known_name_has_been_cut_in_two(name: str) -> None:
    assert not name.startswith("-")
    assert not name.endswith("-")
    assert SPELLINGS[name.lower()] == name


def test_every_single_value_and_every_compact_form_is_a_known_name() -> None:
    assert set(KNOWN_NAMES) >= SINGLE_VALUE
    assert set(KNOWN_NAMES) >= set(COMPACT_FORMS.values())
