"""Public comments of tickets as mails to the customer, in the thread of his letters.

What was sent is known by its Message-ID, which is made of the comment: a crash between sending and noting that
sends the same mail again, which mail programs show once. No mail goes to an address of ours, nor more than
`A_TICKET_PER_H` of one ticket in an hour: two programs that answer each other end there.

Who has written a letter that opens a ticket may be told that it has come (`acknowledge`, see
`acknowledgement`); whom that is still owed is kept with the ticket. It is no answer that was promised.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime
from typing import TYPE_CHECKING

from softswitch.apps.acknowledgement import Acknowledgements, is_told
from softswitch.apps.mailer import RETRY_S, SendMail
from softswitch.config.places import filled
from softswitch.errors import MailError
from softswitch.store.debts import OWED_MAX, Owed
from softswitch.store.letters import one_line

if TYPE_CHECKING:
    from softswitch.config import Office
    from softswitch.store import Store
    from softswitch.store.letters import Letter
    from softswitch.store.tickets import Comment, Ticket

_log = logging.getLogger(__name__)
A_TURN = 50
A_TICKET_PER_H = 20
REFERENCES_MAX = 20
_SEND_S_MAX = 60.0


def own_addresses(office: Office) -> frozenset[str]:
    """From which this office writes: a letter from there is an answer to nobody."""
    told = [sender_of(office)]
    if office.imap is not None and "@" in office.imap.username:
        told.append(office.imap.username)
    return frozenset(address.lower() for address in told)


def sender_of(office: Office) -> str:
    """The sender of the office's mails."""
    return office.mail.sender or f"softswitch@{office.office.domain}"


def _answer_to(ticket: Ticket) -> str:
    """The subject of a mail about a ticket, with its number."""
    subject = one_line(ticket.matter.subject)[:200]
    answer = subject if subject.lower().startswith("re:") else f"Re: {subject}"
    return f"{answer} [#{ticket.id}]"


