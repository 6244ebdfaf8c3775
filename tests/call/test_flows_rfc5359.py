"""The service examples of RFC 5359 with the exchange in the place of proxies and parking server, on virtual
time: a test a section. Each ends with who hears whom.

Where a B2BUA must differ: 2.6 passes the address of the third party in a MESSAGE, and that address is one of
the exchange's numbers, never a telephone's own Contact (nobody knows those). 2.17 watches the dialogs of a
number by SUBSCRIBE, as there. 2.18 has a program send a REFER outside any dialog to a telephone; the exchange
carries no REFER to telephones and takes none outside a call (403, shown here): its programs begin calls by
`switch.call_desk.originate` or `POST /api/v1/calls/live`, which rings the own telephone first, as in the flow.
"""

from __future__ import annotations

import asyncio
from urllib.parse import quote

from softswitch.sim.behaviour import busy, ring
from softswitch.sim.loop import simulated
from softswitch.sim.world import World, small_office

GROUP = (
    '[[ring_group]]\nnumber = "1100"\nmembers = ["1002", "1003"]\nring = "in-order"\nring_s = 5\n'
)


def stream(world, call):
    return world.media.stream_at(call.agreed.remote[1])


def talk(world, a, b):
    """Whether two calls' telephones hear each other."""
    return stream(world, a).bridged_to == stream(world, b).local.stream_id


async def talking(world):
    """Alice (1001) has called Bob (1002)."""
    alice = world.phones.get("1001") or await world.phone("1001")
    bob = world.phones.get("1002") or await world.phone("1002")
    call = await alice.call("1002")
    await call.answered()
    return alice, bob, call, await bob.incoming()


async def end(world, *calls):
    for call in calls:
        call.hang_up()
    await world.settle()


@simulated()
async def test_2_1_call_hold():
    async with World(1) as world:
        _, _, alices, bobs = await talking(world)
        await bobs.hold()
        assert stream(world, bobs).params.direction in ("recvonly", "inactive")
        await bobs.resume()
        assert talk(world, alices, bobs)
        assert not alices.held
        await end(world, alices)


@simulated()
async def test_2_2_consultation_hold():
    async with World(2) as world:
        _, bob, alices, bobs = await talking(world)
        carol = await world.phone("1003")
        await bobs.hold()
        asks = await bob.call("1003")
        await asks.answered()
        assert talk(world, asks, await carol.incoming())
        asks.hang_up()
        await bobs.resume()
        assert talk(world, alices, bobs)
        await end(world, alices)


@simulated()
async def test_2_3_music_on_hold():
    async with World(3) as world:
        _, _, alices, bobs = await talking(world)
        await bobs.hold()
        await asyncio.sleep(1)
        assert "music" in stream(world, alices).playing[1].path
        await bobs.resume()
        await asyncio.sleep(1)
        assert stream(world, alices).playing is None
        await end(world, alices)


@simulated()
async def test_2_4_unattended_transfer():
    async with World(4) as world:
        _, _, alices, bobs = await talking(world)
        carol = await world.phone("1003")
        bobs.refer("<sip:1003@office.example>")
        await bobs.ended()
        await asyncio.sleep(1)
        assert talk(world, alices, await carol.incoming())
        await end(world, alices)


@simulated()
async def test_2_5_attended_transfer():
    async with World(5) as world:
        _, bob, alices, bobs = await talking(world)
        carol = await world.phone("1003")
        await bobs.hold()
        asks = await bob.call("1003")
        await asks.answered()
        carols = await carol.incoming()
        dialog = bob.stack.dialog_of(asks.session)
        tags = f"to-tag={dialog['remote_tag']};from-tag={dialog['local_tag']}"
        replaces = quote(f"{dialog['call_id']};{tags}", safe="")
        bobs.refer(f"<sip:1003@office.example?Replaces={replaces}>")
        await asyncio.gather(bobs.ended(), asks.ended())
        await asyncio.sleep(1)
        assert talk(world, alices, carols)
        await end(world, alices)


@simulated()
async def test_2_6_transfer_by_instant_message():
    """Bob tells Alice where to call instead of him; she does, and he leaves."""
    async with World(6) as world:
        alice, bob, alices, bobs = await talking(world)
        carol = await world.phone("1003")
        there = b"sip:1003@office.example"
        sent = await bob.request(
            "MESSAGE", "sip:1001@office.example", body=there, content_type="text/plain"
        )
        assert sent.status == 200
        (told,) = [e.request for e in alice.received if e.request.method == "MESSAGE"]
        await alices.hold()
        second = await alice.call(told.body.decode().removeprefix("sip:").partition("@")[0])
        await second.answered()
        bobs.hang_up()
        await alices.ended()
        await asyncio.sleep(1)
        assert talk(world, second, await carol.incoming())
        await end(world, second)


async def forwarded(world, setting, **behaviour):
    alice = await world.phone("1001")
    await world.phone("1002", **behaviour)
    carol = await world.phone("1003")
    world.switch.lines.set("1002", setting, "1003")
    call = await alice.call("1002")
    await call.answered()
    carols = await carol.incoming()
    assert carols.invite.request.headers.get("Diversion").startswith("<sip:1002@office.example>")
    assert talk(world, call, carols)
    assert 181 in call.provisional, "the caller is told that it goes on"
    await end(world, call)


