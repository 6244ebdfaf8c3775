"""Messages left: by destination, by forward, from a menu; kept whole, counted, bounded."""

from __future__ import annotations

import asyncio

import pytest
import soundfile

from softswitch import Call
from softswitch.apps.mailbox import Mailboxes, Message
from softswitch.clock import SystemClock
from softswitch.errors import CallError
from softswitch.sim.behaviour import ring
from softswitch.sim.loop import simulated
from softswitch.sim.world import World, small_office

BOXES = """
[[inbound]]
number = "+861065551000"
to = "ivr:main"

[[ivr]]
name = "main"
options = { "3" = "voicemail:2001" }
dial_extension = false

[[extension]]
number = "2001"
password = "secret-2001"
voicemail = { pin = "4711" }

[[extension]]
number = "2002"
password = "secret-2002"
voicemail = { pin = "4712" }
forward = { no_answer = "voicemail", after_s = 25 }
"""


def office():
    return small_office(extensions=2, more=BOXES)


def boxes(world) -> Mailboxes:
    return world.switch.catalogue.mailboxes


def playing(world):
    return [s.playing[1].path for s in world.media.streams.values() if s.playing is not None]


async def reach_the_beep(world):
    """Greeting and beep last two seconds each in a simulated world."""
    await asyncio.sleep(4.5)
    assert len(world.media.recordings) == 1


@simulated()
async def test_an_unanswered_call_is_forwarded_to_the_mailbox_and_the_message_kept():
    async with World(1, office=office()) as world:
        caller = await world.phone("1001")
        await world.phone("2002", behaviour=ring())
        call = await caller.call("2002")
        await call.answered()
        assert call.times["up"] - call.times["calling"] == pytest.approx(25.0, abs=0.2)
        await asyncio.sleep(0.5)
        assert playing(world)[0].endswith("voicemail-greeting.flac")
        await reach_the_beep(world)
        await asyncio.sleep(7)
        world.media.press_newest("#1")
        await asyncio.sleep(1)
        assert playing(world)[0].endswith("voicemail-saved.flac")
        await call.ended()
        (message,) = boxes(world).messages("2002")
        assert message.number_from == "1001"
        assert message.duration_s == pytest.approx(7.5, abs=0.6)
        frames, rate = soundfile.read(boxes(world).path_of(message))
        assert len(frames) / rate == pytest.approx(message.duration_s)
        assert boxes(world).counts("2002") == (1, 0)
        (entry,) = world.journal.of_kind("voicemail-left")
        assert entry.data["box"] == "2002"
        assert not world.journal.of_kind("recording-started"), "a message is no call recording"
        await world.settle()
        assert world.switch.catalogue.snapshot()["voicemail"]["being_recorded"] == 0


@simulated()
async def test_a_message_that_a_full_disk_ends_is_kept_as_far_as_it_goes_and_raises_an_alarm():
    async with World(1, office=office()) as world:
        caller = await world.phone("1001")
        await world.phone("2002", behaviour=ring())
        call = await caller.call("2002")
        await call.answered()
        await reach_the_beep(world)
        await asyncio.sleep(4)
        world.media.fill_disk()
        await asyncio.sleep(0.5)
        alarm = world.switch.alarms["recording.disk"]
        assert alarm.startswith("voicemail-2002-")
        assert alarm.endswith("No space left on device")
        call.hang_up()
        await world.settle()
        (message,) = boxes(world).messages("2002")
        assert message.duration_s == pytest.approx(4, abs=0.6)
        # The next recording that ends in order says that there is room again.
        again = await caller.call("2002")
        await again.answered()
        await reach_the_beep(world)
        await asyncio.sleep(4)
        again.hang_up()
        await world.settle()
        assert "recording.disk" not in world.switch.alarms


@simulated()
async def test_a_caller_who_hangs_up_has_left_his_message():
    async with World(2, office=office()) as world:
        carrier = await world.trunk("carrier-1")
        call = await carrier.call("+861065551000")
        await call.answered()
        await asyncio.sleep(0.5)
        world.media.press_newest("3")
        await reach_the_beep(world)
        await asyncio.sleep(5)
        call.hang_up()
        await call.ended()
        await world.settle()
        (message,) = boxes(world).messages("2001")
        assert message.duration_s == pytest.approx(5.5, abs=0.6)


