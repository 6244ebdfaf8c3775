"""Callers and agents of a call centre, whole calls on virtual time: who is rung, who hears what, and what
happens when somebody goes at any moment."""

from __future__ import annotations

import asyncio

import pytest

from softswitch.sim.behaviour import answer, busy, reject, ring
from softswitch.sim.centre import QUEUE_NUMBER, centre_office, heard, talks_to
from softswitch.sim.loop import simulated
from softswitch.sim.world import World

CUSTOMER = "01055550001"


def kinds(world, kind):
    return [entry.data for entry in world.journal.of_kind(kind)]


def closed(world):
    return [(data["outcome"], data["reason"]) for data in kinds(world, "acd-closed")]


async def arrive(world, number=CUSTOMER):
    """A customer calls and is answered by the queue."""
    carrier = world.trunks.get("carrier-1") or await world.trunk("carrier-1")
    call = await carrier.call(QUEUE_NUMBER, from_user=number)
    await call.answered()
    return call


async def staff(world, agent, extension, behaviour=None):
    """An agent's telephone, and the agent at work."""
    phone = await world.phone(extension, behaviour=behaviour or answer(after_s=2.0))
    world.switch.agents.log_in(agent)
    return phone


@simulated()
async def test_a_caller_hears_music_until_an_agent_has_been_told_and_has_him():
    async with World(1, office=centre_office()) as world:
        phone = await staff(world, "lilei", "1001")
        call = await arrive(world)
        rung = await phone.incoming()
        assert rung.number == CUSTOMER
        assert rung.invite.request.from_.display_name == f"support: {CUSTOMER}"
        await asyncio.sleep(1)
        assert heard(world, call) == "music:default"
        await asyncio.sleep(2)
        assert rung.state == "up"
        assert heard(world, rung) == "agent-call-from"
        assert heard(world, call) == "music:default", "the caller waits while the agent is told"
        await asyncio.sleep(15)
        assert talks_to(world, call, rung)
        assert world.switch.agents.state("lilei").state == "on-contact"
        call.hang_up()
        await rung.ended()
        await asyncio.sleep(1)
        assert world.switch.agents.state("lilei").state == "wrap-up"
        await asyncio.sleep(20)
        assert world.switch.agents.state("lilei").state == "available"
        await world.settle()
        assert closed(world) == [("answered", "caller")]


@simulated()
async def test_nobody_at_work_means_music_and_the_place_in_line():
    async with World(2, office=centre_office()) as world:
        first = await arrive(world)
        await asyncio.sleep(2)
        assert heard(world, first) == "you-are-next"
        await asyncio.sleep(3)
        assert heard(world, first) == "music:default"
        (waiting,) = [s for s in world.media.streams.values() if s.playing is not None]
        assert waiting.resumed, "not its beginning again after each announcement"
        second = await arrive(world, "01055550002")
        await asyncio.sleep(2)
        assert heard(world, second) == "your-position-is"
        await asyncio.sleep(2)
        assert heard(world, second) == "2"
        first.hang_up()
        await asyncio.sleep(43)
        assert heard(world, second) == "you-are-next"
        second.hang_up()
        await second.ended()
        await world.settle()
        assert closed(world) == [("abandoned", ""), ("abandoned", "")]


@simulated()
async def test_who_does_not_answer_is_unavailable_and_the_next_agent_rings():
    async with World(3, office=centre_office()) as world:
        silent = await staff(world, "lilei", "1001", ring())
        await asyncio.sleep(1)
        other = await staff(world, "hanmeimei", "1002")
        call = await arrive(world)
        missed = await silent.incoming()
        began_s = world.clock.monotonic_s()
        rung = await other.incoming()
        assert world.clock.monotonic_s() - began_s == pytest.approx(15.0, abs=0.1)
        assert (await missed.ended()).by == "cancelled"
        status = world.switch.agents.state("lilei")
        assert (status.state, status.reason) == ("unavailable", "rona")
        await asyncio.sleep(15)
        assert talks_to(world, call, rung)
        rung.hang_up()
        await call.ended()
        await world.settle()
        assert closed(world) == [("answered", "agent")]


@simulated()
@pytest.mark.parametrize(
    ("behaviour", "state", "reason"),
    [
        (busy(), "available", ""),
        (reject(603), "available", ""),
        (reject(404), "unavailable", "unreachable"),
    ],
)
async def test_busy_or_declining_agents_stay_available(behaviour, state, reason):
    async with World(4, office=centre_office()) as world:
        await staff(world, "lilei", "1001", behaviour)
        await asyncio.sleep(1)
        other = await staff(world, "hanmeimei", "1002")
        call = await arrive(world)
        rung = await other.incoming()
        status = world.switch.agents.state("lilei")
        assert (status.state, status.reason) == (state, reason)
        await asyncio.sleep(15)
        assert talks_to(world, call, rung)
        call.hang_up()
        await call.ended()
        await world.settle()


@simulated()
async def test_an_agent_without_a_telephone_is_passed_over_until_it_registers():
    async with World(5, office=centre_office()) as world:
        world.switch.agents.log_in("lilei")
        await asyncio.sleep(1)
        other = await staff(world, "hanmeimei", "1002")
        call = await arrive(world)
        rung = await other.incoming()
        status = world.switch.agents.state("lilei")
        assert (status.state, status.reason, status.reachable) == (
            "unavailable",
            "unreachable",
            False,
        )
        await world.phone("1001")
        await asyncio.sleep(0.5)
        assert world.switch.agents.state("lilei").state == "available"
        call.hang_up()
        await rung.ended()
        await world.settle()


