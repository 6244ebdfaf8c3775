"""A carrier that insists on reliable ringing and makes no offer (RFC 3262 5), by hand on virtual time."""

from __future__ import annotations

import asyncio

import pytest

from softswitch.sim.behaviour import answer, reject
from softswitch.sim.loop import simulated
from softswitch.sim.world import EXCHANGE, World, small_office
from softswitch.sip.message import SipRequest
from softswitch.sip.parser import parse_message

HERE = ("10.0.1.1", 5060)
_HEAD = """{method} sip:+861000@office.example SIP/2.0
Via: SIP/2.0/UDP 10.0.1.1:5060;branch=z9hG4bK{method}{cseq}
Max-Forwards: 70
From: <sip:+8613800000001@carrier>;tag=us
To: <sip:+861000@office.example>{tag}
Call-ID: by-hand
CSeq: {cseq} {method}
Contact: <sip:10.0.1.1>
{extra}Content-Length: {length}

"""
ANSWER = "v=0\no=- 1 1 IN IP4 10.0.1.1\ns=-\nc=IN IP4 10.0.1.1\nt=0 0\nm=audio {} RTP/AVP {}\n"


class Carrier:
    """The far end of carrier-1, which says what a test writes; BYEs are answered."""

    def __init__(self, world):
        self._socket = world.network.bind(*HERE)
        self._socket.start(self._take)
        self._changed = asyncio.Event()
        self.heard = []
        self.tag = ""

    def send(self, method, cseq, *extra, sdp=""):
        sdp = sdp.replace("\n", "\r\n")
        lines = "".join(
            f"{line}\n" for line in (*extra, *(["Content-Type: application/sdp"] if sdp else []))
        )
        head = _HEAD.format(method=method, cseq=cseq, tag=self.tag, extra=lines, length=len(sdp))
        self._socket.send_to(head.replace("\n", "\r\n").encode() + sdp.encode(), EXCHANGE)

    def _take(self, data, source):
        message = parse_message(data)
        self.heard.append(message)
        if isinstance(message, SipRequest):
            self._socket.send_to(message.response(200).serialise(), source)
        elif message.to.tag:
            self.tag = f";tag={message.to.tag}"
        self._changed.set()

    async def until(self, status, method="INVITE"):
        """The first response of this status to a `method`."""
        while True:
            for each in self.heard:
                if getattr(each, "status", 0) == status and each.cseq.method == method:
                    return each
            self._changed.clear()
            await self._changed.wait()


@simulated()
@pytest.mark.parametrize("rings_s", [0.1, 8.0])
async def test_it_hears_ringing_with_our_offer_and_answers_it_in_its_prack(rings_s):
    async with World(1, office=small_office()) as world:
        phone = await world.phone("1001", behaviour=answer(after_s=rings_s))
        carrier = Carrier(world)
        carrier.send("INVITE", 1, "Require: 100rel")
        ringing = await carrier.until(180)
        assert b"m=audio" in ringing.body
        if rings_s < 1:  # the answer waits for that of the caller
            await asyncio.sleep(0.4)
            assert not [m for m in carrier.heard if getattr(m, "status", 0) == 200]
        rack = f"RAck: {ringing.headers.get('RSeq')} 1 INVITE"
        carrier.send("PRACK", 2, rack, sdp=ANSWER.format(4000, 8))
        await carrier.until(200, "PRACK")
        assert (await carrier.until(200)).body == b""
        carrier.send("ACK", 1)
        call = await phone.incoming()
        await asyncio.sleep(1)
        assert len([s for s in world.media.streams.values() if s.bridged_to is not None]) == 2
        call.hang_up()
        await world.settle()


@simulated()
async def test_an_answer_that_has_nothing_in_common_ends_the_call():
    async with World(2, office=small_office()) as world:
        await world.phone("1001", behaviour=answer(after_s=30.0))
        carrier = Carrier(world)
        carrier.send("INVITE", 1, "Require: 100rel")
        ringing = await carrier.until(180)
        rack = f"RAck: {ringing.headers.get('RSeq')} 1 INVITE"
        carrier.send("PRACK", 2, rack, sdp=ANSWER.format(4000, 99))
        assert (await carrier.until(488)).cseq.method == "INVITE"
        carrier.send("ACK", 1)
        await world.settle()


@simulated()
@pytest.mark.parametrize("status", [404, 486, 603])
async def test_who_makes_no_offer_is_refused_like_others(status):
    async with World(3, office=small_office()) as world:
        await world.phone("1001", behaviour=reject(status))
        carrier = Carrier(world)
        carrier.send("INVITE", 1)
        assert (await carrier.until(status)).headers.get("Reason", "").startswith("Q.850")
        carrier.send("ACK", 1)
        await world.settle()
