"""Calls between phones and over trunks, whole, on virtual time. Every scenario ends with the invariants."""

from __future__ import annotations

import asyncio

import pytest

from softswitch import Call
from softswitch.sim.behaviour import Behaviour, answer, busy, reject, ring
from softswitch.sim.loop import simulated
from softswitch.sim.world import World, small_office

FORWARDS = """
[[extension]]
number = "2001"
password = "secret-2001"
forward = { always = "1002" }

[[extension]]
number = "2002"
password = "secret-2002"
forward = { no_answer = "1003", after_s = 10, busy = "90123" }
permissions = ["internal", "national"]

[[extension]]
number = "2003"
password = "secret-2003"
forward = { always = "2004" }

[[extension]]
number = "2004"
password = "secret-2004"
forward = { always = "2003" }

[[ring_group]]
number = "1100"
members = ["1002", "1003"]
ring_s = 12

[[ring_group]]
number = "1101"
members = ["1002", "1003"]
ring = "in-order"
ring_s = 5
"""


def office(**options):
    return small_office(**options)


def outcomes(world):
    return [entry.data["outcome"] for entry in world.journal.of_kind("call-ended")]


@simulated()
async def test_ring_answer_talk_hang_up():
    async with World(1) as world:
        caller = await world.phone("1001")
        callee = await world.phone("1002", behaviour=answer(after_s=2.0))
        call = await caller.call("1002")
        await call.ringing()
        assert call.provisional[-1] == 180
        await call.answered()
        assert world.switch.snapshot()["calls"][0]["state"] == "talking"
        other = await callee.incoming()
        assert other.invite.request.from_.uri.username == "1001"
        call.hang_up()
        assert (await other.ended()).by == "remote"
        await world.settle()
        assert outcomes(world) == ["answered"]


@simulated()
async def test_callee_hangs_up_and_the_caller_is_told():
    async with World(2) as world:
        caller = await world.phone("1001")
        await world.phone("1002", behaviour=answer(hang_up_after_s=3.0))
        call = await caller.call("1002")
        assert (await call.ended()).by == "remote"
        await world.settle()
        (end,) = world.journal.of_kind("call-ended")
        assert end.data["by"] == "callee"
        assert end.data["duration_s"] == pytest.approx(3.0, abs=0.1)


@simulated()
@pytest.mark.parametrize(
    ("behaviour", "status", "outcome"),
    [(busy(), 486, "busy"), (reject(603), 603, "rejected"), (ring(), 480, "no-answer")],
)
async def test_caller_learns_why_it_came_to_nothing(behaviour, status, outcome):
    async with World(3) as world:
        caller = await world.phone("1001")
        await world.phone("1002", behaviour=behaviour)
        call = await caller.call("1002")
        await call.ended()
        assert call.status == status
        await world.settle()
        assert outcomes(world) == [outcome]


@simulated()
@pytest.mark.parametrize(("number", "status"), [("1003", 480), ("5555", 404), ("9", 484)])
async def test_unregistered_and_unknown_numbers(number, status):
    async with World(4) as world:
        caller = await world.phone("1001")
        call = await caller.call(number)
        await call.ended()
        assert call.status == status
        await world.settle()


@simulated()
async def test_cancel_stops_the_ringing():
    async with World(5) as world:
        caller = await world.phone("1001")
        callee = await world.phone("1002", behaviour=ring())
        call = await caller.call("1002")
        await call.ringing()
        call.hang_up()
        other = await callee.incoming()
        assert (await other.ended()).by == "cancelled"
        await world.settle()
        assert outcomes(world) == ["cancelled"]


@simulated()
async def test_hold_is_answered_recvonly_and_resumed():
    async with World(6) as world:
        caller = await world.phone("1001")
        callee = await world.phone("1002")
        call = await caller.call("1002")
        await call.answered()
        await call.hold()
        assert call.agreed.direction == "sendonly", "the answer to sendonly is recvonly"
        kinds = [entry.kind for entry in world.journal.entries]
        assert "call-held" in kinds
        streams = [s for s in world.media.streams.values() if s.playing]
        assert len(streams) == 1, "the held party hears music"
        await call.resume()
        assert call.agreed.direction == "sendrecv"
        assert not [s for s in world.media.streams.values() if s.playing]
        (await callee.incoming()).hang_up()
        await call.ended()
        await world.settle()


@simulated()
async def test_reinvite_without_sdp_gets_our_offer():
    async with World(7) as world:
        caller = await world.phone("1001")
        await world.phone("1002")
        call = await caller.call("1002")
        await call.answered()
        await call.reinvite(sdp=False)
        assert call.agreed.codec in ("PCMA", "PCMU")
        call.hang_up()
        await call.ended()
        await world.settle()


