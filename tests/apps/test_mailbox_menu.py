"""The owner at his mailbox: PIN, review, greeting; and that PINs cannot be tried out."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softswitch.apps.mailbox import Mailboxes
from softswitch.apps.pin_guard import STRANGERS_MAX, WINDOW_S, WRONG_MAX, PinGuard
from softswitch.sim.loop import simulated
from softswitch.sim.world import World, small_office

BOXES = """
[[extension]]
number = "2001"
password = "secret-2001"
voicemail = { pin = "4711" }

[[extension]]
number = "2002"
password = "secret-2002"
voicemail = { pin = "4712" }
forward = { always = "voicemail" }
"""


def office():
    return small_office(extensions=1, more=BOXES)


def boxes(world):
    return world.switch.catalogue.mailboxes


def playing(world):
    """What the newest stream hears: the name of the prompt."""
    stream = world.media.streams[max(world.media.streams)]
    return stream.playing[1].path.rsplit("/", 1)[1].rsplit(".", 1)[0] if stream.playing else ""


async def heard_until(world, name, longest_s=60.0):
    """The prompts that are played until `name` begins, in order."""
    heard = []
    end_s = world.clock.monotonic_s() + longest_s
    while world.clock.monotonic_s() < end_s:
        now = playing(world)
        if now and (not heard or heard[-1] != now):
            heard.append(now)
        if now == name:
            return heard
        await asyncio.sleep(0.25)
    raise AssertionError(f"{name} was not played, but {heard}")


async def leave_message(world, seconds=4.0):
    call = await world.phones["1001"].call("2002")
    await call.answered()
    await asyncio.sleep(4.3 + seconds)
    call.hang_up()
    await call.ended()
    await asyncio.sleep(1)


async def open_box(world, phone, digits="4712#"):
    call = await phone.call("*97")
    await call.answered()
    await heard_until(world, "mailbox-pin")
    world.media.press_newest(digits)
    return call


@simulated()
async def test_messages_are_heard_kept_and_deleted():
    async with World(1, office=office()) as world:
        await world.phone("1001")
        owner = await world.phone("2002")
        for _ in range(3):
            await leave_message(world)
        first, second, third = boxes(world).messages("2002")
        call = await open_box(world, owner)
        heard = await heard_until(world, first.message_id)
        assert heard[1:4] == ["mailbox-you-have", "3", "mailbox-new-messages"]
        assert heard[4:8] == ["mailbox-message-from", "1", "0", "1"]
        assert heard[8].startswith("weekday-")
        world.media.press_newest("3")  # in the middle of it
        await heard_until(world, "mailbox-deleted")
        await heard_until(world, second.message_id)
        await heard_until(world, "mailbox-menu")
        world.media.press_newest("1")
        await heard_until(world, second.message_id)
        await heard_until(world, "mailbox-menu")
        world.media.press_newest("2")
        await heard_until(world, third.message_id)
        world.media.press_newest("#")  # enough: this one stays new
        await heard_until(world, "mailbox-options")
        world.media.press_newest("#")
        await heard_until(world, "goodbye")
        await call.ended()
        assert boxes(world).counts("2002") == (1, 1)
        assert [m.message_id for m in boxes(world).messages("2002")] == [
            third.message_id,
            second.message_id,
        ]
        assert not boxes(world).path_of(first).exists()
        await world.settle()


OUTSIDE = """
[[inbound]]
number = "+861065551000"
to = "voicemail:2001"
[[inbound]]
number = "+861065551001"
to = "voicemail:2002"
"""


@simulated()
@pytest.mark.parametrize(
    ("rights", "outcome"),
    [('["internal", "national"]', "trunk"), ('["internal"]', "mailbox-cannot-call")],
)
async def test_calling_back_takes_the_rights_of_the_owner(rights, outcome):
    text = office() + OUTSIDE
    text = text.replace('number = "2002"\n', f'number = "2002"\npermissions = {rights}\n')
    async with World(9, office=text) as world:
        carrier = await world.trunk("carrier-1")
        sender = await carrier.call("+861065551001", from_user="01055550001")
        await sender.answered()
        await asyncio.sleep(9)
        sender.hang_up()
        await sender.ended()
        await asyncio.sleep(1)
        # Another telephone, which may dial anything, and the owner's PIN.
        stranger = await world.phone("1001")
        call = await stranger.call("*97")
        await call.answered()
        await heard_until(world, "mailbox-number")
        world.media.press_newest("2002#")
        await heard_until(world, "mailbox-pin")
        world.media.press_newest("4712#")
        await heard_until(world, "mailbox-menu")
        world.media.press_newest("8")
        if outcome == "trunk":
            rung = await carrier.incoming()
            routed = [e.data for e in world.journal.of_kind("call-routed")][-1]
            assert (routed["kind"], routed["name"]) == ("trunk", "01055550001")
            await asyncio.sleep(2)
            assert rung.state == "up"
        else:
            await heard_until(world, outcome)
            assert [
                e for e in world.journal.of_kind("call-routed") if e.data["kind"] == "trunk"
            ] == []
        call.hang_up()
        await call.ended()
        await world.settle()


@simulated()
async def test_a_colleague_is_called_back_at_his_extension():
    async with World(10, office=office()) as world:
        phone = await world.phone("1001")
        owner = await world.phone("2002")
        await leave_message(world)
        call = await open_box(world, owner)
        await heard_until(world, "mailbox-menu")
        world.media.press_newest("8")
        assert (await phone.incoming()).number == "2002"
        await asyncio.sleep(2)
        assert boxes(world).counts("2002") == (0, 1), "heard"
        call.hang_up()
        await call.ended()
        await world.settle()


@simulated()
async def test_an_own_greeting_is_recorded_judged_and_dropped():
    async with World(2, office=office()) as world:
        await world.phone("1001")
        owner = await world.phone("2002")
        for decision, own in (("1", True), ("3", False)):
            call = await open_box(world, owner)
            await heard_until(world, "mailbox-options")
            world.media.press_newest("2")
            await heard_until(world, "beep")
            await asyncio.sleep(5)
            world.media.press_newest("#")
            await heard_until(world, "mailbox-greeting-menu")
            world.media.press_newest(decision)
            await call.ended()
            assert (boxes(world).greeting("2002") is not None) == own
            caller = await world.phones["1001"].call("2002")
            await caller.answered()
            await asyncio.sleep(0.5)
            assert playing(world).startswith("greeting-2002-" if own else "voicemail-greeting")
            caller.hang_up()
            await caller.ended()
            again = Mailboxes(world.switch.directory, world.clock, world.journal)
            await again.start()
            assert again.greeting("2002") == boxes(world).greeting("2002")
        left = [p.name for p in (world.switch.directory / "recordings").iterdir()]
        assert not [name for name in left if name.startswith("2002")]
        await world.settle()


@simulated()
async def test_three_wrong_pins_end_the_call_and_nothing_of_them_is_written_down():
    async with World(3, office=office()) as world:
        owner = await world.phone("2002")
        call = await open_box(world, owner, "9999#")
        for _ in range(2):
            await heard_until(world, "mailbox-wrong-pin")
            await heard_until(world, "mailbox-pin")
            world.media.press_newest("4711#")  # somebody else's
        await call.ended()
        digits = {entry.data["digit"] for entry in world.journal.of_kind("digit")}
        assert digits == {"?"}
        assert [e.data["what"] for e in world.journal.of_kind("mailbox-entered")] == [
            "wrong PIN"
        ] * 3
        await world.settle()


@simulated()
async def test_a_stranger_is_locked_out_the_owner_is_not():
    async with World(4, office=office()) as world:
        stranger, owner = await world.phone("1001"), await world.phone("2002")
        for attempt in range(WRONG_MAX // 3):
            call = await stranger.call("*97")
            await call.answered()
            for _ in range(3):
                await heard_until(world, "mailbox-number")
                world.media.press_newest("2002#")
                await heard_until(world, "mailbox-pin")
                world.media.press_newest(f"{attempt:04}#")
            await call.ended()
        call = await stranger.call("*97")
        await call.answered()
        await heard_until(world, "mailbox-number")
        world.media.press_newest("2002#")
        await heard_until(world, "mailbox-locked")
        await call.ended()
        call = await open_box(world, owner)
        await heard_until(world, "mailbox-no-messages")
        call.hang_up()
        await call.ended()
        await asyncio.sleep(WINDOW_S)
        call = await stranger.call("*97")
        await call.answered()
        await heard_until(world, "mailbox-number")
        world.media.press_newest("2002#")
        await heard_until(world, "mailbox-pin")
        world.media.press_newest("4712#")
        await heard_until(world, "mailbox-no-messages")
        call.hang_up()
        await call.ended()
        await world.settle()


@simulated()
async def test_a_box_that_does_not_exist_is_asked_for_its_pin_too():
    async with World(5, office=office()) as world:
        stranger = await world.phone("1001")
        call = await stranger.call("*97")
        await call.answered()
        await heard_until(world, "mailbox-number")
        world.media.press_newest("5555#")
        await heard_until(world, "mailbox-pin")
        world.media.press_newest("1234#")
        await heard_until(world, "mailbox-wrong-pin")
        call.hang_up()
        await call.ended()
        await world.settle()


@simulated()
async def test_from_another_phone_the_star_asks_for_the_box():
    async with World(6, office=office()) as world:
        phone = await world.phone("2001")
        call = await open_box(world, phone, "*#")
        await heard_until(world, "mailbox-number")
        world.media.press_newest("2002#")
        await heard_until(world, "mailbox-pin")
        world.media.press_newest("4712#")
        await heard_until(world, "mailbox-no-messages")
        call.hang_up()
        await call.ended()
        await world.settle()


# -- the guard --------------------------------------------------------------------------------------


@pytest.mark.limit("wrong PINs")
def test_one_source_may_be_wrong_nine_times_an_hour():
    guard = PinGuard()
    for second in range(WRONG_MAX):
        assert not guard.is_locked("box", "a", float(second))
        guard.wrong("box", "a", float(second))
    assert guard.is_locked("box", "a", 10.0)
    assert not guard.is_locked("box", "b", 10.0)
    assert not guard.is_locked("other", "a", 10.0)
    assert guard.is_locked("box", "a", WINDOW_S - 0.1)
    assert not guard.is_locked("box", "a", WINDOW_S)
    guard.right("box", "a")
    assert not guard.is_locked("box", "a", 10.0)


@pytest.mark.limit("wrong PINs of strangers")
def test_many_strangers_together_do_not_get_further_and_leave_the_owner_alone():
    guard = PinGuard()
    for number in range(STRANGERS_MAX):
        assert not guard.is_locked("box", f"s{number}", 0.0)
        guard.wrong("box", f"s{number}", 0.0)
    assert guard.is_locked("box", "another", 1.0)
    assert not guard.is_locked("box", "owner", 1.0, owner=True)


tries = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.floats(0, 400)), max_size=120
)


@given(tries)
def test_no_source_ever_has_more_tries_in_an_hour_than_it_may(attempts):
    guard = PinGuard(wrong_max=4, strangers_max=8)
    taken, now_s = [], 0.0
    for thing, source, pause_s in attempts:
        now_s += pause_s
        if not guard.is_locked(thing, source, now_s):
            guard.wrong(thing, source, now_s)
            taken.append((now_s, thing, source))
    for at_s, thing, source in taken:
        window = [t for t in taken if at_s <= t[0] < at_s + WINDOW_S and t[1] == thing]
        assert len([t for t in window if t[2] == source]) <= 4
        assert len(window) <= 8


@pytest.mark.parametrize("entries", [1, 5])
def test_the_guard_is_bounded(entries):
    guard = PinGuard(entries_max=entries)
    for number in range(50):
        guard.wrong("box", f"s{number}", float(number), owner=True)
        assert guard.snapshot()["watched"] <= entries
