"""What handlers of an embedding program can do with a call: say, send on, ask; on virtual time."""

from __future__ import annotations

import asyncio
from datetime import date

import pytest

from softswitch import Call, CallEnded
from softswitch.call.running import TRANSFERS_MAX
from softswitch.errors import CallError, CallTransferred
from softswitch.sim.behaviour import answer, busy, ring
from softswitch.sim.loop import simulated
from softswitch.sim.world import World, small_office

OFFICE = small_office(
    extensions=3,
    more="""
[[extension]]
number = "2001"
password = "secret-2001"
voicemail = { pin = "4711" }

[[customer]]
phone = ["+8613800000001"]
name = "Wang Wei"
tags = ["vip"]

[[inbound]]
number = "+861001"
to = "ivr:main"

[[ivr]]
name = "main"
number = "7999"
""",
)


def office_with(handler, number="7000"):
    def prepare(switch):
        switch.extension(number)(handler)

    return prepare


def playing(world):
    return [
        source.path.rsplit("/", 2)[-2:] if hasattr(source, "path") else source.name
        for source in (s.playing[1] for s in world.media.streams.values() if s.playing)
    ]


async def dial(world, number="7000"):
    caller = world.phones.get("1001") or await world.phone("1001")
    call = await caller.call(number)
    await call.answered()
    return call


@simulated()
async def test_values_are_said_in_the_language_of_the_call():
    async def tell(call: Call) -> None:
        await call.answer()
        await call.say("position", 12)
        call.language = "zh"
        await call.say("position", 12)
        with pytest.raises(ValueError, match="cannot be said"):
            await call.say("date", 5)
        await call.say("date", date(2026, 10, 1))

    async with World(1, office=OFFICE, prepare=office_with(tell)) as world:
        call = await dial(world)
        heard = []
        while call.state == "up":
            now = playing(world)
            if now and (not heard or heard[-1] != now[0]):
                heard.append(now[0])
            await asyncio.sleep(0.2)
        english, chinese = [["en", "12.flac"]], ["10", "2", "position-counter"]
        assert heard[:4] == [*english, *(["zh", f"{name}.flac"] for name in chinese)]
        date_pieces = ["2", "0", "2", "6", "year-mark", "10", "month-mark", "1", "day-mark"]
        assert heard[4:] == [["zh", f"{name}.flac"] for name in date_pieces]
        await world.settle()


@simulated()
@pytest.mark.parametrize(
    ("to", "kind"),
    [
        ("extension:1002", "extension"),
        ("voicemail:2001", "voicemail"),
        ("ivr:main", "ivr"),
        ("1002", "extension"),
        ("*43", "echo"),
        ("90105551234", "trunk"),
    ],
)
async def test_a_handler_sends_the_call_on_for_good(to, kind):
    left = []

    async def send(call: Call) -> None:
        await call.answer()
        await call.play("music:default", repeat=True)
        try:
            await call.transfer(to)
        except CallTransferred:
            left.append(to)
            raise

    async with World(2, office=OFFICE, prepare=office_with(send)) as world:
        await world.phone("1002")
        await world.trunk("carrier-1")
        call = await dial(world)
        await asyncio.sleep(1)
        assert left == [to]
        kinds = [entry.data["kind"] for entry in world.journal.of_kind("call-routed")]
        assert kinds == ["handler", kind]
        assert ["music", "default.flac"] not in playing(world)
        assert call.state == "up"
        call.hang_up()
        await call.ended()
        await world.settle()


@simulated()
@pytest.mark.parametrize(
    "to",
    ["extension:9999", "voicemail:1002", "queue:none", "trunk:carrier-1", "nowhere:x", "12345"],
)
async def test_nowhere_is_refused_and_the_call_stays(to):
    async def send(call: Call) -> None:
        await call.answer()
        with pytest.raises(CallError, match="nowhere to go"):
            await call.transfer(to)
        await call.play("goodbye")

    async with World(3, office=OFFICE, prepare=office_with(send)) as world:
        call = await dial(world)
        await asyncio.sleep(0.5)
        assert playing(world) == [["en", "goodbye.flac"]]
        await call.ended()
        await world.settle()
        assert world.switch.control.snapshot()["broken"] == 0


