"""Reports: what the statistics count, laid out as rows, for JSON, CSV and XLSX alike."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from routing.stats import (
    SERVICE_LEVELS,
    AgentTimes,
    VisitCounts,
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
)
from softswitch.turns import done

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from softswitch.store.shifts import Shifts

Counts = TypeVar("Counts", bound="DataclassInstance")

FORMULA = "offered"
"""The service level that is shown where none is chosen."""
FORMULAS = (*SERVICE_LEVELS, "all")

_RATIOS = ("abandonment", "average_answer_s", "average_wait_s")
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


Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Report:
    """`rows` gives each row once, as it is asked for (there may be a hundred thousand), with the keys that
    `columns` names, in order. A value is a text, a number or None; those of `ratios` are a `Ratio`."""

    name: str
    columns: tuple[str, ...]
    ratios: frozenset[str]
    rows: Iterator[Row]

    def plain(self) -> Iterator[Row]:
        """The rows as JSON can say them: a ratio with its value, numerator and denominator."""
        for row in self.rows:
            for name in self.ratios:
                ratio = row[name]
                row[name] = {
                    "value": ratio.value,
                    "numerator": ratio.numerator,
                    "denominator": ratio.denominator,
                }
            yield row

    def json(self, **head: Any) -> Iterator[bytes]:
        """An object of name, `head`, columns and rows, in as many parts as there are rows."""
        told = {"name": self.name, **head, "columns": self.columns}
        yield msgspec.json.encode(told)[:-1] + b',"rows":['
        comma = b""
        for row in self.plain():
            yield comma + msgspec.json.encode(row)
            comma = b","
        yield b"]}"

    def sheet(self) -> Sheet:
        """The rows as cells: a ratio takes three columns."""
        columns: list[str] = []
        for name in self.columns:
            columns.append(name)
            if name in self.ratios:
                columns += [f"{name}_numerator", f"{name}_denominator"]
        return Sheet(self.name, columns, self._cells())

    def _cells(self) -> Iterator[Sequence[Cell]]:
        for row in self.rows:
            cells: list[Cell] = []
            for name in self.columns:
                value = row[name]
                if name in self.ratios:
                    cells += [value.value, value.numerator, value.denominator]
                else:
                    cells.append(value)
            yield cells


async def in_order(*found: Iterable[Key]) -> deque[Key]:
    """All keys once, by period and name; to be taken out, so that no large list has to be let go of at once."""
    periods: dict[str, set[str]] = {}

    def gather() -> Iterator[None]:
        for keys in found:
            for period, name in keys:
                periods.setdefault(period, set()).add(name)
                yield

    ordered: deque[Key] = deque()

    def sort() -> Iterator[None]:
        for period in sorted(periods):
            for name in sorted(periods.pop(period)):
                ordered.append((period, name))
                yield

    await done(gather())
    await done(sort())
    return ordered


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
    _formulas(formula)
    visits = await statistics.visits(span, chosen, per)
    handled = await statistics.handled(span, chosen, per)
    told: str = per
    if skills is not None and per == "queue":
        told = "skill"
        visits, handled = await by_skill(visits, skills), await by_skill(handled, skills)
    return await visit_report("queues", told, visits, handled, formula)


async def visit_report(
    name: str,
    told: str,
    visits: MutableMapping[Key, VisitCounts],
    handled: MutableMapping[Key, AgentTimes],
    formula: str = FORMULA,
) -> Report:
    """What was counted of visits and handling, laid out: `told` is the second column's name. The counts are
    used up. Raises `KeyError` for a formula that there is none of."""
    levels = _formulas(formula)
    keys = await in_order(visits, handled)

    def rows() -> Iterator[Row]:
        while keys:
            key = keys.popleft()
            counts = visits.pop(key, None) or VisitCounts()
            times = handled.pop(key, None) or AgentTimes()
            service = counts.service
            yield {
                "period": key[0],
                told: key[1],
                **{count: getattr(counts, count) for count in _COUNTS},
                **{_level(level, formula): service_level(service, level) for level in levels},
                "abandonment": abandonment(service),
                "average_answer_s": counts.average_answer_s,
                "average_wait_s": counts.average_wait_s,
                "longest_wait_s": counts.wait_s_max,
                "handled": times.handled,
                "talk_s": times.talk_s,
                "hold_s": times.hold_s,
                "wrap_up_s": times.wrap_up_s,
                "average_handle_s": average_handle(times),
            }

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
    ratios = (*(_level(key, formula) for key in levels), *_RATIOS, "average_handle_s")
    return Report(name, columns, frozenset(ratios), rows())


def _formulas(formula: str) -> tuple[str, ...]:
    if formula == "all":
        return tuple(SERVICE_LEVELS)
    SERVICE_LEVELS[formula]
    return (formula,)


async def by_skill(found: Mapping[Key, Counts], skills: Mapping[str, str]) -> dict[Key, Counts]:
    """Counts of queues, added up by what the queues ask of agents."""
    return await by_group(found, {queue: (skill,) for queue, skill in skills.items()})


async def by_group(
    found: Mapping[Key, Counts], groups: Mapping[str, Sequence[str]]
) -> dict[Key, Counts]:
    """Counts by name, added up by the groups that each belongs to: "" for none."""
    together: dict[Key, Counts] = {}

    def add_up() -> Iterator[None]:
        for (period, name), counts in found.items():
            for group in groups.get(name) or ("",):
                key = (period, group)
                so_far = together.get(key)
                together[key] = replace(counts) if so_far is None else _sum(so_far, counts)
                yield

    await done(add_up())
    return together


def _sum(one: Counts, other: Counts) -> Counts:
    if isinstance(one, VisitCounts):
        total = replace(one)
        total.add(other)  # type: ignore[arg-type]
        return total
    values = {
        part.name: _plus(getattr(one, part.name), getattr(other, part.name)) for part in fields(one)
    }
    return replace(one, **values)


def _plus(one: Any, other: Any) -> Any:
    if isinstance(one, dict):
        return {name: one.get(name, 0.0) + other.get(name, 0.0) for name in {**one, **other}}
    return one + other


def _level(key: str, formula: str) -> str:
    return f"service_level_{key}" if formula == "all" else "service_level"


_AGENT_COLUMNS = (
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
    per: str = "agent",
    groups: Mapping[str, Sequence[str]] | None = None,
) -> Report:
    """What agents did, by period. `paid_reasons`: reasons of "unavailable" that count as work in the
    utilisation's denominator (training, meetings). With `groups` (agent -> the names of what he belongs to)
    agents are taken together by them; `per` is then the second column's name."""
    offers = await statistics.offers(span, chosen, "agent")
    handled = await statistics.handled(span, chosen, "agent")
    states = await statistics.states(span, chosen.agents, now_s)
    return await agents_laid_out(offers, handled, states, paid_reasons, per, groups)


