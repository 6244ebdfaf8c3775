"""Expected waits in calls: told in words once they have proved right, scored every day, shown in `status`."""

from __future__ import annotations

import asyncio

import pytest

from softswitch.cli.queues import queue_table
from softswitch.sim.behaviour import answer
from softswitch.sim.centre import QUEUE_NUMBER, centre_office, heard, press, talks_to
from softswitch.sim.loop import simulated
from softswitch.sim.world import World

QUEUE = "announce = { position = false, wait = true, every_s = 30 }\nwrap_up_s = 0"


def prove(world, *, right=True):
    """Sixty waits that were as long as expected, or all of them much longer."""
    model = world.switch.centre.host.engine._floor.queues["support"].model
    for number in range(60):
        estimate = model.estimate(number % 5, 2)
        share = (number * 37 % 60 + 0.5) / 60 if right else 0.999
        model.record.add(estimate, estimate.quantile_s(share), True)


async def arrive(world, number="01055550001"):
    carrier = world.trunks.get("carrier-1") or await world.trunk("carrier-1")
    call = await carrier.call(QUEUE_NUMBER, from_user=number)
    await call.answered()
    return call


async def said_in(world, call, seconds):
    words = []
    for _ in range(int(seconds / 0.25)):
        await asyncio.sleep(0.25)
        now = heard(world, call)
        if now and now != "music:default" and (not words or words[-1] != now):
            words.append(now)
    return words


@simulated()
@pytest.mark.parametrize(
    ("expect", "words"),
    [
        ("handle_s = 40", ["wait-less-than-a-minute"]),
        ("handle_s = 400", ["wait-about"]),
    ],
)
async def test_a_wait_that_has_proved_right_is_told_in_words(expect, words):
    queue = f"{QUEUE}\nexpect = {{ {expect}, patience_s = 3000 }}"
    async with World(1, office=centre_office(queue)) as world:
        phone = await world.phone("1001", behaviour=answer(after_s=1.0))
        world.switch.agents.log_in("lilei")
        first = await arrive(world)
        await asyncio.sleep(10)
        assert len(phone.calls) == 1
        prove(world)
        second = await arrive(world, "01055550002")
        said = await said_in(world, second, 8)
        assert said[0] == words[0]
        if words == ["wait-about"]:
            minutes = {"4": "minutes", "5": "minutes", "6": "minutes", "7": "minutes"}
            assert said[1] in minutes, said
            assert said[2] == "minutes"
        (status,) = world.switch.queues.rows()
        assert status["expected_wait_s"] is not None
        assert 0.7 <= status["wait_coverage"] <= 0.9
        assert queue_table([status]).columns[-1]._cells[0] != "-"
        for call in (first, second):
            call.hang_up()
        await world.settle()


@simulated()
async def test_a_wait_that_was_always_wrong_is_not_told():
    async with World(2, office=centre_office(QUEUE)) as world:
        await world.phone("1001", behaviour=answer(after_s=1.0))
        world.switch.agents.log_in("lilei")
        first = await arrive(world)
        await asyncio.sleep(10)
        prove(world, right=False)
        second = await arrive(world, "01055550002")
        assert await said_in(world, second, 40) == []
        (status,) = world.switch.queues.rows()
        assert status["expected_wait_s"] is None
        for call in (first, second):
            call.hang_up()
        await world.settle()


@simulated()
async def test_expectations_are_scored_every_day():
    async with World(3, office=centre_office(QUEUE)) as world:
        await world.phone("1001", behaviour=answer(after_s=1.0, hang_up_after_s=60))
        world.switch.agents.log_in("lilei")
        for number in range(4):
            await arrive(world, f"0105555000{number}")
            await asyncio.sleep(5)
        await asyncio.sleep(600)
        (status,) = world.switch.queues.rows()
        assert status["wait_error_s"] > 0
        assert world.journal.of_kind("acd-wait-score") == []
        await asyncio.sleep(2 * 86_400)
        call = await arrive(world)  # the first that happens on another day
        (entry,) = world.journal.of_kind("acd-wait-score")
        assert entry.data["queue"] == "support"
        assert entry.data["count"] == 3, "those who had to wait"
        assert entry.data["error_s"] > 0
        assert entry.data["day"] < "2027"
        call.hang_up()
        await call.ended()
        await world.settle()


@simulated()
async def test_a_free_agent_has_the_caller_in_the_middle_of_an_announcement():
    queue = 'tell_agent = []\nannounce = { messages = ["all-agents-busy"], messages_every_s = 10 }'
    async with World(4, office=centre_office(queue)) as world:
        phone = await world.phone("1001", behaviour=answer())
        call = await arrive(world)
        await said_in(world, call, 9.5)
        while heard(world, call) != "all-agents-busy":  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        world.switch.agents.log_in("lilei")
        rung = await phone.incoming()
        await asyncio.sleep(0.1)
        assert talks_to(world, call, rung), "in the middle of a sentence of two seconds"
        call.hang_up()
        await call.ended()
        await world.settle()


@simulated()
async def test_the_offer_of_a_callback_names_its_key():
    queue = 'callback = { offer_after_s = 20, key = "5" }\nannounce = { position = false }'
    async with World(5, office=centre_office(queue)) as world:
        call = await arrive(world)
        row = []
        for _ in range(100):
            await asyncio.sleep(0.25)
            now = heard(world, call)
            if now and (not row or row[-1] != now):
                row.append(now)
        assert row == ["music:default", "callback-offer-key", "5", "music:default"]
        press(world, call, "5")
        assert (await call.ended()).by == "remote"
        assert "CallbackRequested" in {e.data["type"] for e in world.journal.of_kind("acd-event")}
        contact = world.switch.centre.host.engine.contact_ids[0]
        world.switch.callbacks.cancel(contact)
        await world.settle()
