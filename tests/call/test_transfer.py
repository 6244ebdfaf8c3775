"""Transfers: blind and attended, from either side, and what is left when they fail."""

from __future__ import annotations

import asyncio
from urllib.parse import quote

import pytest

from softswitch.call.transfer import Replaces
from softswitch.sim.behaviour import busy, reject, ring
from softswitch.sim.loop import simulated
from softswitch.sim.world import World, small_office
from tests.call.segments import consultations


def bridged(world):
    return {s.local.stream_id for s in world.media.streams.values() if s.bridged_to is not None}


def notified(phone):
    return [
        event.request.body.split(b"\r\n")[0].decode()
        for event in phone.received
        if event.request.method == "NOTIFY"
    ]


async def talking(world, caller_number="1001", callee_number="1002"):
    caller = world.phones.get(caller_number) or await world.phone(caller_number)
    callee = world.phones.get(callee_number) or await world.phone(callee_number)
    call = await caller.call(callee_number)
    await call.answered()
    return caller, callee, call, await callee.incoming()


@simulated()
@pytest.mark.parametrize("transferor", ["caller", "callee"])
async def test_blind_transfer(transferor):
    async with World(1) as world:
        caller, callee, call, other = await talking(world)
        third = await world.phone("1003")
        leaves, stays = (call, other) if transferor == "caller" else (other, call)
        who = caller if transferor == "caller" else callee
        leaves.refer("<sip:1003@office.example>")
        new = await third.incoming()
        await leaves.ended()
        await asyncio.sleep(1)
        assert new.state == "up"
        assert stays.state == "up"
        assert notified(who)[0] == "SIP/2.0 100 Trying"
        assert notified(who)[-1] == "SIP/2.0 200 OK"
        assert len(bridged(world)) == 2
        (entry,) = world.journal.of_kind("transfer")
        assert entry.data["how"] == "blind"
        stays.hang_up()
        await new.ended()
        await world.settle()


@simulated()
async def test_blind_transfer_that_fails_gives_the_call_back():
    async with World(2) as world:
        caller, _, call, other = await talking(world)
        await world.phone("1003", behaviour=busy())
        call.refer("<sip:1003@office.example>")
        await asyncio.sleep(1)
        assert notified(caller)[-1] == "SIP/2.0 486 Busy Here"
        assert call.state == other.state == "up"
        assert len(bridged(world)) == 2
        other.hang_up()
        await call.ended()
        await world.settle()


