"""Statistics: equal to what the journal says when it is counted by hand."""

from __future__ import annotations

import heapq
import itertools
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from routing import events
from routing.decisions import CancelOffer, Connect, ContactHandled, Decision, OfferTo
from routing.engine import AcdEngine
from routing.model import AcdConfig, AgentConfig, AgentState, QueueConfig
from routing.stats import AgentTimes, VisitCounts, handle_times, service_level, tally
from softswitch.store.acd import entry_of
from softswitch.store.days import CONTACTS
from softswitch.store.periods import Span, moment
from softswitch.store.report import FORMULAS, agent_report, queue_report
from softswitch.store.statistics import PER, TALKS, Chosen, Statistics

ZONE = ZoneInfo("Asia/Shanghai")
DAY_S = 1_790_006_400.0  # 2026-09-22 00:00 +08:00


def whole_day(by: str = "all") -> Span:
    return Span(DAY_S, DAY_S + 86_400, ZONE, by)  # type: ignore[arg-type]


class Writer:
    """Writes the entries of contacts as the ACD does."""

    def __init__(self, append: Callable[..., int]) -> None:
        self._append = append
        self._numbers = itertools.count(1)

    def contact(self, outcome: str, at_s: float, wait_s: float, queue: str = "support") -> str:
        contact = f"c{next(self._numbers)}"
        about = {"contact": contact, "queue": queue}
        self._append("acd-queued", contact, {**about, "caller": "+8610"}, at_s)
        if outcome == "answered":
            answer = {**about, "agent": "lilei", "waited_s": wait_s, "offer": contact}
            self._append("acd-connected", contact, answer, at_s + wait_s)
        end = {**about, "outcome": outcome, "waited_s": wait_s}
        self._append("acd-closed", contact, end, at_s + wait_s + 1)
        return contact


async def test_one_day_six_answers(tmp_path: Path, any_store: Any) -> None:
    """90 answered (80 in T), 10 abandoned (6 in T), 3 flowed out: one day, every formula."""
    async with any_store.opened(tmp_path) as tools:
        writer = Writer(tools.journal.append)
        plan = [("answered", 15.0)] * 80 + [("answered", 45.0)] * 10
        plan += [("abandoned", 5.0)] * 6 + [("abandoned", 50.0)] * 4 + [("overflowed", 60.0)] * 3
        for number, (outcome, wait_s) in enumerate(plan):
            writer.contact(outcome, DAY_S + number * 600, wait_s)
        await tools.journal.flush()
        report = await queue_report(
            tools.store.statistics, whole_day(), Chosen(default_s=20.0), "queue", "all"
        )
        (row,) = report.plain()
        assert (row["entered"], row["answered"], row["abandoned"]) == (103, 90, 10)
        assert (row["answered_in_time"], row["abandoned_in_time"], row["overflowed"]) == (80, 6, 3)
        percent = {
            name.removeprefix("service_level_"): round(100 * cell["value"], 1)
            for name, cell in row.items()
            if name.startswith("service_level_")
        }
        assert percent == {
            "answered": 88.9,
            "short-abandons-good": 86.0,
            "short-abandons-out": 85.1,
            "offered": 80.0,
            "offered-and-flowed-out": 77.7,
        }
        assert row["service_level_offered"] == {"value": 0.8, "numerator": 80, "denominator": 100}
        assert row["average_answer_s"]["value"] == pytest.approx((80 * 15 + 10 * 45) / 90)
        # The same day with another T, afterwards.
        wide = await queue_report(
            tools.store.statistics, whole_day(), Chosen(within_s={"support": 60.0}), "queue"
        )
        assert next(wide.plain())["service_level"]["numerator"] == 90
        with pytest.raises(KeyError):
            await queue_report(tools.store.statistics, whole_day(), Chosen(), "queue", "mine")


def test_every_formula_has_a_name() -> None:
    assert "offered" in FORMULAS
    assert len(FORMULAS) == 6


