"""ACD engine: how long an event takes to decide, and what it costs in memory.

    python bench/acd.py [--agents 10000] [--queues 1000] [--contacts 100000] [--events 20000]

Fills the floor (agents with skills and regions in ten queues each, all busy, contacts waiting), then
runs a mixed stream: conversations end, offers are answered or missed, callers arrive and hang up,
agents pause, rules relax. Prints percentiles per kind of event and overall, throughput, memory a
contact, and the share of time that explanations cost.
"""

from __future__ import annotations

import argparse
import gc
import random
import resource
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from bench.figures import Figure, save, show
from routing.decisions import CancelOffer, Connect, ContactClosed, Decision, OfferTo
from routing.engine import AcdEngine
from routing.events import (
    AgentLoggedIn,
    AgentStateSet,
    ContactAbandoned,
    ContactArrived,
    ContactEnded,
    Event,
    OfferAccepted,
    TimerFired,
)
from routing.explain import Why
from routing.model import (
    AcdConfig,
    AgentConfig,
    AgentState,
    AnnounceRule,
    QueueConfig,
    RegionConfig,
    Relaxation,
)
from softswitch.sim.studies import LOAD, erlang_run, mean_and_error, theory, wait_study

ROUTE = ("priority", "last-agent", "region", "skill", "longest-idle")
LANGUAGES = ("zh", "en", "de", "fr", "es")
REGIONS = 10
QUEUES_AN_AGENT = 10


def resident_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@dataclass
class Floor:
    """The engine and what its decisions say about the world."""

    engine: AcdEngine
    rng: random.Random
    clock: Callable[[], float] = time.perf_counter
    now_s: float = 0.0
    contacts: int = 0
    ringing: dict[int, str] = field(default_factory=dict)  # offer -> agent
    talking: list[str] = field(default_factory=list)
    took_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    offers: list[OfferTo] = field(default_factory=list)

    def tell(self, event: Event) -> list[Decision]:
        clock = self.clock
        start = clock()
        decisions = self.engine.handle(event, self.now_s)
        self.took_s[type(event).__name__].append(clock() - start)
        for decision in decisions:
            if isinstance(decision, OfferTo):
                self.ringing[decision.offer_id] = decision.agent_id
                self.offers.append(decision)
            elif isinstance(decision, CancelOffer):
                self.ringing.pop(decision.offer_id, None)
            elif isinstance(decision, Connect):
                self.ringing.pop(decision.offer_id, None)
                self.talking.append(decision.contact_id)
            elif isinstance(decision, ContactClosed) and decision.contact_id in self.talking[-50:]:
                self.talking.remove(decision.contact_id)
        return decisions

    def arrive(self, queue: int) -> None:
        self.contacts += 1
        rng = self.rng
        self.tell(
            ContactArrived(
                contact_id=f"c{self.contacts}",
                queue_id=f"q{queue}",
                caller=f"+{rng.randrange(REGIONS):03d}{rng.randrange(200_000):07d}",
                priority=float(rng.choice((0, 0, 0, 1, 5))),
                skill=f"lang.{rng.choice(LANGUAGES)} >= 2",
            )
        )

    def run_timers(self, until_s: float) -> None:
        while (due_s := self.engine.get_timer()) is not None and due_s <= until_s:
            self.now_s = max(self.now_s, due_s)
            self.tell(TimerFired())
        self.now_s = until_s


def build(agents: int, queues: int, seed: int) -> Floor:
    rng = random.Random(seed)
    relax = (Relaxation(after_s=60.0, skill=""), Relaxation(after_s=120.0, drop=("lang.zh",)))
    config = AcdConfig(
        queues=tuple(
            QueueConfig(
                id=f"q{number}",
                route=ROUTE,
                skill=f"product{number % 7} >= 1",
                relax=relax,
                ring_s=15.0,
                wrap_up_s=20.0,
                announce=AnnounceRule(first_s=30.0),
                max_wait_s=3600.0,
            )
            for number in range(queues)
        ),
        agents=tuple(
            AgentConfig(
                id=f"a{number}",
                queues=tuple(
                    f"q{queue}" for queue in rng.sample(range(queues), min(QUEUES_AN_AGENT, queues))
                ),
                skills={
                    **{f"product{p}": rng.randrange(1, 5) for p in range(7) if rng.random() < 0.8},
                    **{f"lang.{lang}": rng.randrange(6) for lang in LANGUAGES},
                },
                regions=(f"r{rng.randrange(REGIONS)}",),
            )
            for number in range(agents)
        ),
        regions=tuple(
            RegionConfig(name=f"r{number}", prefixes=(f"+{number:03d}",))
            for number in range(REGIONS)
        ),
    )
    return Floor(AcdEngine(config, random.Random(seed)), rng)


