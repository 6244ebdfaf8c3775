"""Conversations that rules have chosen to be listened to."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from softswitch.store import words
from softswitch.store.acd import CALLBACK_DIALLED
from softswitch.store.database import Database
from softswitch.store.ledger import Change, Ledger, Missing, Stale, row_of
from softswitch.store.reading import reading
from softswitch.store.sampling import Candidate, Kind, Rule, pick
from softswitch.store.schema import calls, journal
from softswitch.store.schema_centre import handlings, surveys
from softswitch.store.schema_quality import samples, sampling_rules
from softswitch.store.schema_tickets import ticket_links
from softswitch.store.scorecards import one_scorecard

LIST_MAX = 1_000
RULES_MAX = 100
CANDIDATES_MAX = 50_000
_BEGAN_S = 86_400.0
"""A talk that is in this week's list may have begun so long before the week."""
_encode = msgspec.json.encode


@dataclass(frozen=True, slots=True)
class Sampler:
    """What a rule is about: `sampling.Rule` with its name, its scorecard and the words of tickets."""

    name: str = ""
    kind: Kind = "per-agent"
    enabled: bool = True
    scorecard_id: int | None = None
    queues: tuple[str, ...] = ()
    keyword: str = ""
    per_week: int = 2
    threshold: float = 0.0


@dataclass(frozen=True, slots=True)
class SamplingRule:
    """A rule as it is kept."""

    id: int
    sampler: Sampler
    version: int


@dataclass(frozen=True, slots=True)
class Sample:
    """A conversation to be listened to. `status` is "waiting", "done" (`evaluation_id`) or "dismissed"."""

    id: int
    rule_id: int
    call_id: str
    agent_id: str
    queue_id: str
    reason: str
    week: str
    status: str
    at_s: float
    evaluation_id: int | None


class Samples:
    """Rules and what they have chosen. `zone` says when a week begins (on Monday).

    Raises `StoreError` while the database cannot be used.
    """

    def __init__(self, database: Database, ledger: Ledger, zone: ZoneInfo) -> None:
        self._database = database
        self._ledger = ledger
        self.zone = zone

    # -- rules ----------------------------------------------------------------------------------

    async def rules(self) -> list[SamplingRule]:
        """All of them, by id."""
        async with reading(self._database) as connection:
            return await _rules(connection)

    async def rule(self, rule_id: int) -> SamplingRule:
        """One. Raises `Missing`."""
        async with reading(self._database) as connection:
            return await _rule(connection, rule_id)

    async def add_rule(self, actor: str, sampler: Sampler) -> SamplingRule:
        """A new one. Raises `Missing` for a scorecard that does not exist."""
        async with self._ledger.change(actor) as change:
            await _require(change, sampler)
            values = _columns(sampler) | {"version": 1}
            query = sa.insert(sampling_rules).values(values).returning(sampling_rules)
            found = _sampling_rule((await change.connection.execute(query)).one())
            change.note("sampling-rule-added", f"sampling-rule:{found.id}", **asdict(sampler))
            return found

    async def change_rule(
        self, actor: str, rule_id: int, values: dict[str, Any], version: int | None = None
    ) -> SamplingRule:
        """Other values for some parts. Raises `Missing`, `Stale`."""
        async with self._ledger.change(actor) as change:
            before = await _rule(change.connection, rule_id)
            if version is not None and before.version != version:
                raise Stale(f"sampling rule {rule_id} was changed meanwhile")
            sampler = Sampler(**{**asdict(before.sampler), **values})
            await _require(change, sampler)
            here = sampling_rules.c.id == rule_id
            put = _columns(sampler) | {"version": before.version + 1}
            await change.connection.execute(sa.update(sampling_rules).where(here).values(put))
            change.note("sampling-rule-changed", f"sampling-rule:{rule_id}", **values)
            return await _rule(change.connection, rule_id)

    async def remove_rule(self, actor: str, rule_id: int, version: int | None = None) -> None:
        """Delete a rule; what it has chosen stays. Raises `Missing`, `Stale`."""
        async with self._ledger.change(actor) as change:
            found = await _rule(change.connection, rule_id)
            if version not in (None, found.version):
                raise Stale(f"rule {rule_id} was changed meanwhile")
            here = sampling_rules.c.id == rule_id
            await change.connection.execute(sa.delete(sampling_rules).where(here))
            change.note("sampling-rule-removed", f"sampling-rule:{rule_id}")

    # -- samples --------------------------------------------------------------------------------

    async def page(
        self,
        *,
        status: str = "",
        agent_id: str = "",
        limit: int = 50,
        before: int | None = None,
    ) -> list[Sample]:
        """What was chosen, newest first."""
        query = sa.select(samples)
        for column, value in ((samples.c.status, status), (samples.c.agent_id, agent_id)):
            if value:
                query = query.where(column == value)
        if before is not None:
            query = query.where(samples.c.id < before)
        query = query.order_by(samples.c.id.desc()).limit(max(0, min(limit, LIST_MAX)))
        async with reading(self._database) as connection:
            return [Sample(**row._mapping) for row in (await connection.execute(query)).all()]

    async def get(self, sample_id: int) -> Sample:
        """One. Raises `Missing`."""
        async with reading(self._database) as connection:
            row = await row_of(connection, samples, sample_id, "sample")
        return Sample(**row._mapping)

    async def dismiss(self, actor: str, sample_id: int) -> Sample:
        """Nobody needs to listen to it. Raises `Missing` for one that is not waiting."""
        async with self._ledger.change(actor) as change:
            here = sa.and_(samples.c.id == sample_id, samples.c.status == "waiting")
            query = sa.update(samples).where(here).values(status="dismissed").returning(samples)
            row = (await change.connection.execute(query)).first()
            if row is None:
                raise Missing(f"there is no sample {sample_id} that waits")
            change.note("sample-dismissed", f"sample:{sample_id}")
            return Sample(**row._mapping)

    async def draw(self, actor: str, now_s: float) -> list[Sample]:
        """Have every enabled rule choose of this week's conversations so far; what is new. May be called
        as often as one likes: a rule chooses none twice and no more than it may."""
        start_s, week = week_of(now_s, self.zone)
        drawn: list[Sample] = []
        async with self._ledger.change(actor) as change:
            for kept in await _rules(change.connection):
                if kept.sampler.enabled:
                    drawn += await _draw(change, kept, start_s, week, now_s)
        return drawn


