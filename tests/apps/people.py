"""Random people in a call centre, simulated or real, and the accounts at the end."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import asdict

import pytest

from routing.audit import audit
from routing.stats import AgentTimes
from softswitch.apps.acd_counts import HALF_S, Figures, add_times
from softswitch.errors import CallError
from softswitch.sim.behaviour import answer, busy, reject, ring
from softswitch.sim.centre import QUEUE_NUMBER, centre_office, press
from softswitch.sim.phone_call import CallNotAnswered
from softswitch.sim.world import World
from softswitch.store.entry import make_entry
from softswitch.store.story import tell

MORE = """
[[inbound]]
number = "+861065551002"
to = "queue:billing"

[[queue]]
name = "billing"
number = "5001"
route = ["priority", "skill", "fewest-calls"]
skill = "billing >= 2"
wrap_up_s = 5
max_wait_s = 90
max_waiting = 6
overflow = "queue:support"
relax = [{ after_s = 30, skill = "billing" }]

[[region]]
name = "north"
prefixes = ["+8610"]

[[customer]]
phone = ["+8613800000001", "+8613800000002"]
name = "Wang Wei"
priority = 5
"""

KEYS = """
route = ["priority", "last-agent", "region", "longest-idle"]
last_agent = { within_h = 72, wait_s = 10 }
region = { wait_s = 10 }
ring_s = 10
wrap_up_s = 8
max_waiting = 10
max_wait_s = 120
keys = { "0" = "extension:1099" }
callback = { offer_after_s = 20, attempts = 2, retry_after_s = 60 }
announce = { every_s = 15 }
"""


def agents_of(count):
    agents = {}
    for number in range(count):
        region = 'regions = ["north"]' if number % 3 == 0 else ""
        agents[f"agent{number}"] = (
            f'queues = ["support", "billing"]\nskills = {{ billing = {number % 4} }}\n{region}'
        )
    return agents


@contextlib.asynccontextmanager
async def passed_on(
    agents: dict[str, str], keys: str = "", *, more: str = ""
) -> AsyncIterator[World]:
    """The world after one call to a queue whose first agent lets it ring for 5 s; another has taken it after a
    second more and talked until its 30th, when the caller hung up."""
    office = centre_office(f"{keys}\nring_s = 5", agents=agents, more=more)
    async with World(1, office=office) as world:
        for number in range(1001, 1001 + len(agents)):
            await world.phone(
                str(number), behaviour=ring() if number == 1001 else answer(after_s=1.0)
            )
        for agent in agents:
            world.switch.agents.log_in(agent)
            await asyncio.sleep(1)
        carrier = await world.trunk("carrier-1")
        call = await carrier.call(QUEUE_NUMBER, from_user="01065550001")
        await call.answered()
        await asyncio.sleep(30)
        call.hang_up()
        await asyncio.sleep(30)
        await world.settle()
        yield world


class People:
    """Agents and callers with habits, from one seed. `world` has `switch`, `clock` and `journal`;
    `press(call, key)` presses a key."""

    def __init__(self, world, seed, *, numbers, press_key=None):
        self.world = world
        self.press = press_key or (lambda call, key: press(world, call, key))
        self.random = random.Random(seed)
        self.numbers = numbers
        self.called = 0
        self.refused = 0
        self.doubled = []

    def behaviour(self):
        mood = self.random.random()
        if mood < 0.06:
            return ring()
        if mood < 0.10:
            return busy()
        if mood < 0.13:
            return reject(603)
        over = self.random.uniform(5, 60) if self.random.random() < 0.5 else None
        return answer(after_s=self.random.uniform(0.5, 8), hang_up_after_s=over)

    async def work(self, agent, phone, until_s):
        """One agent's day: breaks, moods, own calls, log-outs."""
        agents = self.world.switch.agents
        agents.log_in(agent)
        while self.world.clock.monotonic_s() < until_s:
            phone.behaviour = self.behaviour()
            await asyncio.sleep(self.random.uniform(1, 60))
            chance, status = self.random.random(), agents.state(agent)
            if status.state == "logged-out":
                agents.log_in(agent)
            elif status.state == "unavailable":
                agents.resume(agent)
            elif chance < 0.05:
                agents.log_out(agent)
            elif chance < 0.15:
                with contextlib.suppress(CallError):  # one who leaves after this call has no breaks
                    agents.pause(agent, "break")
            elif chance < 0.2 and not phone.calls:
                own = await phone.call("5000" if chance < 0.17 else "1098")
                own.after(self.random.uniform(1, 20), own.hang_up)
        agents.log_out(agent)

    async def call_in(self, carrier, to=""):
        """One caller: waits as long as he likes, presses keys, talks, hangs up."""
        self.called += 1
        number = self.random.choice(self.numbers)
        if not to:
            to = "+861065551001" if self.random.random() < 0.7 else "+861065551002"
        call = await carrier.call(to, from_user=number)
        leaves_s = self.random.expovariate(1 / 60)
        if self.random.random() < 0.1:
            leaves_s = self.random.uniform(0, 1)
        call.after(leaves_s, call.hang_up)
        try:
            await call.answered()
        except CallNotAnswered:
            self.refused += 1
            return
        while call.end is None and self.random.random() < 0.4:
            await asyncio.sleep(self.random.uniform(1, 30))
            if call.end is None and call.state == "up":
                self.press(call, self.random.choice("01#5"))
        await call.ended()

    def watch(self):
        """No agent is in two conversations, and the engine agrees with itself."""
        talking = Counter(
            queue_call.agent_id
            for queue_call in self.world.switch.centre.calls.values()
            if queue_call.agent_id
        )
        self.doubled += [agent for agent, count in talking.items() if count > 1]
        engine = self.world.switch.centre.host.engine
        wrong = audit(engine, self.world.clock.monotonic_s())
        assert wrong == [], wrong[:5]
        for offer in self.world.switch.centre.offers.values():
            assert not offer.call.ended, "somebody is rung for a caller who has left"


