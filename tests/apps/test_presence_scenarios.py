"""Message waiting, busy lamps, presence and MESSAGE between extensions, on virtual time."""

from __future__ import annotations

import asyncio
import re

import pytest

from softswitch.apps.messages import BURST, OCTETS_MAX
from softswitch.apps.presence import WATCHES_MAX
from softswitch.sim.behaviour import ring
from softswitch.sim.link import Link
from softswitch.sim.loop import SimulationError, simulated
from softswitch.sim.world import World, small_office
from softswitch.sip.events import NotifyReceived, SubscriptionEnded

MAILBOX = """
[[extension]]
number = "2001"
password = "secret-2001"
voicemail = { pin = "4711" }
"""
PIDF = (
    b'<?xml version="1.0"?><presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:1001@x">'
    b'<tuple id="a"><status><basic>open</basic></status><note>Gone <b/>fishing</note></tuple></presence>'
)


def states(phone, subscription):
    return [
        event.body.partition(b"<state>")[2].partition(b"<")[0].decode()
        for event in phone.notified
        if isinstance(event, NotifyReceived) and event.subscription == subscription
    ]


@simulated()
async def test_a_busy_lamp_follows_calls():
    async with World(1) as world:
        watcher = await world.phone("1003")
        caller = await world.phone("1001")
        callee = await world.phone("1002", behaviour=ring())
        lamp = watcher.subscribe("dialog", "1002")
        first = await watcher.notification(lamp)
        assert (first.state, first.expires_s) == ("active", 3600)
        assert b'version="1" state="full"' in first.body
        call = await caller.call("1002")
        other = await callee.incoming()
        await asyncio.sleep(0.1)
        other.answer()
        await asyncio.sleep(0.1)
        call.hang_up()
        await asyncio.sleep(0.1)
        seen = states(watcher, lamp)
        # Ringing is told again once the telephone's answer has given the dialog its tag.
        assert seen == ["", "early", "early", "confirmed", "terminated"]
        for number, event in enumerate(watcher.notified, 1):
            assert f'dialog-info" version="{number}" state="full"'.encode() in event.body
        watcher.resubscribe(lamp, 0)
        await asyncio.sleep(1)
        assert isinstance(watcher.notified[-1], SubscriptionEnded)
        await world.settle()


@simulated()
async def test_the_lamp_names_the_dialog_as_the_phone_knows_it():
    async with World(2) as world:
        watcher, caller = await world.phone("1003"), await world.phone("1001")
        callee = await world.phone("1002", behaviour=ring())
        lamp = watcher.subscribe("dialog", "1002")
        call = await caller.call("1002")
        other = await callee.incoming()
        await asyncio.sleep(0.1)
        body = watcher.notified[-1].body.decode()
        invite = other.invite.request
        assert f'call-id="{invite.call_id}"' in body
        assert f'remote-tag="{invite.from_.tag}"' in body
        assert "<identity>sip:1001@office.example</identity>" in body
        call.hang_up()
        watcher.resubscribe(lamp, 0)
        await world.settle()


@simulated()
async def test_presence_is_registration_and_calls():
    async with World(3) as world:
        watcher = await world.phone("1003")
        watch = watcher.subscribe("presence", "1001")
        assert b"<basic>closed</basic>" in (await watcher.notification(watch)).body
        phone = await world.phone("1001")
        assert b"<basic>open</basic>" in (await watcher.notification(watch, 1)).body
        call = await phone.call("*43")
        await call.answered()
        await asyncio.sleep(0.1)
        assert b"<note>On the phone</note>" in watcher.notified[-1].body
        call.hang_up()
        await asyncio.sleep(0.1)
        await phone.unregister()
        await asyncio.sleep(0.1)
        assert b"<basic>closed</basic>" in watcher.notified[-1].body
        watcher.resubscribe(watch, 0)
        await world.settle()


