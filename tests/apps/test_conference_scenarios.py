"""Conference rooms: who may come in, who hears what, and that nothing is left behind."""

from __future__ import annotations

import asyncio

import pytest

from softswitch import Call
from softswitch.config import InvalidOffice, parse_office
from softswitch.errors import CallError
from softswitch.sim.centre import heard as heard_by
from softswitch.sim.centre import press
from softswitch.sim.loop import simulated
from softswitch.sim.world import World, small_office

ROOMS = """
[[conference]]
number = "8000"
max_participants = 3

[[conference]]
number = "8001"
pin = "1234"

[[ivr]]
name = "main"
number = "7000"
options = { "8" = "conference:8000" }
dial_extension = false
"""


def office(workers=1):
    text = small_office(extensions=5, more=ROOMS)
    return text.replace("workers = 1", f"workers = {workers}")


def rooms(world):
    return world.switch.snapshot()["apps"]["conferences"]["rooms"]


def in_rooms(world):
    return [s.room for s in world.media.streams.values() if s.room is not None]


def heard(world):
    """How many streams hear each sound now."""
    names = [
        s.playing[1].path.rsplit("/", 1)[1].rsplit(".", 1)[0]
        for s in world.media.streams.values()
        if s.playing is not None
    ]
    return {name: names.count(name) for name in names}


async def join(world, number, room="8000"):
    phone = world.phones.get(number) or await world.phone(number)
    call = await phone.call(room)
    await call.answered()
    return call


@simulated()
async def test_the_first_is_told_so_the_others_are_heard_coming_and_going():
    async with World(1, office=office()) as world:
        first = await join(world, "1001")
        await asyncio.sleep(0.5)
        assert heard(world) == {"conference-only-one": 1}
        assert in_rooms(world) == []
        await asyncio.sleep(2)
        second = await join(world, "1002")
        await asyncio.sleep(0.5)
        assert heard(world) == {"conference-enter": 2}
        assert len(set(in_rooms(world))) == 1
        assert len(in_rooms(world)) == 2
        (room,) = rooms(world)
        assert [p["from"] for p in room["participants"]] == ["1001", "1002"]
        second.hang_up()
        await second.ended()
        await asyncio.sleep(0.5)
        assert heard(world) == {"conference-leave": 1}
        first.hang_up()
        await first.ended()
        await world.settle()
        assert rooms(world) == []


@simulated()
async def test_as_many_as_the_room_holds_and_not_one_more():
    async with World(2, office=office()) as world:
        calls = [await join(world, number) for number in ("1001", "1002", "1003")]
        late = await join(world, "1004")
        await asyncio.sleep(0.5)
        assert heard(world)["conference-full"] == 1
        await late.ended()
        assert len(rooms(world)[0]["participants"]) == 3
        calls[1].hang_up()
        await calls[1].ended()
        again = await join(world, "1004")
        await asyncio.sleep(0.5)
        assert len(rooms(world)[0]["participants"]) == 3
        for call in (calls[0], calls[2], again):
            call.hang_up()
            await call.ended()
        await world.settle()


@simulated()
async def test_the_pin_opens_and_is_not_written_down():
    async with World(3, office=office()) as world:
        call = await join(world, "1001", "8001")
        await asyncio.sleep(0.5)
        assert heard(world) == {"conference-pin": 1}
        world.media.press_newest("9999#")
        await asyncio.sleep(0.5)
        assert heard(world) == {"conference-wrong-pin": 1}
        await asyncio.sleep(2)
        world.media.press_newest("1234#")
        await asyncio.sleep(3)
        assert len(in_rooms(world)) == 1
        assert {e.data["digit"] for e in world.journal.of_kind("digit")} == {"?"}
        call.hang_up()
        await call.ended()
        await world.settle()


@simulated()
async def test_three_wrong_pins_end_the_call():
    async with World(4, office=office()) as world:
        call = await join(world, "1001", "8001")
        for _ in range(3):
            await asyncio.sleep(2.5)
            world.media.press_newest("1#")
        await call.ended()
        assert rooms(world) == []
        await world.settle()


