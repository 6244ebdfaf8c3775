"""Letters that are fetched, and answers that are mailed."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from softswitch.apps.acknowledgement import (
    ADDRESS_S,
    ALL_S,
    AN_ADDRESS,
    IN_ALL,
    Acknowledgements,
    is_told,
)
from softswitch.apps.clerk import Clerk, _move
from softswitch.apps.ticket_mail import A_TICKET_PER_H
from softswitch.clock import SystemClock
from softswitch.config import Office, parse_office
from softswitch.errors import MailError
from softswitch.store import Store
from softswitch.store.customer_rows import Profile
from softswitch.store.debts import Owed
from softswitch.store.ledger import Conflict, Missing
from softswitch.store.letters import LETTER_BYTES_MAX, Letter, read_letter
from softswitch.store.notices import KINDS
from softswitch.store.ticket_files import FILES_MAX
from softswitch.store.tickets import Matter, TicketFilter
from softswitch.transport.credential import self_signed

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

    def __init__(self, starttls: ssl.SSLContext | None = None) -> None:
        self.starttls = starttls
        self.said: list[str] = []
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
            self.said.append(said)
            if said == "STARTTLS" and self.starttls is not None:
                writer.write(f"{tag} OK begin\r\n".encode())
                with contextlib.suppress(OSError):
                    await writer.start_tls(self.starttls)
                continue
            for answer in self._answers(said):
                writer.write(answer + b"\r\n")
            good = not said.startswith("LOGIN") or f'"{self.password}"' in said
            writer.write(f"{tag} {'OK' if good else 'NO'} done\r\n".encode())
            await writer.drain()
        writer.close()

    def _answers(self, said: str) -> list[bytes]:
        if said == "CAPABILITY":
            more = b" STARTTLS" if self.starttls is not None else b""
            return [b"* CAPABILITY IMAP4rev1" + more]
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
async def mailbox(
    tls: ssl.SSLContext | None = None, starttls: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    box = Server(starttls)
    server = await asyncio.start_server(box.serve, "127.0.0.1", 0, limit=1 << 20, ssl=tls)
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
        assert {n.kind for n in notices} <= set(KINDS), "the API's document names them"
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


# -- TLS ------------------------------------------------------------------------------------------------


def certificate(directory: Path, host: str) -> tuple[Path, ssl.SSLContext]:
    """A certificate for a host, and a server's context with it."""
    pem, key = self_signed([host])
    path, key_path = directory / f"{host}.pem", directory / f"{host}.key"
    path.write_bytes(pem)
    key_path.write_bytes(key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, key_path)
    return path, context


def secure_imap(box: Server, security: str, trusted: Path | None) -> str:
    more = f'[tls]\ntrusted = "{trusted}"\n' if trusted is not None else ""
    return imap(box).replace('"none"', f'"{security}"') + more


@pytest.mark.parametrize("security", ["tls", "starttls"])
async def test_a_mailbox_behind_tls_whose_certificate_is_verified(
    tmp_path: Path, security: str, caplog: pytest.LogCaptureFixture
) -> None:
    good, context = certificate(tmp_path, "127.0.0.1")
    stranger, _ = certificate(tmp_path, "127.0.0.2")
    served = {security: context}
    async with mailbox(**served) as box, desk(tmp_path, secure_imap(box, security, good)) as office:
        box.letters.append(letter())
        assert (await office.turn())["imap"] == 1
        assert any(said.startswith("LOGIN") for said in box.said)
        assert ("STARTTLS" in box.said) == (security == "starttls")
        # Nobody has vouched for him, or somebody else: no password is told.
        for trusted in (None, stranger):
            box.letters.append(letter())
            box.said.clear()
            office.clerk.use_office(parse_office(OFFICE + secure_imap(box, security, trusted)))
            assert "imap" not in await office.turn()
            assert "CERTIFICATE_VERIFY_FAILED" in caplog.text or "certificate" in caplog.text
            assert not any(said.startswith("LOGIN") for said in box.said)
        office.clerk.use_office(parse_office(OFFICE + secure_imap(box, security, good)))
        assert (await office.turn())["imap"] == 2


@pytest.mark.parametrize("security", ["tls", "starttls"])
async def test_a_certificate_for_another_name_is_refused(tmp_path: Path, security: str) -> None:
    other, context = certificate(tmp_path, "imap.example")
    served = {security: context}
    async with (
        mailbox(**served) as box,
        desk(tmp_path, secure_imap(box, security, other)) as office,
    ):
        box.letters.append(letter())
        assert "imap" not in await office.turn()
        assert not any(said.startswith("LOGIN") for said in box.said)