@simulated()
async def test_the_second_transfer_of_a_call_says_which_it_speaks_of():
    """RFC 3515 2.4.6: the NOTIFYs of a further REFER of the same dialog name it; a telephone that has two of
    them takes no notice of those that do not."""
    async with World(2) as world:
        caller, _, call, other = await talking(world)
        await world.phone("1003", behaviour=busy())
        for _ in range(2):
            call.refer("<sip:1003@office.example>")
            await asyncio.sleep(1)
        told = [event.request for event in caller.received if event.request.method == "NOTIFY"]
        *_, second = world.trace.requests("REFER")
        assert [request.headers.get("Event") for request in told] == [
            *["refer"] * (len(told) // 2),
            *[f"refer;id={second.cseq}"] * (len(told) // 2),
        ]
        assert len(told) >= 4
        other.hang_up()
        await call.ended()
        await world.settle()


@simulated()
async def test_who_wants_to_hear_nothing_of_his_transfer_is_told_so():
    """RFC 4488 4: Refer-Sub in the answer, and no NOTIFY."""
    async with World(2) as world:
        caller, _, call, other = await talking(world)
        third = await world.phone("1003")
        call.refer("<sip:1003@office.example>", (("Refer-Sub", "false"), ("Require", "norefersub")))
        new = await third.incoming()
        await call.ended()
        (accepted,) = caller.history.responses(202)
        assert accepted.header("Refer-Sub") == "false"
        assert not notified(caller)
        assert new.state == other.state == "up"
        new.hang_up()
        await other.ended()
        await world.settle()


async def transferred_and_left(world):
    """A blind transfer to a telephone that rings, whose transferor has hung up: the calls of who is left and
    of who is rung."""
    _, _, call, other = await talking(world)
    third = await world.phone("1003", behaviour=ring())
    call.refer("<sip:1003@office.example>")
    new = await third.incoming()
    call.hang_up()
    return other, new


@simulated()
async def test_transferor_who_leaves_at_once_does_not_end_the_call():
    async with World(3) as world:
        other, new = await transferred_and_left(world)
        await asyncio.sleep(2)
        new.answer()
        await asyncio.sleep(1)
        assert other.state == new.state == "up"
        new.hang_up()
        await other.ended()
        await world.settle()


NO_RECALL = small_office().replace("[sip]\n", "[sip]\ntransfer_recall = false\n")


@simulated()
async def test_transfer_to_nobody_after_leaving_ends_the_call_where_the_office_says_so():
    async with World(4, office=NO_RECALL) as world:
        other, new = await transferred_and_left(world)
        new.reject(603)
        await other.ended()
        await world.settle()


@simulated()
@pytest.mark.parametrize("takes_it", [True, False])
@pytest.mark.parametrize("by_keys", [False, True])
async def test_who_has_left_is_called_back_when_nobody_takes_his_transfer(takes_it, by_keys):
    async with World(14) as world:
        caller, _, call, other = await talking(world)
        third = await world.phone("1003", behaviour=ring())
        if by_keys:
            for digit in "##1003#":
                call.send_info("application/dtmf-relay", f"Signal={digit}\r\n".encode())
                await asyncio.sleep(0.3)
        else:
            call.refer("<sip:1003@office.example>")
        new = await third.incoming()
        call.hang_up()
        if not takes_it:
            caller.behaviour = busy()
        await asyncio.sleep(1)
        new.reject(486)
        back = await caller.incoming()
        assert back.invite.request.from_.uri.user == "1002"
        if takes_it:
            await asyncio.sleep(1)
            assert len(bridged(world)) == 2
            assert [e.data["how"] for e in world.journal.of_kind("transfer")] == ["blind", "recall"]
            back.hang_up()
        await other.ended()
        await world.settle()


@simulated()
async def test_nobody_is_called_back_for_who_hangs_up_himself():
    async with World(15) as world:
        other, new = await transferred_and_left(world)
        await asyncio.sleep(1)
        other.hang_up()
        await new.ended()
        await world.settle()
        assert len(world.journal.of_kind("transfer")) == 1


@simulated()
async def test_transfer_uses_the_rights_of_the_transferor():
    async with World(5) as world:
        _, _, call, other = await talking(world)
        call.refer("<sip:5555@office.example>")
        await asyncio.sleep(1)
        assert call.state == other.state == "up"
        call.hang_up()
        await other.ended()
        await world.settle()


@simulated()
async def test_attended_transfer_joins_the_two_others():
    async with World(6) as world:
        caller, _, call, other = await talking(world)
        await call.hold()
        third = await world.phone("1003")
        consultation = await caller.call("1003")
        await consultation.answered()
        new = await third.incoming()
        await consultation.hold()
        dialog = caller.stack.dialog_of(consultation.session)
        replaces = (
            f"{dialog['call_id']};to-tag={dialog['remote_tag']};from-tag={dialog['local_tag']}"
        )
        call.refer(f"<sip:1003@office.example?Replaces={quote(replaces, safe='')}>")
        await asyncio.gather(call.ended(), consultation.ended())
        await asyncio.sleep(1)
        assert other.state == new.state == "up"
        assert len(bridged(world)) == 2
        assert [s for s in world.media.streams.values() if s.playing is not None] == []
        assert notified(caller)[-1] == "SIP/2.0 200 OK"
        assert [e.data["how"] for e in world.journal.of_kind("transfer")] == ["attended"]
        new.hang_up()
        await other.ended()
        await world.settle()
        (entry,) = world.journal.of_kind("consult-ended")
        (one,) = consultations(world, entry.call_id)
        assert (one.name, one.outcome) == ("1003", "transferred")
        beside = world.journal.of_call(entry.data["call"])
        assert (one.started_at_s, one.ended_at_s) == (beside[0].at_s, entry.at_s)


@simulated()
async def test_attended_transfer_while_the_target_still_rings():
    async with World(7) as world:
        caller, _, call, other = await talking(world)
        third = await world.phone("1003", behaviour=ring())
        consultation = await caller.call("1003")
        await consultation.ringing()
        await third.incoming()
        ringing = caller.history.responses(180)[-1]
        tags = f"to-tag={ringing.to_tag};from-tag={ringing.from_tag}"
        replaces = quote(f"{ringing.call_id};{tags}", safe="")
        call.refer(f"<sip:1003@office.example?Replaces={replaces}>")
        new = await third.incoming()
        new.answer()
        await asyncio.sleep(2)
        assert other.state == new.state == "up"
        other.hang_up()
        await new.ended()
        await world.settle()


@pytest.mark.parametrize(
    ("value", "parsed"),
    [
        ("a@b;to-tag=1;from-tag=2", Replaces("a@b", "1", "2")),
        ("a@b ;from-tag=2 ; to-tag=1;early-only", Replaces("a@b", "1", "2", True)),
        ("a@b;to-tag=1", None),
        ("", None),
    ],
)
def test_replaces_header(value, parsed):
    assert Replaces.parse(value) == parsed


@simulated()
@pytest.mark.parametrize("ends", ["who called in", "who was called"])
async def test_attended_transfer_joins_two_carriers(ends):
    """A customer who called in by one trunk is joined to somebody outside on the other: each trunk counts
    its own call until that is over."""
    async with World(11, office=small_office(trunks=2)) as world:
        desk = await world.phone("1001")
        first, second = await world.trunk("carrier-1"), await world.trunk("carrier-2")
        customer = await first.call("+861000", from_user="13800000001")
        await customer.answered()
        there = await desk.incoming()
        await there.hold()
        world.switch.trunks.named("carrier-1").load.limit(1, 100.0)
        consultation = await desk.call("9013800000002")
        await consultation.answered()
        outside = await second.incoming()
        dialog = desk.stack.dialog_of(consultation.session)
        value = f"{dialog['call_id']};to-tag={dialog['remote_tag']};from-tag={dialog['local_tag']}"
        there.refer(f"<sip:x@office.example?Replaces={quote(value)}>")
        await there.ended()
        await consultation.ended()
        await asyncio.sleep(1)
        assert customer.state == outside.state == "up"
        assert len(bridged(world)) == 2
        loads = [world.switch.trunks.named(f"carrier-{n}").load.calls for n in (1, 2)]
        assert loads == [1, 1]
        assert not list(world.trace.requests("UPDATE")), "carriers are told nothing"
        leaves, stays = (customer, outside) if ends == "who called in" else (outside, customer)
        leaves.hang_up()
        await stays.ended()
        loads = [world.switch.trunks.named(f"carrier-{n}").load.calls for n in (1, 2)]
        assert loads == [0, 0]
        await world.settle()


@simulated()
async def test_who_was_held_hears_music_again_when_his_transfer_fails():
    """Telephones hold before they transfer: who is given the call back still does."""
    async with World(16) as world:
        _, _, call, there = await talking(world)
        await world.phone("1003", behaviour=busy())
        await there.hold()
        await asyncio.sleep(1)
        there.refer("<sip:1003@office.example>")
        await asyncio.sleep(2)
        assert there.state == call.state == "up"
        heard = world.media.stream_at(call.agreed.remote[1])
        assert heard.playing
        assert "music" in str(heard.playing[1])
        await there.resume()
        await asyncio.sleep(1)
        assert not heard.playing
        assert len(bridged(world)) == 2
        call.hang_up()
        await there.ended()
        await world.settle()


@simulated()
@pytest.mark.parametrize("rings", [False, True])
async def test_who_lets_go_of_both_calls_at_once_has_joined_them(rings):
    async with World(17) as world:
        _, callee, call, there = await talking(world)
        third = await world.phone("1003", behaviour=ring() if rings else None)
        await there.hold()
        consultation = await callee.call("1003")
        target = await third.incoming()
        await asyncio.sleep(1)
        dialog = callee.stack.dialog_of(consultation.session)
        ids = f"{dialog['call_id']};to-tag={dialog['remote_tag']};from-tag={dialog['local_tag']}"
        there.refer(f"<sip:1003@office.example?Replaces={quote(ids, safe='')}>")
        consultation.hang_up()
        there.hang_up()
        await asyncio.sleep(2)
        if rings:
            target = await third.incoming()
            target.answer()
            await asyncio.sleep(1)
        assert target.state == call.state == "up"
        assert len(bridged(world)) == 2
        call.hang_up()
        await target.ended()
        await world.settle()


@simulated()
async def test_a_call_of_one_carrier_goes_on_to_another():
    """To the second that the office names for it, since the first is ill; both carriers talk to each other."""
    async with World(18, office=small_office(trunks=2)) as world:
        phone = await world.phone("1001")
        first = await world.trunk("carrier-1", behaviour=reject(503))
        second = await world.trunk("carrier-2")
        call = await first.call("+861000", from_user="+8613800000001")
        await call.answered()
        there = await phone.incoming()
        there.refer("<sip:90123@office.example>")
        out = await second.incoming()
        await there.ended()
        await asyncio.sleep(1)
        assert out.invite.request.called == "0123"
        assert out.state == call.state == "up"
        assert len(bridged(world)) == 2
        call.hang_up()
        await out.ended()
        await world.settle()