@simulated()
async def test_a_caller_who_leaves_while_it_rings_leaves_no_ghost():
    async with World(6, office=centre_office()) as world:
        phone = await staff(world, "lilei", "1001", ring())
        call = await arrive(world)
        rung = await phone.incoming()
        await asyncio.sleep(3)
        call.hang_up()
        assert (await rung.ended()).by == "cancelled"
        await asyncio.sleep(0.5)
        assert world.switch.agents.state("lilei").state == "available", "he did nothing wrong"
        await world.settle()
        assert closed(world) == [("abandoned", "")]


@simulated()
async def test_a_caller_who_leaves_while_the_agent_is_told():
    async with World(7, office=centre_office()) as world:
        phone = await staff(world, "lilei", "1001")
        call = await arrive(world)
        rung = await phone.incoming()
        await asyncio.sleep(3)
        assert heard(world, rung) == "agent-call-from"
        call.hang_up()
        await rung.ended()
        await world.settle()
        assert closed(world) == [("answered", "caller")]


@simulated()
async def test_an_agent_who_hangs_up_while_he_is_told_does_not_lose_the_caller():
    async with World(8, office=centre_office()) as world:
        phone = await staff(world, "lilei", "1001")
        call = await arrive(world)
        rung = await phone.incoming()
        await asyncio.sleep(3)
        rung.hang_up()
        await asyncio.sleep(1)
        assert call.state == "up"
        assert heard(world, call) in ("music:default", "you-are-next")
        again = await phone.incoming()
        await asyncio.sleep(15)
        assert talks_to(world, call, again), "at his place, when the same agent may be asked again"
        call.hang_up()
        await again.ended()
        await world.settle()


@simulated()
async def test_a_lost_telephone_brings_the_caller_back_to_his_place():
    async with World(9, office=centre_office()) as world:
        phone = await staff(world, "lilei", "1001")
        call = await arrive(world)
        rung = await phone.incoming()
        await asyncio.sleep(15)
        assert talks_to(world, call, rung)
        for stream_id, stream in list(world.media.streams.items()):
            if stream.params.remote == rung.local_media:
                world.media.fall_silent(stream_id)
        await asyncio.sleep(1)
        assert call.state == "up"
        status = world.switch.agents.state("lilei")
        assert status.state == "wrap-up"
        await asyncio.sleep(25)
        status = world.switch.agents.state("lilei")
        assert (status.state, status.reason) == ("unavailable", "unreachable")
        other = await staff(world, "hanmeimei", "1002")
        second = await other.incoming()
        await asyncio.sleep(15)
        assert talks_to(world, call, second)
        call.hang_up()
        await second.ended()
        await world.settle()


@simulated()
async def test_an_agent_who_telephones_gets_no_caller():
    async with World(10, office=centre_office()) as world:
        phone = await staff(world, "lilei", "1001")
        friend = await world.phone("1004")
        own = await phone.call("1004")
        await own.answered()
        assert world.switch.agents.state("lilei").state == "on-contact"
        call = await arrive(world)
        await asyncio.sleep(30)
        assert len(phone.calls) == 1
        own.hang_up()
        rung = await phone.incoming()
        assert rung.number == CUSTOMER
        call.hang_up()
        await call.ended()
        await friend.incoming()
        await world.settle()


@simulated()
async def test_conversations_are_recorded_customer_left_agent_right():
    async with World(11, office=centre_office(recording="queue")) as world:
        phone = await staff(world, "lilei", "1001")
        friend = await world.phone("1004")
        call = await arrive(world)
        rung = await phone.incoming()
        await asyncio.sleep(15)
        (recording,) = world.media.recordings.values()
        left = world.media.streams[recording.left]
        right = world.media.streams[recording.right]
        assert left.params.remote == call.local_media
        assert right.params.remote == rung.local_media
        call.hang_up()
        await rung.ended()
        private = await phone.call("1004")
        await private.answered()
        await asyncio.sleep(1)
        assert not world.media.recordings, "only calls of queues"
        private.hang_up()
        await private.ended()
        await friend.incoming()
        await world.settle()


@simulated()
async def test_hold_is_told_apart_from_talk():
    async with World(12, office=centre_office()) as world:
        phone = await staff(world, "lilei", "1001")
        call = await arrive(world)
        rung = await phone.incoming()
        await asyncio.sleep(15)
        await rung.hold()
        assert heard(world, call) == "music:default"
        await asyncio.sleep(30)
        await rung.resume()
        await asyncio.sleep(10)
        rung.hang_up()
        await call.ended()
        await asyncio.sleep(25)
        (handled,) = kinds(world, "acd-handled")
        assert handled["hold_s"] == pytest.approx(30.0, abs=0.1)
        assert handled["talk_s"] > 10.0
        await world.settle()


@simulated()
async def test_internal_callers_reach_the_queue_by_its_number():
    async with World(13, office=centre_office()) as world:
        phone = await staff(world, "lilei", "1001")
        caller = await world.phone("1005")
        call = await caller.call("5000")
        await call.answered()
        rung = await phone.incoming()
        assert rung.number == "1005"
        await asyncio.sleep(15)
        assert talks_to(world, call, rung)
        rung.hang_up()
        await call.ended()
        await world.settle()