async def test_a_server_without_starttls_gets_no_password(tmp_path: Path) -> None:
    async with mailbox() as box, desk(tmp_path, secure_imap(box, "starttls", None)) as office:
        box.letters.append(letter())
        assert "imap" not in await office.turn()
        assert not any(said.startswith("LOGIN") for said in box.said)


# -- acknowledgement ------------------------------------------------------------------------------------

ACKNOWLEDGING = OFFICE.replace(
    "[tickets]", '[tickets]\nacknowledge = "Dear {{customer.name}}, this is {{ticket.id}}."'
)


@asynccontextmanager
async def acknowledging(directory: Path, box: Server) -> AsyncIterator[Desk]:
    store = await Store.open(directory)
    made = Desk(store, parse_office(ACKNOWLEDGING + imap(box)))
    try:
        yield made
    finally:
        await made.clerk.stop()
        await store.close()


async def test_who_has_written_is_told_that_it_has_come_once(tmp_path: Path) -> None:
    async with mailbox() as box, acknowledging(tmp_path, box) as office:
        heads = {"Message_ID": "<1@example.com>"}
        box.letters.append(letter("No dial tone", "Wang Wei <wang@example.com>", **heads))
        await office.turn()
        (ticket,) = await office.tickets()
        (mail,) = office.sent
        assert mail["To"] == "wang@example.com"
        assert mail["Subject"] == f"Re: No dial tone [#{ticket.id}]"
        assert mail["In-Reply-To"] == "<1@example.com>"
        assert (mail["Auto-Submitted"], mail["X-Auto-Response-Suppress"]) == ("auto-replied", "All")
        assert mail.get_content() == f"Dear Wang Wei, this is {ticket.id}.\n"
        assert ticket.life.answered_at_s is None, "no answer that was promised"
        await office.turn()
        assert len(office.sent) == 1
        # He answers to it: the same ticket, and no second acknowledgement; his machine does: nothing.
        ours = {"In_Reply_To": mail["Message-ID"]}
        box.letters.append(letter("Thanks", Message_ID="<2@example.com>", **ours))
        box.letters.append(letter("Away", Auto_Submitted="auto-replied", **ours))
        await office.turn()
        await office.turn()
        assert len(await office.tickets()) == len(office.sent) == 1
        assert len(await office.store.tickets.comments(ticket.id)) == 2


async def test_machines_and_lists_are_not_told_and_nobody_often(tmp_path: Path) -> None:
    async with mailbox() as box, acknowledging(tmp_path, box) as office:
        box.letters = [
            letter("bounce", "MAILER-DAEMON@example.com"),
            letter("robot", "no-reply@example.com"),
            letter("news", List_Unsubscribe="<mailto:off@example.com>"),
            letter("quiet", X_Auto_Response_Suppress="DR, AutoReply"),
            letter("loop", X_Loop="help@pbx.example"),
        ]
        await office.turn()
        assert len(await office.tickets()) == 5, "they are tickets all the same"
        assert office.sent == []
        box.letters += [letter(f"again {n}") for n in range(AN_ADDRESS + 2)]
        await office.turn()
        assert len(office.sent) == AN_ADDRESS
        office.failing = MailError("mail.example: 451 later")
        box.letters.append(letter("other", "zhang@example.com"))
        await office.turn()
        office.failing = None
        await office.turn(30)
        assert len(office.sent) == AN_ADDRESS, "not before a minute has passed"
        await office.turn(60)
        assert office.sent[-1]["To"] == "zhang@example.com"


async def test_a_restart_does_not_forget_who_is_to_be_told(tmp_path: Path) -> None:
    """The mail server is away when the letter comes; the exchange is started anew before it is back."""
    async with mailbox() as box, acknowledging(tmp_path, box) as office:
        office.failing = MailError("mail.example: no answer")
        box.letters.append(letter(sender="wang@example.com", Message_ID="<1@example.com>"))
        await office.turn()
        (ticket,) = await office.tickets()
        assert list(await office.store.outgoing.owed()) == [ticket.id]
    async with mailbox() as box, acknowledging(tmp_path, box) as office:
        await office.turn()
        (mail,) = office.sent
        assert (mail["To"], mail["In-Reply-To"]) == ("wang@example.com", "<1@example.com>")
        assert mail.get_content() == f"Dear wang@example.com, this is {ticket.id}.\n", "no name"
        assert await office.store.outgoing.owed() == {}
        # One that no server ever takes is given up, and not tried at every start.
        office.failing = MailError("mail.example: 550 no such user", final=True)
        box.letters.append(letter(sender="zhang@example.com"))
        await office.turn()
        assert len(await office.tickets()) == 2
        assert await office.store.outgoing.owed() == {}