@simulated()
@pytest.mark.parametrize("way", ["direct", "menu"])
async def test_all_of_a_room_share_a_worker(way):
    """Three workers; who comes out of a menu has a stream already and is moved by a re-INVITE."""
    async with World(5, office=office(workers=3)) as world:
        calls = []
        for number in ("1001", "1002", "1003"):
            if way == "direct":
                calls.append(await join(world, number))
                continue
            calls.append(await join(world, number, "7000"))
            await asyncio.sleep(0.3)
            world.media.press_newest("8")
            await asyncio.sleep(0.3)
        await asyncio.sleep(4)
        streams = [s for s in world.media.streams.values() if s.room is not None]
        assert len(streams) == len(world.media.streams) == 3
        assert len({s.local.worker for s in streams}) == 1
        assert all(s.params is not None and s.params.remote for s in streams)
        for call in calls:
            call.hang_up()
            await call.ended()
        await world.settle()


@simulated()
async def test_a_moderator_mutes_and_removes():
    async with World(6, office=office()) as world:
        first, second = await join(world, "1001"), await join(world, "1002")
        await asyncio.sleep(3)
        conferences = world.switch.catalogue.conferences
        _, other = rooms(world)[0]["participants"]
        await conferences.mute("8000", other["call_id"])
        assert rooms(world)[0]["participants"][1]["muted"]
        conferences.remove("8000", other["call_id"])
        assert (await second.ended()).by == "remote"
        with pytest.raises(CallError):
            conferences.remove("8000", other["call_id"])
        assert first.state == "up"
        first.hang_up()
        await first.ended()
        await world.settle()


@simulated()
async def test_a_survey_is_tied_to_its_call_and_tells_who_declined():
    scores = []

    def prepare(switch):
        @switch.extension("7777")
        async def ask(call: Call) -> None:
            await call.answer()
            surveys = switch.catalogue.surveys
            score = await surveys.run(call, "satisfaction", queue="support", agent="lilei")
            scores.append(score)

    customer = '\n[[customer]]\nphone = ["1002"]\nname = "Wang Wei"\n'
    text = small_office(extensions=3, more=customer)
    async with World(7, office=text, prepare=prepare) as world:
        answers = []
        for number, key in (("1001", "5"), ("1002", "9"), ("1003", None)):
            call = await join(world, number, "7777")
            await asyncio.sleep(0.5)
            if key is None:
                call.hang_up()
            else:
                world.media.press_newest(key)
            await call.ended()
            await asyncio.sleep(1)
            (entry,) = [e for e in world.journal.of_kind("survey") if e.data["caller"] == number]
            answers.append(entry.data)
        assert [a["score"] for a in answers] == [5, None, None]
        assert answers[1]["customer"] == "Wang Wei"
        assert {a["agent"] for a in answers} == {"lilei"}
        assert scores == [5, None]
        await world.settle()


MODERATED = """
[[conference]]
number = "8002"
pin = "1234"
moderator_pin = "9876"
wait_for_moderator = true
end_with_moderator = true
announce_names = true
"""


async def join_by(world, number, pin, *, name_s=1.5):
    """Enter a PIN, say a name, press #."""
    call = await join(world, number, "8002")
    await asyncio.sleep(0.5)
    press(world, call, f"{pin}#")
    await asyncio.sleep(4.5)  # the question for the name, the beep
    await asyncio.sleep(name_s)
    press(world, call, "#")
    await asyncio.sleep(0.5)
    return call


