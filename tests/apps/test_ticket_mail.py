"""Letters that are fetched, and answers that are mailed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from softswitch.apps.clerk import Clerk
from softswitch.apps.ticket_mail import A_TICKET_PER_H
from softswitch.clock import SystemClock
from softswitch.config import Office, parse_office
from softswitch.errors import MailError
from softswitch.store import Store
from softswitch.store.customers import Profile
from softswitch.store.letters import LETTER_BYTES_MAX, read_letter
from softswitch.store.tickets import Matter, TicketFilter

OFFICE = """
[office]
domain = "pbx.example"
[mail]
from = "help@pbx.example"
[tickets]
mail_out = true
"""
NOW_S = 1_790_000_000.0


class Server:
    """An IMAP server with one mailbox, as much of one as is asked for."""

    def __init__(self) -> None:
        self.letters: list[bytes] = []
        self.flags: dict[int, str] = {}
        self.sizes: dict[int, int] = {}
        self.peeked: list[int] = []
        self.password = "secret"
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"* OK ready\r\n")
        while line := (await reader.readline()).decode().rstrip():
            tag, _, said = line.partition(" ")
            for answer in self._answers(said):
                writer.write(answer + b"\r\n")
            good = not said.startswith("LOGIN") or f'"{self.password}"' in said
            writer.write(f"{tag} {'OK' if good else 'NO'} done\r\n".encode())
            await writer.drain()
        writer.close()

    def _answers(self, said: str) -> list[bytes]:
        if said == "CAPABILITY":
            return [b"* CAPABILITY IMAP4rev1"]
        if said.startswith("SELECT"):
            return [f"* {len(self.letters)} EXISTS".encode()]
        if said == "UID SEARCH UNSEEN":
            unseen = [str(n) for n in range(1, len(self.letters) + 1) if n not in self.flags]
            return [f"* SEARCH {' '.join(unseen)}".encode()]
        if said == "LOGOUT":
            return [b"* BYE"]
        found = re.fullmatch(r"UID (FETCH|STORE) (\d+) (.*)", said)
        if found is None:
            return []
        number, rest = int(found[2]), found[3]
        if found[1] == "STORE":
            self.flags[number] = rest.removeprefix("+FLAGS.SILENT ")
            return []
        data = self.letters[number - 1]
        if "SIZE" in rest:
            size = self.sizes.get(number, len(data))
            return [f"* {number} FETCH (RFC822.SIZE {size} UID {number})".encode()]
        assert "PEEK" in rest, "what is fetched stays unseen"
        self.peeked.append(number)
        head = f"* {number} FETCH (UID {number} BODY[]<0> {{{len(data)}}}\r\n".encode()
        return [head + data + b")"]


class Desk:
    """A clerk with a store, a mailbox and what he sent."""

    def __init__(self, store: Store, office: Office) -> None:
        self.store = store
        self.sent: list[EmailMessage] = []
        self.failing: MailError | None = None
        self.clerk = Clerk(office, store, SystemClock(), None, self._send)
        self.now_s = NOW_S

    async def _send(self, mail: EmailMessage) -> None:
        if self.failing is not None:
            raise self.failing
        self.sent.append(mail)

    async def turn(self, after_s: float = 60.0) -> dict[str, int]:
        self.now_s += after_s
        return await self.clerk.work(self.now_s)

    async def tickets(self) -> list[Any]:
        return await self.store.tickets.page(TicketFilter())


@asynccontextmanager
async def desk(directory: Path, more: str = "", **options: Any) -> AsyncIterator[Desk]:
    store = await Store.open(directory, **options)
    made = Desk(store, parse_office(OFFICE + more))
    try:
        yield made
    finally:
        await made.clerk.stop()
        await store.close()


@asynccontextmanager
async def mailbox() -> AsyncIterator[Server]:
    box = Server()
    server = await asyncio.start_server(box.serve, "127.0.0.1", 0, limit=1 << 20)
    box.port = server.sockets[0].getsockname()[1]
    async with server:
        yield box


def imap(box: Server, password: str = "secret") -> str:
    return f"""
