"""What survives kill -9: agents' states, places in line, pending callbacks; live calls are lost, and said
to be."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys

import msgspec
import pytest

from routing import events
from softswitch import Switch
from softswitch.apps.acd_counts import DayCounts
from softswitch.apps.acd_journal import AcdMemory, Snapshot, read_event, write_event
from softswitch.sim.behaviour import answer
from softswitch.sim.centre import QUEUE_NUMBER, centre_office, press, talks_to
from softswitch.sim.loop import simulated
from softswitch.sim.world import World

CUSTOMER = "+8613800000001"
KEYS = "callback = { offer_after_s = 5 }\nwrap_up_s = 0"


class Entries:
    """The journal of an earlier world, read back as from a database."""

    def __init__(self, journal):
        self._entries = journal.entries

    async def after(self, seq, kind, limit):
        found = [
            (number, entry.at_s, msgspec.json.decode(msgspec.json.encode(entry.data)))
            for number, entry in enumerate(self._entries, 1)
            if number > seq and entry.kind == kind
        ]
        return found[-limit:]


def again(world, seed, down_s=30.0, snapshot=None):
    """The office after a crash of `world`, `down_s` later."""

    async def alive(_):
        return world.journal.entries[-1].at_s

    def prepare(switch):
        memory = AcdMemory(switch.directory, Entries(world.journal), alive=alive)
        if snapshot is not None:
            memory._write(snapshot)
        switch._acd_memory = lambda: memory

    second = World(seed, office=world.office, prepare=prepare)
    last_s = world.journal.entries[-1].at_s
    second.clock.shift_wall(last_s + down_s - second.clock.wall_s())
    return second


@pytest.mark.parametrize(
    "event",
    [
        events.ContactArrived(contact_id="c", queue_id="q", started_s=5.0, attributes={"a": [1]}),
        events.CallbackRequested(contact_id="c", number="1", not_before_s=70.0),
        events.AgentLoggedIn("lilei", False, "x"),
        events.TimerFired(),
        events.OfferAccepted(7),
    ],
)
def test_events_are_read_as_they_were_written_on_another_clock(event):
    data = msgspec.json.decode(msgspec.json.encode(write_event(event, 10.0, 1000.0)))
    found, at_s = read_event(data, 900.0)
    assert at_s == 110.0
    for name in ("started_s", "not_before_s"):
        if getattr(event, name, None) is not None:
            assert getattr(found, name) == getattr(event, name) + 100.0
    assert type(found) is type(event)
    assert read_event({"type": "AgentSet", "unix_s": 1.0}, 0.0) is None
    assert read_event({"type": "OfferAccepted", "unix_s": 1.0, "offer_id": "x"}, 0.0) is None


@simulated()
async def test_agents_callbacks_and_places_survive():
    async with World(1, office=centre_office(KEYS)) as first:
        carrier = await first.trunk("carrier-1")
        asked = await carrier.call(QUEUE_NUMBER, from_user=CUSTOMER)
        await asked.answered()
        await asyncio.sleep(6)
        press(first, asked, "1")
        await asked.ended()
        first.switch.agents.log_in("hanmeimei", available=False, reason="meal")
        waiting = await carrier.call(QUEUE_NUMBER, from_user="01065550002")
        await waiting.answered()
        await asyncio.sleep(10)
        first.switch.callbacks.request(
            "+8613800000003", "support", not_before_s=first.clock.wall_s() + 600
        )

        async with again(first, 2) as second:
            agents = second.switch.agents
            assert agents.state("hanmeimei").reason == "meal"
            assert agents.state("lilei").state == "logged-out"
            (queue,) = second.switch.queues.states()
            assert queue.waiting == 1, "the callback; the caller on the line is lost"
            assert queue.longest_wait_s > 40.0, "at his place"
            carrier = await second.trunk("carrier-1", behaviour=answer(hang_up_after_s=20.0))
            phone = await second.phone("1001", behaviour=answer(after_s=1.0))
            agents.log_in("lilei")
            agent, customer = await phone.incoming(), await carrier.incoming()
            assert customer.invite.request.request_uri.username == CUSTOMER
            await asyncio.sleep(2)
            assert talks_to(second, agent, customer)
            scheduled = await carrier.incoming()
            assert scheduled.invite.request.request_uri.username == "+8613800000003"
            await scheduled.ended()
            await second.settle()
            lost = second.journal.of_kind("acd-closed")[0].data
            assert (lost["outcome"], lost["reason"]) == ("withdrawn", "lost")


@simulated()
async def test_nobody_talks_or_wraps_up_while_the_exchange_is_down():
    """An hour without the exchange is in no handle time and in nobody's state."""
    async with World(7, office=centre_office("wrap_up_s = 20")) as first:
        carrier = await first.trunk("carrier-1")
        await first.phone("1002")
        first.switch.agents.log_in("hanmeimei")
        call = await carrier.call(QUEUE_NUMBER)
        await call.answered()
        await asyncio.sleep(20)
        assert first.switch.agents.state("hanmeimei").state == "on-contact"
        cut_s = first.clock.wall_s()
        first.journal.append("alarm", None, {}, cut_s)  # whatever is written down: it was alive
        async with again(first, 8, down_s=3_600.0) as second:
            handled = second.journal.of_kind("acd-handled")[0]
            assert 19.0 < handled.data["talk_s"] < 21.0
            assert handled.data["wrap_up_s"] == pytest.approx(0.0, abs=0.01)
            states = second.journal.of_kind("acd-agent-state")
            told = [(one.data["agent"], one.data["new"]) for one in states]
            assert told == [("hanmeimei", "wrap-up"), ("hanmeimei", "unavailable")]
            for entry in (handled, *states):
                assert entry.at_s == pytest.approx(cut_s, abs=0.01), entry.kind