@simulated()
async def test_a_moderated_conference_from_music_to_the_end():
    async with World(8, office=small_office(extensions=5, more=MODERATED)) as world:
        member = await join_by(world, "1001", "1234")
        assert heard_by(world, member) == "conference-wait"
        await asyncio.sleep(3)
        assert heard_by(world, member) == "music:default"
        assert in_rooms(world) == []
        moderator = await join_by(world, "1002", "9876")
        assert len(in_rooms(world)) == 2
        assert heard_by(world, member).endswith("-name"), "who has come"
        assert heard_by(world, moderator) == "conference-enter"
        (room,) = rooms(world)
        assert [p["moderator"] for p in room["participants"]] == [False, True]
        await asyncio.sleep(5)

        press(world, moderator, "*2")
        await asyncio.sleep(0.2)
        assert [p["muted"] for p in rooms(world)[0]["participants"]] == [True, False]
        assert heard_by(world, member) == "conference-all-muted"
        press(world, moderator, "*3")
        await asyncio.sleep(0.2)
        late = await join(world, "1003", "8002")
        await asyncio.sleep(0.5)
        press(world, late, "1234#")
        await asyncio.sleep(0.5)
        assert heard_by(world, late) == "conference-locked"
        await late.ended()
        press(world, moderator, "*4")
        await asyncio.sleep(0.2)
        assert heard_by(world, member) == "conference-removed"
        await member.ended()
        press(world, moderator, "*3")
        await asyncio.sleep(3)
        other = await join_by(world, "1004", "1234")
        press(world, moderator, "*9")
        await asyncio.sleep(0.3)
        assert heard_by(world, other) == "conference-ended"
        await other.ended()
        await moderator.ended()
        await world.settle()
        assert rooms(world) == []
        names = list((world.switch.directory / "recordings").glob("*-name.wav"))
        assert names == [], "names are not kept"
        assert {e.data["digit"] for e in world.journal.of_kind("digit")} >= {"?"}


@simulated()
async def test_it_ends_when_the_moderator_hangs_up_and_one_who_waits_may_go():
    async with World(9, office=small_office(extensions=5, more=MODERATED)) as world:
        waiting = await join_by(world, "1001", "1234")
        waiting.hang_up()
        await waiting.ended()
        await asyncio.sleep(0.5)
        assert rooms(world) == []
        moderator = await join_by(world, "1002", "9876")
        member = await join_by(world, "1003", "1234")
        await asyncio.sleep(5)
        moderator.hang_up()
        assert (await member.ended()).by == "remote"
        await world.settle()
        assert list((world.switch.directory / "recordings").glob("*-name.wav")) == []


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (
            'pin = "1"\nmoderator_pin = "1"',
            "conference[0].moderator_pin: is the PIN of members too",
        ),
        ("wait_for_moderator = true", "conference[0].wait_for_moderator: needs a moderator_pin"),
        ("end_with_moderator = true", "conference[0].end_with_moderator: needs a moderator_pin"),
    ],
)
def test_what_is_refused(keys, words):
    with pytest.raises(InvalidOffice) as error:
        parse_office(f'[[conference]]\nnumber = "8000"\n{keys}\n')
    assert words in str(error.value).replace(' ("8000")', "")


@simulated()
async def test_loudness_reaches_the_mixer_by_keys_and_by_program():
    async with World(3, office=office()) as world:
        await join(world, "1001")
        await join(world, "1002")
        await asyncio.sleep(3)
        number, (_, partaker) = "8000", rooms(world)[0]["participants"]

        def sounds():
            inside = [s.room_sound for s in world.media.streams.values() if s.room is not None]
            return sorted((mute, deaf, round(gain, 3)) for mute, deaf, gain in inside)

        conferences = world.switch.catalogue.conferences
        conferences.set_sound(number, partaker["call_id"], deaf=True, gain_db=6.0)
        await asyncio.sleep(0.5)
        assert sounds() == [(False, False, 1.0), (False, True, 1.995)]
        world.media.press_newest("*7")
        await asyncio.sleep(1)
        assert sounds() == [(False, False, 1.0), (False, True, 1.413)]
        shown = rooms(world)[0]["participants"][1]
        assert (shown["deaf"], shown["gain_db"]) == (True, 3.0)
