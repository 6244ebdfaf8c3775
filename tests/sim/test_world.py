"""A whole office on virtual time: the exchange, its phones, its carrier."""

from __future__ import annotations

import asyncio

import pytest

from softswitch.sim.behaviour import answer, busy, ring
from softswitch.sim.checkers import InvariantViolation, check_journal
from softswitch.sim.link import Link
from softswitch.sim.loop import run, simulated
from softswitch.sim.phone_call import CallNotAnswered
from softswitch.sim.world import JournalEntry, World, small_office


@simulated()
async def test_two_phones_talk_through_the_exchange() -> None:
    async with World(seed=1, office=small_office(recording="all")) as world:
        caller, callee = await world.phone("1001"), await world.phone("1002")
        callee.behaviour = answer(after_s=2)
        call = await caller.call("1002")
        await call.ringing()
        await call.answered()
        other = await callee.incoming()
        assert other.number == "1001"
        assert world.media.snapshot()["bridges"] == 1
        await asyncio.sleep(10)
        call.hang_up()
        assert (await other.ended()).by == "remote"
        await world.settle()
        assert len(world.journal.of_kind("call-ended")) == 1


@simulated()
async def test_calls_leave_and_enter_by_the_trunk() -> None:
    async with World(seed=2) as world:
        phone, carrier = await world.phone("1001"), await world.trunk("carrier-1")
        out = await phone.call("913900000001")
        await out.answered()
        assert (await carrier.incoming()).invite is not None
        out.hang_up()
        came_in = await carrier.call("+861000", from_user="+8613900000001")
        await came_in.answered()
        came_in.hang_up()
        await world.settle()


@pytest.mark.parametrize(
    ("number", "status"), [("1002", 486), ("1003", 480), ("4444", 404), ("1001", 0)]
)
@simulated()
async def test_what_does_not_come_about_ends_tidily(number: str, status: int) -> None:
    async with World(seed=3) as world:
        caller = await world.phone("1001")
        await world.phone("1002", behaviour=busy())
        call = await caller.call(number)
        if status:
            with pytest.raises(CallNotAnswered) as caught:
                await call.answered()
            assert caught.value.status == status
        else:
            await asyncio.sleep(1)
            call.hang_up()
        await world.settle()


@simulated()
async def test_the_caller_gives_up_in_the_ringing() -> None:
    async with World(seed=4) as world:
        caller = await world.phone("1001")
        callee = await world.phone("1002", behaviour=ring())
        call = await caller.call("1002")
        await call.ringing()
        call.hang_up()
        assert (await (await callee.incoming()).ended()).by == "cancelled"
        await world.settle()


@simulated()
async def test_calls_complete_through_loss() -> None:
    rough = Link(loss=0.15, duplicate=0.05, reorder=0.05, delay_s=0.01)
    async with World(seed=5, link=rough) as world:
        phones = [await world.phone(str(number)) for number in (1001, 1002, 1003, 1004)]
        for phone in phones:
            phone.behaviour = answer(after_s=1)
        for round_ in range(5):
            calls = [
                await phones[0].call(str(1002 + round_ % 3)),
                await phones[3].call(str(1001 + round_ % 3)),
            ]
            for call in calls:
                await call.answered()
            await asyncio.sleep(3)
            for call in calls:
                call.hang_up()
            for call in calls:
                await call.ended()
            await asyncio.sleep(10)
        await world.settle()
        assert world.network.counters.lost > 20


def test_the_seed_tells_the_whole_story() -> None:
    async def story() -> list[str]:
        async with World(seed=6, link=Link(loss=0.2, jitter_s=0.02)) as world:
            caller = await world.phone("1001")
            await world.phone("1002")
            call = await caller.call("1002")
            await call.answered()
            call.hang_up()
            await asyncio.sleep(40)
            return [f"{entry} {entry.data!r}" for entry in world.trace]

    assert run(story()) == run(story())


@simulated()
async def test_what_is_left_over_is_found() -> None:
    async with World(seed=7) as world:
        caller, _ = await world.phone("1001"), await world.phone("1002")
        call = await caller.call("1002")
        await call.answered()
        with pytest.raises(InvariantViolation, match="nobody ended"):
            await world.settle()
        call.hang_up()
        await world.settle()


