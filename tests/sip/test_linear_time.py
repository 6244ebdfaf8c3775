"""Hostile input costs linear time: shown by structure and by counting, never by a clock.

Two things can be worse than linear: a pattern that backtracks and a loop of ours that scans again.
The first is excluded by the shape of every pattern, the second by counting the lines executed for a
bomb and for one four times as large.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
from collections.abc import Callable, Iterator
from re import _constants, _parser  # type: ignore[attr-defined]

import pytest

import softswitch.sip
from softswitch.errors import RemoteProtocolError
from softswitch.sip.digest import parse_authorization
from softswitch.sip.framing import StreamFramer
from softswitch.sip.grammar import split_commas
from softswitch.sip.parser import Limits, ParseError, parse_message
from softswitch.sip.reason import ReasonHeader
from softswitch.sip.sdp import SessionDescription
from softswitch.sip.uri import CSeq, NameAddr, SipUri, Via
from softswitch.sip.validation import validate_request

SMALL, TIMES = 4096, 4

PATTERNS = {
    f"{module.name}.{name}": value
    for module in pkgutil.walk_packages(softswitch.sip.__path__, "softswitch.sip.")
    for name, value in vars(importlib.import_module(module.name)).items()
    if isinstance(value, re.Pattern)
}


def backtracking(tree: object) -> Iterator[tuple[int, int]]:
    """The repeats without an upper bound that may give back what they took."""
    for code, argument in tree:  # type: ignore[attr-defined]
        if code in (_constants.MAX_REPEAT, _constants.MIN_REPEAT):
            least, most, _ = argument
            if most == _constants.MAXREPEAT:
                yield (least, most)
        parts = argument if isinstance(argument, tuple | list) else (argument,)
        for part in parts:
            for inner in part if isinstance(part, list) else (part,):
                if isinstance(inner, _parser.SubPattern):
                    yield from backtracking(inner)


@pytest.mark.parametrize("name", sorted(PATTERNS))
def test_no_pattern_can_backtrack_without_bound(name: str) -> None:
    pattern = PATTERNS[name].pattern
    text = pattern if isinstance(pattern, str) else pattern.decode("latin-1")
    assert list(backtracking(_parser.parse(text))) == []


def test_the_test_knows_a_bad_pattern() -> None:
    assert list(backtracking(_parser.parse(r"(?:a|[bc]+)*x")))
    assert not list(backtracking(_parser.parse(r"(?:a|[bc]++)*+x{1,9}")))


UNITS = [
    ",", ";", '"', "<", ">", '""', "<>", " ", "\t", ";a", ";a=b", ",a", ", ", "; ;", "a ", "\\", '\\"',
    "%", "%41", "[", ":", "@", "=", "?", "/", "sip:a@b,", "<sip:a@b>,", '"a" ', "SIP/2.0/UDP h,",
    ";a=\"", "a=b,", "\u00e9", "0", "9", "a=x ", "Digest ", '<"', ',"', ",<",
]  # fmt: skip
HEAD = (
    "INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKa\r\nFrom: <sip:a@b>;tag=1\r\n"
    "To: <sip:c@d>\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\n"
)
NAMES = ("Via", "Contact", "Route", "Require", "Accept", "Max-Forwards", "Expires", "X-Own")


def lines_executed(action: Callable[[], object]) -> int:
    """How many lines of this package `action` runs through; its refusals are its own affair."""
    count = 0

    def trace(frame, event, _):
        nonlocal count
        if "/softswitch/sip/" not in frame.f_code.co_filename:
            return None
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        action()
    except RemoteProtocolError:
        pass
    finally:
        sys.settrace(before)
    return count


def read_message(data: bytes) -> None:
    message = parse_message(data)
    validate_request(message)  # type: ignore[arg-type]
    for view in ("vias", "contacts", "routes", "record_routes", "expires"):
        try:
            getattr(message, view)
        except RemoteProtocolError:
            continue
    message.response(200, to_tag="t").serialise()  # type: ignore[union-attr]


def bombs(unit: str, octets: int) -> Iterator[tuple[str, Callable[[], object]]]:
    text = unit * (octets // len(unit))
    for parse in (SipUri.parse, NameAddr.parse, Via.parse, CSeq.parse, ReasonHeader.parse):
        for prefix in ("", "sip:a@b", "<sip:a@b>", "SIP/2.0/UDP h;a", '"'):
            yield f"{parse.__qualname__} {prefix}", lambda p=parse, t=prefix + text: p(t)
    yield "split", lambda: split_commas(text)
    yield "digest", lambda: parse_authorization("Digest " + text)
    for name in NAMES:
        data = f"{HEAD}{name}: {text}\r\n\r\n".encode()
        yield f"header {name}", lambda d=data: read_message(d)
    for start in (f"{text} sip:a@b SIP/2.0", f"INVITE {text} SIP/2.0", f"INVITE sip:a@b {text}"):
        data = HEAD.replace("INVITE sip:a@b SIP/2.0", start).encode() + b"\r\n"
        yield "start line", lambda d=data: parse_message(d)
    for line in (f"m=audio 1 RTP/AVP {text}", f"c=IN IP4 {text}", f"o={text}", f"a=rtpmap:{text}"):
        data = f"v=0\r\nm=audio 1 RTP/AVP 0\r\n{line}\r\n".encode()
        yield f"sdp {line[:2]}", lambda d=data: SessionDescription.parse(d).serialise()


@pytest.mark.parametrize("unit", UNITS)
def test_lines_grow_no_faster_than_the_input(unit: str) -> None:
    for (name, small), (_, large) in zip(
        bombs(unit, SMALL), bombs(unit, SMALL * TIMES), strict=True
    ):
        one, four = lines_executed(small), lines_executed(large)
        assert four <= TIMES * one + 50, f"{name}: {one} lines, then {four}"
        assert four <= SMALL * TIMES * 12, f"{name}: {four} lines"


@pytest.mark.parametrize("line", ["a: b\r\n", "a:\r\n b\r\n", "To: x\r\n", "v: SIP/2.0/UDP h\r\n"])
def test_many_lines(line: str) -> None:
    limits = Limits(headers=100_000, vias=100_000)

    def read(octets: int) -> Callable[[], object]:
        data = (HEAD + line * (octets // len(line)) + "\r\n").encode()
        return lambda: parse_message(data, limits=limits)

    assert lines_executed(read(SMALL * TIMES)) <= TIMES * lines_executed(read(SMALL)) + 50
    data = (HEAD + line * 10_000 + "\r\n").encode()
    assert lines_executed(lambda: parse_message(data)) < 5000  # refused before it is looked at


@pytest.mark.parametrize("unit", [b"\r\n", b"a", b"\r", b"\r\nl", b"\r\nl: 1", b"\r\n\r\n "])
def test_streams_octet_by_octet(unit: bytes) -> None:
    def feed(octets: int) -> Callable[[], object]:
        data = unit * (octets // len(unit))

        def run() -> None:
            framer = StreamFramer()
            for at in range(len(data)):
                framer.feed(data[at : at + 1])

        return run

    assert lines_executed(feed(SMALL * 2)) <= 2 * lines_executed(feed(SMALL)) + 200


def test_the_search_for_the_end_of_a_head_goes_on_where_it_stopped() -> None:
    framer = StreamFramer()
    framer.feed(b"x" * 5000)
    assert framer._searched == 5000 - 3
    framer.feed(b"y" * 100)
    assert framer._searched == 5100 - 3


def test_a_refused_message_costs_no_more() -> None:
    for junk in (b"\x00" * 60_000, b"a:b\r\n" * 12_000, b"\xff\r\n" * 20_000, b"INVITE " * 9000):
        with pytest.raises(ParseError):
            parse_message(junk)
        assert lines_executed(lambda d=junk: parse_message(d)) < 5000
