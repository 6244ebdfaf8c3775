"""Simulated phones that call each other directly: the kit must work before it judges anything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from softswitch.sim.audio import match, speech
from softswitch.sim.behaviour import Behaviour, answer, busy, reject, ring
from softswitch.sim.checkers import check_rest, check_wire, require
from softswitch.sim.link import Link
from softswitch.sim.loop import SimulationError, simulated
from softswitch.sim.network import SimNetwork
from softswitch.sim.phone import VirtualPhone
from softswitch.sim.phone_call import CallNotAnswered, ReofferRefused
from softswitch.sim.real_network import RealNetwork
from softswitch.sim.sip_trace import SipTrace
from softswitch.sim.trunk import VirtualTrunk

A = ("10.0.0.1", 5060)
B = ("10.0.0.2", 5060)


class Pair:
    """Two phones, each the other's server, and everything that was on the wire."""

    def __init__(self, network: SimNetwork, a: VirtualPhone, b: VirtualPhone) -> None:
        self.network, self.a, self.b = network, a, b
        self.trace = SipTrace()
        network.tap = self.trace.tap

    async def settle(self) -> None:
        """Let every transaction time out, then check the invariants."""
        await asyncio.sleep(70)
        require(
            check_wire(self.trace),
            check_rest(a=self.a, b=self.b, network=self.network),
        )


@asynccontextmanager
async def pair(link: Link | None = None, **options: object) -> AsyncIterator[Pair]:
    network = SimNetwork(1, default=link)
    a = VirtualPhone(network, number="1001", server=B, host=A[0], port=A[1], **options)
    b = VirtualPhone(network, number="1002", server=A, host=B[0], port=B[1], **options)
    async with a, b:
        yield Pair(network, a, b)


@simulated()
async def test_call_answer_hang_up_by_the_caller() -> None:
    async with pair() as two:
        call = await two.a.call("1002")
        await call.answered()
        assert call.state == "up"
        assert call.status == 200
        other = await two.b.incoming()
        assert other.number == "1001"
        await asyncio.sleep(2)
        call.hang_up()
        end = await other.ended()
        assert end.by == "remote"
        assert (await call.ended()).by == "local"
        await two.settle()
        methods = [entry.first_line.split(" ")[0] for entry in two.a.history]
        assert methods == ["INVITE", "SIP/2.0", "SIP/2.0", "ACK", "BYE", "SIP/2.0"]


@simulated()
async def test_hang_up_by_the_callee_and_by_its_behaviour() -> None:
    async with pair() as two:
        two.b.behaviour = answer(after_s=3, hang_up_after_s=10)
        call = await two.a.call("1002")
        await call.ringing()
        assert call.provisional == [180]
        await call.answered()
        end = await call.ended()
        assert end.by == "remote"
        assert call.times["up"] - call.times["calling"] == pytest.approx(3, abs=0.01)
        assert call.times["ended"] - call.times["up"] == pytest.approx(10, abs=0.01)
        await two.settle()


@pytest.mark.parametrize("behaviour", [busy(), reject(603), reject(480, after_s=5)])
@simulated()
async def test_refusals(behaviour: Behaviour) -> None:
    async with pair() as two:
        two.b.behaviour = behaviour
        call = await two.a.call("1002")
        with pytest.raises(CallNotAnswered) as caught:
            await call.answered()
        assert caught.value.status == behaviour.status
        assert (await call.ended()).by == "failed"
        await two.settle()


@simulated()
async def test_the_caller_gives_up() -> None:
    async with pair() as two:
        two.b.behaviour = ring()
        call = await two.a.call("1002")
        await call.ringing()
        await asyncio.sleep(5)
        call.hang_up()
        assert (await call.ended()).by == "local"
        other = await two.b.incoming()
        assert (await other.ended()).by == "cancelled"
        await two.settle()


@simulated()
async def test_a_test_answers_by_hand() -> None:
    async with pair() as two:
        two.b.behaviour = ring()
        call = await two.a.call("1002")
        other = await two.b.incoming()
        await asyncio.sleep(30)
        assert other.state == "ringing"
        other.answer()
        await call.answered()
        other.hang_up()
        await call.ended()
        await two.settle()


@simulated()
async def test_nobody_there() -> None:
    async with pair() as two:
        two.network.cut(B[0])
        call = await two.a.call("1002")
        with pytest.raises(CallNotAnswered) as caught:
            await call.answered()
        assert caught.value.status == 408
        await asyncio.sleep(70)
        require(check_wire(two.trace, silent={B}), check_rest(a=two.a, b=two.b))


