"""Who is calling: the customer is looked up beside his call, and never holds it up."""

from __future__ import annotations

import asyncio

import pytest

from softswitch.apps import callers
from softswitch.apps.callers import ALARM, GIVE_UP_S, REST_S, WAIT_S
from softswitch.call.known import KnownCustomer
from softswitch.errors import StoreError
from softswitch.sim.behaviour import answer, ring
from softswitch.sim.centre import QUEUE_NUMBER, centre_office
from softswitch.sim.loop import simulated
from softswitch.sim.world import World

WANG = "01055550001"
OTHER = "02155550002"
MORE = """
[[region]]
name = "north"
prefixes = ["+8610"]
[[region]]
name = "east"
prefixes = ["+8621"]
[[customer]]
phone = ["01055550009"]
name = "Of the file"
priority = 3
tags = ["file"]
[[inbound]]
number = "+861065551002"
to = "extension:1002"
[[inbound]]
number = "+861065551003"
to = "flow:hello"
[[flow]]
name = "hello"
[[flow.step]]
do = "branch"
value = "{customer}"
cases = [{ is = "Wang Wei", go = "queue:support" }]
next = "hangup"
"""


def office(keys='route = ["priority", "last-agent", "region", "longest-idle"]', **options):
    agents = {"lilei": 'regions = ["north"]', "hanmeimei": 'regions = ["east"]'}
    return centre_office(keys, agents=agents, more=MORE, **options)


class Database:
    """Customers by number. `takes_s` to answer, or `fails`."""

    def __init__(self, world, takes_s=0.001):
        self.takes_s = takes_s
        self.fails = None
        self.asked = []
        self.known = {}
        world.switch.callers.look_up = self.look_up

    async def look_up(self, number):
        self.asked.append(number)
        await asyncio.sleep(self.takes_s)
        if self.fails is not None:
            raise self.fails
        return self.known.get(number)


def wang(**values):
    given = {"name": "Wang Wei", "phone": ("+861055550001",), "id": 7, "priority": 5, **values}
    return KnownCustomer(**given)


def told(world):
    return [entry.data for entry in world.journal.of_kind("call-customer")]


def arrived(world):
    entries = world.journal.of_kind("acd-event")
    usual = {"priority": None, "region": "", "customer_id": ""}
    return [{**usual, **e.data} for e in entries if e.data["type"] == "ContactArrived"]


async def waiting(world, number=WANG, to=QUEUE_NUMBER):
    carrier = world.trunks.get("carrier-1") or await world.trunk("carrier-1")
    call = await carrier.call(to, from_user=number)
    await call.answered()
    return call


@simulated()
async def test_what_the_database_knows_reaches_the_queue_the_agent_and_the_record():
    async with World(1, office=office()) as world:
        database = Database(world)
        database.known["+861055550001"] = wang(
            region="east", tags=("vip",), tickets_open=2, tickets=(9, 4)
        )
        other = await waiting(world, OTHER)
        await asyncio.sleep(30)
        call = await waiting(world)
        assert database.asked == ["+862155550002", "+861055550001"]
        stranger, customer = arrived(world)
        assert (stranger["priority"], stranger["region"], stranger["customer_id"]) == (None, "", "")
        assert (customer["priority"], customer["region"]) == (5.0, "east")
        assert customer["customer_id"] == "customer:7"
        assert told(world) == [
            {
                "id": 7,
                "name": "Wang Wei",
                "priority": 5,
                "region": "east",
                "tags": ["vip"],
                "last_agent": "",
                "tickets_open": 2,
                "tickets": [9, 4],
                "called": False,
            }
        ]
        row = next(r for r in world.switch.call_rows() if r["from"] == WANG)
        assert row["customer"]["name"] == "Wang Wei"
        # His priority is worth more than half a minute of waiting, his region more than his number.
        phone = await world.phone("1002", behaviour=answer(after_s=1.0))
        world.switch.agents.log_in("hanmeimei")
        rung = await phone.incoming()
        assert rung.invite.request.from_.display_name == "support: Wang Wei"
        await asyncio.sleep(20)
        call.hang_up()
        await rung.ended()
        other.hang_up()
        await asyncio.sleep(30)
        # He calls from a number that only his record knows: the agent who had him is known.
        database.known["+862155550003"] = wang(phone=("+861055550001", "+862155550003"))
        again = await waiting(world, "02155550003")
        assert told(world)[-1]["last_agent"] == "hanmeimei"
        again.hang_up()
        await again.ended()
        await world.settle()


@simulated()
@pytest.mark.parametrize("trouble", [StoreError("the disk is gone"), RuntimeError("a bug"), None])
async def test_database_trouble_holds_up_nobody(trouble):
    async with World(2, office=office()) as world:
        database = Database(world)
        database.known["+861055550001"] = wang()
        database.fails = trouble
        if trouble is None:
            database.takes_s = 3_600.0
        started_s = world.clock.monotonic_s()
        call = await waiting(world)
        waited_s = world.clock.monotonic_s() - started_s
        assert waited_s < WAIT_S + 0.2
        assert arrived(world)[-1]["priority"] is None
        await asyncio.sleep(GIVE_UP_S + 0.1)
        assert ALARM in world.switch.alarms
        assert world.switch.snapshot()["callers"]["failed"] == 1
        # The next calls do not even ask, until it has had time to recover.
        second = await waiting(world)
        assert len(database.asked) == 1
        database.fails, database.takes_s = None, 0.001
        await asyncio.sleep(REST_S)
        third = await waiting(world)
        assert arrived(world)[-1]["priority"] == 5.0
        assert ALARM not in world.switch.alarms
        # It is taken back once, not at every call from then on.
        taken_back = []
        world.switch.callers._alarm = lambda name, why: taken_back.append((name, why))
        fourth = await waiting(world)
        assert arrived(world)[-1]["priority"] == 5.0
        assert taken_back == []
        for one in (call, second, third, fourth):
            one.hang_up()
            await one.ended()
        await world.settle()


