"""The clerk: what an office's records need while time passes, whether or not anybody looks.

`work` does what is due at a time that is an argument; `start` calls it by the clock. Nothing here is on
the way of a call, and a database that cannot be written only puts it off.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from softswitch.apps.inbox import Fetched, Inbox
from softswitch.apps.ticket_desk import TicketDesk, open_hours_of, rule_tickets
from softswitch.apps.ticket_mail import TicketMail, own_addresses
from softswitch.call.numbering import Numbering
from softswitch.config.derived import FromOffice
from softswitch.errors import SoftswitchError
from softswitch.store.ledger import Conflict
from softswitch.store.letters import LETTER_BYTES_MAX, read_letter
from softswitch.store.tickets import Matter, TicketFilter

if TYPE_CHECKING:
    from softswitch.apps.acd_contacts import Contacts
    from softswitch.apps.mailbox import Mailboxes, Message
    from softswitch.apps.mailer import SendMail
    from softswitch.clock import Clock
    from softswitch.config import Office
    from softswitch.store import Store

_log = logging.getLogger(__name__)

ACTOR = "system"
MAIL_DROP = "mail-drop"
PAUSE_S = 10.0
LETTERS_A_TURN = 20
_DAY_S = 86_400.0
_ROLL_S = 1.0
_BREATH_S = 0.02
_REST_MAX = 10


class Clerk:
    """Escalates and closes tickets, opens them from voicemail and letters, draws samples, deletes what is
    no longer to be kept."""

    def __init__(
        self,
        office: Office,
        store: Store,
        clock: Clock,
        mailboxes: Mailboxes | None = None,
        send: SendMail | None = None,
    ) -> None:
        self.office = office
        self._numbering = FromOffice(self, lambda office: Numbering(office.office.country))
        self._store = store
        self._clock = clock
        self._mailboxes = mailboxes
        self._drop = office.storage.directory / MAIL_DROP
        self._task: asyncio.Task[None] | None = None
        self._next_s: dict[str, float] = {}
        self._ticketed: set[str] = set()
        self._recount = False
        self._is_more = False
        self._inbox: Inbox | None = None
        self._mail = None if send is None else TicketMail(office, store, send)
        if self._mail is not None:
            store.intake.owes = self._mail.owes
        self._mail_out = False
        self.desk: TicketDesk | None = None
        self.done: dict[str, int] = {}
        self._chores: tuple[tuple[str, float, Callable[[float], Awaitable[int]]], ...] = (
            ("tickets", 30.0, self._tickets),
            ("voicemails", PAUSE_S, self._voicemails),
            ("letters", PAUSE_S, self._letters),
            ("imap", 0.0, self._imap),
            ("mails", PAUSE_S, self._mails),
            ("samples", 3_600.0, self._samples),
            ("rolls", 0.0, self._rolls),
            ("keys", 0.0, self._keys),
            ("notices", _DAY_S, self._notices),
        )

    def give_tickets_to(self, contacts: Contacts) -> None:
        """Have the routing engine assign tickets; before `start`."""
        self.desk = TicketDesk(self.office, self._store, self._clock, contacts)

    def use_office(self, office: Office) -> None:
        """Go on with another office."""
        if open_hours_of(office) != open_hours_of(self.office):
            self._recount = True
            self._next_s["tickets"] = 0.0
        rule_tickets(self._store, office)
        self.office = office
        if self._mail is not None:
            self._mail.office = office
        if self.desk is not None:
            self.desk.use_office(office)

    async def start(self) -> None:
        """Begin; the first round is at once."""
        if self.desk is not None:
            try:
                await self.desk.start()
            except SoftswitchError as error:
                _log.error("tickets are not given out: %s", error)
        self._task = asyncio.create_task(self._keep_working(), name="clerk")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self.desk is not None:
            await self.desk.stop()
        if self._inbox is not None:
            await self._inbox.close()

    async def _keep_working(self) -> None:
        while True:
            self._is_more = False
            await self.work(self._clock.wall_s())
            if not self._is_more:
                await asyncio.sleep(PAUSE_S)

    async def work(self, now_s: float) -> dict[str, int]:
        """Do everything that is due; how many things of each sort were done."""
        done: dict[str, int] = {}
        for name, every_s, chore in self._chores:
            # What is due later than one round from now was planned by a clock that has been set back since.
            due_s = self._next_s.get(name, 0.0)
            if now_s < due_s <= now_s + self._round_s(name, every_s):
                continue
            self._next_s[name] = now_s + every_s
            try:
                done[name] = await chore(now_s)
            except SoftswitchError as error:
                _log.warning("%s: %s", name, error)
            except Exception:
                _log.exception("%s", name)
        for name, count in done.items():
            self.done[name] = self.done.get(name, 0) + count
        return done

    def _round_s(self, name: str, every_s: float) -> float:
        """How often a chore is done; IMAP's has its rhythm in the office file."""
        imap = self.office.imap
        return imap.every_s if name == "imap" and imap is not None else every_s

    def snapshot(self) -> dict[str, int]:
        assigned = self.desk.assigned if self.desk is not None else 0
        failed = self._mail.failed if self._mail is not None else 0
        return {**self.done, "tickets_assigned": assigned, "mails_failed": failed}

    # -- chores ---------------------------------------------------------------------------------

    async def _tickets(self, now_s: float) -> int:
        if self._recount:
            await self._store.ticket_time.recount()
            self._recount = False
        close_after_s = self.office.tickets.close_after_d * _DAY_S
        return len(await self._store.ticket_time.let_pass(now_s, close_after_s))

    async def _voicemails(self, _: float) -> int:
        opened = 0
        if self._mailboxes is None:
            return 0
        for box in self.office.tickets.voicemail:
            for message in self._mailboxes.messages(box):
                if message.message_id not in self._ticketed:
                    opened += await self._ticket_of(message)
                    self._ticketed.add(message.message_id)
        return opened

    async def _ticket_of(self, message: Message) -> bool:
        thing = f"voicemail:{message.message_id}"
        if await self._store.tickets.page(TicketFilter(thing=thing), 1):
            return False
        await self.ticket_from_voicemail(ACTOR, message)
        return True

    async def ticket_from_voicemail(self, actor: str, message: Message) -> int:
        """Open a ticket about a message; its number."""
        who = message.caller_name or message.number_from or "unknown"
        matter = Matter(
            subject=f"Voicemail from {who}"[:250],
            description=f"{message.duration_s:.0f} s for box {message.box}",
            source="voicemail",
        )
        links = [f"voicemail:{message.message_id}", f"call:{message.call_id}"]
        number = message.number_from
        e164 = self._numbering().e164(number) if number else None
        numbers = [each for each in (e164, number) if each]
        ticket = await self._store.intake.open(actor, matter, links=links, numbers=numbers)
        return ticket.id

    async def _letters(self, _: float) -> int:
        if not self.office.tickets.mail_drop:
            return 0
        taken = 0
        await asyncio.to_thread(_make_folders, self._drop)
        for path in await asyncio.to_thread(_letters_in, self._drop):
            taken += await self._take(path)
        return taken

    async def _take(self, path: Path) -> bool:
        """Put one letter where it belongs. What cannot be read is kept aside, for somebody to look at; what
        the database cannot take now stays for the next turn."""
        try:
            await self._take_letter(await asyncio.to_thread(_octets, path))
        except (ValueError, OSError, Conflict) as error:
            _log.warning("letter %s: %s", path.name, error)
            await asyncio.to_thread(_move, path, self._drop / "refused")
            return False
        await asyncio.to_thread(_move, path, self._drop / "taken")
        return True

    async def _take_letter(self, data: bytes) -> None:
        """Raises `ValueError`, `Conflict` for what is refused."""
        letter = await asyncio.to_thread(read_letter, data)
        if letter.sender in own_addresses(self.office):
            raise Conflict("the letter is from an address of ours")
        await self._store.intake.take_letter(ACTOR, letter)

    async def _imap(self, now_s: float) -> int:
        """Fetch letters. Raises `MailError` where the server does not answer."""
        imap = self.office.imap
        trusted = self.office.tls.trusted
        if self._inbox is not None and self._inbox.settings != (imap, trusted):
            await self._inbox.close()
            self._inbox = None
        if imap is None:
            return 0
        self._next_s["imap"] = now_s + imap.every_s
        if self._inbox is None:
            self._inbox = Inbox(imap, trusted)
        taken = 0
        try:
            for letter in await self._inbox.unseen():
                refused = await self._refusal(letter)
                if refused:
                    _log.warning("letter %s of %s: %s", letter.uid, imap.server, refused)
                await self._inbox.mark(letter.uid, refused=bool(refused))
                taken += not refused
        finally:
            await self._inbox.leave()
        return taken

    async def _refusal(self, letter: Fetched) -> str:
        """Put a letter where it belongs, or why not. Raises `StoreError` where it is to be tried again."""
        if letter.data is None:
            return f"it is larger than {LETTER_BYTES_MAX} octets"
        try:
            await self._take_letter(letter.data)
        except (ValueError, Conflict) as error:
            return str(error)
        return ""

    async def _mails(self, now_s: float) -> int:
        """Mail public comments, those that are written from the time on when that is asked for."""
        if self._mail is None or not self.office.tickets.mail_out:
            self._mail_out = False
            return 0
        if not self._mail_out:
            await self._store.outgoing.begin()
            self._mail_out = True
        return await self._mail.work(now_s)

    async def _samples(self, now_s: float) -> int:
        return len(await self._store.samples.draw(ACTOR, now_s))

    async def _rolls(self, now_s: float) -> int:
        """Add half-hours and days up."""
        zone = self.office.office.zone
        return await self._go_on(lambda: self._store.journal.roll_on(now_s, zone))

    async def _keys(self, now_s: float) -> int:
        """Note what customers are compared by."""
        return await self._go_on(self._store.customers.note_keys)

    async def _go_on(self, step: Callable[[], Awaitable[bool]]) -> int:
        """Steps of a long work, for a second at most, after which the other chores have their turn: after an
        upgrade there may be years of them."""
        steps = 0
        until_s = self._clock.monotonic_s() + _ROLL_S
        while True:
            began_s = self._clock.monotonic_s()
            if not await step():
                return steps
            steps += 1
            now_s = self._clock.monotonic_s()
            await asyncio.sleep(rest_s(now_s - began_s, self._store.journal.calls_open))
            if now_s > until_s:
                self._is_more = True
                return steps

    async def _notices(self, now_s: float) -> int:
        await self._store.notices.forget_old(now_s)
        return 0


def rest_s(took_s: float, calls: int) -> float:
    """How long a long work rests after a step that took so long: as long where no call is up, ten times as long
    where many are."""
    return max(_BREATH_S, took_s * min(1 + calls, _REST_MAX))


def _make_folders(drop: Path) -> None:
    for folder in (drop, drop / "taken", drop / "refused"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def _letters_in(drop: Path) -> list[Path]:
    """The oldest letters. A mail server writes under another name and renames when it has finished."""
    found = [path for path in drop.glob("*.eml") if path.is_file() and not path.is_symlink()]
    return sorted(found, key=lambda path: (path.stat().st_mtime, path.name))[:LETTERS_A_TURN]


def _octets(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(LETTER_BYTES_MAX + 1)


def _move(path: Path, folder: Path) -> None:
    """Keep a letter in a folder, beside one of the same name that was there before."""
    try:
        target = folder / path.name
        if target.exists():
            target = folder / f"{path.stem}-{path.stat().st_mtime_ns}{path.suffix}"
        os.replace(path, target)
    except OSError as error:
        _log.warning("letter %s stays where it is: %s", path.name, error)
