"""What it costs to read and write SIP: microseconds per message, nanoseconds per octet.

    python bench/sip_parse.py [--save]

Three tables: usual messages; the same attack at 1 KiB and at 64 KiB (ns/octet must not rise); the
distribution over mutated messages. The best of several runs is printed, for the machine is shared.
"""

from __future__ import annotations

import argparse
import itertools
import random
import timeit
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from bench import figures
from bench.figures import Figure
from softswitch.errors import RemoteProtocolError
from softswitch.sip.framing import StreamFramer
from softswitch.sip.message import SipMessage
from softswitch.sip.parser import ParseError, parse_message
from softswitch.sip.sdp import SessionDescription, make_answer
from softswitch.sip.validation import validate_request

SDP = (
    b"v=0\r\no=- 3851 3851 IN IP4 198.51.100.7\r\ns=call\r\nc=IN IP4 198.51.100.7\r\nt=0 0\r\n"
    b"m=audio 11800 RTP/AVP 9 8 0 101\r\na=rtpmap:9 G722/8000\r\na=rtpmap:8 PCMA/8000\r\n"
    b"a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=sendrecv\r\n"
)
HEAD = (
    b"Via: SIP/2.0/UDP 198.51.100.7:5060;branch=z9hG4bK-524287-1---f3c2a9;rport\r\n"
    b"Max-Forwards: 70\r\nContact: <sip:2001@198.51.100.7:5060;transport=udp>\r\n"
    b'To: <sip:1001@office.example>\r\nFrom: "Li Wei" <sip:2001@office.example>;tag=a48s\r\n'
    b"Call-ID: 8f2c0f3e-1f83@198.51.100.7\r\nCSeq: 1 INVITE\r\n"
)
TAIL = (
    b"Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE\r\nSupported: replaces, timer\r\n"
    b"Session-Expires: 1800\r\nUser-Agent: Phone/2.1\r\nContent-Type: application/sdp\r\n"
    b"Content-Length: %d\r\n\r\n" % len(SDP)
)
INVITE = b"INVITE sip:1001@192.0.2.10:5060;transport=udp SIP/2.0\r\n" + HEAD + TAIL + SDP
RINGING = b"SIP/2.0 180 Ringing\r\n" + HEAD + b"Content-Length: 0\r\n\r\n"
DIFFERENT = 10_000
ROUTED = "parse to routing, Request-URI included"


def best_us(action: Callable[[], object], number: int = 2000, runs: int = 7) -> float:
    """The best of `runs` means over `number` calls, in microseconds."""
    return min(timeit.repeat(action, number=number, repeat=runs)) / number * 1e6


def different(message: bytes) -> Callable[[], bytes]:
    """The message as it comes from many telephones, one after the other: what is remembered of short
    headers is no help with these."""
    found = []
    for number in range(DIFFERENT):
        mark = b"%06d" % number
        changed = message.replace(b"2001@", mark + b"@").replace(b"f3c2a9", mark)
        changed = changed.replace(b"a48s", mark).replace(b"8f2c0f3e", mark)
        changed = changed.replace(b"sip:1001", b"sip:%04d" % (1000 + number % 9000))
        found.append(changed)
    return itertools.cycle(found).__next__


def route(data: bytes) -> object:
    """Everything that deciding where an INVITE goes looks at."""
    message = parse_message(data)
    return message.top_via, message.from_, message.to, message.cseq, message.request_uri  # type: ignore[union-attr]


def usual() -> list[Figure]:
    message = parse_message(INVITE)
    framer = StreamFramer()
    offer = SessionDescription.parse(SDP)
    invite, ringing = different(INVITE), different(RINGING)
    print(f"INVITE of {len(INVITE)} octets")
    for name, action in (
        ("parse (Via, From, To, Call-ID, CSeq)", lambda: parse_message(invite())),
        ("the same message again", lambda: parse_message(INVITE)),
        (ROUTED, lambda: route(invite())),
        ("parse and validate", lambda: validate_request(parse_message(invite()))),  # type: ignore[arg-type]
        ("parse a 180", lambda: parse_message(ringing())),
        ("write it again", message.serialise),
        ("build a 200", lambda: message.response(200, to_tag="t")),  # type: ignore[union-attr]
        ("frame it on a stream", lambda: framer.feed(INVITE)),
        ("parse its SDP", lambda: SessionDescription.parse(SDP)),
        ("answer its SDP", lambda: make_answer(offer, "192.0.2.10", 20_000)),
    ):
        took_us = best_us(action)
        print(f"  {name:42}{took_us:8.1f} us")
        if name == ROUTED:
            note = f"INVITE of {len(INVITE)} octets, {DIFFERENT} different ones, the best of 7 means of 2000"
            routed = Figure("INVITE parsed to routing decision", took_us, "us", 20, note=note)
    return [routed]


def attack(line: str, unit: str, octets: int) -> bytes:
    start = b"INVITE sip:a@b SIP/2.0\r\n" + HEAD + line.encode()
    return start + unit.encode() * ((octets - len(start) - 4) // len(unit)) + b"\r\n\r\n"


def read_all(data: bytes) -> None:
    try:
        message = parse_message(data)
    except ParseError:
        return
    for view in ("vias", "contacts", "routes", "request_uri"):
        try:
            getattr(message, view)
        except RemoteProtocolError:
            continue


def attacks() -> None:
    print(f"\n{'attack':24}{'1 KiB':>12}{'64 KiB':>12}   ns/octet{'whole':>14}")
    for name, line, unit in (
        ("commas", "m: ", ","),
        ("quotes", "m: ", '"'),
        ("pairs of quotes", "m: ", '""'),
        ("open brackets", "m: ", "<"),
        ("addresses", "m: ", "<sip:a@b>,"),
        ("vias", "v: ", "SIP/2.0/UDP h,"),
        ("parameters", "m: <sip:a@b>", ";a=b"),
        ("white space", "m: ", " "),
        ("folding", "Subject:", "\r\n x"),
        ("lines", "A: b", "\r\nA: b"),
        ("escapes", "m: <sip:", "%41"),
        ("one long value", "Subject: ", "x"),
    ):
        small, large = attack(line, unit, 1024), attack(line, unit, 65_536)
        one = best_us(partial(read_all, small), 200, 5) * 1000 / len(small)
        all_us = best_us(partial(read_all, large), 10, 5)
        print(f"  {name:22}{one:12.1f}{all_us * 1000 / len(large):12.1f}{all_us:20.0f} us")


def mutated(count: int = 20_000) -> None:
    source = random.Random(1)
    times_us: list[float] = []
    messages = 0
    for _ in range(count):
        octets = bytearray(INVITE)
        for _ in range(source.randrange(1, 5)):
            octets[source.randrange(len(octets))] = source.randrange(256)
        data = bytes(octets)
        start = timeit.default_timer()
        with suppress(ParseError):
            messages += isinstance(parse_message(data), SipMessage)
        times_us.append((timeit.default_timer() - start) * 1e6)
    times_us.sort()
    print(
        f"\n{count} mutated messages, {messages} still readable: p50 {times_us[count // 2]:.1f} us, "
        f"p99 {times_us[count * 99 // 100]:.1f} us, max {times_us[-1]:.0f} us"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--save", action="store_true", help="keep them for RESULTS.md")
    chosen = parser.parse_args()
    found = usual()
    attacks()
    mutated()
    print()
    figures.show(found)
    if chosen.save:
        figures.save("sip_parse", found)


if __name__ == "__main__":
    main()
