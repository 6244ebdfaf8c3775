"""Messages by e-mail: each new one of a box with an address, its sound attached, tried until it is sent."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from typing import TYPE_CHECKING, TypeAlias

from softswitch.config.derived import FromOffice
from softswitch.errors import MailError

if TYPE_CHECKING:
    from pathlib import Path

    from aiosmtplib import SMTPResponseException

    from softswitch.apps.catalogue import Desk
    from softswitch.apps.mailbox import Mailboxes, Message
    from softswitch.config import Mail, Office

_log = logging.getLogger("softswitch.apps")

SendMail: TypeAlias = Callable[[EmailMessage], Awaitable[None]]
"""Delivers one mail to the server that takes it from there; raises `MailError`."""

WAITING_MAX = 1000
RETRY_S = (60.0, 600.0, 3600.0)
"""Pauses after a failure; after the last the mail is given up and the message stays in its box."""

_SEND_S_MAX = 60.0
_AGAIN_AFTER_START_S = 86_400.0

_WORDS = {
    "en": ("Message from {caller}", "{caller} left a message of {seconds} seconds on {when}.\n"),
    "zh": ("来自 {caller} 的留言", "{caller} 于 {when} 留言，时长 {seconds} 秒。\n"),
}


class Mailer:
    """Sends the messages of mailboxes, one after the other.

    What a restart leaves unsent is sent after it. Bounded: beyond `WAITING_MAX` mails that wait the
    oldest is given up.
    """

    def __init__(self, desk: Desk, mailboxes: Mailboxes) -> None:
        self._desk = desk
        self._mailboxes = mailboxes
        self._addresses = FromOffice(desk, _addresses_of)
        self._waiting: deque[Message] = deque()
        self._sending: asyncio.Task[None] | None = None
        self.sent = self.failed = 0

    def start(self) -> None:
        """Take up what the last run did not send; from now on every new message is sent."""
        self._mailboxes.on_message.append(self.take)
        since_s = self._desk.clock.wall_s() - _AGAIN_AFTER_START_S
        for box in self._addresses():
            for message in self._mailboxes.messages(box):
                if not message.mailed and message.at_s > since_s:
                    self.take(message)

    async def stop(self) -> None:
        """Leave the rest to the next run."""
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.gather(self._sending, return_exceptions=True)

    def take(self, message: Message) -> None:
        """A new message; nothing happens if its box has no address."""
        if message.box not in self._addresses():
            return
        self._waiting.append(message)
        if len(self._waiting) > WAITING_MAX:
            self._gave_up(self._waiting.popleft(), "too many mails wait")
        if self._sending is None or self._sending.done():
            self._sending = asyncio.get_running_loop().create_task(self._send_all())

    async def _send_all(self) -> None:
        while self._waiting:
            message = self._waiting[0]
            for pause_s in (*RETRY_S, None):
                try:
                    await self._send_one(message)
                    break
                except (MailError, OSError, TimeoutError) as error:
                    if pause_s is None or (isinstance(error, MailError) and error.final):
                        self._gave_up(message, str(error))
                        break
                    _log.warning("message %s: not mailed: %s", message.message_id, error)
                    await asyncio.sleep(pause_s)
            if self._waiting and self._waiting[0] is message:
                self._waiting.popleft()

    async def _send_one(self, message: Message) -> None:
        if message.box not in self._addresses():
            return  # the address was taken away meanwhile
        path = self._mailboxes.path_of(message)
        loop = asyncio.get_running_loop()
        try:
            sound = await loop.run_in_executor(None, path.read_bytes)
        except FileNotFoundError:
            return  # its owner has heard and deleted it meanwhile
        async with asyncio.timeout(_SEND_S_MAX):
            await self._desk.send_mail(self.compose(message, sound))
        self.sent += 1
        self._mailboxes.mark_mailed(message)

    def compose(self, message: Message, sound: bytes) -> EmailMessage:
        """The mail that brings `message`; what the caller says of himself stays within one line."""
        office = self._desk.office
        local = datetime.fromtimestamp(message.at_s, office.office.zone)
        subject, text = _WORDS[office.office.language]
        words = {
            "caller": _one_line(message.caller_name, message.number_from),
            "seconds": round(message.duration_s),
            "when": local.strftime("%Y-%m-%d %H:%M"),
        }
        mail = EmailMessage()
        mail["From"] = office.mail.sender or f"softswitch@{office.office.domain}"
        mail["To"] = self._addresses()[message.box]
        mail["Subject"] = subject.format(**words)
        mail["Date"] = format_datetime(local)
        mail["Message-ID"] = make_msgid(message.message_id, office.office.domain)
        mail.set_content(text.format(**words))
        name = f"{message.message_id}.wav"
        mail.add_attachment(sound, maintype="audio", subtype="wav", filename=name)
        return mail

    def _gave_up(self, message: Message, why: str) -> None:
        self.failed += 1
        _log.error("message %s is not mailed: %s", message.message_id, why)
        entry = {"box": message.box, "message": message.message_id, "why": why}
        self._desk.journal.append("mail-failed", None, entry, self._desk.clock.wall_s())

    def snapshot(self) -> dict[str, int]:
        return {"waiting": len(self._waiting), "sent": self.sent, "failed": self.failed}


def _one_line(name: str, number: str) -> str:
    shown = f"{name} <{number}>" if name and name != number else number
    return "".join(sign if sign.isprintable() else " " for sign in shown)[:128] or "?"


def _said(refusal: SMTPResponseException) -> str:
    """What a server has answered, in one line."""
    return " ".join(f"{refusal.code} {refusal.message}".split())


def smtp(mail: Mail, trusted: Path | None = None) -> SendMail:
    """Sends by SMTP as ``[mail]`` says. `trusted`: authorities (PEM) beside those of the system."""

    async def send(message: EmailMessage) -> None:
        import aiosmtplib

        from softswitch.apps.inbox import verifying

        try:
            await aiosmtplib.send(
                message,
                hostname=mail.server.host,
                port=mail.server.port,
                username=mail.username,
                password=mail.password,
                use_tls=mail.security == "tls",
                start_tls=mail.security == "starttls",
                tls_context=verifying(trusted) if mail.security != "none" else None,
                timeout=_SEND_S_MAX,
            )
        except aiosmtplib.SMTPRecipientsRefused as error:
            refused = error.recipients[0]
            why = f"{refused.recipient}: {_said(refused)}"
            raise MailError(f"{mail.server}: {why}", final=refused.code >= 500) from None
        except aiosmtplib.SMTPResponseException as error:
            final = error.code >= 500 and not isinstance(error, aiosmtplib.SMTPAuthenticationError)
            raise MailError(f"{mail.server}: {_said(error)}", final=final) from None
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            raise MailError(f"{mail.server}: {error}") from None

    return send


def _addresses_of(office: Office) -> dict[str, str]:
    boxes = ((e.number, e.voicemail) for e in office.extensions if e.voicemail is not None)
    return {number: box.email for number, box in boxes if box.email}