@simulated()
async def test_a_key_skips_the_greeting_and_a_short_message_is_asked_for_again():
    async with World(3, office=office()) as world:
        caller = await world.phone("1001")
        call = await caller.call("2002")
        await call.answered()
        await asyncio.sleep(0.2)
        world.media.press_newest("#")
        await asyncio.sleep(2.3)
        world.media.press_newest("#")
        await asyncio.sleep(0.2)
        assert playing(world)[0].endswith("voicemail-too-short.flac")
        await asyncio.sleep(2 + 2 + 3)
        world.media.press_newest("#")
        await call.ended()
        assert boxes(world).counts("2002") == (1, 0)
        await world.settle()


@simulated()
async def test_a_caller_hears_his_message_again_records_it_anew_and_sends_it():
    async with World(12, office=office()) as world:
        caller = await world.phone("1001")
        call = await caller.call("2002")
        await call.answered()
        await reach_the_beep(world)
        await asyncio.sleep(3)
        world.media.press_newest("#")
        await asyncio.sleep(0.5)
        assert "voicemail-review" in playing(world)[0]
        assert boxes(world).counts("2002") == (0, 0), "not sent yet"
        world.media.press_newest("2")
        await asyncio.sleep(0.5)
        assert "/recordings/voicemail-2002-" in playing(world)[0]
        world.media.press_newest("3")
        await asyncio.sleep(3 + 6)
        world.media.press_newest("#")
        await asyncio.sleep(0.5)
        assert "voicemail-review" in playing(world)[0]
        await asyncio.sleep(12)
        await call.ended()
        (message,) = boxes(world).messages("2002")
        assert message.duration_s == pytest.approx(7, abs=1), "the second one, sent by silence"
        assert [p.suffix for p in boxes(world).path_of(message).parent.iterdir()] != [".draft"]
        assert world.switch.catalogue.snapshot()["voicemail"]["being_recorded"] == 0
        assert list((world.switch.directory / "recordings").glob("voicemail-*")) == []
        await world.settle()


@simulated()
@pytest.mark.parametrize(("key", "kept"), [("*", 0), (None, 1)])
async def test_a_caller_takes_his_message_back_or_hangs_up_instead(key, kept):
    async with World(13, office=office()) as world:
        caller = await world.phone("1001")
        call = await caller.call("2002")
        await call.answered()
        await reach_the_beep(world)
        await asyncio.sleep(3)
        world.media.press_newest("#")
        await asyncio.sleep(0.5)
        if key is None:
            call.hang_up()
        else:
            world.media.press_newest(key)
            await asyncio.sleep(0.3)
            assert "voicemail-deleted" in playing(world)[0]
        await call.ended()
        await world.settle()
        assert len(boxes(world).messages("2002")) == kept
        assert list((world.switch.directory / "recordings").glob("voicemail-*")) == []
        assert list(boxes(world).path_of(message_of("2002", "x")).parent.glob("*.draft")) == []


@simulated()
async def test_a_message_lasts_three_minutes_at_most():
    async with World(4, office=office()) as world:
        caller = await world.phone("1001")
        call = await caller.call("2002")
        await call.answered()
        await call.ended()
        (message,) = boxes(world).messages("2002")
        assert message.duration_s == pytest.approx(180.0, abs=0.1)
        await world.settle()


@simulated()
@pytest.mark.limit("messages of a mailbox")
async def test_a_full_box_takes_no_more():
    async with World(5, office=office()) as world:
        caller = await world.phone("1001")
        mailboxes = boxes(world)
        for number in range(99):
            mailboxes.begin(message_of("2002", f"m{number}"))  # as many callers are speaking now
        call = await caller.call("2002")
        await call.answered()
        await reach_the_beep(world)
        await asyncio.sleep(3)
        call.hang_up()
        await call.ended()
        await asyncio.sleep(1)
        assert mailboxes.counts("2002") == (1, 0), "the hundredth"
        with pytest.raises(CallError):
            mailboxes.begin(message_of("2002", "m101"))
        call = await caller.call("2002")
        await call.answered()
        await asyncio.sleep(0.5)
        assert playing(world)[0].endswith("mailbox-full.flac")
        await call.ended()
        assert mailboxes.counts("2002") == (1, 0)
        (entry,) = world.journal.of_kind("voicemail-refused")
        assert entry.data["why"] == "full"
        await world.settle()