@simulated()
async def test_2_7_call_forwarding_unconditional():
    async with World(7) as world:
        await forwarded(world, "forward_always")


@simulated()
async def test_2_8_call_forwarding_busy():
    async with World(8) as world:
        await forwarded(world, "forward_busy", behaviour=busy())


@simulated()
async def test_2_9_call_forwarding_no_answer():
    async with World(9) as world:
        await forwarded(world, "forward_no_answer", behaviour=ring())


async def three(world):
    _, _, alices, bobs = await talking(world)
    carol = await world.phone("1003")
    for keys in ("*3", "1003#"):
        world.media.press(stream(world, alices).local.stream_id, keys)
        await asyncio.sleep(1)
    return alices, bobs, await carol.incoming()


@simulated()
async def test_2_10_three_way_conference_third_party_is_added():
    async with World(10) as world:
        calls = await three(world)
        assert len({stream(world, call).room for call in calls}) == 1
        assert stream(world, calls[0]).room is not None
        await end(world, *calls)


@simulated()
async def test_2_11_three_way_conference_third_party_joins():
    """The third calls a number to come in: a conference room of the office."""
    office = small_office(more='[[conference]]\nnumber = "8000"\n')
    async with World(11, office=office) as world:
        calls = []
        for number in ("1001", "1002", "1003"):
            phone = await world.phone(number)
            calls.append(await phone.call("8000"))
            await calls[-1].answered()
            await asyncio.sleep(5)
        assert len({stream(world, call).room for call in calls}) == 1
        await end(world, *calls)


@simulated()
async def test_2_12_find_me():
    async with World(12, office=small_office(more=GROUP)) as world:
        alice = await world.phone("1001")
        await world.phone("1002", behaviour=ring())
        carol = await world.phone("1003")
        call = await alice.call("1100")
        await call.answered()
        assert talk(world, call, await carol.incoming())
        await end(world, call)


@simulated()
async def test_2_13_incoming_call_screening():
    """A caller whom the called does not want is refused: do not disturb."""
    async with World(13) as world:
        alice, _ = await world.phone("1001"), await world.phone("1002")
        world.switch.lines.set("1002", "do_not_disturb", True)
        call = await alice.call("1002")
        await call.ended()
        assert call.status == 486
        await world.settle()


@simulated()
async def test_2_14_outgoing_call_screening():
    """A number that the caller may not dial is refused."""
    office = small_office().replace('["internal", "local", "national"]', '["internal"]')
    async with World(14, office=office) as world:
        alice, carrier = await world.phone("1001"), await world.trunk("carrier-1")
        call = await alice.call("913800000000")
        await call.ended()
        assert call.status == 403
        assert not carrier.past
        await world.settle()


@simulated()
async def test_2_15_call_park():
    async with World(15) as world:
        _, _, alices, bobs = await talking(world)
        carol = await world.phone("1003")
        bobs.refer("<sip:*68@office.example>")
        await bobs.ended()
        await asyncio.sleep(1)
        assert "music" in stream(world, alices).playing[1].path
        taken = await carol.call("*681")
        await taken.answered()
        await asyncio.sleep(1)
        assert talk(world, alices, taken)
        await end(world, alices)


@simulated()
async def test_2_16_call_pickup():
    async with World(16) as world:
        alice, carol = await world.phone("1001"), await world.phone("1003")
        bob = await world.phone("1002", behaviour=ring())
        call = await alice.call("1002")
        rang = await bob.incoming()
        taken = await carol.call("*81002")
        await asyncio.gather(call.answered(), taken.answered())
        assert (await rang.ended()).cause.cause == 200
        await asyncio.sleep(1)
        assert talk(world, call, taken)
        await end(world, call)


@simulated()
async def test_2_17_automatic_redial():
    """Bob is busy: Alice's telephone watches his dialogs and calls again when the last one is over."""
    async with World(17) as world:
        alice, carol = await world.phone("1001"), await world.phone("1003")
        bob = await world.phone("1002")
        world.switch.lines.set("1002", "call_waiting", False)
        other = await carol.call("1002")
        await other.answered()
        first = await alice.call("1002")
        await first.ended()
        assert first.status == 486
        lamp = alice.subscribe("dialog", "1002", expires_s=600)
        note = await alice.notification(lamp)
        assert b"<state>confirmed</state>" in note.body
        other.hang_up()
        await asyncio.sleep(1)
        assert b"<state>confirmed</state>" not in alice.notified[-1].body
        again = await alice.call("1002")
        await again.answered()
        assert talk(world, again, next(reversed(bob.calls.values())))
        alice.resubscribe(lamp, 0)
        await end(world, again)


@simulated()
async def test_2_18_click_to_dial():
    async with World(18) as world:
        alice, bob = await world.phone("1001"), await world.phone("1002", behaviour=ring())
        outside = await alice.request(
            "REFER",
            "sip:1001@office.example",
            headers=(("Refer-To", "<sip:1002@office.example>"),),
        )
        assert outside.status == 403
        world.switch.call_desk.originate("1001", "1002")
        alices = await alice.incoming()
        bobs = await bob.incoming()
        assert alices.state == "up", "her own telephone is there before his rings"
        bobs.answer()
        await asyncio.sleep(1)
        assert talk(world, alices, bobs)
        await end(world, alices)