async def run_office(world, people, *, agents, callers, mean_s, until_s, rest_s=400):
    carrier = await world.trunk("carrier-1")
    carrier.behaviour = answer(after_s=3.0, hang_up_after_s=20.0)
    await world.phone("1099", behaviour=answer(hang_up_after_s=5.0))
    await world.phone("1098", behaviour=answer(hang_up_after_s=15.0))
    tasks = []
    for number in range(agents):
        phone = await world.phone(str(1001 + number))
        tasks.append(people.work(f"agent{number}", phone, until_s))
    running = [asyncio.ensure_future(task) for task in tasks]
    for _ in range(callers):
        running.append(asyncio.ensure_future(people.call_in(carrier)))
        await asyncio.sleep(people.random.expovariate(1 / mean_s))
        people.watch()
    await asyncio.gather(*running)
    for call in list(carrier.calls.values()):
        call.hang_up()
    await asyncio.sleep(rest_s)


def check_accounts(world, people, *, exact=True):
    """Every contact ends once; the sums of the journal are those of the callers and of the counts. Not `exact`:
    a network that was cut has kept some callers from arriving, and a call may last longer than a day."""
    closed = world.journal.of_kind("acd-closed")
    contacts = Counter(e.data["contact"] for e in closed)
    assert {c: n for c, n in contacts.items() if n > 1} == {}
    arrived = [
        e.data["contact_id"]
        for e in world.journal.of_kind("acd-event")
        if e.data["type"] == "ContactArrived"
    ]
    open_ = set(arrived) - set(contacts)
    assert open_ <= set(world.switch.centre.host.engine.contact_ids), "pending callbacks at most"
    outcomes = Counter(e.data["outcome"] for e in closed)
    assert set(outcomes) <= {
        "answered",
        "abandoned",
        "overflowed",
        "withdrawn",
        "callback-done",
        "callback-failed",
        "callback-cancelled",
    }
    started = world.journal.of_kind("call-started")
    from_outside = sum(e.data["direction"] == "inbound" for e in started)
    assert from_outside == people.called if exact else from_outside <= people.called
    connected = world.journal.of_kind("acd-connected")
    handled = [e for e in world.journal.of_kind("acd-handled") if e.data["outcome"] != "failed"]
    assert len(connected) == len(handled), "every conversation was somebody's work, once"
    check_figures(world)
    assert world.switch.centre.host.broken == 0
    assert people.doubled == []
    return outcomes


