"""Letters from an IMAP mailbox (RFC 3501): those that nobody has seen, a few at a time. One thread, one
connection a turn; what has been dealt with is marked as seen, what could not be taken is flagged for somebody
to look at."""

from __future__ import annotations

import asyncio
import contextlib
import imaplib
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from softswitch.errors import MailError
from softswitch.store.letters import LETTER_BYTES_MAX

if TYPE_CHECKING:
    from pathlib import Path

    from softswitch.config import Imap

Result = TypeVar("Result")
LETTERS_A_TURN = 20
_TIMEOUT_S = 30.0
_TURN_S = 120.0


@dataclass(frozen=True, slots=True)
class Fetched:
    """A letter by its UID; `data` is None for one that is larger than what is read."""

    uid: str
    data: bytes | None


class Inbox:
    """The mailbox of ``[imap]``. `trusted`: authorities (PEM) beside those of the system. Methods raise
    `MailError`; after one the next turn connects anew."""

    def __init__(self, imap: Imap, trusted: Path | None = None) -> None:
        self._imap = imap
        self._trusted = trusted
        self.settings = imap, trusted
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="imap")
        self._connection: imaplib.IMAP4 | None = None

    async def unseen(self) -> list[Fetched]:
        """The oldest letters that nobody has seen; they stay unseen."""
        return await self._run(self._unseen)

    async def mark(self, uid: str, *, refused: bool) -> None:
        """A letter has been dealt with."""
        flags = r"(\Seen \Flagged)" if refused else r"(\Seen)"
        await self._run(lambda: self._ask("STORE", uid, "+FLAGS.SILENT", flags))

    async def leave(self) -> None:
        """End the connection of this turn."""
        await self._run(self._leave)

    async def close(self) -> None:
        """End; nothing can be asked any more."""
        with contextlib.suppress(MailError):
            await self.leave()
        self._thread.shutdown(wait=False)

    async def _run(self, what: Callable[[], Result]) -> Result:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_TURN_S):
                return await loop.run_in_executor(self._thread, what)
        except (imaplib.IMAP4.error, OSError, ValueError) as error:
            self._drop()
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise MailError(f"{self._imap.server}: {reason}") from None

    def _connected(self) -> imaplib.IMAP4:
        if self._connection is not None:
            return self._connection
        imap = self._imap
        host, port = imap.server.host, imap.server.port
        context = verifying(self._trusted)
        if imap.security == "tls":
            made: imaplib.IMAP4 = imaplib.IMAP4_SSL(
                host, port, ssl_context=context, timeout=_TIMEOUT_S
            )
        else:
            made = imaplib.IMAP4(host, port, timeout=_TIMEOUT_S)
        self._connection = made
        if imap.security == "starttls":
            made.starttls(context)
        made.login(imap.username, imap.password)
        status, said = made.select(_quoted(imap.folder))
        if status != "OK":
            raise imaplib.IMAP4.error(f"folder {imap.folder}: {said!r}")
        return made

    def _ask(self, command: str, *arguments: str) -> list[Any]:
        status, data = self._connected().uid(command, *arguments)
        if status != "OK":
            raise imaplib.IMAP4.error(f"{command}: {data!r}")
        return data

    def _unseen(self) -> list[Fetched]:
        found = b" ".join(part for part in self._ask("SEARCH", "UNSEEN") if part)
        return [self._fetch(uid) for uid in found.decode("ascii").split()[:LETTERS_A_TURN]]

    def _fetch(self, uid: str) -> Fetched:
        told = b" ".join(part for part in self._ask("FETCH", uid, "(RFC822.SIZE)") if part)
        size = told.upper().partition(b"RFC822.SIZE ")[2].rstrip(b")").split(b" ")[0]
        if size.isdigit() and int(size) > LETTER_BYTES_MAX:
            return Fetched(uid, None)
        parts = self._ask("FETCH", uid, f"(BODY.PEEK[]<0.{LETTER_BYTES_MAX + 1}>)")
        return Fetched(uid, next((part[1] for part in parts if isinstance(part, tuple)), b""))

    def _leave(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(imaplib.IMAP4.error, OSError):
                connection.logout()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.shutdown()


def verifying(trusted: Path | None) -> ssl.SSLContext:
    """For connections to mail servers: chain and name are verified. `trusted`: authorities (PEM) beside those
    of the system. Raises `OSError`."""
    context = ssl.create_default_context()
    if trusted is not None:
        context.load_verify_locations(cafile=trusted)
    return context


def _quoted(folder: str) -> str:
    escaped = folder.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