@simulated()
async def test_transfer_before_the_answer_lets_the_phone_ring_through():
    async def send(call: Call) -> None:
        await call.transfer("extension:1002")

    async with World(4, office=OFFICE, prepare=office_with(send)) as world:
        await world.phone("1002", behaviour=busy())
        caller = await world.phone("1001")
        call = await caller.call("7000")
        await call.ended()
        assert call.status == 486, "never answered, so SIP says it"
        await world.settle()


@simulated()
@pytest.mark.limit("transfers by applications")
async def test_a_call_may_be_sent_on_so_often():
    moves = 0

    def prepare(switch):
        async def send(call: Call) -> None:
            nonlocal moves
            moves += 1
            await call.transfer("7000" if moves < TRANSFERS_MAX else "1002")

        switch.extension("7000")(send)

    async with World(5, office=OFFICE, prepare=prepare) as world:
        caller = await world.phone("1001")
        await world.phone("1002", behaviour=answer())
        call = await caller.call("7000")
        await call.answered()
        assert moves == TRANSFERS_MAX
        call.hang_up()
        await world.settle()


@simulated()
@pytest.mark.limit("transfers by applications")
async def test_handlers_that_send_a_call_to_each_other_end():
    seen = []

    def prepare(switch):
        for number, other in (("7000", "7001"), ("7001", "7000")):

            async def send(call: Call, other: str = other) -> None:
                seen.append(other)
                await call.transfer(other)

            switch.extension(number)(send)

    async with World(5, office=OFFICE, prepare=prepare) as world:
        caller = await world.phone("1001")
        call = await caller.call("7000")
        await call.ended()
        assert call.status == 482
        assert len(seen) == TRANSFERS_MAX + 1
        await world.settle()


@simulated()
@pytest.mark.parametrize("ringback", [True, False])
async def test_an_answered_caller_hears_it_ring_unless_he_is_not_to(ringback):
    async def reach(call: Call) -> None:
        await call.answer()
        await call.play("music:default", repeat=True)
        await call.dial("extension:1002", ring_s=5.0, ringback=ringback)
        await call.play("unavailable")

    async with World(6, office=OFFICE, prepare=office_with(reach)) as world:
        callee = await world.phone("1002", behaviour=ring())
        call = await dial(world)
        await asyncio.sleep(1)
        assert playing(world) == (["ringback"] if ringback else [["music", "default.flac"]])
        await asyncio.sleep(5)
        assert playing(world) == [["en", "unavailable.flac"]]
        await call.ended()
        callee.behaviour = answer(after_s=1.0)
        call = await dial(world)
        await asyncio.sleep(3)
        bridged = [s for s in world.media.streams.values() if s.bridged_to is not None]
        assert len(bridged) == 2
        assert "ringback" not in playing(world)
        call.hang_up()
        await call.ended()
        await world.settle()


@simulated()
async def test_customers_are_known_by_their_number():
    seen = []

    async def greet(call: Call) -> None:
        seen.append((call.customer.name if call.customer else None, call.priority))
        call.priority = 9
        seen.append(call.priority)

    text = OFFICE + '\n[[inbound]]\nnumber = "+862000"\nto = "extension:1001"\n'
    async with World(7, office=text, prepare=office_with(greet)) as world:
        await dial_unanswered(world, "1001")
        assert seen == [(None, None), 9]
        assert world.switch.control.customer_of("8613800000001").name == "Wang Wei"
        assert world.switch.control.customer_of("+8613800000002") is None
        await world.settle()


async def dial_unanswered(world, number):
    caller = await world.phone(number)
    call = await caller.call("7000")
    await call.ended()
    return call