def check_figures(world):
    """What is counted as it happens is what the journal tells: by half-hour, of queues and of regions."""
    stories = {}
    for seq, entry in enumerate(world.journal.entries, 1):
        if entry.call_id:
            written = make_entry(seq, entry.at_s, entry.kind, entry.call_id, entry.data)
            stories.setdefault(entry.call_id, []).append(written)
    told = [tell(entries) for entries in stories.values()]
    counts, now_s = world.switch.centre.host.counts, world.clock.wall_s()
    assert len(counts.visits) <= len(world.switch.centre.host.engine.contact_ids), "some are kept"
    within_s = {q.name: q.service_level.within_s for q in world.switch.office.queues}
    for what in ("queue", "region"):
        expected = {}
        for visit in (visit for story in told for visit in story.visits):
            name = visit.queue_id if what == "queue" else visit.region
            found = expected.setdefault((visit.entered_at_s // HALF_S * HALF_S, name), Figures())
            counted, left = found.visits, visit.outcome != "waiting"
            in_time = visit.waited_s <= within_s[visit.queue_id]
            counted.entered += 1
            counted.wait_s += visit.waited_s
            counted.wait_s_max = max(counted.wait_s_max, visit.waited_s if left else 0.0)
            kind = "callbacks" if visit.outcome.startswith("callback") else visit.outcome
            setattr(counted, kind, getattr(counted, kind) + 1)
            if kind in ("answered", "abandoned"):
                name = f"{kind}_in_time"
                setattr(counted, name, getattr(counted, name) + in_time)
            if kind == "answered":
                counted.wait_answered_s += visit.waited_s
        for done in (done for story in told for done in story.handlings):
            if done.outcome != "failed":
                name = done.queue_id if what == "queue" else done.region
                found = expected.setdefault((done.at_s // HALF_S * HALF_S, name), Figures())
                more = AgentTimes(done.talk_s, done.hold_s, done.wrap_up_s, handled=1)
                add_times(found.times, more)
        live = dict(counts.halves(what, now_s))
        assert live.keys() == expected.keys()
        for key, figures in live.items():
            for one, other in (
                (figures.visits, expected[key].visits),
                (figures.times, expected[key].times),
            ):
                assert asdict(one) == pytest.approx(asdict(other), abs=1e-3), key
    check_agents(world, [offer for story in told for offer in story.offers])


def check_agents(world, offers):
    """What is told of agents live is what the journal says of their states and of how they were rung."""
    counts, now_s = world.switch.centre.host.counts, world.clock.wall_s()
    rung = {}
    for offer in offers:
        ends = rung.setdefault(offer.agent_id, Counter())
        ends.update(["offered", offer.outcome])
    spent, doing = {}, {}
    for entry in world.journal.of_kind("acd-agent-state"):
        agent = entry.data["agent"]
        doing.setdefault(agent, []).append((entry.at_s, entry.data["new"]))
    for agent, changes in doing.items():
        seconds = spent.setdefault(agent, Counter())
        ends = [at_s for at_s, _ in changes[1:]] + [now_s]
        for (at_s, state), end_s in zip(changes, ends, strict=True):
            if state != "logged-out":
                seconds[state] += end_s - at_s
    for agent in counts.agents():
        day, ends = counts.of_agent(agent, now_s), rung.get(agent, Counter())
        assert (day.offered, day.accepted) == (ends["offered"], ends["answered"]), agent
        assert (day.missed, day.rejected) == (ends["no-answer"], ends["rejected"]), agent
        by_state = Counter()
        for (state, _), seconds in day.states.items():
            by_state[state] += seconds
        expected = spent.get(agent, {})
        for state in by_state.keys() | expected:
            assert by_state[state] == pytest.approx(expected[state], abs=0.01), (agent, state)
    everybody = [agent.id for agent in world.switch.office.agents if "support" in agent.queues]
    busy = sum(spent[a][s] for a in everybody if a in spent for s in ("on-contact", "wrap-up"))
    idle = sum(spent[a][s] for a in everybody if a in spent for s in ("available", "offered"))
    of_team, _ = counts.occupancy(("queue", "support"), now_s)
    assert of_team.numerator == pytest.approx(busy, abs=0.1)
    assert of_team.denominator == pytest.approx(busy + idle, abs=0.1)


NUMBERS = [
    "+8613800000001",
    "13800000002",
    "01065550001",
    "01065550002",
    "02155550003",
    "anonymous",
]