class Office:
    """An ACD with callers and agents, from a seed; every decision is journaled."""

    QUEUES = ("support", "billing", "sales")

    def __init__(self, append: Callable[..., int], seed: int, calls: int, agents: int) -> None:
        self.append = append
        self.random = random.Random(seed)
        self.decisions: list[tuple[float, Decision]] = []
        self._todo: list[tuple[float, int, Callable[[], events.Event | None]]] = []
        self._number = itertools.count()
        self._flush_at = 20_000
        self.engine = AcdEngine(self._config(agents), random.Random(seed))
        for number in range(agents):
            self._later(DAY_S, lambda n=number: events.AgentLoggedIn(f"a{n}"))
            for _ in range(3):
                self._later(DAY_S + self.random.uniform(0, 86_000), lambda n=number: self._break(n))
        for number in range(calls):
            at_s = DAY_S + self.random.uniform(0, 86_000)
            self._later(at_s, lambda n=number: self._arrival(n))

    def _config(self, agents: int) -> AcdConfig:
        queues = tuple(
            QueueConfig(
                id=name,
                wrap_up_s=15.0,
                max_wait_s=120.0,
                max_waiting=6,
                overflow="queue:support" if name == "billing" else "hangup",
            )
            for name in self.QUEUES
        )
        members = tuple(
            AgentConfig(id=f"a{n}", queues=tuple(self.random.sample(self.QUEUES, 2)))
            for n in range(agents)
        )
        return AcdConfig(queues=queues, agents=members)

    def _later(self, at_s: float, make: Callable[[], events.Event | None]) -> None:
        heapq.heappush(self._todo, (at_s, next(self._number), make))

    def _arrival(self, number: int) -> events.Event:
        contact = f"c{number}"
        patience_s = self.random.expovariate(1 / 90)
        self._later(self._now_s + patience_s, lambda: events.ContactAbandoned(contact))
        return events.ContactArrived(
            contact_id=contact, queue_id=self.random.choice(self.QUEUES), caller=f"+86{number}"
        )

    def _break(self, number: int) -> events.Event:
        agent = f"a{number}"
        back_s = self._now_s + self.random.uniform(60, 3_600)
        self._later(back_s, lambda: events.AgentStateSet(agent, AgentState.AVAILABLE))
        return events.AgentStateSet(agent, AgentState.UNAVAILABLE, "lunch")

    async def run(self, flush: Callable[[], Awaitable[bool]]) -> None:
        while self._todo:
            if len(self.decisions) >= self._flush_at:
                self._flush_at = len(self.decisions) + 20_000
                assert await flush()
            at_s, _, make = heapq.heappop(self._todo)
            while (due_s := self.engine.get_timer()) is not None and due_s <= at_s:
                self._handle(events.TimerFired(), due_s)
            self._now_s = at_s
            event = make()
            if event is not None:
                self._handle(event, at_s)
        while (due_s := self.engine.get_timer()) is not None:
            self._handle(events.TimerFired(), due_s)

    def _handle(self, event: events.Event, now_s: float) -> None:
        self._now_s = now_s
        for decision in self.engine.handle(event, now_s):
            self.decisions.append((now_s, decision))
            entry = entry_of(decision)
            if entry is not None:
                kind, data = entry
                self.append(kind, data["contact"] or None, data, now_s)
            self._react(decision)

    def _react(self, decision: Decision) -> None:
        chance = self.random.random()
        match decision:
            case OfferTo(offer_id=offer):
                if chance < 0.1:
                    self._later(self._now_s + 3, lambda: events.OfferRejected(offer))
                elif chance < 0.9:  # else nobody picks up
                    at_s = self._now_s + self.random.uniform(1, 10)
                    self._later(at_s, lambda: events.OfferAccepted(offer))
            case Connect(contact_id=contact):
                if chance < 0.03:
                    self._later(self._now_s + 1, lambda: events.ConnectFailed(contact))
                    return
                talked_s = self._now_s + self.random.expovariate(1 / 180)
                if chance < 0.1:
                    queue = self.random.choice(self.QUEUES)
                    self._later(
                        talked_s, lambda: events.ContactRequeued(contact_id=contact, queue_id=queue)
                    )
                else:
                    self._later(talked_s, lambda: events.ContactEnded(contact))
            case CancelOffer(agent_id=agent, reason="no-answer"):
                at_s = self._now_s + 60
                self._later(at_s, lambda: events.AgentStateSet(agent, AgentState.AVAILABLE))


