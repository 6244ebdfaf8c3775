"""Public comments of tickets as mails to the customer, in the thread of his letters.

What was sent is known by its Message-ID, which is made of the comment: a crash between sending and noting that
sends the same mail again, which mail programs show once. No mail goes to an address of ours, nor more than
`A_TICKET_PER_H` of one ticket in an hour: two programs that answer each other end there.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime
from typing import TYPE_CHECKING

from softswitch.apps.mailer import RETRY_S, SendMail
from softswitch.errors import MailError
from softswitch.store.letters import one_line

if TYPE_CHECKING:
    from softswitch.config import Office
    from softswitch.store import Store
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


class TicketMail:
    """Sends what `Outgoing` says is to be sent. `work` does one turn."""

    def __init__(self, office: Office, store: Store, send: SendMail) -> None:
        self.office = office
        self.send = send
        self._store = store
        self._failures: dict[int, tuple[int, float]] = {}  # comment -> attempts, next at
        self._sent_at: dict[int, deque[float]] = {}
        self.failed = 0

    async def work(self, now_s: float) -> int:
        """Send what is due; how many mails went. Raises `StoreError`."""
        outgoing, sent = self._store.outgoing, 0
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
        subject = one_line(ticket.matter.subject)[:200]
        answer = subject if subject.lower().startswith("re:") else f"Re: {subject}"
        mail["Subject"] = f"{answer} [#{ticket.id}]"
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