@pytest.mark.parametrize("codec", ["PCMA", "PCMU"])
@simulated()
async def test_both_hear_what_the_other_says(codec: str) -> None:
    async with pair(codecs=(codec,)) as two:
        hers, his = speech(1, 3.0), speech(2, 3.0)
        two.b.behaviour = answer(play=his)
        call = await two.a.call("1002")
        await call.answered()
        other = await two.b.incoming()
        await call.play(hers)
        await asyncio.sleep(0.5)
        assert match(hers, other.heard()).correlation > 0.99
        assert match(his, call.heard()).correlation > 0.99
        assert match(his, other.heard()).correlation < 0.5
        call.hang_up()
        await call.ended()
        assert call.audio is not None
        assert call.audio.counters.lost == 0
        assert call.audio.counters.elsewhere == 0
        await two.settle()


@simulated()
async def test_sound_survives_overtaking_and_copies_in_its_place() -> None:
    rough = Link(duplicate=0.1, reorder=0.1, jitter_s=0.015)
    async with pair(rough) as two:
        call = await two.a.call("1002")
        await call.answered()
        other = await two.b.incoming()
        said = speech(3, 4.0)
        await call.play(said)
        await asyncio.sleep(1)
        assert match(said, other.heard()).correlation > 0.99
        assert other.audio is not None
        assert other.audio.counters.duplicates > 5
        assert other.audio.counters.reordered > 2
        assert other.audio.counters.lost == 0
        call.hang_up()
        await call.ended()
        await two.settle()


@simulated()
async def test_digits() -> None:
    async with pair() as two:
        call = await two.a.call("1002")
        await call.answered()
        other = await two.b.incoming()
        call.press("12*#AD0012")
        await asyncio.sleep(5)
        assert other.audio is not None
        assert other.audio.digits == "12*#AD0012"
        call.hang_up()
        await call.ended()
        await two.settle()


@simulated()
async def test_hold_and_resume() -> None:
    async with pair() as two:
        call = await two.a.call("1002")
        await call.answered()
        other = await two.b.incoming()
        await asyncio.sleep(1)
        await call.hold()
        assert other.held
        assert other.agreed is not None
        assert other.agreed.direction == "recvonly"
        await asyncio.sleep(0.1)
        assert other.audio is not None
        assert call.audio is not None
        sent = other.audio.counters.sent
        await asyncio.sleep(5)
        assert other.audio.counters.sent == sent
        await call.resume()
        assert not other.held
        await asyncio.sleep(1)
        assert other.audio.counters.sent > sent
        await other.hold()
        assert call.held
        call.hang_up()
        await call.ended()
        await two.settle()


@simulated()
async def test_a_reinvite_without_sdp_asks_for_the_offer() -> None:
    async with pair() as two:
        call = await two.a.call("1002")
        await call.answered()
        await call.reinvite(sdp=False)
        invite = two.a.history.requests("INVITE")[-1]
        assert invite.body == b""
        ack = two.a.history.requests("ACK")[-1]
        assert b"m=audio" in ack.body
        await call.reinvite()
        call.hang_up()
        await call.ended()
        await two.settle()


@simulated()
async def test_an_invite_without_sdp() -> None:
    async with pair() as two:
        said = speech(5, 2.0)
        two.b.behaviour = answer(play=said)
        call = await two.a.call("1002", sdp=False)
        await call.answered()
        await asyncio.sleep(3)
        assert match(said, call.heard()).correlation > 0.99
        other = await two.b.incoming()
        assert other.audio is not None
        assert other.audio.counters.received > 50
        call.hang_up()
        await call.ended()
        await two.settle()


@simulated()
async def test_early_media_is_heard_before_the_answer() -> None:
    async with pair() as two:
        said = speech(6, 2.0)
        two.b.behaviour = Behaviour(ring_s=4, early_media=True, play=said)
        call = await two.a.call("1002")
        await call.ringing()
        await asyncio.sleep(3)
        assert call.state == "ringing"
        assert call.provisional == [183]
        assert match(said, call.heard()).correlation > 0.99
        await call.answered()
        call.hang_up()
        await call.ended()
        await two.settle()