def counted_by_hand(directory: Path, tools: Any, within_s: float) -> dict[str, Counter[str]]:
    """Per queue, from nothing but the rows of the journal: each stay of a contact in a queue."""
    rows = tools.sql(directory, "SELECT kind, data FROM journal ORDER BY seq")
    stays: dict[str, list[dict[str, Any]]] = {}
    for kind, text in rows:
        data = json.loads(text)
        mine = stays.setdefault(data.get("contact", ""), [])
        match kind:
            case "acd-queued":
                if not mine or mine[-1]["end"] or mine[-1]["queue"] != data["queue"]:
                    mine.append({"queue": data["queue"], "end": None})
            case "acd-connected":
                mine[-1].update(end="answered", waited=data["waited_s"], by=data["agent"])
            case "acd-handled" if data["outcome"] == "failed":
                mine[-1]["end"] = None
            case "acd-moved" if not mine[-1]["end"] and data["to_queue"] != mine[-1]["queue"]:
                flowed = data["reason"].startswith("overflow")
                mine[-1].update(end="overflowed" if flowed else "requeued", waited=data["waited_s"])
            case "acd-closed":
                if not mine or (mine[-1]["end"] and mine[-1]["queue"] != data["queue"]):
                    mine.append({"queue": data["queue"], "end": None})
                if not mine[-1]["end"]:
                    mine[-1].update(end=data["outcome"], waited=data["waited_s"])
    counts: dict[str, Counter[str]] = {}
    for stay in itertools.chain.from_iterable(stays.values()):
        of_queue = counts.setdefault(stay["queue"], Counter())
        of_queue["entered"] += 1
        of_queue[stay["end"] or "waiting"] += 1
        if stay["end"] in ("answered", "abandoned") and stay["waited"] <= within_s:
            of_queue[f"{stay['end']}_in_time"] += 1
    return counts


async def check_office(tmp_path: Path, tools: Any, office: Office, within_s: float) -> None:
    statistics, span = tools.store.statistics, whole_day()
    chosen = Chosen(default_s=within_s)
    wide = Span(DAY_S - 86_400, DAY_S + 3 * 86_400, ZONE)
    by_queue = await statistics.visits(wide, chosen, "queue")
    by_hand = counted_by_hand(tmp_path, tools_of(tools), within_s)
    assert set(by_hand) == set(Office.QUEUES)
    for queue, counts in by_hand.items():
        found = by_queue["", queue]
        for name in ("entered", "answered", "abandoned", "overflowed", "requeued", "waiting"):
            assert getattr(found, name) == counts[name], (queue, name)
        assert found.answered_in_time == counts["answered_in_time"]
        assert found.abandoned_in_time == counts["abandoned_in_time"]
        assert found.lost == found.waiting == 0
        # The third count: the engine's decisions, which call a failed hand-over an answer first.
        mine = [d for _, d in office.decisions]
        failed = [d for d in mine if isinstance(d, ContactHandled) and d.outcome == "failed"]
        again = sum(d.queue_id == queue for d in failed)
        told = tally(mine, within_s, queue)
        assert found.answered == told.answered - again
        assert found.abandoned == told.abandoned
        if not again:
            assert service_level(found.service) == service_level(told)
    for by in ("half-hour", "hour", "day"):
        whole = VisitCounts()
        for counts in (
            await statistics.visits(Span(wide.start_s, wide.end_s, ZONE, by), chosen, "all")
        ).values():
            whole.add(counts)
        in_one = (await statistics.visits(wide, chosen, "all"))["", ""]
        assert whole.wait_s == pytest.approx(in_one.wait_s)
        whole.wait_s, whole.wait_answered_s = in_one.wait_s, in_one.wait_answered_s
        assert whole == in_one
    await check_agents(tools, office, wide)
    report = await queue_report(statistics, span, chosen, "queue")
    assert len(list(report.rows)) == 3


async def check_agents(tools: Any, office: Office, span: Span) -> None:
    statistics = tools.store.statistics
    handled = await statistics.handled(span, Chosen(), "agent")
    expected: dict[str, AgentTimes] = {}
    for _, decision in office.decisions:
        if isinstance(decision, ContactHandled):
            one = handle_times([decision])
            if one.handled:
                times = expected.setdefault(decision.agent_id, AgentTimes())
                for name in ("talk_s", "hold_s", "wrap_up_s", "handled"):
                    setattr(times, name, getattr(times, name) + getattr(one, name))
    assert {name for _, name in handled} == set(expected)
    for (_, name), times in handled.items():
        assert times.handled == expected[name].handled
        assert times.talk_s == pytest.approx(expected[name].talk_s)
        assert times.wrap_up_s == pytest.approx(expected[name].wrap_up_s)
    states = await statistics.states(span, (), span.end_s)
    changes: dict[str, list[tuple[float, str]]] = {}
    for at_s, decision in office.decisions:
        if type(decision).__name__ == "AgentStateChanged":
            changes.setdefault(decision.agent_id, []).append((at_s, decision.new.value))
    for (_, agent), times in states.items():
        spent: Counter[str] = Counter()
        ends = [at_s for at_s, _ in changes[agent][1:]] + [span.end_s]
        for (at_s, state), end_s in zip(changes[agent], ends, strict=True):
            spent[state] += end_s - at_s
        for state, seconds in times.seconds.items():
            assert seconds == pytest.approx(spent[state], abs=0.01)
    offers = await statistics.offers(span, Chosen(), "all")
    made = [d for _, d in office.decisions if isinstance(d, OfferTo)]
    answers = [d for _, d in office.decisions if isinstance(d, Connect)]
    assert offers["", ""].offered == len(made)
    assert offers["", ""].accepted == len(answers)


