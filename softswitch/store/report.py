"""Reports: what the statistics count, laid out as rows, for JSON, CSV and XLSX alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

from routing.stats import (
    SERVICE_LEVELS,
    AgentTimes,
    Ratio,
    abandonment,
    average_handle,
    occupancy,
    service_level,
    utilisation,
)
from softswitch.store.grouped import Key
from softswitch.store.periods import Span
from softswitch.store.sheet import Cell, Sheet
from softswitch.store.statistics import (
    Chosen,
    OfferCounts,
    Per,
    StateTimes,
    Statistics,
    VisitCounts,
)

Counts = TypeVar("Counts", VisitCounts, AgentTimes)

FORMULA = "offered"
"""The service level that is shown where none is chosen."""
FORMULAS = (*SERVICE_LEVELS, "all")

_COUNTS = (
    "entered",
    "answered",
    "answered_in_time",
    "abandoned",
    "abandoned_in_time",
    "overflowed",
    "withdrawn",
    "callbacks",
    "requeued",
    "lost",
    "waiting",
)


@dataclass(frozen=True, slots=True)
class Report:
    """`rows` have the keys `columns` names, in order; a value is a text, a number, None or a `Ratio`."""

    name: str
    columns: tuple[str, ...]
    rows: list[dict[str, Any]]

    def plain(self) -> list[dict[str, Any]]:
        """The rows as JSON can say them: a ratio with its value, numerator and denominator."""
        return [{name: _json(value) for name, value in row.items()} for row in self.rows]

    def sheet(self) -> Sheet:
        """The rows as cells: a ratio takes three columns."""
        ratios = {
            name for row in self.rows for name, value in row.items() if isinstance(value, Ratio)
        }
        columns: list[str] = []
        for name in self.columns:
            columns.append(name)
            if name in ratios:
                columns += [f"{name}_numerator", f"{name}_denominator"]
        rows: list[Sequence[Cell]] = []
        for row in self.rows:
            cells: list[Cell] = []
            for name in self.columns:
                value = row[name]
                if name not in ratios:
                    cells.append(value)
                elif isinstance(value, Ratio):
                    cells += [value.value, value.numerator, value.denominator]
                else:
                    cells += [value, None, None]
            rows.append(cells)
        return Sheet(self.name, columns, rows)


def _json(value: Any) -> Any:
    if isinstance(value, Ratio):
        return {
            "value": value.value,
            "numerator": value.numerator,
            "denominator": value.denominator,
        }
    return value


async def queue_report(
    statistics: Statistics,
    span: Span,
    chosen: Chosen,
    per: Per,
    formula: str = FORMULA,
    skills: Mapping[str, str] | None = None,
) -> Report:
    """Volume, waits, service level and handle time of queues, by period.

    `per` names what the second column tells apart; `formula` is a name of
    `routing.stats.SERVICE_LEVELS`, or "all" for a column each. Raises `KeyError` for another. With
    `skills` (queue -> what it asks of agents) queues of the same skill are taken together.
    """
    formulas = tuple(SERVICE_LEVELS) if formula == "all" else (formula,)
    levels = {name: SERVICE_LEVELS[name] for name in formulas}
    visits = await statistics.visits(span, chosen, per)
    # A region belongs to a contact, not to its handling: there is no handle time of a region.
    handled = {} if per == "region" else await statistics.handled(span, chosen, per)
    told: str = per
    if skills is not None and per == "queue":
        told = "skill"
        visits, handled = _by_skill(visits, skills), _by_skill(handled, skills)
    rows = []
    for period, name in sorted(visits.keys() | handled.keys()):
        counts = visits.get((period, name)) or VisitCounts()
        times = handled.get((period, name)) or AgentTimes()
        rows.append(
            {
                "period": period,
                told: name,
                **{key: getattr(counts, key) for key in _COUNTS},
                **{_level(key, formula): service_level(counts.service, key) for key in levels},
                "abandonment": abandonment(counts.service),
                "average_answer_s": counts.average_answer_s,
                "average_wait_s": counts.average_wait_s,
                "longest_wait_s": counts.wait_s_max,
                "handled": times.handled,
                "talk_s": times.talk_s,
                "hold_s": times.hold_s,
                "wrap_up_s": times.wrap_up_s,
                "average_handle_s": average_handle(times),
            }
        )
    columns = (
        "period",
        told,
        *_COUNTS,
        *(_level(key, formula) for key in levels),
        "abandonment",
        "average_answer_s",
        "average_wait_s",
        "longest_wait_s",
        "handled",
        "talk_s",
        "hold_s",
        "wrap_up_s",
        "average_handle_s",
    )
    return Report("queues", columns, rows)


def _by_skill(found: Mapping[Key, Counts], skills: Mapping[str, str]) -> dict[Key, Counts]:
    """Counts of queues, added up by what the queues ask of agents."""
    together: dict[Key, Counts] = {}
    for (period, queue), counts in found.items():
        key = (period, skills.get(queue, ""))
        if key not in together:
            together[key] = replace(counts)
            continue
        into = together[key]
        if isinstance(into, VisitCounts) and isinstance(counts, VisitCounts):
            into.add(counts)
        elif isinstance(into, AgentTimes) and isinstance(counts, AgentTimes):
            for part in fields(into):
                value = getattr(into, part.name) + getattr(counts, part.name)
                setattr(into, part.name, value)
    return together


def _level(key: str, formula: str) -> str:
    return f"service_level_{key}" if formula == "all" else "service_level"


_AGENT_COLUMNS = (
    "period",
    "agent",
    "offered",
    "accepted",
    "missed",
    "rejected",
    "handled",
    "talk_s",
    "hold_s",
    "wrap_up_s",
    "average_handle_s",
    "online_s",
    "available_s",
    "unavailable_s",
    "occupancy",
    "utilisation",
    "unavailable_reasons",
)


async def agent_report(
    statistics: Statistics,
    span: Span,
    chosen: Chosen,
    now_s: float,
    paid_reasons: Iterable[str] = (),
) -> Report:
    """What agents did, by period. `paid_reasons`: reasons of "unavailable" that count as work in the
    utilisation's denominator (training, meetings)."""
    paid = frozenset(paid_reasons)
    offers = await statistics.offers(span, chosen, "agent")
    handled = await statistics.handled(span, chosen, "agent")
    states = await statistics.states(span, chosen.agents, now_s)
    rows = []
    for key in sorted(offers.keys() | handled.keys() | states.keys()):
        rung = offers.get(key) or OfferCounts()
        times = handled.get(key) or AgentTimes()
        spent = states.get(key) or StateTimes()
        times.idle_s = spent.seconds.get("available", 0.0) + spent.seconds.get("offered", 0.0)
        times.paid_aux_s = sum(s for reason, s in spent.reasons.items() if reason in paid)
        rows.append(
            {
                "period": key[0],
                "agent": key[1],
                "offered": rung.offered,
                "accepted": rung.accepted,
                "missed": rung.missed,
                "rejected": rung.rejected,
                "handled": times.handled,
                "talk_s": times.talk_s,
                "hold_s": times.hold_s,
                "wrap_up_s": times.wrap_up_s,
                "average_handle_s": average_handle(times),
                "online_s": spent.online_s,
                "available_s": spent.seconds.get("available", 0.0),
                "unavailable_s": spent.seconds.get("unavailable", 0.0),
                "occupancy": occupancy(times),
                "utilisation": utilisation(times),
                "unavailable_reasons": _words(spent.reasons),
            }
        )
    return Report("agents", _AGENT_COLUMNS, rows)


def _words(seconds: Mapping[str, float]) -> str:
    return ", ".join(f"{name or 'none'} {s:.0f} s" for name, s in sorted(seconds.items()))
