"""Every refusal of ours, with what belongs to it: who is refused can do better the next time."""

from __future__ import annotations

import asyncio

import pytest

from softswitch.sim.loop import simulated
from softswitch.sim.refusals import WITH, check_refusals
from softswitch.sim.sip_trace import TraceEntry
from softswitch.sim.world import World

HERE = "sip:office.example"
SDP = (
    "v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
    "m=audio {port} RTP/AVP {formats}\r\n{more}"
)


def described(host="192.0.2.9", port=4000, formats="8", more=""):
    return SDP.format(host=host, port=port, formats=formats, more=more).encode()


# What a telephone may ask outside a call, and what it is told: (method, URI, header lines, body and its type,
# status, {header: value}).
ASKED = [
    ("FLY", HERE, (), None, 501, {"Allow": "INVITE"}),
    ("REGISTER", HERE, (("Require", "flying"),), None, 420, {"Unsupported": "flying"}),
    ("REGISTER", HERE, (("Expires", "5"),), None, 423, {"Min-Expires": ""}),
    ("REGISTER", "sip:1002@office.example", (), None, 403, {}),
    ("SUBSCRIBE", "sip:1002@office.example", (), None, 489, {"Allow-Events": "presence"}),
    ("SUBSCRIBE", "sip:1002@office.example", (("Event", "kpml"),), None, 489, {"Allow-Events": ""}),
    (
        "SUBSCRIBE",
        "sip:1002@office.example",
        (("Event", "presence"), ("Expires", "5")),
        None,
        423,
        {"Min-Expires": "60"},
    ),
    (
        "SUBSCRIBE",
        "sip:1002@office.example",
        (("Event", "presence"), ("Accept", "text/plain")),
        None,
        406,
        {},
    ),
    ("SUBSCRIBE", "sip:4999@office.example", (("Event", "dialog"),), None, 404, {}),
    ("PUBLISH", "sip:1001@office.example", (("Event", "dialog"),), None, 489, {"Allow-Events": ""}),
    (
        "PUBLISH",
        "sip:1001@office.example",
        (("Event", "presence"),),
        (b"<x/>", "text/xml"),
        415,
        {"Accept": "application/pidf+xml"},
    ),
    (
        "PUBLISH",
        "sip:1001@office.example",
        (("Event", "presence"), ("Content-Encoding", "gzip")),
        (b"<x/>", "application/pidf+xml"),
        415,
        {"Accept-Encoding": "identity"},
    ),
    (
        "PUBLISH",
        "sip:1001@office.example",
        (("Event", "presence"), ("SIP-If-Match", "x")),
        None,
        412,
        {},
    ),
    ("NOTIFY", HERE, (("Event", "keep-alive"),), None, 481, {}),
    ("REFER", HERE, (("Refer-To", "<sip:1002@office.example>"),), None, 403, {}),
    ("MESSAGE", "sip:4999@office.example", (), (b"?", "text/plain"), 404, {}),
    ("MESSAGE", "sip:1003@office.example", (), (b"?", "text/plain"), 480, {}),
    ("MESSAGE", "sip:1002@office.example", (), (b"?" * 40_000, "text/plain"), 413, {}),
    ("INFO", HERE, (), None, 481, {}),
    ("UPDATE", HERE, (), (b"?", "text/plain"), 415, {"Accept": "application/sdp"}),
]


@simulated()
@pytest.mark.parametrize(("method", "uri", "lines", "body", "status", "wanted"), ASKED)
async def test_what_is_refused_outside_a_call(method, uri, lines, body, status, wanted):
    async with World(1) as world:
        phone = await world.phone("1001")
        await world.phone("1002")
        octets, kind = body or (b"", None)
        to = "sip:1001@office.example" if (method, uri) == ("REGISTER", HERE) else None
        answer = await phone.request(
            method, uri, headers=lines, body=octets, content_type=kind, to=to
        )
        assert answer.status == status
        for name, value in wanted.items():
            assert value in (answer.headers.get(name) or "-"), name
        await world.settle()


