"""Transfer and conference by keys: the codes among keys, the machine, and whole calls."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softswitch.call import consultation as c
from softswitch.call.consultation import Consultation, Join, Joined, State, Wish
from softswitch.call.keys import BETWEEN_S, CodeKeys
from softswitch.sim.behaviour import busy, ring
from softswitch.sim.loop import simulated
from softswitch.sim.world import World, small_office
from tests.call.segments import consultations

CODES = {"##": "transfer", "*2": "attended_transfer", "*3": "conference", "*77": "record_pause"}


# -- keys -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        ("##", ["transfer"]),
        ("#*2", ["attended_transfer"]),
        ("**3", ["conference"]),
        ("*77*77", ["record_pause", "record_pause"]),
        ("*7*3", ["conference"]),
        ("###", ["transfer"]),
        ("1234567890*#0", []),
        ("5#1#", []),
    ],
)
def test_codes_among_keys(keys, found):
    code_keys = CodeKeys(CODES)
    pressed = [code_keys.press(key, at * 0.5) for at, key in enumerate(keys)]
    assert [name for name in pressed if name] == found


def test_keys_that_come_slowly_are_no_code():
    keys = CodeKeys(CODES)
    assert keys.press("#", 0.0) is None
    assert keys.press("#", BETWEEN_S + 0.1) is None
    assert keys.press("#", BETWEEN_S * 2) == "transfer"


# -- the machine ------------------------------------------------------------------------------------


def dialled(wish, number="1003"):
    machine = Consultation(wish)
    machine.start()
    for key in number:
        machine.handle(c.KeyPressed(key))
    return machine, machine.handle(c.KeyPressed("#"))


def test_a_blind_transfer_is_one_number():
    machine, effects = dialled(Wish.TRANSFER)
    assert effects == [c.SendOn("1003")]
    assert machine.state is State.OVER


@pytest.mark.parametrize("end", [c.KeyPressed("#"), c.KeysTimedOut(1)])
def test_no_number_is_a_change_of_mind(end):
    machine = Consultation(Wish.CONSULT)
    machine.start()
    assert machine.handle(end) == [Join(Joined.HOST_AND_OTHER)]


def test_a_pause_ends_the_number_and_a_stale_one_does_not():
    machine = Consultation(Wish.CONSULT)
    machine.start()
    machine.handle(c.KeyPressed("1"))
    (wait,) = machine.handle(c.KeyPressed("2"))
    assert machine.handle(c.KeysTimedOut(wait.generation - 1)) == []
    assert machine.handle(c.KeysTimedOut(wait.generation)) == [c.CallThird("12")]


def test_a_number_that_never_ends_is_dialled():
    machine = Consultation(Wish.CONSULT)
    for _ in range(c.NUMBER_MAX - 1):
        assert not any(isinstance(e, c.CallThird) for e in machine.handle(c.KeyPressed("1")))
    assert machine.handle(c.KeyPressed("1")) == [c.CallThird("1" * c.NUMBER_MAX)]


@pytest.mark.parametrize(
    ("wish", "events", "last"),
    [
        (Wish.CONSULT, [c.ThirdAnswered()], [Join(Joined.HOST_AND_THIRD)]),
        (Wish.CONFERENCE, [c.ThirdAnswered()], [Join(Joined.ALL)]),
        (Wish.CONSULT, [c.ThirdLeft()], [Join(Joined.HOST_AND_OTHER, sorry=True)]),
        (Wish.CONSULT, [c.HostLeft()], [c.HandOver(answered=False)]),
        (Wish.CONSULT, [c.OtherLeft()], [c.DropThird(), c.EndCall()]),
        (Wish.CONSULT, [c.ThirdAnswered(), c.HostLeft()], [c.HandOver(answered=True)]),
        (Wish.CONSULT, [c.ThirdAnswered(), c.OtherLeft()], [c.GoOnWithThird()]),
        (Wish.CONSULT, [c.ThirdAnswered(), c.ThirdLeft()], [Join(Joined.HOST_AND_OTHER)]),
        (
            Wish.CONSULT,
            [c.ThirdAnswered(), c.CodePressed(Wish.CONFERENCE)],
            [Join(Joined.ALL)],
        ),
        (
            Wish.CONFERENCE,
            [c.ThirdAnswered(), c.CodePressed(Wish.CONFERENCE)],
            [c.DropThird(), Join(Joined.HOST_AND_OTHER)],
        ),
    ],
)
def test_what_becomes_of_the_three(wish, events, last):
    machine, effects = dialled(wish)
    assert effects == [c.CallThird("1003")]
    for event in events:
        effects = machine.handle(event)
    assert effects == last


EVENTS = st.one_of(
    st.sampled_from("0123#*").map(c.KeyPressed),
    st.integers(0, 9).map(c.KeysTimedOut),
    st.sampled_from(Wish).map(c.CodePressed),
    st.sampled_from([c.ThirdAnswered(), c.ThirdLeft(), c.HostLeft(), c.OtherLeft()]),
)


@given(st.sampled_from(Wish), st.lists(EVENTS, max_size=40))
def test_every_walk_ends_once_and_calls_once(wish, events):
    machine = Consultation(wish)
    effects = machine.start()
    over = 0
    for event in events:
        was_over = machine.state is State.OVER
        new = machine.handle(event)
        assert not (was_over and new)
        over += machine.state is State.OVER and not was_over
        effects += new
    assert over <= 1
    assert sum(isinstance(e, c.CallThird | c.SendOn) for e in effects) <= 1


# -- whole calls ------------------------------------------------------------------------------------

RECORDED = small_office(recording="all")


async def talking(world, host="caller"):
    """(host's call, the other's call)."""
    caller, callee = await world.phone("1001"), await world.phone("1002")
    call = await caller.call("1002")
    await call.answered()
    theirs = await callee.incoming()
    return (call, theirs) if host == "caller" else (theirs, call)


def press(world, call, keys):
    stream = world.media.stream_at(call.agreed.remote[1])
    world.media.press(stream.local.stream_id, keys)


async def consult(world, call, code, number):
    press(world, call, code)
    await asyncio.sleep(1)
    press(world, call, number + "#")
    await asyncio.sleep(1)


def heard_by(world, call):
    """What a phone hears: the ports of those it is joined with, or what is played to it."""
    stream = world.media.stream_at(call.agreed.remote[1])
    if stream.room is not None:
        return {s.local.port for s in world.media.streams.values() if s.room == stream.room} - {
            stream.local.port
        }
    if stream.bridged_to is not None:
        return {world.media.streams[stream.bridged_to].local.port}
    return stream.playing[1] if stream.playing else None


def port(call):
    return call.agreed.remote[1]


HOSTS = pytest.mark.parametrize("host", ["caller", "callee"])


@simulated()
@HOSTS
async def test_blind_transfer_by_keys(host):
    async with World(1, office=RECORDED) as world:
        mine, other = await talking(world, host)
        third = await world.phone("1003")
        await consult(world, mine, "##", "1003")
        new = await third.incoming()
        await mine.ended()
        await asyncio.sleep(1)
        assert heard_by(world, other) == {port(new)}
        other.hang_up()
        await new.ended()
        await world.settle()
        (entry,) = world.journal.of_kind("transfer")
        assert (entry.data["how"], entry.data["to"]) == ("blind", "1003")


@simulated()
@HOSTS
@pytest.mark.parametrize("number", ["1003", "5555", "9110", ""])
async def test_who_cannot_be_reached_is_not_transferred_to(host, number):
    async with World(2, office=RECORDED) as world:
        mine, other = await talking(world, host)
        await world.phone("1003", behaviour=busy())
        await consult(world, mine, "##", number)
        await asyncio.sleep(3)
        assert heard_by(world, mine) == {port(other)}
        assert heard_by(world, other) == {port(mine)}
        other.hang_up()
        await mine.ended()
        await world.settle()


@simulated()
@HOSTS
async def test_attended_transfer_by_keys(host):
    async with World(3, office=RECORDED) as world:
        mine, other = await talking(world, host)
        third = await world.phone("1003")
        await consult(world, mine, "*2", "1003")
        new = await third.incoming()
        assert new.invite.request.from_.uri.user == ("1001" if host == "caller" else "1002")
        assert heard_by(world, mine) == {port(new)}
        assert "music" in heard_by(world, other).path
        mine.hang_up()
        await asyncio.sleep(1)
        assert heard_by(world, other) == {port(new)}
        new.hang_up()
        await other.ended()
        await world.settle()
        (entry,) = world.journal.of_kind("transfer")
        assert entry.data["how"] == "attended"
        (one,) = consultations(world, entry.call_id)
        assert (one.name, one.outcome) == ("1003", "transferred")
        assert one.started_at_s < one.ended_at_s == entry.at_s


@simulated()
@HOSTS
async def test_back_from_a_consultation(host):
    async with World(4, office=RECORDED) as world:
        mine, other = await talking(world, host)
        third = await world.phone("1003")
        await consult(world, mine, "*2", "1003")
        new = await third.incoming()
        press(world, mine, "*2")
        await new.ended()
        await asyncio.sleep(1)
        assert heard_by(world, mine) == {port(other)}
        await consult(world, mine, "*2", "1003")  # and once more; now the third hangs up
        new = await third.incoming()
        new.hang_up()
        await asyncio.sleep(1)
        assert heard_by(world, other) == {port(mine)}
        mine.hang_up()
        await other.ended()
        await world.settle()
        assert world.journal.of_kind("transfer") == []
        (first, _) = world.journal.of_kind("consult-started")
        assert [one.outcome for one in consultations(world, first.call_id)] == ["back", "back"]


@simulated()
@HOSTS
async def test_hanging_up_while_the_third_rings_leaves_the_other_ringing(host):
    async with World(5) as world:
        mine, other = await talking(world, host)
        third = await world.phone("1003", behaviour=ring())
        await consult(world, mine, "*2", "1003")
        new = await third.incoming()
        mine.hang_up()
        await asyncio.sleep(1)
        assert heard_by(world, other).name == "ringback"
        new.answer()
        await asyncio.sleep(1)
        assert heard_by(world, other) == {port(new)}
        other.hang_up()
        await new.ended()
        await world.settle()


@simulated()
async def test_hanging_up_while_the_third_rings_and_never_answers():
    async with World(6) as world:
        mine, other = await talking(world)
        await world.phone("1003", behaviour=ring())
        await consult(world, mine, "*2", "1003")
        mine.hang_up()
        await other.ended()
        await world.settle()


@simulated()
@HOSTS
async def test_a_conference_of_three(host):
    async with World(7, office=RECORDED) as world:
        mine, other = await talking(world, host)
        third = await world.phone("1003")
        await consult(world, mine, "*3", "1003")
        new = await third.incoming()
        everybody = {port(mine), port(other), port(new)}
        for call in (mine, other, new):
            assert heard_by(world, call) == everybody - {port(call)}
        press(world, mine, "*3")
        await new.ended()
        await asyncio.sleep(1)
        assert heard_by(world, mine) == {port(other)}
        mine.hang_up()
        await other.ended()
        await world.settle()


@simulated()
@HOSTS
@pytest.mark.parametrize("leaver", ["host", "other", "third"])
async def test_two_remain_of_a_conference(host, leaver):
    async with World(8, office=RECORDED) as world:
        mine, other = await talking(world, host)
        third = await world.phone("1003")
        await consult(world, mine, "*2", "1003")
        new = await third.incoming()
        press(world, mine, "*3")
        await asyncio.sleep(1)
        three = {"host": mine, "other": other, "third": new}
        three.pop(leaver).hang_up()
        await asyncio.sleep(1)
        a, b = three.values()
        assert heard_by(world, a) == {port(b)}
        assert heard_by(world, b) == {port(a)}
        a.hang_up()
        await b.ended()
        await world.settle()


@simulated()
@pytest.mark.parametrize("when", ["asking", "calling", "consulting"])
async def test_the_other_hangs_up_first(when):
    async with World(9) as world:
        mine, other = await talking(world)
        behaviour = ring() if when == "calling" else None
        third = await world.phone("1003", behaviour=behaviour)
        press(world, mine, "*2")
        await asyncio.sleep(1)
        if when != "asking":
            press(world, mine, "1003#")
            await asyncio.sleep(1)
        other.hang_up()
        if when == "consulting":
            new = await third.incoming()
            await asyncio.sleep(1)
            assert heard_by(world, mine) == {port(new)}
            new.hang_up()
        await mine.ended()
        await world.settle()


@simulated()
async def test_carriers_have_no_codes_and_phones_use_their_own_rights():
    office = small_office().replace('["internal", "local", "national"]', '["internal"]', 1)
    async with World(10, office=office) as world:
        carrier = await world.trunk("carrier-1")
        phone = await world.phone("1001")
        call = await carrier.call("+861000")
        await call.answered()
        mine = await phone.incoming()
        await consult(world, call, "##", "1002")
        assert heard_by(world, call) == {port(mine)}
        await consult(world, mine, "*2", "913800000000")  # 1001 may not call outside
        await asyncio.sleep(1)
        assert heard_by(world, mine) == {port(call)}
        assert len(carrier.calls) == 1
        mine.hang_up()
        await call.ended()
        await world.settle()


@simulated()
async def test_consulting_outside_shows_the_number_of_who_consults():
    async with World(11) as world:
        carrier = await world.trunk("carrier-1")
        phone = await world.phone("1001")
        call = await carrier.call("+861000")
        await call.answered()
        mine = await phone.incoming()
        await consult(world, mine, "*2", "913800000000")
        out = await carrier.incoming()
        assert out.invite.request.from_.uri.user == "+861000"
        mine.hang_up()
        await asyncio.sleep(1)
        assert heard_by(world, call) == {port(out)}
        out.hang_up()
        await call.ended()
        await world.settle()


@simulated()
async def test_the_recording_leaves_out_what_the_host_and_the_third_say():
    async with World(12, office=RECORDED) as world:
        mine, other = await talking(world)
        await world.phone("1003")
        (recording,) = world.media.recordings.values()
        await consult(world, mine, "*2", "1003")
        assert recording.paused
        press(world, mine, "*3")
        await asyncio.sleep(1)
        assert not recording.paused
        press(world, mine, "*3")
        await asyncio.sleep(1)
        press(world, mine, "*77")
        await asyncio.sleep(1)
        assert recording.paused
        press(world, other, "*77")
        await asyncio.sleep(1)
        assert not recording.paused
        mine.hang_up()
        await world.settle()


@simulated()
async def test_no_media_from_the_host_of_a_consultation():
    async with World(13) as world:
        mine, other = await talking(world)
        third = await world.phone("1003")
        await consult(world, mine, "*2", "1003")
        new = await third.incoming()
        stream = world.media.stream_at(port(mine))
        world.media.fall_silent(stream.local.stream_id)
        await mine.ended()
        await asyncio.sleep(1)
        assert heard_by(world, other) == {port(new)}
        new.hang_up()
        await other.ended()
        await world.settle()
