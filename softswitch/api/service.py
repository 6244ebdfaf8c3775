"""What the routes stand on."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec, TypeVar

from fastapi import Depends, Request

from softswitch.api.access import Identity
from softswitch.api.accounts import Accounts
from softswitch.api.events.desk import EventDesk
from softswitch.api.events.webhooks import WebhookPost
from softswitch.api.idempotency import Answers
from softswitch.api.listened import Listened
from softswitch.api.metrics import Counted
from softswitch.api.report_slots import ReportSlots
from softswitch.api.sessions import Sessions
from softswitch.apps.ask import GuardedAsker
from softswitch.call.numbering import Numbering
from softswitch.config.derived import FromOffice
from softswitch.errors import StoreError
from softswitch.store.ledger import Conflict
from softswitch.turns import done

if TYPE_CHECKING:
    from softswitch.api.oidc import Issuer
    from softswitch.clock import Clock
    from softswitch.config import Office
    from softswitch.store import Store
    from softswitch.switch import Switch

_log = logging.getLogger(__name__)
_BETWEEN_DIGITS = {ord(character): None for character in " ().-"}

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(slots=True)
class Service:
    """One exchange as the API sees it. `switch` is the running one; work that takes long is done in
    `executor`'s threads, so that no call waits for a report."""

    store: Store
    clock: Clock
    switch: Switch
    sessions: Sessions
    accounts: Accounts
    executor: ThreadPoolExecutor
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    run: str = field(default_factory=lambda: secrets.token_hex(6))
    _numbering: FromOffice[Numbering] = field(init=False)
    events: EventDesk = field(init=False)
    answers: Answers = field(init=False)
    issuer: Issuer | None = None
    listened: Listened = field(default_factory=Listened)
    counted: Counted = field(default_factory=Counted)
    reports: ReportSlots = field(default_factory=ReportSlots)
    webhooks: WebhookPost = field(init=False)
    _notes: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._numbering = FromOffice(self, _numbering_of)
        self.events = EventDesk(self)
        self.webhooks = WebhookPost(self)
        self.answers = Answers(self.store.answers)

    @property
    def office(self) -> Office:
        """The office of now."""
        return self.switch.office

    @property
    def numbering(self) -> Numbering:
        """Reads numbers as the office's country dials them."""
        return self._numbering()

    @property
    def guard(self) -> GuardedAsker:
        """Who judges which hosts may be told something."""
        guard = self.switch.desk.ask
        if not isinstance(guard, GuardedAsker):
            raise Conflict("this exchange tells nobody: its network is not the real one")
        return guard

    async def start(self) -> None:
        """Begin to listen to what happens."""
        self.events.start()
        await self.webhooks.load()

    async def stop(self) -> None:
        """Let go of those who listen; finish what was begun."""
        self.events.stop()
        await self.webhooks.stop()
        await self.finish_notes()

    def number_of(self, written: str) -> str | None:
        """A number in E.164, as people write it: with spaces, brackets, hyphens, from here or abroad; None for
        what is none. A space at its beginning was a plus that nobody encoded."""
        plus = "+" if written[:1] == " " else ""
        return self.numbering.e164(plus + written.translate(_BETWEEN_DIGITS))

    def spellings(self, number: str) -> tuple[str, ...]:
        """A number as it was written and as the world writes it."""
        e164 = self.numbering.e164(number)
        return (number,) if e164 is None or e164 == number else (number, e164)

    def noted(self, me: Identity, action: str, thing: str, **details: Any) -> None:
        """Put into the audit log what was done to a live call or agent. Does not wait: a database that
        is locked must not keep anybody from hanging up."""
        self._begin(self._note(me.actor, action, thing, details))

    def let_go(self, steps: Iterable[Any]) -> None:
        """Go through what nobody waits for any more: a large report that is let go of at once holds the loop
        up for as long as some of it took to make."""
        self._begin(done(steps))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._notes.add(task)
        task.add_done_callback(self._notes.discard)

    async def _note(self, actor: str, action: str, thing: str, details: dict[str, Any]) -> None:
        try:
            async with self.store.ledger.change(actor) as change:
                change.note(action, thing, **details)
        except StoreError as error:
            _log.error("not in the audit log: %s by %s on %s: %s", action, actor, thing, error)

    async def finish_notes(self) -> None:
        """Wait for what `noted` and `let_go` have begun."""
        await asyncio.gather(*self._notes)

    async def in_thread(self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Run what would hold up the loop."""

        def call() -> T:
            return function(*arguments, **named)

        return await asyncio.get_running_loop().run_in_executor(self.executor, call)


def _numbering_of(office: Office) -> Numbering:
    return Numbering(office.office.country)


async def _service(request: Request) -> Any:
    # A coroutine, as every dependency: FastAPI gives others to a thread, and waits for it, in each request.
    return request.app.state.service


Served = Annotated[Service, Depends(_service)]
"""Parameter of a route: what it stands on."""