@simulated()
async def test_info_and_other_requests() -> None:
    async with pair() as two:
        call = await two.a.call("1002")
        await call.answered()
        other = await two.b.incoming()
        call.send_info("application/dtmf-relay", b"Signal=5\r\nDuration=160\r\n")
        await asyncio.sleep(1)
        assert other.infos == [("application/dtmf-relay", b"Signal=5\r\nDuration=160\r\n")]
        response = await two.a.request("OPTIONS", "sip:1002@10.0.0.2")
        assert response.status == 200
        call.hang_up()
        await call.ended()
        two.network.cut(B[0])
        with pytest.raises(SimulationError, match="nothing came back"):
            await two.a.request("OPTIONS", "sip:1002@10.0.0.2")


@pytest.mark.parametrize(("calls_max", "status"), [(1, 486), (2, 200)])
@simulated()
async def test_a_phone_takes_so_many_calls(calls_max: int, status: int) -> None:
    async with pair(calls_max=calls_max) as two:
        first = await two.a.call("1002")
        await first.answered()
        second = await two.a.call("1002")
        await (second.answered() if status == 200 else second.ended())
        assert second.status == status
        first.hang_up()
        second.hang_up()
        await two.settle()


@simulated()
async def test_calls_complete_through_heavy_loss() -> None:
    async with pair(Link(loss=0.2, delay_s=0.02), sound=False) as two:
        two.b.behaviour = answer(after_s=0.5, hang_up_after_s=30)
        calls = [await two.a.call("1002") for _ in range(10)]
        for call in calls:
            await call.answered()
        for call in calls:
            assert (await call.ended()).by in ("remote", "local")
        await two.settle()


@simulated()
async def test_the_same_seed_tells_the_same_story() -> None:
    async def story(seed: int) -> str:
        network = SimNetwork(seed, default=Link(loss=0.2, jitter_s=0.02))
        a = VirtualPhone(network, number="1", server=B, host=A[0], port=A[1], seed=seed)
        b = VirtualPhone(network, number="2", server=A, host=B[0], port=B[1], seed=seed)
        async with a, b:
            start_s = a.now_s()
            call = await a.call("2")
            await call.answered()
            call.hang_up()
            await call.ended()
            await asyncio.sleep(5)
            return "\n".join(f"{e.at_s - start_s:.6f} {e.data!r}" for e in [*a.history, *b.history])

    one, again, other = await story(4), await story(4), await story(5)
    assert one == again
    assert one != other


@simulated()
async def test_a_refused_hold_says_so() -> None:
    async with pair() as two:
        call = await two.a.call("1002")
        await call.answered()
        two.b.codecs = ("PCMU",)
        two.a.codecs = ("PCMA",)
        with pytest.raises(ReofferRefused) as caught:
            await call.hold()
        assert caught.value.status == 488
        assert call.state == "up"
        call.hang_up()
        await call.ended()
        await two.settle()


@simulated()
async def test_a_trunk_knows_its_numbers() -> None:
    network = SimNetwork(1)
    trunk = VirtualTrunk(network, name="carrier", server=A, host=B[0], port=B[1])
    phone = VirtualPhone(network, number="1001", server=B, host=A[0], port=A[1])
    trunk.behaviours["8613900000001"] = busy()
    async with trunk, phone:
        engaged = await phone.call("8613900000001")
        assert (await engaged.ended()).status == 486
        fine = await phone.call("8613900000002", from_user="+861065551000")
        await fine.answered()
        assert (await trunk.incoming()).number == "1001"
        assert (await trunk.incoming()).number == "+861065551000"
        fine.hang_up()
        trunk.available = False
        assert (await phone.request("OPTIONS")).status == 503
        refused = await phone.call("8613900000002")
        assert (await refused.ended()).status == 503


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_phones_on_real_sockets(transport: str) -> None:
    """The same phones on the machine's loopback, in real time."""
    network = RealNetwork(transport)  # type: ignore[arg-type]
    b = VirtualTrunk(network, name="b", server=("127.0.0.1", 9), behaviour=answer())
    async with b:
        a = VirtualPhone(network, number="1001", server=b.local)
        async with a:
            said = speech(7, 0.5)
            async with asyncio.timeout(10):
                call = await a.call("1002")
                await call.answered()
                other = await b.incoming()
                await call.play(said)
                await other.listen(0.52)
                await call.hold()
                other.hang_up()
                await other.ended()
                await call.ended()
            assert match(said, other.heard()).correlation > 0.99
            vias = {entry.header("Via").split(" ")[0] for entry in a.history}
            assert vias == {f"SIP/2.0/{transport.upper()}"}