@simulated()
async def test_invite_without_sdp_gets_our_offer_in_the_200():
    async with World(8) as world:
        caller = await world.phone("1001")
        await world.phone("1002")
        call = await caller.call("1002", sdp=False)
        await call.answered()
        await asyncio.sleep(1)
        bridged = [s for s in world.media.streams.values() if s.bridged_to is not None]
        assert len(bridged) == 2
        assert all(s.params is not None and s.params.remote for s in bridged)
        call.hang_up()
        await call.ended()
        await world.settle()


@simulated()
async def test_every_phone_of_an_extension_rings_and_one_wins():
    async with World(9) as world:
        caller = await world.phone("1001")
        first = await world.phone("1002", behaviour=ring())
        await world.phone("1002", behaviour=answer(after_s=3.0))
        call = await caller.call("1002")
        await call.answered()
        loser = await first.incoming()
        end = await loser.ended()
        assert end.by == "cancelled"
        assert end.cause is not None
        assert end.cause.cause == 200, "no missed call is shown on the others"
        call.hang_up()
        await call.ended()
        await world.settle()


@simulated()
async def test_ring_groups_together_and_in_order():
    async with World(10, office=office(more=FORWARDS)) as world:
        caller = await world.phone("1001")
        second = await world.phone("1002", behaviour=ring())
        third = await world.phone("1003", behaviour=ring())
        call = await caller.call("1100")
        await asyncio.gather(second.incoming(), third.incoming())
        await call.ended()
        assert call.status == 480
        call = await caller.call("1101")
        await second.incoming()
        began_s = world.clock.monotonic_s()
        await third.incoming()
        assert world.clock.monotonic_s() - began_s == pytest.approx(5.0, abs=0.1)
        call.hang_up()
        await call.ended()
        await world.settle()


@simulated()
@pytest.mark.limit("times that a call is forwarded")
async def test_forwarding_always_on_no_answer_on_busy_and_in_a_circle():
    async with World(11, office=office(more=FORWARDS)) as world:
        caller = await world.phone("1001")
        await world.phone("1002")
        await world.phone("1003")
        carrier = await world.trunk("carrier-1")
        target = await world.phone("2002", behaviour=ring())
        always = await caller.call("2001")
        await always.answered()
        always.hang_up()
        late = await caller.call("2002")
        await late.answered()
        assert late.times["up"] - late.times["calling"] == pytest.approx(10.0, abs=0.2)
        late.hang_up()
        target.behaviour = busy()
        out = await caller.call("2002")
        await out.answered()
        assert (await carrier.incoming()).invite.request.request_uri.username == "0123"
        out.hang_up()
        circle = await caller.call("2003")
        await circle.ended()
        assert circle.status == 480
        assert len(world.journal.of_kind("call-forwarded")) == 3 + 5
        await world.settle()


@simulated()
async def test_silence_is_no_hang_up_but_a_vanished_peer_is_found():
    async with World(12) as world:
        caller = await world.phone("1001")
        await world.phone("1002")
        call = await caller.call("1002")
        await call.answered()
        await asyncio.sleep(120)
        assert call.state == "up"
        stream = next(iter(world.media.streams))
        world.media.fall_silent(stream)
        assert (await call.ended()).by == "remote"
        await world.settle()
        (end,) = world.journal.of_kind("call-ended")
        assert end.data["by"] == "media"


@simulated()
async def test_out_over_the_trunk_in_from_it_and_to_the_next_when_it_fails():
    async with World(13, office=office(trunks=2)) as world:
        caller = await world.phone("1001")
        first = await world.trunk("carrier-1")
        second = await world.trunk("carrier-2")
        call = await caller.call("90105551234")
        await call.answered()
        outside = await first.incoming()
        assert outside.invite.request.request_uri.username == "0105551234"
        assert outside.invite.request.from_.uri.username == "+861000", "an identity that we own"
        call.hang_up()
        await call.ended()
        first.behaviour = reject(503)
        call = await caller.call("90105551234")
        await call.answered()
        await second.incoming()
        call.hang_up()
        inward = await first.call("+861000")
        await inward.answered()
        assert (await caller.incoming()).state == "up"
        inward.hang_up()
        await inward.ended()
        await world.settle()


@simulated()
async def test_a_silent_trunk_costs_two_seconds():
    async with World(14, office=office(trunks=2)) as world:
        caller = await world.phone("1001")
        await world.trunk("carrier-2")
        world.network.cut("10.0.1.1")
        call = await caller.call("90105551234")
        await call.answered()
        assert call.times["up"] - call.times["calling"] == pytest.approx(2.0, abs=0.2)
        call.hang_up()
        await call.ended()
        await world.settle(silent=[("10.0.1.1", 5060)])


@simulated()
async def test_strangers_and_foreign_numbers_get_nothing():
    async with World(15) as world:
        await world.phone("1001")
        stranger = await world.phone("1002", register=False, password="wrong-password")
        call = await stranger.call("1001")
        await call.ended()
        assert call.status == 401
        carrier = await world.trunk("carrier-1")
        for number in ("1001", "*43", "90105551234"):
            call = await carrier.call(number)
            await call.ended()
            assert call.status == 404
        await world.settle()