def fill(floor: Floor, agents: int, queues: int, contacts: int) -> None:
    for number in range(agents):
        floor.tell(AgentLoggedIn(f"a{number}"))
    while len(floor.talking) < agents * 0.97 and floor.contacts < 5 * agents:
        floor.now_s += 0.001
        floor.arrive(floor.rng.randrange(queues))
        for offer_id in list(floor.ringing):
            floor.tell(OfferAccepted(offer_id))
    waiting = 0
    while waiting < contacts:
        floor.now_s += 0.0005
        floor.arrive(floor.rng.randrange(queues))
        waiting += 1
        for offer_id in list(floor.ringing):
            floor.tell(OfferAccepted(offer_id))


def stream(floor: Floor, events: int, queues: int, agents: int) -> None:
    """About `events` events: the office under overload."""
    rng = floor.rng
    for _ in range(events):
        floor.run_timers(floor.now_s + 0.01)
        dice = rng.random()
        if dice < 0.35 and floor.talking:
            at = rng.randrange(len(floor.talking))
            floor.talking[at], floor.talking[-1] = floor.talking[-1], floor.talking[at]
            floor.tell(ContactEnded(floor.talking.pop()))
        elif dice < 0.60 and floor.ringing:
            floor.tell(OfferAccepted(next(iter(floor.ringing))))
        elif dice < 0.85:
            floor.arrive(rng.randrange(queues))
        elif dice < 0.95:
            floor.tell(ContactAbandoned(f"c{rng.randrange(1, floor.contacts + 1)}"))
        else:
            agent = f"a{rng.randrange(agents)}"
            state = rng.choice((AgentState.AVAILABLE, AgentState.UNAVAILABLE, AgentState.AVAILABLE))
            floor.tell(AgentStateSet(agent, state, "break"))


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def report(floor: Floor) -> None:
    everything = [took for kind in floor.took_s.values() for took in kind]
    print(f"{'event':<18}{'count':>9}{'p50 us':>9}{'p99 us':>9}{'max ms':>9}")
    for name, took in sorted({**floor.took_s, "all": everything}.items()):
        print(
            f"{name:<18}{len(took):>9}{percentile(took, 0.5) * 1e6:>9.0f}"
            f"{percentile(took, 0.99) * 1e6:>9.0f}{max(took) * 1e3:>9.2f}"
        )
    print(f"{len(everything) / sum(everything):,.0f} events/s of engine time")


def report_explanations(floor: Floor) -> None:
    """What noting the reasons of every offer costs, and what telling them all would."""
    spent = sum(took for kind in floor.took_s.values() for took in kind)
    sample = [offer.why for offer in floor.offers[-3000:]]
    start = floor.clock()
    for why in sample:
        Why(why.contact, why.seat, why.pool, why.mode, why.at_s, why.entry, why.rivals)
    noted = (floor.clock() - start) / len(sample)
    start = floor.clock()
    for why in sample:
        why.record()
    told = (floor.clock() - start) / len(sample)
    print(
        f"explanations: {len(floor.offers):,} offers noted at {noted * 1e6:.1f} us = "
        f"{noted * len(floor.offers) / spent * 100:.1f} % of engine time; "
        f"a full record on demand {told * 1e6:.0f} us"
    )


