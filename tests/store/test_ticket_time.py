"""Tickets while time passes, and how they come to be: with a database, on a clock that the test moves."""

from __future__ import annotations

import dataclasses
import hashlib
from datetime import date, datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from softswitch.config.places import filled, unknown_places
from softswitch.store.attachments import NAME_MAX, PER_TICKET_MAX, SIZE_MAX
from softswitch.store.customer_rows import Profile
from softswitch.store.ledger import Conflict, Missing
from softswitch.store.letters import Enclosure, read_letter
from softswitch.store.sla import OpenTime
from softswitch.store.ticket_settings import Macro, Template
from softswitch.store.ticket_steps import Step
from softswitch.store.ticket_time import AT_ONCE
from softswitch.store.ticket_triage import Trigger
from softswitch.store.tickets import Matter, TicketFilter

SHANGHAI = ZoneInfo("Asia/Shanghai")
DAY_S = 86_400.0


def nine_to_five(day: date) -> tuple[tuple[int, int], ...]:
    return ((540, 1_020),) if day.weekday() < 5 else ()


def at(text: str) -> float:
    return datetime.fromisoformat(f"{text}+08:00").timestamp()


class Clock:
    def __init__(self, text: str) -> None:
        self.now_s = at(text)

    def __call__(self) -> float:
        return self.now_s


STEPS = (
    Step("answer", 50, ("watchers",)),
    Step("solve", 80),
    Step("solve", 100, ("supervisors", "boss"), priority="high", queue="second-level"),
)


async def test_a_month_of_escalation(tmp_path: Path, any_store: Any) -> None:
    clock = Clock("2026-09-28T09:00")  # a Monday
    options = {"wall_s": clock, "open_time": OpenTime(SHANGHAI, nine_to_five)}
    async with any_store.opened(tmp_path, ticket_steps=STEPS, **options) as tools:
        store = tools.store
        matter = Matter(subject="No dial tone", assignee="lilei", watchers=["mary"])
        ticket = await store.tickets.add("user:a", matter)
        heard: list[tuple[str, str]] = []
        store.tickets.listeners.append(lambda t: heard.append((t.matter.queue, t.life.priority)))
        done: list[tuple[str, str]] = []
        while clock.now_s < at("2026-10-28T09:00"):
            for what in await store.ticket_time.let_pass(clock.now_s, 7 * DAY_S):
                stamp = datetime.fromtimestamp(clock.now_s, SHANGHAI)
                done.append((what.partition(":")[2], stamp.isoformat()[:16]))
            clock.now_s += 3_600
        assert done == [
            (f"{ticket.id}:answer:50", "2026-09-28T13:00"),  # half of eight hours
            (
                f"{ticket.id}:solve:80",
                "2026-09-30T13:00",
            ),  # 19.2 of 24 open hours, at the next round
            (f"{ticket.id}:solve:100", "2026-09-30T17:00"),
        ]
        after = await store.tickets.get(ticket.id)
        assert (after.life.priority, after.matter.queue, after.matter.assignee) == (
            "high",
            "second-level",
            "",
        )
        assert heard[-1] == ("second-level", "high")
        told = {
            (one.reader, one.kind)
            for one in await store.notices.page(("lilei", "mary", "role:supervisor", "boss"))
        }
        assert {
            ("mary", "escalated"),
            ("lilei", "escalated"),
            ("role:supervisor", "escalated"),
            ("boss", "escalated"),
        } <= told
        newest = (await store.notices.page(("boss",)))[0]
        assert await store.notices.mark_read("user:boss", ("boss",), newest.id) == 1
        assert await store.notices.page(("boss",), unread=True) == []
        await store.tickets.change("user:a", ticket.id, {"status": "solved"})
        clock.now_s += 7 * DAY_S - 1
        assert await store.ticket_time.let_pass(clock.now_s, 7 * DAY_S) == []
        clock.now_s += 1
        assert await store.ticket_time.let_pass(clock.now_s, 7 * DAY_S) == [f"closed:{ticket.id}"]
        assert (await store.tickets.get(ticket.id)).life.status == "closed"