class TicketMail:
    """Sends what `Outgoing` says is to be sent. `work` does one turn."""

    def __init__(self, office: Office, store: Store, send: SendMail) -> None:
        self.office = office
        self.send = send
        self._store = store
        self._failures: dict[int, tuple[int, float]] = {}  # comment -> attempts, next at
        self._sent_at: dict[int, deque[float]] = {}
        self._acknowledgements = Acknowledgements()
        self._unacknowledged: dict[int, tuple[int, float]] = {}  # ticket -> attempts, next at
        self.failed = 0

    def owes(self, letter: Letter) -> Owed | None:
        """Who is to be told that a letter has opened a ticket, if the office says so and he may be."""
        tickets = self.office.tickets
        if not (tickets.mail_out and tickets.acknowledge):
            return None
        if not is_told(letter, own_addresses(self.office)):
            return None
        return Owed(letter.sender, letter.sender_name, letter.message_id)

    async def _acknowledge(self, now_s: float) -> int:
        """Send the acknowledgements that are due."""
        outgoing, sent = self._store.outgoing, 0
        for ticket_id, owed in list((await outgoing.owed()).items())[:OWED_MAX]:
            attempts, next_s = self._unacknowledged.get(ticket_id, (0, 0.0))
            if now_s < next_s or sent >= A_TURN:
                continue
            ticket = await self._store.tickets.get(ticket_id)
            if not self.office.tickets.acknowledge or not (
                attempts or self._acknowledgements.may(owed.to, now_s)
            ):
                await outgoing.not_acknowledged(ticket_id)
                continue
            mail = self.acknowledgement(ticket, owed, now_s)
            try:
                async with asyncio.timeout(_SEND_S_MAX):
                    await self.send(mail)
            except (MailError, OSError, TimeoutError, ValueError) as error:
                _log.warning("ticket %d: not acknowledged: %s", ticket_id, error)
                final = isinstance(error, ValueError) or getattr(error, "final", False)
                if final or attempts >= len(RETRY_S):
                    self._unacknowledged.pop(ticket_id, None)
                    await outgoing.not_acknowledged(ticket_id)
                else:
                    self._unacknowledged[ticket_id] = (attempts + 1, now_s + RETRY_S[attempts])
                continue
            self._unacknowledged.pop(ticket_id, None)
            await outgoing.acknowledged(ticket_id, mail["Message-ID"][1:-1])
            sent += 1
        return sent

    def acknowledgement(self, ticket: Ticket, owed: Owed, now_s: float) -> EmailMessage:
        """The mail that tells a sender that his letter has come."""
        mail = EmailMessage()
        mail["From"] = sender_of(self.office)
        mail["To"] = owed.to
        mail["Subject"] = _answer_to(ticket)
        mail["Date"] = format_datetime(datetime.fromtimestamp(now_s, self.office.office.zone))
        mail["Message-ID"] = f"<ticket.{ticket.id}.received@{self.office.office.domain}>"
        if owed.letter:
            mail["In-Reply-To"] = mail["References"] = f"<{owed.letter}>"
        mail["Auto-Submitted"] = "auto-replied"
        mail["X-Auto-Response-Suppress"] = "All"
        known = {"ticket.id": str(ticket.id), "ticket.subject": one_line(ticket.matter.subject)}
        known["customer.name"] = owed.name or owed.to
        mail.set_content(f"{filled(self.office.tickets.acknowledge, known).rstrip()}\n")
        return mail

    async def work(self, now_s: float) -> int:
        """Send what is due; how many mails went. Raises `StoreError`."""
        outgoing, sent = self._store.outgoing, await self._acknowledge(now_s)
        for comment in await outgoing.due(A_TURN):
            attempts, next_s = self._failures.get(comment.id, (0, 0.0))
            if now_s < next_s:
                continue
            ticket = await self._store.tickets.get(comment.ticket_id)
            to = await self._address(ticket)
            if not to or to in own_addresses(self.office):
                await outgoing.skip(comment)
                continue
            if not self._may(ticket.id, now_s):
                await self._give_up(comment, "too many mails of one ticket in an hour")
                continue
            try:
                mail = await self.compose(ticket, comment, to)
                async with asyncio.timeout(_SEND_S_MAX):
                    await self.send(mail)
            except (MailError, OSError, TimeoutError, ValueError) as error:
                final = isinstance(error, ValueError) or getattr(error, "final", False)
                if final or attempts >= len(RETRY_S):
                    await self._give_up(comment, str(error) or "no answer")
                else:
                    _log.warning("ticket %d: not mailed: %s", ticket.id, error)
                    self._failures[comment.id] = (attempts + 1, now_s + RETRY_S[attempts])
                continue
            self._failures.pop(comment.id, None)
            await outgoing.sent(comment, self._id(comment))
            sent += 1
        return sent

    async def compose(self, ticket: Ticket, comment: Comment, to: str) -> EmailMessage:
        """The mail that brings a comment, with the ticket's number in its subject. Raises `ValueError` for
        an address that none can be sent to."""
        thread = await self._store.outgoing.thread(ticket.id, REFERENCES_MAX)
        mail = EmailMessage()
        mail["From"] = sender_of(self.office)
        mail["To"] = to
        mail["Subject"] = _answer_to(ticket)
        mail["Date"] = format_datetime(
            datetime.fromtimestamp(comment.at_s, self.office.office.zone)
        )
        mail["Message-ID"] = f"<{self._id(comment)}>"
        if thread:
            mail["In-Reply-To"] = f"<{thread[-1]}>"
            mail["References"] = " ".join(f"<{one}>" for one in thread)
        # Whoever is away need not say so; and what no person wrote says that (RFC 3834).
        mail["X-Auto-Response-Suppress"] = "All"
        if not comment.author.startswith(("user:", "agent:")):
            mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(f"{comment.text.rstrip()}\n")
        for file, path in await self._store.attachments.of_comment(comment.id):
            data = await asyncio.to_thread(path.read_bytes)
            main, _, sub = file.type.partition("/")
            if main == "message":  # a letter in a letter goes as octets: it may be none
                main, sub = "application", "octet-stream"
            mail.add_attachment(data, maintype=main, subtype=sub, filename=file.name)
        return mail

    def _id(self, comment: Comment) -> str:
        return f"ticket.{comment.ticket_id}.{comment.id}@{self.office.office.domain}"

    async def _address(self, ticket: Ticket) -> str:
        """Where the ticket came from, else the customer's first e-mail address; "" for none."""
        if ticket.matter.reply_to:
            return ticket.matter.reply_to.lower()
        if ticket.matter.customer_id is None:
            return ""
        customer = await self._store.customers.get(ticket.matter.customer_id)
        known = (a for a in customer.profile.addresses if "@" in a and " " not in a)
        return next(known, "").lower()

    def _may(self, ticket_id: int, now_s: float) -> bool:
        recent = self._sent_at.setdefault(ticket_id, deque())
        while recent and recent[0] < now_s - 3_600:
            recent.popleft()
        if len(recent) >= A_TICKET_PER_H:
            return False
        recent.append(now_s)
        if len(self._sent_at) > 10_000:
            self._sent_at = {k: v for k, v in self._sent_at.items() if v}
        return True

    async def _give_up(self, comment: Comment, why: str) -> None:
        self.failed += 1
        self._failures.pop(comment.id, None)
        _log.error("comment %d of ticket %d is not mailed: %s", comment.id, comment.ticket_id, why)
        await self._store.outgoing.failed(comment, why)
