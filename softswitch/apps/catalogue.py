"""What answers the destinations that are not phones: one line an application."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from softswitch.apps.apology import apologise
from softswitch.apps.ask import Asker
from softswitch.apps.conference import Conferences
from softswitch.apps.echo import echo_test
from softswitch.apps.flow import Flows
from softswitch.apps.ivr import Menus
from softswitch.apps.mailbox import Mailboxes
from softswitch.apps.mailbox_menu import MailboxMenu
from softswitch.apps.mailer import Mailer, SendMail
from softswitch.apps.parking import Parking
from softswitch.apps.pick_up import PickUp
from softswitch.apps.sound_checks import make_sounds
from softswitch.apps.survey import Surveys
from softswitch.apps.voicemail import Voicemail
from softswitch.call.running import APOLOGY, App, Apps

if TYPE_CHECKING:
    from softswitch.call.call import Call
    from softswitch.call.cdr import JournalWriter
    from softswitch.clock import Clock
    from softswitch.config import Office
    from softswitch.prompts import Prompts

_log = logging.getLogger("softswitch.apps")


@dataclass(slots=True)
class Desk:
    """What applications stand on: the office, its folder, time, the journal, its prompts, a source of
    random text (64 bits or more), how mail is sent, and how other programs are asked."""

    office: Office
    directory: Path
    clock: Clock
    journal: JournalWriter
    prompts: Prompts
    token: Callable[[], str]
    send_mail: SendMail
    ask: Asker


class Catalogue:
    """The applications of one exchange, made once at its start.

    `apps` goes to call control. A new application is one line in `__init__`: under the kind of
    destination it answers, or, for a feature code, under its key in ``[codes]``.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.mailboxes = Mailboxes(
            desk.directory,
            desk.clock,
            desk.journal,
            retain_days=desk.office.recording.retain_days,
        )
        self.mailer = Mailer(desk, self.mailboxes)
        self.conferences = Conferences(desk)
        self.surveys = Surveys(desk)
        self.parking = Parking(desk)
        self._codes: dict[str, App] = {
            "voicemail": MailboxMenu(desk, self.mailboxes).run,
            "park": self.parking.run,
            "pick_up": PickUp(desk).run,
        }
        self.apps = Apps(
            {
                "echo": echo_test,
                APOLOGY: apologise,
                "code": self._run_code,
                "conference": self.conferences.run,
                "ivr": Menus(desk).run,
                "flow": Flows(desk, self.surveys).run,
                "voicemail": Voicemail(desk, self.mailboxes).run,
            }
        )

    def add(self, kind: str, app: App) -> None:
        """One more application, for destinations of `kind`."""
        self.apps.by_kind[kind] = app

    def add_codes(self, apps: Mapping[str, App]) -> None:
        """More feature codes, by their keys in ``[codes]``."""
        self._codes.update(apps)

    def add_code(self, name: str, app: App) -> None:
        """One more feature code, by its key in ``[codes]``."""
        self._codes[name] = app

    async def _run_code(self, call: Call, name: str) -> None:
        app = self._codes.get(name)
        if app is None:
            _log.warning("call %s: nothing is done by the code %s yet", call.call_id, name)
            return
        await app(call, "")

    async def start(self) -> None:
        """Do what is to be done before the first call. Raises `ConfigError` for sounds that the office
        file names and that are not there."""
        await make_sounds(self._desk.office, self._desk.prompts)
        await self.mailboxes.start()
        self.mailer.start()

    async def stop(self) -> None:
        """Finish what is to be kept; all calls have ended."""
        await self.mailboxes.stop()
        await self.mailer.stop()

    def snapshot(self) -> dict[str, Any]:
        return {
            "voicemail": self.mailboxes.snapshot(),
            "mail": self.mailer.snapshot(),
            "conferences": self.conferences.snapshot(),
            "parking": self.parking.snapshot(),
        }