@simulated()
async def test_changes_of_a_box_are_told_to_whoever_shows_a_lamp():
    async with World(6, office=office()) as world:
        told = []
        mailboxes = boxes(world)
        mailboxes.on_changed.append(lambda *change: told.append(change))
        caller = await world.phone("1001")
        for _ in range(2):
            call = await caller.call("2002")
            await call.answered()
            await reach_the_beep(world)
            await asyncio.sleep(3)
            call.hang_up()
            await call.ended()
            await asyncio.sleep(1)
        first, second = mailboxes.messages("2002")
        assert first.at_s < second.at_s
        mailboxes.mark_heard(first)
        mailboxes.mark_heard(first)
        assert mailboxes.messages("2002")[0].message_id == second.message_id
        mailboxes.delete(second)
        mailboxes.delete(second)
        assert told == [("2002", 1, 0), ("2002", 2, 0), ("2002", 1, 1), ("2002", 0, 1)]
        assert not mailboxes.path_of(second).exists()
        await world.settle()


@simulated()
async def test_a_handler_takes_messages_for_any_box_of_its_own():
    def prepare(switch):
        @switch.extension("7777")
        async def answer(call: Call) -> None:
            await call.record_voicemail("support")

    async with World(7, office=office(), prepare=prepare) as world:
        caller = await world.phone("1001")
        call = await caller.call("7777")
        await call.answered()
        await reach_the_beep(world)
        await asyncio.sleep(3)
        world.media.press_newest("#")
        await call.ended()
        assert boxes(world).counts("support") == (1, 0)
        await world.settle()


@simulated()
async def test_messages_survive_a_restart_and_a_crash_and_go_after_their_time():
    async with World(8, office=office()) as world:
        caller = await world.phone("1001")
        mailboxes = boxes(world)
        call = await caller.call("2002")
        await call.answered()
        await reach_the_beep(world)
        await asyncio.sleep(3)
        call.hang_up()
        await call.ended()
        await asyncio.sleep(1)
        (kept,) = mailboxes.messages("2002")
        mailboxes.mark_heard(kept)
        # A crash: the recording was running, only half of it reached the disk, its sizes are wrong.
        cut = message_of("2002", "cut", at_s=kept.at_s + 1, call_id=kept.call_id)
        mailboxes.begin(cut)
        whole = mailboxes.path_of(kept).read_bytes()
        name = mailboxes.recording_name(cut)
        mailboxes.recording_path(name).write_bytes(whole[: len(whole) // 2 + 1])
        lost = message_of("2002", "lost")
        mailboxes.begin(lost)

        again = Mailboxes(world.switch.directory, world.clock, world.journal, retain_days=1)
        await again.start()
        assert [m.message_id for m in again.messages("2002")] == ["cut", kept.message_id]
        assert again.counts("2002") == (1, 1)
        frames, rate = soundfile.read(again.path_of(cut))
        assert len(frames) / rate == pytest.approx(kept.duration_s / 2, abs=0.1)
        assert again.snapshot()["being_recorded"] == 0

        await asyncio.sleep(86_401)
        assert again.counts("2002") == (0, 0)
        await again.stop()
        assert [p.name for p in again.path_of(kept).parent.iterdir()] == []
        await world.settle()


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", ".hidden", "a" * 65, "box\0"])
def test_a_box_is_never_a_path(tmp_path, name):
    mailboxes = Mailboxes(tmp_path, clock=SystemClock(), journal=None)
    with pytest.raises(CallError):
        mailboxes.counts(name)


def message_of(box, message_id, at_s=0.0, call_id="c1"):
    return Message(
        message_id=message_id, box=box, call_id=call_id, number_from="1", caller_name="", at_s=at_s
    )