@simulated()
async def test_what_an_extension_publishes_of_itself():
    async with World(4) as world:
        watcher, phone = await world.phone("1003"), await world.phone("1001")
        watch = watcher.subscribe("presence", "1001")
        await watcher.notification(watch)

        async def publish(target="1001", body=PIDF, **headers):
            lines = [("Event", "presence"), *((k.replace("_", "-"), v) for k, v in headers.items())]
            uri = f"sip:{target}@office.example"
            kind = "application/pidf+xml" if body else None
            return await phone.request("PUBLISH", uri, headers=lines, body=body, content_type=kind)

        made = await publish(Expires="100", body=PIDF.replace(b"<b/>", b""))
        assert made.status == 200
        await asyncio.sleep(0.1)
        assert b"<note>Gone fishing</note>" in watcher.notified[-1].body
        assert (await publish(target="1002")).status == 403, "one's own only"
        assert (await publish(SIP_If_Match="other")).status == 412
        etag = made.headers.get("SIP-ETag")
        again = await publish(SIP_If_Match=etag, body=b"", Expires="100")
        assert again.status == 200
        assert again.headers.get("SIP-ETag") != etag
        await asyncio.sleep(101)
        assert b"<note>" not in watcher.notified[-1].body
        assert (await publish(body=b"")).status == 400
        watcher.resubscribe(watch, 0)
        await world.settle()


@simulated()
async def test_message_waiting():
    async with World(5, office=small_office(more=MAILBOX)) as world:
        owner, caller = await world.phone("2001"), await world.phone("1001")
        watch = owner.subscribe("message-summary", "*97")
        first = await owner.notification(watch)
        assert first.body.startswith(b"Messages-Waiting: no\r\n")
        boxes = world.switch.catalogue.mailboxes
        for tell in boxes.on_changed:
            tell("2001", 1, 0)
        again = await owner.notification(watch, 1)
        assert b"Voice-Message: 0/0 (0/0)\r\n" in again.body
        no_box = caller.subscribe("message-summary", "1001")
        with pytest.raises(SimulationError, match="404"):
            await caller.notification(no_box)
        owner.resubscribe(watch, 0)
        await world.settle()


@simulated()
@pytest.mark.parametrize(
    ("event", "number", "headers", "status"),
    [
        ("weather", "1002", (), 489),
        ("dialog", "9999", (), 404),
        ("dialog", "1002", (("Accept", "text/plain"),), 406),
    ],
)
async def test_what_is_refused(event, number, headers, status):
    async with World(6) as world:
        phone = await world.phone("1001")
        watch = phone.subscribe(event, number, headers=headers)
        with pytest.raises(SimulationError, match=str(status)):
            await phone.notification(watch)
        stranger = await world.phone("1002", register=False, password="wrong-password")
        with pytest.raises(SimulationError, match="401"):
            await stranger.notification(stranger.subscribe("dialog", "1001"))
        brief = phone.subscribe("dialog", "1002", expires_s=59)
        with pytest.raises(SimulationError, match="423"):
            await phone.notification(brief)
        await world.settle()


@simulated()
@pytest.mark.limit("subscriptions of an extension")
async def test_one_extension_holds_so_many_and_no_more():
    async with World(7) as world:
        phone = await world.phone("1001")
        held = [phone.subscribe("dialog", "1002") for _ in range(WATCHES_MAX)]
        await asyncio.sleep(1)
        assert world.switch.snapshot()["apps"]["presence"]["watches"] == WATCHES_MAX
        second = await world.phone("1001")
        with pytest.raises(SimulationError, match="403"):
            await second.notification(second.subscribe("dialog", "1002"))
        phone.resubscribe(held[0], 0)
        await asyncio.sleep(1)
        held[0] = phone.subscribe("dialog", "1002")
        await phone.notification(held[0])
        # Started anew it subscribes again before the old ones have expired: those of its own give way.
        held.append(phone.subscribe("dialog", "1002"))
        await phone.notification(held[-1])
        await asyncio.sleep(1)
        assert world.switch.snapshot()["apps"]["presence"]["watches"] == WATCHES_MAX
        for watch in held:
            phone.resubscribe(watch, 0)
        await world.settle()
        assert world.switch.snapshot()["apps"]["presence"]["watches"] == 0


