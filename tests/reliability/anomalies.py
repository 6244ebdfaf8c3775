"""Anomalies in the manner of PROTOS c07-sip: every element of a message, bent in every known way."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

SDP = (
    b"v=0\r\no=carrier 1 1 IN IP4 10.0.1.1\r\ns=-\r\nc=IN IP4 10.0.1.1\r\nt=0 0\r\n"
    b"m=audio 40000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\na=ptime:20\r\na=sendrecv\r\n"
)

HEADERS: dict[str, bytes] = {
    "Via": b"SIP/2.0/UDP 10.0.1.1:5060;branch=z9hG4bK-~;rport",
    "From": b'"Carrier" <sip:+8613800000009@10.0.1.1>;tag=f~',
    "To": b"<sip:+861000@10.0.0.1>",
    "Call-ID": b"c~@10.0.1.1",
    "CSeq": b"1 INVITE",
    "Max-Forwards": b"70",
    "Contact": b"<sip:carrier@10.0.1.1:5060>;expires=60",
    "Content-Type": b"application/sdp",
    "Accept": b"application/sdp;q=0.5, */*",
    "Allow": b"INVITE, ACK, BYE",
    "Allow-Events": b"presence",
    "Authorization": b'Digest username="1001", realm="office.example", nonce="n", uri="sip:x", response="0"',
    "Call-Info": b"<http://10.0.1.1/x>;purpose=icon",
    "Alert-Info": b"<http://10.0.1.1/ring>",
    "Date": b"Sat, 13 Nov 2010 23:29:00 GMT",
    "Diversion": b"<sip:100@10.0.1.1>;reason=unconditional",
    "Error-Info": b"<sip:announcement@10.0.1.1>",
    "Event": b"presence;id=1",
    "Expires": b"120",
    "History-Info": b"<sip:100@10.0.1.1>;index=1",
    "Identity": b'"dGVzdA=="',
    "In-Reply-To": b"a@b, c@d",
    "Join": b"x;from-tag=a;to-tag=b",
    "Min-Expires": b"60",
    "Min-SE": b"90",
    "MIME-Version": b"1.0",
    "Organization": b"Carrier",
    "P-Asserted-Identity": b"<sip:+8613800000009@10.0.1.1>",
    "P-Preferred-Identity": b"<sip:+8613800000009@10.0.1.1>",
    "Path": b"<sip:10.0.1.1;lr>",
    "Priority": b"urgent",
    "Privacy": b"id",
    "Proxy-Authorization": b'Digest username="1001", realm="r", nonce="n", uri="sip:x", response="0"',
    "Proxy-Require": b"",
    "RAck": b"1 1 INVITE",
    "RSeq": b"1",
    "Reason": b'Q.850;cause=16;text="ok"',
    "Record-Route": b"<sip:10.0.1.1;lr>",
    "Refer-To": b"<sip:1001@10.0.0.1>",
    "Referred-By": b"<sip:1001@10.0.0.1>",
    "Replaces": b"x;to-tag=a;from-tag=b",
    "Reply-To": b"<sip:100@10.0.1.1>",
    "Require": b"",
    "Retry-After": b"5",
    "Route": b"<sip:10.0.0.1;lr>",
    "Server": b"x",
    "Session-Expires": b"1800;refresher=uac",
    "Subject": b"hello",
    "Subscription-State": b"active;expires=60",
    "Supported": b"timer, 100rel, replaces",
    "Timestamp": b"54",
    "User-Agent": b"bent/1.0",
    "Warning": b'370 10.0.1.1 "too little"',
    "Content-Disposition": b"session",
    "Content-Encoding": b"identity",
    "Content-Language": b"en",
}

OVERFLOW = [b"A" * n for n in (64, 255, 256, 1024, 4096, 16_000)]
NUMBERS = [
    b"0", b"-1", b"+1", b"255", b"256", b"65535", b"65536", b"2147483647", b"2147483648",
    b"4294967295", b"4294967296", b"18446744073709551616", b"1_0", b"0x10", b"1e9", b"1.5", b"9" * 5000,
    b"\xd9\xa1", b"\xc2\xb2", b" 1", b"1 ", b"0000000000000000001",
]  # fmt: skip
FORMATS = [
    b"%s" * 40,
    b"%n%n%n%n",
    b"%x" * 100,
    b"%.1024d",
    b"{0.__class__}",
    b"$(id)",
    b"${7*7}",
    b"`id`",
]
DELIMITERS = [
    b"", b" ", b"\t", b",", b",,,,", b";", b";;;;", b":", b"<", b">", b"<>", b'"', b'""', b"\\", b"=",
    b"@", b"/", b"?", b"&", b"*", b"()", b"((((", b"[", b"[::", b"'", b"\r\n x", b"\r\n\t",
]  # fmt: skip
ENCODINGS = [
    b"\x00", b"a\x00b", b"\x01\x02\x03", b"\x0b\x0c", b"\x1b[2J", b"\x7f", b"\x80\x81", b"\xff\xfe",
    b"\xc0\xaf", b"\xed\xa0\x80", b"\xe2\x80\xae", b"\xe2\x84\xaa", b"%00", b"%0d%0a", b"%", b"%zz",
    b"%c0%ae", b"\xf4\x90\x80\x80",
]  # fmt: skip


def replacements(value: bytes) -> Iterator[tuple[str, bytes]]:
    """(kind, new value) for one value, whatever it means."""
    for kind, anomalies in (
        ("overflow", OVERFLOW), ("number", NUMBERS), ("format", FORMATS),
        ("delimiter", DELIMITERS), ("encoding", ENCODINGS),
    ):  # fmt: skip
        for anomaly in anomalies:
            yield kind, anomaly
    for anomaly in (b"A" * 4096, b"%n%s", b";" * 500, b"\x00", b'"', b"\xff"):
        yield "suffix", value + anomaly
        yield "prefix", anomaly + value
        yield "inside", value[: len(value) // 2] + anomaly + value[len(value) // 2 :]
    for count in (2, 30, 300):
        yield "repeated", b", ".join([value] * count)
        yield "run together", value * count
    yield "cut", value[: len(value) // 2]


def message(
    number: int,
    *,
    method: bytes = b"INVITE",
    uri: bytes = b"sip:+861000@10.0.0.1",
    version: bytes = b"SIP/2.0",
    lines: list[tuple[bytes, bytes]] | None = None,
    body: bytes = SDP,
    length: bytes | None = None,
) -> bytes:
    """A request; "~" in the values of `HEADERS` is its number."""
    mark = b"%d" % number
    wanted = (
        [(name.encode(), value) for name, value in essential(method)] if lines is None else lines
    )
    written = [name + b": " + value.replace(b"~", mark, 1) for name, value in wanted]
    size = b"%d" % len(body) if length is None else length
    head = [b"%s %s %s" % (method, uri, version), *written, b"Content-Length: " + size]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def essential(method: bytes = b"INVITE") -> list[tuple[str, bytes]]:
    """What every request has."""
    names = ("Via", "From", "To", "Call-ID", "CSeq", "Max-Forwards", "Contact", "Content-Type")
    return [
        (name, HEADERS[name].replace(b"INVITE", method) if name == "CSeq" else HEADERS[name])
        for name in names
    ]


def sweep() -> Iterator[tuple[str, bytes]]:
    """(what is bent, message): a few thousand, each with one anomaly."""
    numbers = itertools.count(1)
    base = [(name.encode(), value) for name, value in essential()]
    for name, value in HEADERS.items():
        others = [line for line in base if line[0] != name.encode()]
        place = next((i for i, line in enumerate(base) if line[0] == name.encode()), len(others))
        for kind, bent in replacements(value):
            lines = [*others[:place], (name.encode(), bent), *others[place:]]
            yield f"{name} {kind}", message(next(numbers), lines=lines)
        yield f"{name} missing", message(next(numbers), lines=others)
        for count in (2, 70, 71, 256, 257):
            lines = [*others, *[(name.encode(), value)] * count]
            yield f"{name} {count} times", message(next(numbers), lines=lines)
        for spelling in (
            name.upper(),
            name + " ",
            name + "\t",
            " " + name,
            name + "\x00",
            name + "\x0b",
        ):
            lines = [*others, (spelling.encode(), value)]
            yield f"{name} spelled {spelling!r}", message(next(numbers), lines=lines)
    for kind, bent in replacements(b"INVITE"):
        yield f"method {kind}", message(next(numbers), method=bent)
    for kind, bent in replacements(b"sip:+861000@10.0.0.1"):
        yield f"request-URI {kind}", message(next(numbers), uri=bent)
    for kind, bent in replacements(b"SIP/2.0"):
        yield f"version {kind}", message(next(numbers), version=bent)
    for kind, bent in replacements(b"%d" % len(SDP)):
        yield f"Content-Length {kind}", message(next(numbers), length=bent)
    for at, line in enumerate(SDP.split(b"\r\n")[:-1]):
        lines_before, after = SDP.split(b"\r\n")[:at], SDP.split(b"\r\n")[at + 1 :]
        for kind, bent in replacements(line[2:]):
            body = b"\r\n".join([*lines_before, line[:2] + bent, *after])
            yield f"SDP {line[:2].decode()} {kind}", message(next(numbers), body=body)
