"""Tickets: their life, their clocks, search and merging."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softswitch.store import ticket_rules as rules
from softswitch.store.customer_rows import Profile
from softswitch.store.ledger import Conflict, Missing, Stale
from softswitch.store.sla import OpenTime
from softswitch.store.tickets import LINKS_MAX, Matter, TicketFilter

SHANGHAI = ZoneInfo("Asia/Shanghai")


def nine_to_five(day: date) -> tuple[tuple[int, int], ...]:
    return ((540, 1_020),) if day.weekday() < 5 else ()


OFFICE = OpenTime(SHANGHAI, nine_to_five)


def at(text: str) -> float:
    return datetime.fromisoformat(f"{text}+08:00").timestamp()


class Clock:
    def __init__(self, text: str) -> None:
        self.now_s = at(text)

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock("2026-09-28T10:00")  # a Monday


def times(clock: Clock) -> dict[str, Any]:
    return {"wall_s": clock, "open_time": OFFICE}


async def test_a_ticket_from_call_to_close(tmp_path: Path, any_store: Any, clock: Clock) -> None:
    async with any_store.opened(tmp_path, **times(clock)) as tools:
        tickets = tools.store.tickets
        ticket = await tickets.add(
            "agent:lilei", Matter(subject="No dial tone", source="call"), links=["call:c1"]
        )
        assert ticket.life.status == "new"
        assert ticket.answer_due_s == at("2026-09-29T10:00")  # eight hours of open time
        assert ticket.solve_due_s == at("2026-10-01T10:00")
        clock.now_s = at("2026-09-28T16:00")
        ticket = await tickets.change("agent:lilei", ticket.id, {"assignee": "lilei"})
        assert ticket.life.status == "open"
        await tickets.comment("agent:lilei", ticket.id, "looking", public=False)
        assert (await tickets.get(ticket.id)).answer_due_s is not None
        await tickets.comment("agent:lilei", ticket.id, "We are looking.", public=True)
        ticket = await tickets.change("agent:lilei", ticket.id, {"status": "pending"})
        assert (ticket.answer_due_s, ticket.solve_due_s) == (None, None)
        assert ticket.life.solve.spent_s == 6 * 3_600
        clock.now_s = at("2026-10-05T09:00")  # a week later: the clock stood
        ticket = await tickets.change("agent:lilei", ticket.id, {"status": "open"})
        assert ticket.solve_due_s == at("2026-10-07T11:00")
        ticket = await tickets.change("agent:lilei", ticket.id, {"priority": "urgent"})
        ticket = await tickets.change("agent:lilei", ticket.id, {"status": "solved"})
        assert ticket.life.solved_at_s == clock.now_s
        with pytest.raises(Conflict, match="cannot become new"):
            await tickets.change("agent:lilei", ticket.id, {"status": "new"})
        ticket = await tickets.change("agent:lilei", ticket.id, {"status": "closed"})
        with pytest.raises(Conflict, match="none"):
            await tickets.change("agent:lilei", ticket.id, {"status": "open"})
        with pytest.raises(Stale):
            await tickets.change("agent:lilei", ticket.id, {"subject": "x"}, version=1)
        comments = await tickets.comments(ticket.id)
        assert [(c.text, c.public) for c in comments] == [
            ("looking", False),
            ("We are looking.", True),
        ]
        assert await tickets.comments(ticket.id, after=comments[0].id) == comments[1:]
        lines = await tools.store.ledger.lines(thing=f"ticket:{ticket.id}")
        assert lines[-1].details["subject"] == "No dial tone"
        assert lines[0].details == {"status": ["solved", "closed"]}


async def test_filters_search_and_links(tmp_path: Path, any_store: Any, clock: Clock) -> None:
    async with any_store.opened(tmp_path, **times(clock)) as tools:
        tickets, customers = tools.store.tickets, tools.store.customers
        wang = await customers.add("test", Profile(name="Wang"))
        one = await tickets.add(
            "test",
            Matter(subject="发票 invoice", customer_id=wang.id, department="billing"),
            priority="urgent",
            links=["call:c1", "call:c1"],
        )
        two = await tickets.add("test", Matter(subject="Phone", assignee="mary"))
        await tickets.comment("test", two.id, "我的电话坏了, needs a new handset", public=False)
        for which, found in (
            (TicketFilter(), [two, one]),
            (TicketFilter(text="invoice"), [one]),
            (TicketFilter(text="发票"), [one]),
            (TicketFilter(text="handset"), [two]),
            (TicketFilter(text="电话"), [two]),
            (TicketFilter(text="坏了 handset 我的电"), [two]),
            (TicketFilter(text="话电"), []),
            (TicketFilter(text="nothing"), []),
            (TicketFilter(status=("new",)), [one]),
            (TicketFilter(status=("new", "open")), [two, one]),
            (TicketFilter(priority="urgent"), [one]),
            (TicketFilter(assignee="mary"), [two]),
            (TicketFilter(assignee=""), [one]),
            (TicketFilter(department="billing"), [one]),
            (TicketFilter(customer_id=wang.id), [one]),
            (TicketFilter(thing="call:c1"), [one]),
            (TicketFilter(late_at_s=clock.now_s), []),
            (TicketFilter(late_at_s=at("2026-09-28T15:00")), [one]),
            (TicketFilter(late_at_s=at("2026-11-28T15:00")), [two, one]),
        ):
            assert [t.id for t in await tickets.page(which)] == [t.id for t in found], which
        assert [t.id for t in await tickets.page(TicketFilter(), before=two.id)] == [one.id]
        assert await tickets.links(one.id) == ["call:c1"]
        await tickets.unlink("test", one.id, "call:c1")
        with pytest.raises(Missing):
            await tickets.unlink("test", one.id, "call:c1")
        for number in range(LINKS_MAX):
            await tickets.link("test", one.id, f"call:{number}")
        with pytest.raises(Conflict):
            await tickets.link("test", one.id, "call:more")
        for wrong in (
            tickets.add("test", Matter(customer_id=999)),
            tickets.change("test", two.id, {"customer_id": 999}),
            tickets.get(999),
        ):
            with pytest.raises(Missing):
                await wrong


async def test_merging(tmp_path: Path, any_store: Any, clock: Clock) -> None:
    async with any_store.opened(tmp_path, **times(clock)) as tools:
        tickets = tools.store.tickets
        one = await tickets.add("test", Matter(subject="one", watchers=["a"]), links=["call:1"])
        two = await tickets.add(
            "test",
            Matter(
                subject="two",
                description="singular",
                watchers=["a", "b"],
                tags=["t"],
                fields={"f": "g"},
                reply_to="w@example.com",
            ),
            links=["call:1", "call:2"],
        )
        await tickets.comment("test", two.id, "peculiar", public=True)
        merged = await tools.store.ticket_parts.merge("test", one.id, two.id)
        assert merged.matter.watchers == ["a", "b"]
        assert await tickets.links(one.id) == ["call:1", "call:2"]
        said = [(c.text, c.public) for c in await tickets.comments(one.id)]
        assert said == [("peculiar", True), (f"#{two.id}: two\n\nsingular", False)]
        kept = merged.matter
        assert (kept.tags, kept.fields, kept.reply_to) == (["t"], {"f": "g"}, "w@example.com")
        gone = await tickets.get(two.id)
        assert (gone.merged_into, gone.life.status, gone.solve_due_s) == (one.id, "closed", None)
        for text in ("peculiar", "singular", "two"):
            assert [t.id for t in await tickets.page(TicketFilter(text=text))] == [one.id], text
        assert merged.life.answered_at_s == gone.life.answered_at_s, "who wrote twice was answered"
        for wrong in (
            tools.store.ticket_parts.merge("test", one.id, one.id),
            tools.store.ticket_parts.merge("test", one.id, two.id),
            tickets.comment("test", two.id, "x", public=True),
        ):
            with pytest.raises(Conflict):
                await wrong


async def test_nothing_that_is_open_is_lost_in_a_merge(
    tmp_path: Path, any_store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with any_store.opened(tmp_path) as tools:
        tickets, parts = tools.store.tickets, tools.store.ticket_parts
        made = [await tickets.add("test", Matter(subject=f"{n}")) for n in range(5)]
        old, new, third, fourth, fifth = (one.id for one in made)
        for status in ("solved", "closed"):
            await tickets.change("test", old, {"status": status})
        with pytest.raises(Conflict, match="closed for good"):
            await parts.merge("test", old, new)
        assert (await tickets.get(new)).merged_into is None
        # Whoever wanted to be reminded of the one is reminded of the other, at the earlier time.
        await tickets.remind("test", third, 2_000.0, "call him")
        assert (await parts.merge("test", new, third)).remind_at_s == 2_000.0
        await tickets.remind("test", fourth, 3_000.0, "later")
        assert (await parts.merge("test", new, fourth)).remind_text == "call him"
        # What was split off and comes back is no link to itself.
        split = await parts.split("test", new, "another matter")
        await parts.merge("test", new, split.id)
        assert f"ticket:{new}" not in await tickets.links(new)
        monkeypatch.setattr("softswitch.store.ticket_parts.PER_TICKET_MAX", 2)
        for ticket, count in ((new, 1), (fifth, 2)):
            for number in range(count):
                await tools.store.attachments.add("x", ticket, f"{number}", "text/plain", b"x")
        with pytest.raises(Conflict, match="at most 2 files; the two together have 3"):
            await parts.merge("test", new, fifth)
        (kept, _) = await tools.store.attachments.of_ticket(fifth)
        await tools.store.attachments.remove("x", fifth, kept.id)
        await parts.merge("test", new, fifth)
        assert len(await tools.store.attachments.of_ticket(new)) == 2


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(rules.STATUSES), st.floats(0, 1e5), st.booleans()), max_size=20
    )
)
def test_a_clock_counts_the_time_in_running_statuses(steps: list[tuple[str, float, bool]]) -> None:
    now_s = at("2026-09-28T10:00")
    life, counted_s = rules.begin("normal", now_s), 0.0
    for status, wait_s, _ in steps:
        if life.status in rules.RUNNING:
            counted_s += OFFICE.between(now_s, now_s + wait_s)
        now_s += wait_s
        allowed = status == life.status or status in rules.ONWARD[life.status]
        if allowed:
            life = rules.to_status(life, status, now_s, OFFICE)
        else:
            with pytest.raises(Conflict):
                rules.to_status(life, status, now_s, OFFICE)
        assert life.solve.used_s(now_s, OFFICE) == pytest.approx(counted_s, abs=0.01)
        assert (life.solve.since_s is not None) == (life.status in rules.RUNNING)
        assert (life.solved_at_s is not None) == (
            life.status == "solved" or (life.status in ("closed",) and life.solved_at_s is not None)
        )