@simulated()
async def test_a_subscription_that_is_not_refreshed_or_whose_phone_vanished_ends():
    async with World(8) as world:
        phone = await world.phone("1001")
        watch = phone.subscribe("dialog", "1002", expires_s=100)
        await phone.notification(watch)
        await asyncio.sleep(60)
        phone.resubscribe(watch, 100)
        await asyncio.sleep(90)
        assert world.switch.snapshot()["sip"]["subscriptions"] == 1
        await asyncio.sleep(20)
        last = [e for e in phone.notified if isinstance(e, NotifyReceived)][-1]
        assert (last.state, last.reason) == ("terminated", "timeout")
        gone = await world.phone("1003")
        await gone.notification(gone.subscribe("dialog", "1001"))
        world.network.cut(gone.local[0])
        call = await phone.call("*43")
        await call.answered()
        await asyncio.sleep(40)
        assert world.switch.snapshot()["apps"]["presence"]["watches"] == 0
        call.hang_up()
        await asyncio.sleep(80)


@simulated()
async def test_an_exchange_that_stops_asks_its_watchers_to_come_again():
    """Else their lamps would show nothing new until the subscription runs out, up to an hour later."""
    async with World(9) as world:
        watcher = await world.phone("1001")
        for number in ("1002", "1003"):
            await watcher.notification(watcher.subscribe("dialog", number))
        await asyncio.sleep(1)
        await world.switch.stop()
        await asyncio.sleep(1)
        last = [e for e in watcher.notified if isinstance(e, NotifyReceived)][-2:]
        assert [(e.state, e.reason) for e in last] == [("terminated", "probation")] * 2
        notified = [e.data for e in world.trace if e.data.startswith(b"NOTIFY ")][-2:]
        assert all(
            re.search(rb"terminated;reason=probation;retry-after=[0-9]+", d) for d in notified
        )


@simulated()
async def test_subscriptions_survive_a_lossy_network():
    async with World(9, link=Link(loss=0.2, duplicate=0.1, delay_s=0.05)) as world:
        watcher, phone = await world.phone("1003"), await world.phone("1001")
        watch = watcher.subscribe("dialog", "1001")
        await watcher.notification(watch)
        for _ in range(5):
            call = await phone.call("*43")
            await call.answered()
            await asyncio.sleep(20)
            call.hang_up()
            await asyncio.sleep(20)
            assert states(watcher, watch)[-1] == "terminated"
        assert "confirmed" in states(watcher, watch)
        watcher.resubscribe(watch, 0)
        await world.settle()


@simulated()
async def test_messages_between_extensions():
    async with World(10) as world:
        sender, receiver = await world.phone("1001"), await world.phone("1002")

        async def send(number="1002", body=b"Lunch?", **told):
            uri = f"sip:{number}@office.example"
            lines = [(name.replace("_", "-"), value) for name, value in told.items()]
            return (
                await sender.request(
                    "MESSAGE", uri, headers=lines, body=body, content_type="text/plain"
                )
            ).status

        assert await send(Content_Encoding="gzip", Subject="Noon", Priority="urgent") == 200
        (event,) = [e for e in receiver.received if e.request.method == "MESSAGE"]
        told = [event.request.headers.get(n) for n in ("Content-Encoding", "Subject", "Priority")]
        assert told == ["gzip", "Noon", None]
        assert event.request.body == b"Lunch?"
        assert "Contact" not in event.request.headers
        assert event.request.from_.uri.username == "1001"
        assert await send("1003") == 480
        assert await send("5555") == 404
        assert await send(body=b"x" * OCTETS_MAX) == 200
        assert await send(body=b"x" * (OCTETS_MAX + 1)) == 413
        await asyncio.sleep(60)
        assert {await send() for _ in range(int(BURST))} == {200}
        assert await send() == 503
        await asyncio.sleep(10)
        assert await send() == 200
        await world.settle()