@pytest.mark.limit
async def test_so_many_wait_to_be_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("softswitch.store.debts.OWED_MAX", 2)
    async with desk(tmp_path) as office:
        for number in range(3):
            await office.store.tickets.add("system", Matter(subject="s"), owed=Owed(f"{number}@x"))
        assert [owed.to for owed in (await office.store.outgoing.owed()).values()] == ["0@x", "1@x"]


def test_limits_of_acknowledgement() -> None:
    ours = frozenset({"b@example.com"})
    assert is_told(Letter("a@example.com", "", "s", "t"), ours)
    assert not is_told(Letter("b@example.com", "", "s", "t"), ours)
    found = Acknowledgements()
    told = [found.may("a@example.com", 0.0) for _ in range(AN_ADDRESS + 1)]
    assert told == [True] * AN_ADDRESS + [False]
    assert found.may("a@example.com", ADDRESS_S)
    found = Acknowledgements()
    told = [found.may(f"{n}@example.com", 0.0) for n in range(IN_ALL + 1)]
    assert told == [True] * IN_ALL + [False]
    assert found.may("z@example.com", ALL_S)


def test_a_letter_that_was_read_is_kept_beside_one_of_its_name(tmp_path: Path) -> None:
    """A program that always writes `letter.eml` loses nothing of what has been read."""
    taken = tmp_path / "taken"
    taken.mkdir()
    for text in ("first", "second", "third"):
        (tmp_path / "letter.eml").write_text(text)
        _move(tmp_path / "letter.eml", taken)
    assert sorted(path.read_text() for path in taken.glob("letter*.eml")) == [
        "first",
        "second",
        "third",
    ]


# -- files ----------------------------------------------------------------------------------------------


async def test_files_go_along_with_an_answer(tmp_path: Path) -> None:
    async with desk(tmp_path) as office:
        await office.turn()
        tickets, files = office.store.tickets, office.store.attachments
        ticket = await tickets.add("user:li", Matter(subject="s", reply_to="wang@example.com"))
        other = await tickets.add("user:li", Matter(subject="other"))
        photo = await files.add("user:li", ticket.id, "Foto 1.png", "image/png", b"\x89PNG")
        mail_file = await files.add("user:li", ticket.id, "m.eml", "message/rfc822", b"no letter")
        kept = await files.add("user:li", ticket.id, "internal.txt", "text/plain", b"secret")
        alien = await files.add("user:li", other.id, "x.txt", "text/plain", b"x")
        comment = tickets.comment
        with pytest.raises(Missing):
            await comment("user:li", ticket.id, "t", public=True, files=[alien.id])
        wanted = [photo.id, mail_file.id]
        told = await comment("user:li", ticket.id, "Look.", public=True, files=wanted)
        assert told.files == tuple(wanted)
        assert (await tickets.comments(ticket.id))[-1].files == tuple(wanted)
        with pytest.raises(Conflict, match="one comment"):
            await comment("user:li", ticket.id, "again", public=True, files=[photo.id])
        await office.turn()
        (mail,) = office.sent
        sent = [(p.get_filename(), p.get_content_type()) for p in mail.iter_attachments()]
        assert sent == [("Foto 1.png", "image/png"), ("m.eml", "application/octet-stream")]
        assert mail.get_body().get_content() == "Look.\n"  # type: ignore[union-attr]
        assert b"secret" not in mail.as_bytes()
        read = read_letter(mail.as_bytes())
        assert [one.data for one in read.enclosures] == [b"\x89PNG", b"no letter"]
        assert kept.id not in told.files
        # A comment that moves takes its files along.
        split = await office.store.ticket_parts.split("user:li", ticket.id, "apart", [told.id])
        assert [f.id for f in await files.of_ticket(split.id)] == wanted


async def test_files_of_a_comment_have_limits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("softswitch.store.ticket_files.SENT_MAX", 10)
    async with desk(tmp_path) as office:
        tickets, files = office.store.tickets, office.store.attachments
        ticket = await tickets.add("user:li", Matter(subject="s"))
        made = [
            (await files.add("user:li", ticket.id, f"{n}.txt", "text/plain", b"x")).id
            for n in range(FILES_MAX + 2)
        ]
        with pytest.raises(Conflict, match="at most 10 files"):
            await tickets.comment(
                "user:li", ticket.id, "t", public=True, files=made[: FILES_MAX + 1]
            )
        found = await tickets.comment(
            "user:li", ticket.id, "t", public=True, files=made[:FILES_MAX]
        )
        assert len(found.files) == FILES_MAX
        large = await files.add("user:li", ticket.id, "l.txt", "text/plain", b"x" * 10)
        with pytest.raises(Conflict, match="octets together"):
            await tickets.comment(
                "user:li", ticket.id, "t", public=True, files=[large.id, made[FILES_MAX]]
            )
        await tickets.comment("user:li", ticket.id, "t", public=True, files=[large.id])