@simulated()
async def test_echo_test():
    async with World(16) as world:
        caller = await world.phone("1001")
        call = await caller.call("*43")
        await call.answered()
        await asyncio.sleep(1)
        assert [s.echo for s in world.media.streams.values()] == [True]
        call.hang_up()
        await call.ended()
        await world.settle()


@simulated()
async def test_a_handler_collects_digits_dials_and_survives_a_hang_up():
    seen = []

    def prepare(switch):
        @switch.extension("7000")
        async def front_desk(call: Call) -> None:
            await call.answer()
            digits = await call.collect("main-menu", max_digits=2, timeout_s=4.0)
            seen.append(digits)
            outcome = await call.dial("extension:1002", ring_s=5.0)
            seen.append(outcome.result)
            await call.play("goodbye")
            await call.sleep(3600)

    async with World(17, prepare=prepare) as world:
        caller = await world.phone("1001")
        callee = await world.phone("1002", behaviour=busy())
        call = await caller.call("7000")
        await call.answered()
        await asyncio.sleep(0.5)
        (stream,) = world.media.streams
        world.media.press(stream, "12")
        await asyncio.sleep(10)
        assert seen == ["12", "busy"]
        call.hang_up()
        await call.ended()
        callee.behaviour = Behaviour(hang_up_after_s=2.0)
        again = await caller.call("7000")
        await again.answered()
        await asyncio.sleep(30)
        assert seen == ["12", "busy", "", "answered"], "the caller outlives his partner"
        again.hang_up()
        await again.ended()
        await world.settle()


@simulated()
async def test_a_handler_that_fails_takes_only_its_call_with_it():
    def prepare(switch):
        @switch.extension("7000")
        async def broken(call: Call) -> None:
            await call.answer()
            raise ValueError("a bug of the embedder")

    async with World(18, prepare=prepare) as world:
        caller = await world.phone("1001")
        await world.phone("1002")
        call = await caller.call("7000")
        assert (await call.ended()).by == "remote"
        good = await caller.call("1002")
        await good.answered()
        good.hang_up()
        await good.ended()
        await world.settle()
        assert world.switch.control.snapshot()["broken"] == 1


@simulated()
async def test_a_phone_behind_a_nat_is_called_on_its_flow_and_its_media_is_found():
    async with World(19) as world:
        nat = world.network.nat("10.0.9.9")
        inside = await world.phone("1001", network=nat, host="192.168.1.5")
        outside = await world.phone("1002")
        call = await outside.call("1001")
        await call.answered()
        (binding,) = [
            row for row in world.switch.snapshot()["registrations"] if row["extension"] == "1001"
        ]
        assert binding["address"].startswith("10.0.9.9:"), "reached where the packets come from"
        nats = [s.params.nat for s in world.media.streams.values() if s.params is not None]
        assert sorted(nats) == [False, True], "symmetric RTP for the phone behind the NAT only"
        hosts = {s.signalled_host for s in world.media.streams.values()}
        assert "10.0.9.9" in hosts
        (await inside.incoming()).hang_up()
        await call.ended()
        back = await inside.call("1002")
        await back.answered()
        back.hang_up()
        await back.ended()
        await inside.unregister()  # else it is asked whether it is still there, for ever
        await world.settle()


@simulated()
async def test_an_offer_of_dtls_srtp_alone_is_refused_before_anybody_is_rung():
    browsers = (
        b"v=0\r\no=- 1 1 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\n"
        b"m=audio 9 UDP/TLS/RTP/SAVPF 111 0 8\r\na=rtpmap:111 opus/48000/2\r\na=setup:actpass\r\n"
    )
    async with World(21) as world:
        browser, other = await world.phone("1001"), await world.phone("1002")
        call = await browser.call("1002", sdp=browsers)
        await call.ended()
        assert call.status == 488
        (refusal,) = browser.history.responses(488)
        assert refusal.header("Warning") == (
            '302 office.example "only RTP/AVP or RTP/SAVP with keys in SDP is taken; '
            'DTLS-SRTP is not supported"'
        )
        assert not other.past
        assert not other.calls
        await world.settle()


@simulated()
async def test_an_extension_that_requires_srtp_takes_and_makes_no_plain_call():
    more = '[[extension]]\nnumber = "1009"\npassword = "secret-1009"\nsrtp = "require"\n'
    async with World(20, office=office(more=more)) as world:
        plain = await world.phone("1001")
        strict = await world.phone("1009")
        out = await strict.call("1001")
        await out.ended()
        assert out.status == 488
        inward = await plain.call("1009")
        await inward.ended()
        assert inward.status == 488
        offered = (strict.past or [*strict.calls.values()])[-1]
        assert offered.invite is not None
        assert b"RTP/SAVP" in offered.invite.sdp
        assert offered.invite.sdp.count(b"a=crypto:") == 2
        await world.settle()