async def agents_laid_out(
    offers: MutableMapping[Key, OfferCounts],
    handled: MutableMapping[Key, AgentTimes],
    states: MutableMapping[Key, StateTimes],
    paid_reasons: Iterable[str] = (),
    per: str = "agent",
    groups: Mapping[str, Sequence[str]] | None = None,
) -> Report:
    """What was counted of agents, laid out as `agent_report` says. The counts are used up."""
    paid = frozenset(paid_reasons)
    if groups is not None:
        offers, handled = await by_group(offers, groups), await by_group(handled, groups)
        states = await by_group(states, groups)
    keys = await in_order(offers, handled, states)

    def rows() -> Iterator[Row]:
        while keys:
            key = keys.popleft()
            rung = offers.pop(key, None) or OfferCounts()
            times = handled.pop(key, None) or AgentTimes()
            spent = states.pop(key, None) or StateTimes()
            times.idle_s = spent.seconds.get("available", 0.0) + spent.seconds.get("offered", 0.0)
            times.paid_aux_s = sum(s for reason, s in spent.reasons.items() if reason in paid)
            yield {
                "period": key[0],
                per: key[1],
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

    ratios = frozenset({"average_handle_s", "occupancy", "utilisation"})
    return Report("agents", ("period", per, *_AGENT_COLUMNS), ratios, rows())


async def adherence_report(
    shifts: Shifts,
    span: Span,
    agents: Sequence[str],
    now_s: float,
    per: str = "agent",
    groups: Mapping[str, Sequence[str]] | None = None,
) -> Report:
    """How agents kept to their plans, by period; `per` and `groups` as in `agent_report`. Raises `Conflict` for
    too many stretches of plans."""
    columns = ("planned_s", "planned_work_s", "adherent_s", "worked_s", "adherence", "conformance")
    found = await shifts.adherence(span, agents, now_s)
    if groups is not None:
        found = await by_group(found, groups)
    keys = await in_order(found)

    def rows() -> Iterator[Row]:
        while keys:
            key = keys.popleft()
            one = found.pop(key)
            told = {name: getattr(one, name) for name in columns}
            yield {"period": key[0], per: key[1], **told}

    ratios = frozenset({"adherence", "conformance"})
    return Report("adherence", ("period", per, *columns), ratios, rows())


def _words(seconds: Mapping[str, float]) -> str:
    return ", ".join(f"{name or 'none'} {s:.0f} s" for name, s in sorted(seconds.items()))