def tools_of(tools: Any) -> Any:
    return tools.tools


async def check_day(tmp_path: Path, tools: Any, builders: Any, calls: int) -> None:
    tools.tools = builders
    office = Office(tools.journal.append, seed=7, calls=calls, agents=2 + calls // 300)
    await office.run(tools.journal.flush)
    assert await tools.journal.flush()
    await check_office(tmp_path, tools, office, within_s=20.0)
    before = await tools.store.statistics.visits(whole_day("hour"), Chosen(), "queue")
    await tools.store.rebuild()
    assert await tools.store.statistics.visits(whole_day("hour"), Chosen(), "queue") == before
    await check_office(tmp_path, tools, office, within_s=45.0)


async def everything(
    statistics: Statistics, spans: list[Span], at_once: int = len(PER)
) -> list[Any]:
    """All figures of some spans, told apart in every way; with `at_once` 1 in one way each, so that each span
    is met with each choice, and each of both with each way."""
    found: list[Any] = []
    for row, span in enumerate(spans):
        for column, chosen in enumerate(
            (
                Chosen(default_s=20.0),
                Chosen(default_s=21.5),
                Chosen(default_s=3.0, within_s={"support": 700.0, "billing": 27.5, "sales": 30.0}),
                Chosen(queues=("support",), regions=("", "north")),
                Chosen(agents=("agent1",)),
                Chosen(media=TALKS),
            )
        ):
            for turn in range(at_once):
                per = PER[(row + column + turn) % len(PER)]
                found.append(await statistics.visits(span, chosen, per))
                found.append(await statistics.handled(span, chosen, per))
                found.append(await statistics.offers(span, chosen, per))
        found.append(await statistics.states(span, (), 1e12))
    return found


def rounded(found: Any) -> Any:
    """Sums of the same numbers in another order differ in the last digit."""
    if isinstance(found, dict):
        return {key: rounded(value) for key, value in found.items()}
    if is_dataclass(found) and not isinstance(found, type):
        return {f.name: rounded(getattr(found, f.name)) for f in fields(found)}
    return round(found, 4) if isinstance(found, float) else found


@pytest.mark.parametrize(
    "at_once", [1, pytest.param(len(PER), marks=pytest.mark.soak, id="every-way")]
)
async def test_half_hours_added_up_tell_the_same(
    tmp_path: Path, any_store: Any, at_once: int
) -> None:
    async with any_store.opened(tmp_path) as tools:
        office = Office(tools.journal.append, seed=3, calls=300, agents=4)
        await office.run(tools.journal.flush)
        assert await tools.journal.flush()
        statistics, day = tools.store.statistics, whole_day("hour")
        noon_s = day.start_s + 12 * 3_600
        spans = [
            day,
            Span(day.start_s, day.end_s, ZoneInfo("Asia/Kathmandu"), "half-hour"),
            Span(day.start_s, day.end_s, ZoneInfo("America/New_York"), "week"),
            Span(day.start_s - 3 * 86_400, day.end_s + 7_200, ZONE, "day"),
            Span(noon_s + 777.5, noon_s + 9_999.25, ZONE, "half-hour"),
            Span(day.start_s - 86_400, day.end_s + 86_400, ZONE, "all"),
            Span(day.start_s - 3 * 86_400, day.end_s + 6 * 86_400, ZONE, "week"),
        ]
        before = [rounded(one) for one in await everything(statistics, spans, at_once)]
        later_s = day.end_s + 12 * 86_400
        steps = 0
        while await tools.journal.roll_on(later_s, ZONE):
            steps += 1
        assert steps > 4
        assert any_store.sql(tmp_path, "SELECT count(*) FROM visit_rolls")[0][0] > 0
        kinds = "SELECT kind, count(*) FROM rolled_days GROUP BY kind ORDER BY kind"
        made = dict(any_store.sql(tmp_path, kinds))
        assert set(made) == {CONTACTS}
        assert [rounded(one) for one in await everything(statistics, spans, at_once)] == before
        ticket = {"contact": "ticket-1", "queue": "support", "media": "ticket"}
        # A contact of then is closed only now, and an agent's state of then is told late.
        for entry in (
            ("acd-queued", "late", {"contact": "late", "queue": "support"}, noon_s),
            ("acd-agent-state", None, {"agent": "late", "new": "available"}, noon_s + 100),
            ("call-ended", "late", {"ended_at_s": noon_s + 50}, noon_s + 50),
            ("acd-queued", "ticket-1", ticket, noon_s),
            ("acd-handled", "ticket-1", {**ticket, "agent": "agent1", "talk_s": 9e5}, noon_s + 9),
        ):
            tools.journal.append(entry[0], entry[1], entry[2], entry[3])
        assert await tools.journal.flush()
        late = [rounded(one) for one in await everything(statistics, spans, at_once)]
        assert late != before
        spoken = [await statistics.handled(day, Chosen(media=m), "agent") for m in (TALKS, ())]
        talked_s, all_s = (sum(times.talk_s for times in one.values()) for one in spoken)
        assert all_s == pytest.approx(talked_s + 9e5)
        # The day that has changed is told by its half-hours until it is added up anew.
        assert any_store.sql(tmp_path, kinds) != list(made.items())
        while await tools.journal.roll_on(later_s, ZONE):
            pass
        assert dict(any_store.sql(tmp_path, kinds)) == made
        assert [rounded(one) for one in await everything(statistics, spans, at_once)] == late
        await tools.store.rebuild()
        assert any_store.sql(tmp_path, "SELECT count(*) FROM visit_rolls")[0][0] == 0
        assert [rounded(one) for one in await everything(statistics, spans, at_once)] == late


async def test_a_simulated_hour_equals_a_count_by_hand(tmp_path: Path, any_store: Any) -> None:
    async with any_store.opened(tmp_path) as tools:
        await check_day(tmp_path, tools, any_store, 600)


@pytest.mark.slow
async def test_a_simulated_day_equals_a_count_by_hand(tmp_path: Path, store_tools: Any) -> None:
    async with store_tools.opened(tmp_path) as tools:
        await check_day(tmp_path, tools, store_tools, 4_000)


@pytest.mark.soak
async def test_a_busy_day_equals_a_count_by_hand(tmp_path: Path, any_store: Any) -> None:
    async with any_store.opened(tmp_path) as tools:
        await check_day(tmp_path, tools, any_store, 20_000)


async def test_filters(tmp_path: Path, any_store: Any) -> None:
    async with any_store.opened(tmp_path) as tools:
        writer = Writer(tools.journal.append)
        for queue in ("support", "billing", "it's; DROP TABLE calls --"):
            writer.contact("answered", DAY_S + 60, 5.0, queue)
        await tools.journal.flush()
        statistics = tools.store.statistics
        for chosen, entered in (
            (Chosen(), 3),
            (Chosen(queues=("support", "billing")), 2),
            (Chosen(queues=("it's; DROP TABLE calls --",)), 1),
            (Chosen(agents=("nobody",)), 0),
            (Chosen(media=("ticket",)), 0),
            (Chosen(regions=("",)), 3),
        ):
            found = await statistics.visits(whole_day(), chosen, "all")
            assert sum(counts.entered for counts in found.values()) == entered


async def test_the_report_of_agents(tmp_path: Path, any_store: Any) -> None:
    async with any_store.opened(tmp_path) as tools:
        append = tools.journal.append

        def state(at_s: float, new: str, reason: str = "") -> None:
            data = {"agent": "lilei", "old": "", "new": new, "reason": reason, "contact": ""}
            append("acd-agent-state", None, data, at_s)

        state(DAY_S + 8 * 3_600, "available")
        await tools.journal.flush()  # the row that is ended next is in the database already
        state(DAY_S + 9 * 3_600, "on-contact")
        state(DAY_S + 9.5 * 3_600, "wrap-up")
        state(DAY_S + 10 * 3_600, "unavailable", "training")
        state(DAY_S + 11 * 3_600, "logged-out")
        done = {"contact": "c1", "agent": "lilei", "queue": "support", "media": "call"}
        done.update(ring_s=3.0, talk_s=1_800.0, hold_s=0.0, wrap_up_s=1_800.0, outcome="ended")
        append("acd-handled", "c1", done, DAY_S + 10 * 3_600)
        await tools.journal.flush()
        statistics = tools.store.statistics
        report = await agent_report(statistics, whole_day(), Chosen(), 0.0, ["training"])
        (row,) = report.plain()
        assert row["online_s"] == 3 * 3_600
        assert (row["available_s"], row["unavailable_s"]) == (3_600, 3_600)
        assert row["occupancy"] == {"value": 0.5, "numerator": 3_600, "denominator": 7_200}
        assert row["utilisation"]["value"] == pytest.approx(2 / 3)
        assert row["average_handle_s"]["value"] == 3_600
        assert row["unavailable_reasons"] == "training 3600 s"
        other = {**done, "contact": "c2", "agent": "mary", "talk_s": 600.0, "wrap_up_s": 0.0}
        append("acd-handled", "c2", other, DAY_S + 10 * 3_600)
        append("acd-agent-state", None, {"agent": "mary", "new": "available"}, DAY_S + 8 * 3_600)
        append("acd-agent-state", None, {"agent": "mary", "new": "logged-out"}, DAY_S + 9 * 3_600)
        await tools.journal.flush()
        queues = {"lilei": ("support", "billing"), "mary": ("support",)}
        together = await agent_report(
            statistics, whole_day(), Chosen(), 0.0, ["training"], "queue", queues
        )
        rows = {row["queue"]: row for row in together.plain()}
        billing, support = rows["billing"], rows["support"]
        assert {name: billing[name] for name in list(billing)[2:]} == {
            name: row[name] for name in list(row)[2:]
        }, "nobody but him"
        assert (support["handled"], support["online_s"]) == (2, 4 * 3_600)
        assert support["occupancy"] == {
            "value": 4_200 / 11_400,
            "numerator": 4_200,
            "denominator": 11_400,
        }
        assert support["unavailable_reasons"] == "training 3600 s"
        (every,) = (
            await agent_report(statistics, whole_day(), Chosen(), 0.0, ["training"], "all", {})
        ).plain()
        assert (every["all"], every["handled"], every["occupancy"]) == ("", 2, support["occupancy"])
        by_hour = await agent_report(statistics, whole_day("hour"), Chosen(agents=("lilei",)), 0.0)
        assert [(r["period"], r["online_s"]) for r in by_hour.rows] == [
            (moment(DAY_S + hour * 3_600, ZONE), online)
            for hour, online in ((8, 3_600), (9, 3_600), (10, 3_600))
        ]


async def test_what_still_lasts_lasts_until_now(tmp_path: Path, any_store: Any) -> None:
    async with any_store.opened(tmp_path) as tools:
        data = {"agent": "mary", "new": "available"}
        tools.journal.append("acd-agent-state", None, data, DAY_S + 3_600)
        await tools.journal.flush()
        statistics = tools.store.statistics
        found = await statistics.states(whole_day(), ("mary",), DAY_S + 5_400)
        assert found["", "mary"].seconds == {"available": 1_800}


async def test_pages_of_contacts_tell_each_once_newest_first(
    tmp_path: Path, any_store: Any
) -> None:
    """Also where a contact was journaled late, and where two came at the same time."""
    day = whole_day("all")
    async with any_store.opened(tmp_path) as tools:
        for number in range(40):
            at_s = day.start_s + number * 37 % 20 * 100
            about = {"contact": f"c{number}", "queue": ("support", "sales")[number % 2]}
            tools.journal.append("acd-queued", f"c{number}", about, at_s)
        assert await tools.journal.flush()
        for chosen in (Chosen(), Chosen(queues=("sales",))):
            everyone = await tools.store.statistics.list_visits(day, chosen, limit=100)
            assert len(everyone) == (20 if chosen.queues else 40)
            keys = [(row.entered_at_s, row.seq) for row in everyone]
            assert keys == sorted(keys, reverse=True)
            paged: list[Any] = []
            while len(paged) < len(everyone):
                before = paged[-1].seq if paged else None
                page = await tools.store.statistics.list_visits(day, chosen, limit=7, before=before)
                assert len(page) == min(7, len(everyone) - len(paged))
                paged += page
            assert [row.seq for row in paged] == [row.seq for row in everyone]
            last = paged[-1].seq
            assert not await tools.store.statistics.list_visits(day, chosen, before=last)