[imap]
server = "127.0.0.1:{box.port}"
security = "none"
username = "help@pbx.example"
password = "{password}"
"""


def letter(subject: str = "No dial tone", sender: str = "wang@example.com", **heads: str) -> bytes:
    mail = EmailMessage()
    mail["From"], mail["Subject"] = sender, subject
    for name, value in heads.items():
        mail[name.replace("_", "-")] = value
    mail.set_content("Since this morning.")
    return mail.as_bytes()


async def test_there_and_back_again_in_one_thread(tmp_path: Path) -> None:
    async with mailbox() as box, desk(tmp_path, imap(box)) as office:
        box.letters.append(letter(Message_ID="<1@example.com>"))
        await office.turn()
        (ticket,) = await office.tickets()
        assert (ticket.matter.subject, ticket.matter.source) == ("No dial tone", "email")
        assert box.flags == {1: r"(\Seen)"}
        comment = office.store.tickets.comment
        await comment("user:li", ticket.id, "internal", public=False)
        await comment("user:li", ticket.id, "Please restart it.", public=True)
        await office.turn()
        (mail,) = office.sent
        assert (mail["To"], mail["From"]) == ("wang@example.com", "help@pbx.example")
        assert mail["Subject"] == f"Re: No dial tone [#{ticket.id}]"
        assert mail["In-Reply-To"] == mail["References"] == "<1@example.com>"
        assert mail["Auto-Submitted"] is None
        assert mail.get_content() == "Please restart it.\n"
        await office.turn()
        assert len(office.sent) == 1
        # He answers to our mail, without the number and from another address.
        ours = {"In_Reply_To": mail["Message-ID"], "Message_ID": "<2@example.com>"}
        box.letters.append(letter("Thanks", "wang@home.example", **ours))
        await office.turn()
        assert len(await office.tickets()) == 1
        texts = [c.text for c in await office.store.tickets.comments(ticket.id)]
        assert texts[-1] == "Since this morning."
        await comment("system", ticket.id, "We close this tomorrow.", public=True)
        await office.turn()
        assert office.sent[1]["In-Reply-To"] == "<2@example.com>"
        assert office.sent[1]["References"].split() == [
            "<1@example.com>", mail["Message-ID"], "<2@example.com>"
        ]  # fmt: skip
        assert office.sent[1]["Auto-Submitted"] == "auto-generated"
        assert read_letter(office.sent[1].as_bytes()).automatic


async def test_what_is_refused_is_flagged_and_never_answered(tmp_path: Path) -> None:
    async with mailbox() as box, desk(tmp_path, imap(box)) as office:
        box.letters = [
            letter("Out of office", Auto_Submitted="auto-replied"),
            letter("A list", Precedence="bulk"),
            letter("From ourselves", "Help <HELP@pbx.example>"),
            b"no letter at all",
            letter("huge"),
            letter("huge, just not too much"),
        ]
        box.sizes = {5: LETTER_BYTES_MAX + 1, 6: LETTER_BYTES_MAX}
        await office.turn()
        assert [t.matter.subject for t in await office.tickets()] == ["huge, just not too much"]
        assert box.flags == dict.fromkeys(range(1, 6), r"(\Seen \Flagged)") | {6: r"(\Seen)"}
        assert 5 not in box.peeked
        await office.turn()
        assert office.sent == []


async def test_a_mailbox_that_does_not_answer_is_asked_again(tmp_path: Path) -> None:
    async with mailbox() as box, desk(tmp_path, imap(box)) as office:
        box.letters.append(letter())
        box.password = "another"
        assert "imap" not in await office.turn()
        box.password = "secret"
        assert (await office.turn())["imap"] == 1
        assert "imap" not in await office.turn(20), "no more often than every_s"


async def test_a_database_that_is_away_leaves_letters_unseen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from softswitch.errors import StoreError

    async def away(*_: Any) -> None:
        raise StoreError("the database is not available now")

    async with mailbox() as box, desk(tmp_path, imap(box)) as office:
        box.letters.append(letter())
        with monkeypatch.context() as patch:
            patch.setattr(office.store.intake, "take_letter", away)
            await office.turn()
        assert box.flags == {}
        await office.turn()
        assert len(await office.tickets()) == 1


async def test_a_mail_that_is_not_taken_is_tried_again_and_then_told_of(tmp_path: Path) -> None:
    async with desk(tmp_path) as office:
        await office.turn()
        matter = Matter(
            subject="Two\r\nBcc: x@y.example", reply_to="wang@example.com", assignee="li"
        )
        ticket = await office.store.tickets.add("user:mary", matter)
        comment = office.store.tickets.comment
        await comment("user:mary", ticket.id, "one", public=True)
        office.failing = MailError("mail.example: 451 later")
        await office.turn()
        office.failing = None
        await office.turn(30)
        assert office.sent == [], "not before a minute has passed"
        await office.turn(60)
        (mail,) = office.sent
        assert mail["Subject"] == f"Re: Two Bcc: x@y.example [#{ticket.id}]"
        assert mail["Bcc"] is None
        await comment("user:mary", ticket.id, "two", public=True)
        office.failing = MailError("mail.example: 550 no such user", final=True)
        await office.turn()
        office.failing = None
        await office.turn(7_200)
        assert len(office.sent) == 1
        notices = await office.store.notices.page(["li"])
        assert any(n.kind == "mail-failed" and "550" in n.text for n in notices)
        assert office.clerk.snapshot()["mails_failed"] == 1


async def test_what_was_written_before_and_nobody_reads_is_not_mailed(tmp_path: Path) -> None:
    async with desk(tmp_path) as office:
        tickets = office.store.tickets
        customer = await office.store.customers.add(
            "user:a", Profile(name="Wang", addresses=["1 Long Street", "Wang@example.com"])
        )
        ticket = await tickets.add("user:a", Matter(subject="s", customer_id=customer.id))
        await tickets.comment("user:a", ticket.id, "before", public=True)
        await office.turn()
        nobody = await tickets.add("user:a", Matter(subject="nobody"))
        ours = await tickets.add("user:a", Matter(subject="us", reply_to="help@pbx.example"))
        for one in (nobody, ours, ticket):
            await tickets.comment("user:a", one.id, "after", public=True)
        await office.turn()
        assert [m["To"] for m in office.sent] == ["wang@example.com"]
        for _ in range(A_TICKET_PER_H):
            await tickets.comment("user:a", ticket.id, "more", public=True)
        await office.turn()
        assert len(office.sent) == A_TICKET_PER_H
    async with desk(tmp_path) as again:
        await again.store.tickets.comment("user:a", ticket.id, "later", public=True)
        await again.turn()
        assert [m.get_content() for m in again.sent] == ["later\n"], "a restart sends nothing twice"