def test_journals_are_judged() -> None:
    def entry(kind: str, call_id: str, leg: int | None = None) -> JournalEntry:
        return JournalEntry(kind, call_id, {} if leg is None else {"leg": leg}, 0.0)

    good = [
        entry("call-started", "a"),
        entry("leg-started", "a", 1),
        entry("leg-ended", "a", 1),
        entry("call-ended", "a"),
    ]
    assert check_journal(good) == []
    assert check_journal(good[:3]) == ["call a has 0 call-ended entries"]
    assert check_journal([*good, good[3]]) == ["call a has 2 call-ended entries"]
    assert check_journal([*good[:2], good[3]]) == ["leg 1 of call a ended 0 times"]
    late = check_journal([*good[:2], good[3], good[2]])
    assert late == ["leg 1 outlives its call a"]


@simulated()
async def test_registrations_are_refreshed_and_removed() -> None:
    async with World(seed=8) as world:
        phone = await world.phone("1001", register=False)
        response = await phone.register(600)
        assert response.status == 200
        registers = len(phone.history.requests("REGISTER"))
        await asyncio.sleep(3600)
        assert phone.registered
        assert len(phone.history.requests("REGISTER")) > registers + 5
        assert len(world.switch.snapshot()["registrations"]) == 1
        assert (await phone.unregister()).status == 200
        assert not phone.registered
        assert world.switch.snapshot()["registrations"] == []
        await asyncio.sleep(3600)
        assert not phone.registered


@simulated()
async def test_a_wrong_password_is_refused() -> None:
    async with World(seed=9) as world:
        phone = await world.phone("1001", register=False, password="guessed")
        assert (await phone.register()).status in (401, 403)
        stranger = await world.phone("9999", register=False, password="guessed")
        assert (await stranger.register()).status in (401, 403)
        call = await stranger.call("1001")
        with pytest.raises(CallNotAnswered) as caught:
            await call.answered()
        assert caught.value.status in (401, 403)
        await world.settle()
        told = [(entry.kind, entry.data["account"]) for entry in world.journal.entries]
        assert told == [("security-wrong-password", "1001"), ("security-wrong-password", "9999")]


@simulated()
async def test_phones_behind_nats_call_each_other() -> None:
    async with World(seed=10) as world:
        home, hotel = world.network.nat("198.51.100.1"), world.network.nat("203.0.113.7")
        caller = await world.phone("1001", network=home, host="192.168.1.10")
        callee = await world.phone("1002", network=hotel, host="192.168.1.10")
        call = await caller.call("1002")
        await call.answered()
        other = await callee.incoming()
        other.hang_up()
        assert (await call.ended()).by == "remote"
        for phone in (caller, callee):
            await phone.unregister()  # else they are asked whether they are still there, for ever
        await caller.unregister()
        await callee.unregister()
        await world.settle()


@simulated()
async def test_a_worker_that_dies_takes_no_call_with_it() -> None:
    async with World(seed=11) as world:
        caller, callee = await world.phone("1001"), await world.phone("1002")
        call = await caller.call("1002")
        await call.answered()
        world.media.kill_worker()
        await asyncio.sleep(5)
        assert call.state == "up"
        (await callee.incoming()).hang_up()
        await call.ended()
        await world.settle()


@simulated()
async def test_a_phone_that_vanishes_is_found() -> None:
    async with World(seed=12) as world:
        caller, callee = await world.phone("1001"), await world.phone("1002")
        call = await caller.call("1002")
        await call.answered()
        await callee.incoming()
        world.network.cut(callee.local[0])
        stream = next(
            number
            for number, stream in world.media.streams.items()
            if stream.signalled_host == callee.local[0]
            or (
                stream.params is not None
                and stream.params.remote is not None
                and stream.params.remote[0] == callee.local[0]
            )
        )
        world.media.fall_silent(stream)
        assert (await call.ended()).by == "remote"
        await asyncio.sleep(70)
        assert world.media.snapshot()["streams"] == 0
