"""Today's figures from memory, laid out as the reports are: by queue, region or skill, and by half-hours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal
from zoneinfo import ZoneInfo

from routing.stats import AgentTimes, VisitCounts
from softswitch.apps.acd_counts import DayCounts, add_times
from softswitch.store.grouped import Key
from softswitch.store.periods import Span
from softswitch.store.report import Report, agents_laid_out, visit_report
from softswitch.store.statistics import OfferCounts, StateTimes
from softswitch.turns import done

LivePer = Literal["all", "queue", "region", "skill"]
LiveBy = Literal["all", "half-hour", "hour"]
LatelyBy = Literal["all", "half-hour"]
_DAY_S = 86_400.0


async def live_report(
    counts: DayCounts,
    now_s: float,
    zone: ZoneInfo,
    *,
    by: LiveBy,
    per: LivePer,
    formula: str,
    skills: Mapping[str, str],
    only: Sequence[str] = (),
) -> Report:
    """What has happened since midnight. `skills` says what each queue asks of agents; `only` names the queues
    (or regions, where they are told apart) that are counted, none for all."""
    visits: dict[Key, VisitCounts] = {}
    handled: dict[Key, AgentTimes] = {}
    midnight_s = counts.since_midnight(now_s)
    span = Span(midnight_s, max(now_s, midnight_s) + _DAY_S, zone, by)

    def add_up() -> Iterator[None]:
        for (half_s, name), figures in counts.halves(
            "region" if per == "region" else "queue", now_s
        ):
            if only and name not in only:
                continue
            told = skills.get(name, "") if per == "skill" else "" if per == "all" else name
            key = (span.label_at(half_s), told)
            visits.setdefault(key, VisitCounts()).add(figures.visits)
            if figures.times.handled:
                add_times(handled.setdefault(key, AgentTimes()), figures.times)
            yield

    await done(add_up())
    return await visit_report("live", per, visits, handled, formula)


async def live_agents(
    counts: DayCounts,
    now_s: float,
    zone: ZoneInfo,
    *,
    by: LatelyBy,
    agents: Sequence[str] = (),
    paid_reasons: Sequence[str] = (),
    per: str = "agent",
    groups: Mapping[str, Sequence[str]] | None = None,
) -> Report:
    """What agents have done since midnight or, by half-hour, in the one before this and in this one, up to now.
    `agents`, none for all, are counted; the rest as of `agent_report`. What lasts is counted while it lasts."""
    midnight_s = counts.since_midnight(now_s)
    span = Span(midnight_s, max(now_s, midnight_s) + _DAY_S, zone, by)
    offers: dict[Key, OfferCounts] = {}
    handled: dict[Key, AgentTimes] = {}
    states: dict[Key, StateTimes] = {}

    def add_up() -> Iterator[None]:
        for agent in agents or counts.agents():
            days = [(midnight_s, counts.of_agent(agent, now_s))]
            if by == "half-hour":
                days = counts.halves_of_agent(agent, now_s)
            for start_s, day in days:
                key = (span.label_at(start_s), agent)
                if day.offered:
                    offers[key] = OfferCounts(day.offered, day.accepted, day.missed, day.rejected)
                if day.times.handled:
                    handled[key] = day.times
                spent = StateTimes()
                for (state, reason), seconds in day.states.items():
                    if seconds > 0:
                        spent.seconds[state] = spent.seconds.get(state, 0.0) + seconds
                        if state == "unavailable":
                            spent.reasons[reason] = seconds
                if spent.seconds:
                    states[key] = spent
            yield

    await done(add_up())
    return await agents_laid_out(offers, handled, states, paid_reasons, per, groups)
