"""Today's figures from memory, laid out as the reports are: by queue, region or skill, and by half-hours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal
from zoneinfo import ZoneInfo

from routing.stats import AgentTimes, VisitCounts
from softswitch.apps.acd_counts import DayCounts, add_times
from softswitch.store.grouped import Key
from softswitch.store.periods import Span
from softswitch.store.report import Report, visit_report
from softswitch.turns import done

LivePer = Literal["all", "queue", "region", "skill"]
LiveBy = Literal["all", "half-hour", "hour"]
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