def engine_figures(floor: Floor, kib_a_contact: float) -> list[Figure]:
    """An event decided, at the size that the engine was filled to."""
    took_ms = sorted(1000 * took_s for times in floor.took_s.values() for took_s in times)
    p50, p99 = (took_ms[int(len(took_ms) * share)] for share in (0.5, 0.99))
    size = f"{len(floor.engine.agent_ids):,} agents, {len(floor.engine.queue_ids):,} queues"
    return [
        Figure("an ACD event decided, p50", p50, "ms", note=size),
        Figure("an ACD event decided, p99", p99, "ms", bar=1.0, note=f"{len(took_ms):,} events"),
        Figure("memory a waiting contact", kib_a_contact, "KiB"),
    ]


def wait_figures() -> list[Figure]:
    """Announced waits on days with two peaks over capacity."""
    found = []
    for agents, patience_s, variation, days in ((10, 300.0, 1.0, 12), (4, 300.0, 1.0, 20)):
        study = wait_study(agents, 240.0, patience_s, variation, days, 2)
        what = f"{agents} agents, patience {patience_s:.0f} s"
        note = f"{study.ours_s:.1f} s against {study.asterisk_s:.1f} s, {study.callers:,} delayed"
        name = f"error of the expected wait, of Asterisk's: {what}"
        found.append(Figure(name, study.ratio, "", bar=0.65, note=note))
        covered = 100 * study.covered
        name = f"waits within the 80 % quantile: {what}"
        found.append(Figure(name, covered, "%", bar=77.0, at_least=True, note="77 to 83 %"))
    return found


def erlang_figures() -> list[Figure]:
    """The engine against Erlang's formulas: the largest distance in standard errors of all shares."""
    worst, where = 0.0, ""
    for agents in (9, 11, 12, 13, 14, 15):
        for patience_s in (None, 120.0, 300.0):
            if patience_s is None and agents <= LOAD:
                continue
            batches = erlang_run(agents, patience_s, 20_000, 7 * agents)
            for number, want in enumerate(theory(agents, patience_s)):
                mean, error = mean_and_error([batch[number] for batch in batches])
                off = abs(mean - want) / error if error else 0.0
                if off > worst:
                    worst, where = off, f"{agents} agents, patience {patience_s}"
    name = "Erlang C and A reproduced: the largest of 51 distances"
    return [Figure(name, worst, "s.e.", bar=3.0, note=f"at {where}; 20,000 callers each")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, default=10_000)
    parser.add_argument("--queues", type=int, default=1_000)
    parser.add_argument("--contacts", type=int, default=100_000)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--save", action="store_true", help="keep the figures in RESULTS.md")
    parser.add_argument("--only", choices=("size", "waits", "erlang"))
    options = parser.parse_args()
    parts: dict[str, Callable[[], list[Figure]]] = {
        "size": lambda: at_size(options),
        "waits": wait_figures,
        "erlang": erlang_figures,
    }
    for name, measure in parts.items():
        if options.only in (None, name):
            figures = measure()
            show(figures)
            if options.save:
                save("acd", figures)


def at_size(options: argparse.Namespace) -> list[Figure]:
    """The engine filled up, and a stream of events."""
    start = time.perf_counter()
    floor = build(options.agents, options.queues, options.seed)
    if options.clock == "cpu":  # on a machine shared with others
        floor.clock = time.thread_time
    built_mib = resident_mib()
    print(f"built in {time.perf_counter() - start:.1f} s, {built_mib:.0f} MiB")
    start = time.perf_counter()
    fill(floor, options.agents, options.queues, options.contacts)
    grown = resident_mib() - built_mib
    waiting = sum(
        view.in_line for q in floor.engine.queue_ids if (view := floor.engine.view_queue(q))
    )
    print(
        f"filled in {time.perf_counter() - start:.1f} s: {waiting:,} waiting, "
        f"{len(floor.talking):,} in conversation, {grown * 1024 / max(waiting, 1):.2f} KiB a contact"
    )
    floor.took_s.clear()
    floor.offers.clear()
    gc.collect()
    gc.freeze()
    stream(floor, options.events, options.queues, options.agents)
    report(floor)
    report_explanations(floor)
    return engine_figures(floor, grown * 1024 / max(waiting, 1))


if __name__ == "__main__":
    main()