# Offers that a call cannot begin with: (SDP, header lines, status, header, a part of its value).
OFFERED = [
    (described(formats="3"), (), 488, "Warning", "305 office.example"),
    (described(more="a=x\r\n").replace(b"audio", b"video"), (), 488, "Warning", "304"),
    (described(more="").replace(b"RTP/AVP", b"RTP/SAVPF"), (), 488, "Warning", "302"),
    (described(host="224.0.0.9"), (), 488, "Warning", "399 office.example"),
    (described(host="127.0.0.1"), (), 488, "Warning", "399"),
    (b"v=0\r\nnonsense", (), 400, "", ""),
    (described(), (("Require", "flying, 100rel"),), 420, "Unsupported", "flying"),
    (described(), (("Accept", "text/plain"),), 406, "", ""),
    (described(), (("Content-Encoding", "gzip"),), 415, "Accept-Encoding", "identity"),
    (described(), (("Replaces", "x;to-tag=1;from-tag=2"),), 481, "Reason", "Q.850"),
    (described(), (("Replaces", "x"),), 400, "Reason", "Q.850"),
]


@simulated()
@pytest.mark.parametrize(("sdp", "lines", "status", "header", "value"), OFFERED)
async def test_offers_that_are_refused_before_anybody_is_rung(sdp, lines, status, header, value):
    async with World(2) as world:
        phone, other = await world.phone("1001"), await world.phone("1002")
        call = await phone.call("1002", sdp=sdp, headers=lines)
        await call.ended()
        assert call.status == status
        if header:
            assert value in (call.refusal.headers.get(header) or "-")
        assert not other.calls
        await world.settle()


@simulated()
@pytest.mark.parametrize(
    ("sdp", "warning"),
    [
        (described(formats="3"), "305 office.example"),
        (described(host="224.0.0.9"), "399 office.example"),
        (b"v=0\r\nnonsense", "399 office.example"),
    ],
)
async def test_a_later_offer_that_is_refused_says_why_and_the_call_goes_on(sdp, warning):
    async with World(3) as world:
        phone, other = await world.phone("1001"), await world.phone("1002")
        call = await phone.call("1002")
        await call.answered()
        phone.stack.reinvite(call.session, sdp, phone.now_s())
        phone.driver.pump()
        await asyncio.sleep(1)
        (refusal,) = phone.history.responses(488)
        assert warning in refusal.header("Warning")
        assert call.state == "up"
        await call.hold()
        (there,) = other.calls.values()
        there.hang_up()
        await call.ended()
        await world.settle()


@simulated()
async def test_what_is_refused_in_a_call_does_not_end_it():
    async with World(4) as world:
        phone, _ = await world.phone("1001"), await world.phone("1002")
        call = await phone.call("1002")
        await call.answered()
        for method, status in (
            ("NOTIFY", 489),
            ("MESSAGE", 403),
            ("SUBSCRIBE", 403),
            ("PRACK", 400),
        ):
            phone.stack.request_in_dialog(call.session, method, now_s=phone.now_s())
            phone.driver.pump()
            await asyncio.sleep(1)
            assert phone.history.responses(status), method
        assert call.state == "up"
        call.hang_up()
        await call.ended()
        await world.settle()


def test_the_checker_sees_what_is_missing():
    def refusal(status, *lines):
        text = "\r\n".join((f"SIP/2.0 {status} No", "CSeq: 1 INVITE", *lines, "", ""))
        return TraceEntry(0.0, ("10.0.0.1", 5060), ("10.0.2.1", 5060), text.encode())

    us = ("10.0.0.1", 5060)
    for status, names in WITH.items():
        assert check_refusals([refusal(status)], us), status
        assert check_refusals([refusal(status)], ("10.0.2.1", 5060)) == []
        line = f"{names[0].partition('|')[0]}: x"
        assert check_refusals([refusal(status, line)], us) == []