def week_of(now_s: float, zone: ZoneInfo) -> tuple[float, str]:
    """When the week of an instant began, and its name: the Monday's date."""
    now = datetime.fromtimestamp(now_s, UTC).astimezone(zone)
    monday = (now - timedelta(days=now.weekday())).date()
    start = datetime(monday.year, monday.month, monday.day, tzinfo=zone)
    return start.timestamp(), monday.isoformat()


async def _draw(
    change: Change, kept: SamplingRule, start_s: float, week: str, now_s: float
) -> list[Sample]:
    connection, sampler = change.connection, kept.sampler
    rule = Rule(
        kept.id, sampler.kind, sampler.per_week, sampler.threshold, frozenset(sampler.queues)
    )
    counted = (
        sa.select(samples.c.agent_id, sa.func.count())
        .where(samples.c.rule_id == kept.id, samples.c.week == week)
        .group_by(samples.c.agent_id)
    )
    chosen = {agent: int(count) for agent, count in (await connection.execute(counted)).all()}
    # A call of last week may be in the list of this one where wrap-up went over midnight.
    known = sa.select(samples.c.call_id, samples.c.agent_id).where(
        samples.c.rule_id == kept.id, samples.c.at_s >= start_s - 7 * 86_400
    )
    taken = frozenset((call, agent) for call, agent in (await connection.execute(known)).all())
    candidates = await _candidates(connection, sampler, start_s, now_s)
    rows = [
        {
            "rule_id": kept.id,
            "call_id": one.candidate.call_id,
            "agent_id": one.candidate.agent_id,
            "queue_id": one.candidate.queue_id,
            "reason": one.reason,
            "week": week,
            "status": "waiting",
            "at_s": change.at_s,
        }
        for one in pick(rule, candidates, chosen, taken)
    ]
    if not rows:
        return []
    found = await connection.execute(sa.insert(samples).returning(samples), rows)
    change.note("samples-drawn", f"sampling-rule:{kept.id}", week=week, count=len(rows))
    return [Sample(**row._mapping) for row in found.all()]