@simulated()
async def test_whoever_hangs_up_ends_every_verb():
    ended = []

    def prepare(switch):
        verbs = {
            "7000": lambda call: call.say("duration", 3661),
            "7001": lambda call: call.record_voicemail("2001"),
            "7002": lambda call: call.collect(["main-menu", "goodbye"], timeout_s=100),
            "7003": lambda call: call.play_all(["main-menu", "goodbye"]),
            "7004": lambda call: call.next_digit(None),
        }
        for number, verb in verbs.items():

            async def run(call: Call, number: str = number, verb=verb) -> None:
                await call.answer()
                try:
                    await verb(call)
                except CallEnded:
                    ended.append(number)
                    raise

            switch.extension(number)(run)

    async with World(8, office=OFFICE, prepare=prepare) as world:
        for number in ("7000", "7001", "7002", "7003", "7004"):
            call = await dial(world, number)
            await asyncio.sleep(1)
            call.hang_up()
            await call.ended()
        await world.settle()
        assert ended == ["7000", "7001", "7002", "7003", "7004"]
        assert world.switch.control.snapshot()["broken"] == 0


@simulated()
async def test_a_handler_hears_a_fax_and_nothing_that_it_did_not_ask_for():
    told = []

    async def listen(call: Call) -> None:
        await call.answer()
        told.append(await call.hear_line("cng", "ced", timeout_s=5.0))
        told.append(await call.hear_line(timeout_s=2.0))
        told.append(await call.hear_line(country="us"))

    async with World(2, office=OFFICE, prepare=office_with(listen)) as world:
        call = await dial(world)
        await asyncio.sleep(1)
        ((stream_id, stream),) = world.media.streams.items()
        assert stream.progress == "cn"
        world.media.hear(stream_id, "person")
        await asyncio.sleep(0.1)
        assert told == []
        world.media.hear(stream_id, "cng")
        await asyncio.sleep(2.5)
        assert told == ["cng", ""]
        assert stream.progress == "us"
        world.media.hear(stream_id, "busy")
        await asyncio.sleep(0.1)
        assert told == ["cng", "", "busy"]
        await call.ended()
        await world.settle()


@simulated()
async def test_a_handler_that_dials_hears_whether_a_machine_has_answered_there():
    told = []

    async def deliver(call: Call) -> None:
        await call.answer()
        talking = asyncio.create_task(call.dial("extension:1002"))
        told.append(await call.hear_line("machine", "person", line="partner", timeout_s=20.0))
        told.append(call.has_partner)
        told.append(await call.hear_line("beep", line="partner", timeout_s=20.0))
        await talking

    async with World(2, office=OFFICE, prepare=office_with(deliver)) as world:
        await world.phone("1002", behaviour=answer(after_s=3.0, hang_up_after_s=4.0))
        call = await dial(world)
        await asyncio.sleep(1)
        assert [s.progress for s in world.media.streams.values()] == [None, None]
        await asyncio.sleep(4)
        caller, partner = world.media.streams.items()
        assert (caller[1].progress, partner[1].progress) == (None, "cn")
        world.media.hear(partner[0], "machine")
        await asyncio.sleep(0.1)
        assert told == ["machine", True]
        await asyncio.sleep(4)
        assert told == ["machine", True, ""]  # nobody is left to be heard
        call.hang_up()
        await world.settle()
        assert world.switch.control.snapshot()["broken"] == 0


@simulated()
async def test_only_two_lines_can_be_listened_to():
    problems = []

    async def listen(call: Call) -> None:
        await call.answer()
        try:
            await call.hear_line(line="agent")  # type: ignore[arg-type]
        except CallError as error:
            problems.append(str(error))

    async with World(2, office=OFFICE, prepare=office_with(listen)) as world:
        await dial(world)
        await world.settle()
    assert problems == ["line 'agent'; allowed: caller, partner"]


@simulated()
async def test_a_caller_who_leaves_while_he_is_listened_to_ends_the_handler():
    over = []

    async def listen(call: Call) -> None:
        await call.answer()
        try:
            await call.hear_line(timeout_s=60.0)
        except CallEnded:
            over.append(True)
            raise

    async with World(2, office=OFFICE, prepare=office_with(listen)) as world:
        call = await dial(world)
        await asyncio.sleep(1)
        call.hang_up()
        await world.settle()
        assert over == [True]
