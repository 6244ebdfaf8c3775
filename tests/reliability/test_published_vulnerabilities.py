"""Row 5: messages that brought down or opened other exchanges, made anew from their advisories.

Each is sent by a stranger and, where that says more, by the trunk, whose messages get past the gate. The
outcome named is what a stranger sees; behind the gate it is that nothing fails and the next call works.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

import pytest

from softswitch.sim.loop import simulated
from tests.reliability.anomalies import SDP, essential, message
from tests.reliability.conftest import attacked
from tests.rows import Row

Lines = list[tuple[bytes, bytes]]


def lines(method: bytes = b"INVITE", **changed: bytes | None) -> Lines:
    """The essential headers; a keyword replaces (or, None, removes) the header of that name."""
    wanted: Lines = []
    for name, value in essential(method):
        new = changed.pop(name.replace("-", "_"), value)
        if new is not None:
            wanted.append((name.encode(), new))
    return [
        *wanted,
        *((k.replace("_", "-").encode(), v) for k, v in changed.items() if v is not None),
    ]


class Case(NamedTuple):
    """`statuses`: what a stranger may be answered; empty: he must hear nothing."""

    name: str
    make: Callable[[int], list[bytes]]
    statuses: frozenset[int]


def one(name: str, statuses: set[int], **options: object) -> Case:
    return Case(name, lambda n: [message(n, **options)], frozenset(statuses))  # type: ignore[arg-type]


def sdp(*extra: bytes, media: bytes = b"m=audio 40000 RTP/AVP 0 8 101") -> bytes:
    head = b"v=0\r\no=a 1 1 IN IP4 10.0.1.1\r\ns=-\r\nc=IN IP4 10.0.1.1\r\nt=0 0\r\n"
    return head + b"\r\n".join([media, *extra]) + b"\r\n"


ASKED = {401, 407}
CASES = [
    one("CVE-2017-9372: a CSeq method longer than the transaction key's buffer", {400}, lines=lines(
        CSeq=b"1 " + b"A" * 1500)),
    one("CVE-2017-9359: a multipart boundary whose quote is never closed", {400, 415} | ASKED,
        lines=lines(Content_Type=b'multipart/mixed;boundary="x'), body=b"--x\r\n\r\n--x--"),
    one("AST-2018-002: an fmtp that is none", ASKED, body=sdp(b"a=fmtp:", b"a=fmtp:0", b"a=fmtp:x y=")),
    one("AST-2018-003: a media format below zero", {400, 488} | ASKED,
        body=sdp(media=b"m=audio 40000 RTP/AVP -1")),
    one("AST-2018-004: a SUBSCRIBE with more Accept headers than anybody reads", {400, 413} | ASKED,
        method=b"SUBSCRIBE", body=b"", lines=[
            *lines(b"SUBSCRIBE", Event=b"presence"), *[(b"Accept", b"application/x")] * 200]),
    one("AST-2018-004 within the limits of headers", ASKED, method=b"SUBSCRIBE", body=b"", lines=[
        *lines(b"SUBSCRIBE", Event=b"presence", Content_Type=None), *[(b"Accept", b"text/x")] * 60]),
    one("AST-2019-002: a MESSAGE of no content", {400, 405} | ASKED, method=b"MESSAGE", body=b"",
        lines=lines(b"MESSAGE", Content_Type=None)),
    one("CVE-2021-37624: a MESSAGE that nobody asked who sent it", {400, 405} | ASKED, method=b"MESSAGE",
        lines=lines(b"MESSAGE", Content_Type=b"text/plain"), body=b"buy now"),
    one("CVE-2021-41157: a SUBSCRIBE that nobody asked who sent it", ASKED, method=b"SUBSCRIBE", body=b"",
        lines=lines(b"SUBSCRIBE", Event=b"message-summary", Content_Type=None)),
    one("AST-2016-009: a header whose colon follows a control character", {400},
        lines=[*lines(), (b"P-Asserted-Identity\x0b", b"<sip:1001@office.example>")]),
    one("CVE-2020-27507: a trusted header hidden behind a space before its colon", ASKED,
        lines=[*lines(), (b"P-Asserted-Identity ", b"<sip:1001@office.example>")]),
    one("CVE-2018-8828: a REGISTER with an empty branch and an overlong tag", {400} | ASKED, body=b"",
        method=b"REGISTER", uri=b"sip:office.example", lines=lines(
            b"REGISTER", Via=b"SIP/2.0/UDP 10.0.1.1;branch=", From=b"<sip:a@b>;tag=" + b"t" * 3000,
            To=b"<sip:1001@office.example>", Content_Type=None)),
    one("CVE-2018-14767: two To headers, the first without a tag", {400},
        lines=[(b"To", b"<sip:a@b>"), *lines()]),
    one("CVE-2018-16657: a Via that ends after its protocol", {400}, lines=[
        *lines(), (b"Via", b"SIP/2.0/UDP")]),
    one("CVE-2016-2385: a packet as large as a datagram can be", {400, 413} | ASKED,
        lines=[*lines(), (b"Subject", b"A" * 60_000)]),
    one("CVE-2023-27597: a From without an address", {400}, lines=lines(From=b"<>;tag=x")),
    one("CVE-2023-27598: a Via of commas", {400}, lines=lines(Via=b",,,,")),
    one("CVE-2023-27599: a To with an unclosed quote", {400}, lines=lines(To=b'"x <sip:a@b>;tag=x')),
    one("CVE-2023-28095: a CSeq that is all blanks", {400}, lines=lines(CSeq=b"    ")),
    one("CVE-2023-28096: a Content-Length far beyond the body", {413}, length=b"2147483647"),
    one("CVE-2023-28097: a Content-Length that wraps to below zero", {413}, length=b"4294967295"),
    one("CVE-2023-28098: Digest credentials of one comma", {400} | ASKED,
        lines=[*lines(), (b"Authorization", b"Digest ,")]),
    one("CVE-2023-28098: Digest credentials without a value", {400} | ASKED,
        lines=[*lines(), (b"Authorization", b'Digest username=,realm=",nonce')]),
    one("CVE-2023-27600: SDP that ends in the middle of a line", {400, 488} | ASKED, body=SDP[:-30] + b"a="),
    one("CVE-2022-24764: SDP with more attributes than anybody keeps", {400, 413, 488} | ASKED,
        body=sdp(*[b"a=x:y"] * 5000)),
    one("CVE-2022-24754: credentials with a response longer than any digest", {400} | ASKED,
        lines=[*lines(), (b"Authorization", b'Digest username="1001",realm="office.example",nonce="n",'
               b'uri="sip:x",response="' + b"0" * 8000 + b'"')]),
    Case("AST-2020-002: an endless exchange of challenges", lambda n: [
        message(n * 1000 + i, lines=lines(Call_ID=b"same", CSeq=b"%d INVITE" % i)) for i in range(200)],
        frozenset(ASKED)),
    Case("CVE-2021-41145: a flood that fills the memory", lambda n: [
        message(n * 1000 + i, method=b"REGISTER", uri=b"sip:office.example", body=b"",
                lines=lines(b"REGISTER", Content_Type=None, To=b"<sip:%d@office.example>" % i))
        for i in range(900)], frozenset(ASKED | {503})),
    Case("CVE-2021-41158: a challenge that makes the exchange give away its password", lambda n: [
        b"SIP/2.0 401 Unauthorized\r\nVia: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKguess%d\r\n"
        b"From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=2\r\nCall-ID: guess\r\nCSeq: 1 INVITE\r\n"
        b'WWW-Authenticate: Digest realm="evil", nonce="n"\r\nContent-Length: 0\r\n\r\n' % n],
        frozenset()),
    Case("INVITE of death: a Cisco 7940's, with an address that is no address", lambda n: [
        message(n, lines=lines(From=b"<sip:@@@@>;tag=1", To=b"sip:@:0;x"))],
        frozenset({400} | ASKED)),
    Case("a BYE and an ACK for dialogs that are not", lambda n: [
        message(n, method=b"ACK", body=b"", lines=lines(b"ACK", To=b"<sip:a@b>;tag=none", Content_Type=None)),
        message(n, method=b"BYE", body=b"", lines=lines(b"BYE", To=b"<sip:a@b>;tag=none", Content_Type=None)),
    ], frozenset({481} | ASKED)),
]  # fmt: skip


@simulated(limit_s=1e6)
@pytest.mark.parametrize("source", ["stranger", "carrier"])
async def test_they_have_no_effect(source: str, row: Row) -> None:
    async with attacked(5) as victim:
        for number, case in enumerate(CASES, 1):
            seen: set[int] = set()
            for data in case.make(number):
                found = await victim.after(data, source, wait_s=0.01)
                seen |= {int(each[8:11]) for each in found if each.startswith(b"SIP/2.0 ")}
            if source == "stranger":
                assert seen <= case.statuses, case.name
                assert bool(seen) == bool(case.statuses), case.name
            assert victim.failures() == [], case.name
            assert await victim.alive(), case.name
            if number % 8 == 0:
                await asyncio.sleep(40.0)  # the guard forgives
                await victim.call_works()
        unhandled = len(victim.failures())
    row(5, f"published vulnerabilities, from a {source}", cases=len(CASES), unhandled=unhandled)