async def _candidates(
    connection: AsyncConnection, sampler: Sampler, start_s: float, now_s: float
) -> list[Candidate]:
    table = handlings.c
    query = (
        sa.select(
            table.call_id,
            table.agent_id,
            table.queue_id,
            table.media,
            sa.func.max(table.contact_id),
            sa.func.max(table.at_s),
            sa.func.sum(table.talk_s),
            sa.func.sum(table.hold_s),
        )
        .where(
            table.at_s >= start_s,
            table.at_s < now_s,
            table.outcome != "failed",
            table.media.in_(("call", "callback")),
        )
        .group_by(table.call_id, table.agent_id, table.queue_id, table.media)
        .limit(CANDIDATES_MAX)
    )
    if sampler.queues:
        query = query.where(table.queue_id.in_(sampler.queues))
    rows = (await connection.execute(query)).all()
    back = {}
    if any(row.media == "callback" for row in rows):
        back = await _called_back(connection, start_s)
    gone = await _without_sound(connection, start_s)
    scores: dict[str, int] = {}
    if sampler.kind == "low-survey":
        asked = sa.select(surveys.c.call_id, surveys.c.score).where(
            surveys.c.at_s >= start_s, surveys.c.score.is_not(None)
        )
        scores = {str(row.call_id): int(row.score) for row in await connection.execute(asked)}
    worded: set[str] = set()
    if sampler.kind == "ticket-keyword":
        matching = words.matching(words.TICKETS, sampler.keyword, connection.dialect.name)
        if matching is not None:
            linked = sa.select(ticket_links.c.thing).where(ticket_links.c.ticket_id.in_(matching))
            worded = {str(thing) for (thing,) in (await connection.execute(linked)).all()}
    return [
        Candidate(
            call_id=call,
            agent_id=agent,
            queue_id=queue,
            at_s=at_s,
            talk_s=float(talk_s),
            hold_s=float(hold_s),
            survey=scores.get(call),
            matches=f"call:{call}" in worded,
        )
        for asked, agent, queue, media, contact, at_s, talk_s, hold_s in rows
        if (call := back.get(contact, "") if media == "callback" else asked) and call not in gone
    ]


async def _without_sound(connection: AsyncConnection, start_s: float) -> set[str]:
    """Calls with a recording that was deleted: there is nothing left to listen to."""
    query = sa.select(calls.c.call_id).where(
        calls.c.started_at_s >= start_s - _BEGAN_S,
        calls.c.recordings.like('%"deleted_at_s"%'),
    )
    return {str(call) for (call,) in (await connection.execute(query)).all()}


async def _called_back(connection: AsyncConnection, start_s: float) -> dict[str, str]:
    """The call in which each customer was called back, by contact, the last one where there were several: what
    was said is there, not in the call in which he asked for it."""
    query = (
        sa.select(journal.c.call_id, journal.c.data)
        .join(calls, calls.c.call_id == journal.c.call_id)
        .where(
            calls.c.started_at_s >= start_s - _BEGAN_S,
            calls.c.direction == "outbound",
            journal.c.kind == CALLBACK_DIALLED,
        )
        .order_by(journal.c.seq)
    )
    found = (await connection.execute(query)).all()
    return {msgspec.json.decode(row.data)["contact"]: str(row.call_id) for row in found}


async def _require(change: Change, sampler: Sampler) -> None:
    if sampler.scorecard_id is not None:
        await one_scorecard(change.connection, sampler.scorecard_id, None)


async def _rules(connection: AsyncConnection) -> list[SamplingRule]:
    query = sa.select(sampling_rules).order_by(sampling_rules.c.id).limit(RULES_MAX)
    return [_sampling_rule(row) for row in (await connection.execute(query)).all()]


async def _rule(connection: AsyncConnection, rule_id: int) -> SamplingRule:
    return _sampling_rule(await row_of(connection, sampling_rules, rule_id, "sampling rule"))


def _columns(sampler: Sampler) -> dict[str, Any]:
    return {**asdict(sampler), "queues": _encode(list(sampler.queues)).decode()}


def _sampling_rule(row: Any) -> SamplingRule:
    values = dict(row._mapping)
    rule_id, version = values.pop("id"), values.pop("version")
    values["queues"] = tuple(msgspec.json.decode(values["queues"], type=list[str]))
    return SamplingRule(rule_id, Sampler(**values), version)