@simulated()
async def test_an_answer_that_comes_late_is_still_told():
    async with World(3, office=office()) as world:
        database = Database(world, takes_s=WAIT_S * 3)
        database.known["+861055550001"] = wang()
        call = await waiting(world)
        assert arrived(world)[-1]["customer_id"] == ""
        assert told(world) == []
        await asyncio.sleep(WAIT_S * 3)
        assert [one["id"] for one in told(world)] == [7]
        call.hang_up()
        await call.ended()
        await world.settle()


@simulated()
async def test_file_and_database_say_it_together():
    async with World(4, office=office()) as world:
        database = Database(world)
        first = await waiting(world, "01055550009")
        assert told(world)[-1]["name"] == "Of the file"
        assert (told(world)[-1]["id"], arrived(world)[-1]["customer_id"]) == (None, "")
        database.known["+861055550009"] = wang(priority=1, tags=("vip",))
        second = await waiting(world, "01055550009")
        one = told(world)[-1]
        assert (one["id"], one["name"], one["priority"]) == (7, "Wang Wei", 3)
        assert one["tags"] == ["vip", "file"]
        assert arrived(world)[-1]["priority"] == 3.0
        for call in (first, second):
            call.hang_up()
            await call.ended()
        await world.settle()


@simulated()
async def test_flows_branch_by_the_customer_and_extensions_ring_at_once():
    async with World(5, office=office()) as world:
        database = Database(world)
        database.known["+861055550001"] = wang()
        call = await waiting(world, to="+861065551003")
        assert arrived(world)[-1]["customer_id"] == "customer:7"
        call.hang_up()
        await call.ended()
        database.takes_s = 0.5
        phone = await world.phone("1002", behaviour=ring())
        carrier = world.trunks["carrier-1"]
        started_s = world.clock.monotonic_s()
        direct = await carrier.call("+861065551002", from_user=WANG)
        await phone.incoming()
        assert world.clock.monotonic_s() - started_s < 0.3
        await asyncio.sleep(1)
        assert len(told(world)) == 2
        direct.hang_up()
        await direct.ended()
        await world.settle()


@simulated()
async def test_who_is_called_outside_is_known_too():
    async with World(8, office=office()) as world:
        database = Database(world, takes_s=0.3)
        database.known["+861055550001"] = wang(tickets_open=1, tickets=(9,))
        carrier = await world.trunk("carrier-1", behaviour=answer(after_s=1.0))
        phone = await world.phone("1001")
        started_s = world.clock.monotonic_s()
        call = await phone.call(f"9{WANG}")
        await carrier.incoming()
        assert world.clock.monotonic_s() - started_s < 0.2  # nobody waits for the database
        await call.answered()
        assert database.asked == ["+861055550001"]
        (one,) = told(world)
        assert (one["id"], one["name"], one["tickets"], one["called"]) == (7, "Wang Wei", [9], True)
        (row,) = world.switch.call_rows()
        assert row["customer"]["name"] == "Wang Wei"
        call.hang_up()
        await call.ended()
        # A customer who is sent on to a number outside stays who he is.
        database.known["+862155550002"] = wang(name="Zhang", id=8)
        database.takes_s = 0.001
        world.switch.lines.set("1002", "forward_always", f"9{WANG}")
        sent_on = await carrier.call("+861065551002", from_user=OTHER)
        await sent_on.answered()
        assert [(one["id"], one["called"]) for one in told(world)[1:]] == [(8, False)]
        sent_on.hang_up()
        await sent_on.ended()
        await world.settle()


@simulated()
async def test_inside_calls_and_numbers_that_are_none_ask_nobody():
    async with World(6, office=office()) as world:
        database = Database(world)
        caller = await world.phone("1001", behaviour=ring())
        own = await caller.call("5000")
        await own.answered()
        hidden = await waiting(world, "anonymous")
        assert database.asked == []
        for call in (own, hidden):
            call.hang_up()
            await call.ended()
        await world.settle()


@simulated()
async def test_no_more_look_ups_at_once_than_the_limit(monkeypatch):
    monkeypatch.setattr(callers, "LOOK_UPS_MAX", 3)
    async with World(7, office=office()) as world:
        database = Database(world, takes_s=GIVE_UP_S * 0.9)
        carrier = await world.trunk("carrier-1")
        calls = [await carrier.call(QUEUE_NUMBER, from_user=WANG) for _ in range(3)]
        await asyncio.sleep(0.3)
        assert (len(database.asked), world.switch.snapshot()["callers"]["left_out"]) == (3, 0)
        calls.append(await carrier.call(QUEUE_NUMBER, from_user=WANG))
        await asyncio.sleep(0.3)
        assert (len(database.asked), world.switch.snapshot()["callers"]["left_out"]) == (3, 1)
        await asyncio.gather(*(call.answered() for call in calls))
        for call in calls:
            call.hang_up()
        await asyncio.gather(*(call.ended() for call in calls))
        await world.settle()