async def test_what_is_due_at_once_is_done_in_parts(
    tmp_path: Path, any_store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Monday morning: as long as one change lasts nothing else is written to the database."""
    clock = Clock("2026-06-01T09:00")
    async with any_store.opened(tmp_path, wall_s=clock) as tools:
        store, count = tools.store, 2 * AT_ONCE + 1
        for number in range(count):
            one = await store.tickets.add("user:a", Matter(subject=f"{number}"))
            await store.tickets.remind("user:a", one.id, 5_000.0)
        noted: list[int] = []
        write = store.ledger._write

        async def seen(change: Any) -> None:
            noted.append(len(change.notes))
            await write(change)

        monkeypatch.setattr(store.ledger, "_write", seen)
        clock.now_s = at("2026-08-01T09:00")
        done = await store.ticket_time.let_pass(clock(), close_after_s=1.0)
        assert len([one for one in done if one.startswith("step:")]) == 4 * count
        assert len([one for one in done if one.startswith("reminder:")]) == count
        assert max(noted) == 4 * AT_ONCE
        assert await store.ticket_time.let_pass(clock(), close_after_s=1.0) == []


async def test_what_waits_for_the_customer_is_not_escalated(tmp_path: Path, any_store: Any) -> None:
    clock = Clock("2026-09-28T09:00")
    async with any_store.opened(tmp_path, wall_s=clock) as tools:
        store = tools.store
        ticket = await store.tickets.add("user:a", Matter(subject="x", assignee="lilei"))
        await store.tickets.comment("user:a", ticket.id, "Which number?", public=True)
        await store.tickets.change("user:a", ticket.id, {"status": "pending"})
        clock.now_s += 100 * DAY_S
        assert await store.ticket_time.let_pass(clock.now_s) == []
        await store.tickets.remind("user:a", ticket.id, clock.now_s + 60, "ask again")
        assert await store.ticket_time.let_pass(clock.now_s + 59) == []
        assert await store.ticket_time.let_pass(clock.now_s + 60) == [f"reminder:{ticket.id}"]
        assert await store.ticket_time.let_pass(clock.now_s + 60) == []
        assert (await store.notices.page(("lilei",)))[0].text == "ask again"
        await store.tickets.change("user:a", ticket.id, {"status": "open"})
        clock.now_s += 100 * DAY_S
        done = await store.ticket_time.let_pass(clock.now_s)
        assert done == [f"step:{ticket.id}:solve:80", f"step:{ticket.id}:solve:100"]


async def test_a_ticket_is_split(tmp_path: Path, any_store: Any) -> None:
    async with any_store.opened(tmp_path) as tools:
        tickets = tools.store.tickets
        customer = await tools.store.customers.add("user:a", Profile(name="Wang"))
        old = await tickets.add("user:a", Matter(subject="No tone", customer_id=customer.id))
        first = await tickets.comment("user:a", old.id, "no tone", public=False)
        second = await tickets.comment("user:a", old.id, "and the invoice", public=False)
        with pytest.raises(Missing):
            await tools.store.ticket_parts.split("user:a", old.id, "Invoice", [second.id, 999])
        new = await tools.store.ticket_parts.split("user:a", old.id, "Invoice", [second.id])
        assert new.matter.customer_id == customer.id
        assert [c.id for c in await tickets.comments(old.id)] == [first.id]
        assert [c.id for c in await tickets.comments(new.id)] == [second.id]
        assert await tickets.links(old.id) == [f"ticket:{new.id}"]
        assert await tickets.links(new.id) == [f"ticket:{old.id}"]


# -- files ----------------------------------------------------------------------------------------------

NAMES = {
    "photo.jpg": "photo.jpg",
    "../../etc/passwd": "passwd",
    "C:\\temp\\a.png": "a.png",
    "\0\n<script>.txt": "script.txt",
    "...": "file",
    "": "file",
    "x" * 999: "x" * NAME_MAX,
}


async def test_files_are_named_by_us(tmp_path: Path, any_store: Any) -> None:
    async with any_store.opened(tmp_path) as tools:
        files = tools.store.attachments
        ticket = await tools.store.tickets.add("user:a", Matter(subject="x"))
        for name, shown in NAMES.items():
            kept = await files.add("user:a", ticket.id, name, "text/plain; charset=x", b"data")
            assert (kept.name, kept.type, kept.size) == (shown, "text/plain", 4)
            assert kept.sha256 == hashlib.sha256(b"data").hexdigest()
        root = tmp_path / "attachments"
        on_disk = sorted(path for path in root.rglob("*") if path.is_file())
        assert {path.name for path in on_disk} == {str(n + 1) for n in range(len(NAMES))}
        assert all(path.stat().st_mode & 0o077 == 0 for path in on_disk)
        assert len(await files.of_ticket(ticket.id)) == len(NAMES)
        for kind in ("text/html", "image/svg+xml", "application/x-sh", ""):
            with pytest.raises(Conflict, match="not taken"):
                await files.add("user:a", ticket.id, "x", kind, b"")
        await files.add("user:a", ticket.id, "x", "text/plain", b"x" * SIZE_MAX)
        with pytest.raises(Conflict, match="at most"):
            await files.add("user:a", ticket.id, "x", "text/plain", b"x" * (SIZE_MAX + 1))
        with pytest.raises(Missing):
            await files.find(ticket.id + 1, 1)
        await files.remove("user:a", ticket.id, 1)
        with pytest.raises(Missing):
            await files.find(ticket.id, 1)
        for _ in range(PER_TICKET_MAX - len(NAMES)):
            await files.add("user:a", ticket.id, "x", "text/plain", b"")
        with pytest.raises(Conflict, match="at most"):
            await files.add("user:a", ticket.id, "x", "text/plain", b"")


# -- how they come to be --------------------------------------------------------------------------------


def letter(subject: str, **heads: str) -> Any:
    message = EmailMessage()
    message["From"] = heads.pop("sender", "wang@example.com")
    message["Subject"] = subject
    for name, value in heads.items():
        message[name.replace("_", "-")] = value
    message.set_content("I want a refund.")
    message.add_attachment(b"x", maintype="image", subtype="png", filename="a.png")
    message.add_attachment(b"MZ", maintype="application", subtype="x-msdownload", filename="a.exe")
    return read_letter(message.as_bytes())


async def test_letters_find_their_ticket_and_triggers_its_place(
    tmp_path: Path, any_store: Any
) -> None:
    async with any_store.opened(tmp_path) as tools:
        store = tools.store
        profile = Profile(name="Wang", addresses=["Wang@Example.com"], tags=["vip"])
        customer = await store.customers.add("user:a", profile)
        await store.ticket_settings.add(
            "user:a", Trigger("money", ("refund",), queue="billing", tags=("money",))
        )
        await store.ticket_settings.add(
            "user:a", Trigger("vip", customer_tags=("vip",), priority="high")
        )
        take = store.intake.take_letter
        first = await take("system", letter("Refund", Message_ID="<1@example.com>"))
        ticket = first.ticket
        assert (ticket.matter.queue, ticket.life.priority) == ("billing", "high")
        assert (ticket.matter.customer_id, ticket.matter.source) == (customer.id, "email")
        assert ticket.matter.tags == ["money"]
        assert first.files_left_out == ("a.exe",)
        assert [f.name for f in await store.attachments.of_ticket(ticket.id)] == ["a.png"]
        with pytest.raises(Conflict, match="already"):
            await take("system", letter("Refund", Message_ID="<1@example.com>"))
        await store.tickets.change("user:a", ticket.id, {"status": "pending"})
        reply = letter("Re: Refund", Message_ID="<2@example.com>", In_Reply_To="<1@example.com>")
        again = await take("system", reply)
        assert (again.answered, again.ticket.id) == (True, ticket.id)
        assert again.ticket.life.status == "open", "the customer's turn is over"
        by_number = letter(f"[#{ticket.id}] hello", Message_ID="<3@example.com>")
        assert (await take("system", by_number)).answered
        stranger = letter(f"[#{ticket.id}] hello", sender="mallory@example.net")
        assert not (await take("system", stranger)).answered, "a number is anybody's to write"
        with pytest.raises(Conflict, match="machine"):
            await take("system", letter("Out of office", Auto_Submitted="auto-replied"))
        assert len(await store.tickets.comments(ticket.id)) == 2


async def test_a_letter_that_a_crash_cut_is_taken_once_and_whole(
    tmp_path: Path, any_store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between a ticket (or a comment) and its files: the mailbox gives the same letter once more."""
    async with any_store.opened(tmp_path) as tools:
        store = tools.store

        async def killed(*_: Any) -> bool:
            raise KeyboardInterrupt

        first = letter("No tone", Message_ID="<1@example.com>")
        reply = letter("Re: No tone", Message_ID="<2@example.com>", In_Reply_To="<1@example.com>")
        reply = dataclasses.replace(reply, enclosures=(Enclosure("b.png", "image/png", b"b"),))
        for one, comments, files in ((first, 0, ["a.png"]), (reply, 1, ["a.png", "b.png"])):
            with monkeypatch.context() as patch:
                patch.setattr(store.intake, "_keep", killed)
                with pytest.raises(KeyboardInterrupt):
                    await store.intake.take_letter("system", one)
            with pytest.raises(Conflict, match="already, as ticket 1"):
                await store.intake.take_letter("system", one)
            (ticket,) = await store.tickets.page(TicketFilter())
            assert len(await store.tickets.comments(ticket.id)) == comments
            assert [f.name for f in await store.attachments.of_ticket(ticket.id)] == files


async def test_who_served_a_customer_last(tmp_path: Path, any_store: Any) -> None:
    clock = Clock("2026-09-28T09:00")
    async with any_store.opened(tmp_path, wall_s=clock) as tools:
        store, append = tools.store, tools.journal.append
        phone = "+8613800000001"
        customer = await store.customers.add("user:a", Profile(name="Wang", phones=[phone]))
        for number, agent in enumerate(("lilei", "mary")):
            call = f"c{number}"
            at_s = clock.now_s - 7_200 + number * 600
            told = {"contact": call, "queue": "support", "caller": phone}
            append("acd-queued", call, told, at_s)
            append("acd-connected", call, {**told, "agent": agent, "waited_s": 1.0}, at_s + 1)
            append("call-ended", call, {}, at_s + 60)
        await tools.journal.flush()
        matter = Matter(subject="x", customer_id=customer.id)
        ticket = await store.intake.open("user:a", matter)
        asked = store.intake.last_agent
        assert await asked(ticket, [phone], clock.now_s) == "mary"
        assert await asked(ticket, [phone], clock.now_s, 60.0) == ""
        assert await asked(ticket, [], clock.now_s) == ""
        await store.tickets.add(
            "user:a", Matter(subject="y", customer_id=customer.id, assignee="lilei")
        )
        assert await asked(ticket, [phone], clock.now_s) == "lilei"
        found = await store.intake.open("user:a", Matter(subject="z"), numbers=[phone])
        assert found.matter.customer_id == customer.id


async def test_settings_are_kept_as_they_are(tmp_path: Path, any_store: Any) -> None:
    async with any_store.opened(tmp_path) as tools:
        settings = tools.store.ticket_settings
        for value in (
            Trigger("t", ("a", "b"), tags=("x",)),
            Template("p", fields={"A": "1"}),
            Macro("m", "hi", public=True),
        ):
            kept = await settings.add("user:a", value)
            assert (await settings.all(type(value)))[0].value == value
            with pytest.raises(Missing):
                await settings.get(Template if type(value) is not Template else Macro, kept.id)
            await settings.remove("user:a", type(value), kept.id)
            assert await settings.all(type(value)) == []


def test_places_are_filled_in_once_and_nothing_else_is() -> None:
    known = {"customer.name": "{{agent.name}}", "agent.name": "Li"}
    assert filled("Dear {{ customer.name }}, {{call.number}}.", known) == "Dear {{agent.name}}, ."
    assert filled("{{__class__}} {{ {{x", known) == "{{__class__}} {{ {{x"


@pytest.mark.parametrize(
    ("text", "became", "slips"),
    [
        ("{{ {{agent.name}}", "{{ Li", []),  # of nested ones the innermost
        ("{{agent.{{agent.name}}}}", "{{agent.Li}}", []),
        ("{{agent.name}}}}{{", "Li}}{{", []),
        ("{{{agent.name}}}", "{{{agent.name}}}", ["{agent.name"]),
        ("{{{{agent.nam}}", "{{{{agent.nam}}", ["agent.nam"]),
        ("{{a\nb}} {{}}", "{{a\nb}} {{}}", ["a\nb", ""]),
    ],
)
def test_a_place_is_read_the_same_when_it_is_written_and_when_it_is_filled_in(
    text: str, became: str, slips: list[str]
) -> None:
    assert filled(text, {"agent.name": "Li"}) == became
    assert unknown_places(text) == slips