@simulated()
async def test_an_agent_whose_call_was_cut_is_free_again_when_his_telephone_is_back():
    async with World(3, office=centre_office("wrap_up_s = 0")) as first:
        carrier = await first.trunk("carrier-1")
        await first.phone("1001")
        first.switch.agents.log_in("lilei")
        other = await first.phone("1002")
        first.switch.agents.log_in("hanmeimei")
        own = await other.call("1001")
        call = await carrier.call(QUEUE_NUMBER)
        await call.answered()
        await asyncio.sleep(20)
        assert first.switch.agents.state("hanmeimei").state == "on-contact"
        async with again(first, 4) as second:
            agents = second.switch.agents
            for name in ("lilei", "hanmeimei"):
                status = agents.state(name)
                assert (status.state, status.reason) == ("unavailable", "unreachable")
            back = await second.phone("1001")
            await asyncio.sleep(0.5)
            assert agents.state("lilei").state == "available"
            carrier = await second.trunk("carrier-1")
            call = await carrier.call(QUEUE_NUMBER)
            rung = await back.incoming()
            await asyncio.sleep(15)
            assert talks_to(second, call, rung)
            call.hang_up()
            await second.settle()
        own.hang_up()


@simulated()
async def test_a_snapshot_and_the_events_after_it_are_the_same_as_all_events():
    async with World(5, office=centre_office(KEYS)) as first:
        carrier = await first.trunk("carrier-1")
        first.switch.agents.log_in("lilei", available=False, reason="meal")
        asked = await carrier.call(QUEUE_NUMBER, from_user=CUSTOMER)
        await asked.answered()
        await asyncio.sleep(6)
        taken = first.switch.centre.host.take_snapshot()
        snapshot = Snapshot(len(first.journal.entries), taken.unix_s, taken.engine, taken.counts)
        snapshot = msgspec.convert(msgspec.to_builtins(snapshot), Snapshot)
        press(first, asked, "1")
        await asked.ended()
        first.switch.agents.log_in("hanmeimei")
        await asyncio.sleep(60)
        found = []
        for seed, known in ((6, None), (7, snapshot)):
            async with again(first, seed, snapshot=known) as second:
                state = second.switch.centre.host.engine.snapshot()
                contacts = [(c["id"], c["phase"], c["place_s"]) for c in state["contacts"]]
                agents = {a: (s["wanted"], s["wanted_reason"]) for a, s in state["agents"].items()}
                shift_s = second.switch.centre.host.epoch_s
                found.append(([(i, p, round(t + shift_s, 3)) for i, p, t in contacts], agents))
        assert found[0] == found[1]
        assert found[0][1]["lilei"] == ("unavailable", "meal")


@simulated()
async def test_a_damaged_snapshot_costs_nothing_but_itself(caplog):
    async with World(8, office=centre_office(KEYS)) as first:
        first.switch.agents.log_in("lilei", available=False, reason="meal")
        damaged = Snapshot(0, first.clock.wall_s(), {"version": 99}, {})
        async with again(first, 9, snapshot=damaged) as second:
            assert second.switch.queues.states()[0].waiting == 0
    assert "queues begin anew" in caplog.text


def test_damaged_counts_of_the_day_cost_nothing_but_themselves(caplog):
    counts = DayCounts({"support": 20.0})
    before = counts.snapshot()
    counts.restore({"day": "2026-11-27", "states": {"lilei": [1.0, 2.0], "mary": [1.0, "x"]}})
    assert counts.snapshot() == before
    assert "begin anew" in caplog.text


SCRIPT = """
import asyncio, sys
from softswitch import Switch

async def main():
    switch = Switch.from_toml(sys.argv[1])
    await switch.start()
    switch.agents.log_in("lilei", available=False, reason="meal")
    switch.agents.log_in("mary", available=False, reason="meeting")
    number, due_s = sys.argv[2], float(sys.argv[3])
    switch.callbacks.request(number, "support", not_before_s=due_s)
    await asyncio.sleep(0.2)
    print("ready", flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.slow
def test_kill_9(tmp_path):
    text = (
        centre_office(KEYS).replace("10.0.0.1:5060", "127.0.0.1:0").replace("10.0.0.1", "127.0.0.1")
    )
    file = tmp_path / "office.toml"
    file.write_text(text)
    arguments = [sys.executable, "-c", SCRIPT, str(file), CUSTOMER, "4000000000.0"]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert process.stdout.readline() == b"ready\n"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
    asyncio.run(found_after(file))


async def found_after(file):
    switch = Switch.from_toml(file)
    await switch.start()
    try:
        assert switch.agents.state("lilei").reason == "meal"
        assert switch.agents.state("mary").reason == "meeting"
        assert switch.agents.state("hanmeimei").state == "logged-out"
        host = switch.centre.host
        (contact_id,) = host.engine.contact_ids
        view = host.engine.view_contact(contact_id, host.now_s())
        assert (view.phase, view.attributes["number"]) == ("dormant", CUSTOMER)
    finally:
        await switch.stop()
