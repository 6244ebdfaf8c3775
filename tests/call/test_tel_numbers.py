"""tel: wherever SIP lets it stand (RFC 3966, RFC 3261 19.1.6), from telephones and from carriers."""

from __future__ import annotations

import pytest

from softswitch.sim.behaviour import reject
from softswitch.sim.loop import simulated
from softswitch.sim.world import World, small_office


@simulated()
@pytest.mark.parametrize("target", ["tel:1002;phone-context=office.example", "tel:10-02"])
async def test_a_telephone_dials_by_tel(target):
    async with World(1) as world:
        caller, callee = await world.phone("1001"), await world.phone("1002")
        call = await caller.call(target)
        await call.answered()
        assert (await callee.incoming()).invite.request.uri.startswith("sip:1002@")
        call.hang_up()
        await call.ended()
        await world.settle()


@simulated()
async def test_a_carrier_writes_everybody_by_tel():
    async with World(2, office=small_office()) as world:
        phone = await world.phone("1001")
        carrier = await world.trunk("carrier-1")
        call = await carrier.call(
            "tel:+86-1000;npdi",
            headers=(
                ("P-Asserted-Identity", "<tel:+86-139-0000-0009;cpc=ordinary>"),
                ("Diversion", "<tel:+86-10-1234;phone-context=x>;reason=user-busy"),
            ),
        )
        await call.answered()
        told = (await phone.incoming()).invite.request
        assert told.from_.uri.user == "+8613900000009"
        assert told.headers.get("Diversion", "").startswith("<sip:+86101234@")
        call.hang_up()
        await call.ended()
        history = (("History-Info", "<tel:+861234>;index=1, <tel:+861000;cause=302>;index=1.1"),)
        call = await carrier.call("tel:+861000", headers=history)
        await call.answered()
        told = (await phone.incoming()).invite.request
        assert told.headers.get("Diversion", "").startswith("<sip:+861234@")
        call.hang_up()
        await call.ended()
        await world.settle()


@simulated()
async def test_transfers_and_redirections_by_tel():
    async with World(3) as world:
        caller, callee = await world.phone("1001"), await world.phone("1002")
        third = await world.phone("1003")
        call = await caller.call("1002")
        await call.answered()
        (await callee.incoming()).refer("<tel:1003;phone-context=office.example>")
        assert (await third.incoming()).invite is not None
        call.hang_up()
        await call.ended()
        callee.behaviour = reject(302, headers=(("Contact", "<tel:1003>"),))
        call = await caller.call("1002")
        await call.answered()
        assert (await third.incoming()).state == "up"
        call.hang_up()
        await world.settle()


@simulated()
async def test_lamps_and_messages_by_tel():
    async with World(4) as world:
        watcher, friend = await world.phone("1001"), await world.phone("1002")
        lamp = watcher.subscribe("dialog", "tel:1002")
        assert b'entity="sip:1002@' in (await watcher.notification(lamp)).body
        sent = await watcher.request(
            "MESSAGE", "tel:1002", body=b"hello", content_type="text/plain"
        )
        assert sent.status in (200, 202)
        assert [r.request.body for r in friend.received if r.request.method == "MESSAGE"] == [
            b"hello"
        ]
        assert (await watcher.request("OPTIONS", "tel:1002")).status == 200
        assert (await watcher.request("REGISTER", "tel:1001")).status == 416
        assert (await watcher.request("MESSAGE", "urn:service:sos", body=b"x")).status == 416


@simulated()
async def test_nobody_is_somebody_else_by_tel():
    """From says who calls in whatever scheme; who speaks for another is refused as ever."""
    async with World(5) as world:
        caller = await world.phone("1001")
        call = await caller.call("tel:x")
        await call.ended()
        assert call.status == 400
        call = await caller.call("1002", from_user="1003")
        await call.ended()
        assert call.status == 403
        await world.settle()
