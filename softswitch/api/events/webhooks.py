"""Tells webhooks what happens: one task each while there is something to tell."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from softswitch.api.events.delivery import (
    SIGNATURE_HEADER,
    WAITING_MAX,
    Answered,
    Delivery,
    Happened,
    Input,
    Log,
    Pause,
    PauseOver,
    Send,
    SwitchOff,
    Telling,
    Unreached,
    signature,
)
from softswitch.api.events.hub import Event, Filter
from softswitch.api.events.missed import RUN, missed
from softswitch.api.problem import Refused
from softswitch.apps.ask import GuardedAsker, RefusedHost
from softswitch.call.lookup import post
from softswitch.errors import StoreError
from softswitch.store.ledger import Conflict, Missing

if TYPE_CHECKING:
    from softswitch.api.service import Service
    from softswitch.store.webhooks import DeliveryLine, Webhook

_log = logging.getLogger("softswitch.webhooks")

TIMEOUT_S = 10.0
BODY_KEPT_MAX = 65_536
"""Octets of what an event said that are kept for sending it again."""
NOTED_EVERY = 10_000
"""Entries after which it is noted that there was nothing to tell: so many are looked through at a start."""
_LOG_EVERY_S = 0.5
_LOAD_AGAIN_S = 1.0


@dataclass(frozen=True, slots=True)
class UnderWay:
    """Events that wait, how often the first was tried in vain, why, and when it is tried again."""

    waiting: int
    attempts: int
    trouble: str
    next_at_s: float | None


class _Told:
    """One webhook and what is under way for it."""

    def __init__(self, post: WebhookPost, webhook: Webhook) -> None:
        self._post = post
        self.webhook = webhook
        self.delivery = Delivery()
        self._wanted = Filter(frozenset(webhook.topics), webhook.queue, webhook.agent)
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self.next_at_s: float | None = None
        self.missed_after: int | None = None
        """While it is told what it has missed: the entry after which that begins."""
        self._held: deque[Telling] = deque()  # what happens meanwhile
        self._noted = post.last_entry

    def take(self, event: Event) -> None:
        """From the hub: in the middle of what happens."""
        entry = self._post.last_entry
        if self._wanted.fits(event):
            position = self._post.hub.position(event.number)
            self._tell(entry, position, event.kind, self._post.hub.encode(event))
        elif entry - self._noted >= NOTED_EVERY:
            self._noted = entry
            self._post.note(self.webhook.id)

    def take_missed(self, event: Event, encoded: str, position: str) -> None:
        """From the journal: before all that has been held back."""
        if self.missed_after is None or event.number <= self.missed_after:
            return
        if self._wanted.fits(event):
            self.feed(Happened(_telling(event.number, position, event.kind, encoded)))

    def _tell(self, entry: int, position: str, kind: str, encoded: str) -> None:
        telling = _telling(entry, position, kind, encoded)
        if self.missed_after is None:
            self.feed(Happened(telling))
            return
        if len(self._held) >= WAITING_MAX:
            oldest = self._held.popleft()
            why = f"more than {WAITING_MAX} events wait"
            self._post.logged(self.webhook.id, Log(oldest, "dropped", 0, why))
        self._held.append(telling)

    def go_on(self) -> None:
        """It has been told what it had missed, or that cannot be read: what was held back follows."""
        self.missed_after = None
        while self._held:
            self.feed(Happened(self._held.popleft()))

    @property
    def told_to(self) -> int:
        """The entry up to which all has had its end: a later start goes on behind it."""
        if self.missed_after is not None:
            return self.missed_after
        first = self.delivery.first
        return self._post.last_entry if first is None else first.entry - 1

    def feed(self, event: Input) -> None:
        for effect in self.delivery.handle(event):
            match effect:
                case Send():
                    self.next_at_s = None
                    self._task = asyncio.get_running_loop().create_task(self._send(effect))
                case Pause():
                    loop = asyncio.get_running_loop()
                    self._timer = loop.call_later(effect.after_s, self.feed, PauseOver())
                    self.next_at_s = self._post.now_s() + effect.after_s
                case Log():
                    self._post.logged(self.webhook.id, effect)
                case SwitchOff():
                    self._post.switched_off(self, effect.why)

    async def _send(self, send: Send) -> None:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        answer: Input
        try:
            status = await self._post.send(self.webhook, send.telling)
            answer = Answered(status, (loop.time() - began_s) * 1000)
        except (TimeoutError, OSError, ValueError) as error:
            why = str(error) or f"no answer within {TIMEOUT_S:g} s"
            answer = Unreached(why[:200], (loop.time() - began_s) * 1000)
        self.feed(answer)

    def close(self, why: str) -> None:
        """Tell it no more, for `why`; the log says of what waited that it was dropped."""
        for log in self.stop():
            self._post.logged(self.webhook.id, replace(log, detail=why))

    def stop(self) -> list[Log]:
        """Tell it no more; what waits."""
        self._post.hub.leave(self)
        left = [*self.delivery.end(""), *(Log(each, "dropped", 0, "") for each in self._held)]
        self._held.clear()
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
        return left


def _telling(entry: int, position: str, kind: str, encoded: str) -> Telling:
    """`entry` is the same whenever and by whichever run of the exchange it is told."""
    return Telling(position, kind, f'{{"entry":{entry},{encoded}}}'.encode(), entry)


class WebhookPost:
    """All webhooks of one exchange. `load` begins."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.hub = service.events.hub
        self._told: dict[int, _Told] = {}
        self._known: dict[int, Webhook] = {}
        self._lines: dict[int, list[dict[str, Any]]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._missed: asyncio.Task[None] | None = None
        self._left: dict[int, int] = {}
        """How far each had been told when all were stopped."""

    async def load(self) -> None:
        """Read the webhooks and listen for them; tell in the background what they have missed. While the
        database cannot be read there are none: they are read once it has been caught up with."""
        if not await self._load():
            self._missed = asyncio.create_task(self._load_later())

    async def _load_later(self) -> None:
        while not await self._load():
            await self._service.store.journal.caught_up.wait()
            await asyncio.sleep(_LOAD_AGAIN_S)

    async def _load(self) -> bool:
        try:
            found = await self._service.store.webhooks.all()
        except StoreError as error:
            _log.error("webhooks are not told: %s", error)
            return False
        until = self.last_entry
        for webhook in found:
            if webhook.id in self._known:
                continue  # made while the database could not be read
            self._use(webhook)
            told = self._told.get(webhook.id)
            if told is not None and webhook.told_to is not None and webhook.told_to < until:
                told.missed_after = webhook.told_to
        if any(told.missed_after is not None for told in self._told.values()):
            self._missed = asyncio.create_task(self._tell_missed(until))
        return True

    async def _tell_missed(self, until: int) -> None:
        behind = [told for told in self._told.values() if told.missed_after is not None]
        after = min(told.missed_after for told in behind if told.missed_after is not None)
        agent_at = self._service.events.agent_at
        try:
            async for event, encoded in missed(self._service.store, after, until, agent_at):
                for told in behind:
                    told.take_missed(event, encoded, f"{RUN}.{event.number}")
        except StoreError as error:
            _log.error("webhooks are not told what they have missed: %s", error)
        for told in behind:
            told.go_on()

    async def stop(self) -> None:
        """What waits is told after the next start."""
        if self._missed is not None:
            self._missed.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._missed
        self._left = {webhook_id: told.told_to for webhook_id, told in self._told.items()}
        for webhook_id, told in self._told.items():
            told.stop()
            self.note(webhook_id)
        self._told.clear()
        await self.written()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- what there is -----------------------------------------------------------------------------

    def all(self) -> list[Webhook]:
        return sorted(self._known.values(), key=lambda webhook: webhook.id)

    def get(self, webhook_id: int) -> Webhook:
        """Raises `Missing`."""
        found = self._known.get(webhook_id)
        if found is None:
            raise Missing(f"there is no webhook {webhook_id}")
        return found

    def under_way(self, webhook_id: int) -> UnderWay:
        """What it has not been told yet, and how telling it goes."""
        told = self._told.get(webhook_id)
        if told is None:
            return UnderWay(0, 0, "", None)
        now = told.delivery
        return UnderWay(now.waiting, now.attempts, now.trouble, told.next_at_s)

    @property
    def last_entry(self) -> int:
        """The number of the journal's newest entry: to listeners, of what they are being told of."""
        return self._service.store.journal.last_seq

    def now_s(self) -> float:
        return self._service.clock.wall_s()

    def require_public(self, url: str) -> None:
        """What is refused each time is refused at once; names are judged when they are told. Raises
        `Refused`."""
        asker = self._service.switch.desk.ask
        if isinstance(asker, GuardedAsker):
            try:
                asker.check(url)
            except RefusedHost as error:
                raise Refused(422, f"url: {error}") from None

    async def add(self, actor: str, values: dict[str, Any], secret: str) -> Webhook:
        """Raises `Refused` for an address that may not be told."""
        self.require_public(values["url"])
        values["told_to"] = self.last_entry
        webhook = await self._service.store.webhooks.add(actor, values, secret)
        self._use(webhook)
        return webhook

    async def change(
        self, actor: str, webhook_id: int, values: dict[str, Any], version: int | None
    ) -> Webhook:
        """Other values; what waited is not told any more."""
        if "url" in values:
            self.require_public(values["url"])
        if values.get("active"):
            values["disabled_because"] = ""
        values["told_to"] = self.last_entry
        known = self.get(webhook_id)
        webhook = await self._service.store.webhooks.change(actor, known, values, version)
        self._use(webhook)
        return webhook

    async def remove(self, actor: str, webhook_id: int, version: int | None = None) -> None:
        await self._service.store.webhooks.remove(actor, webhook_id, version)
        self._leave(webhook_id)
        self._lines.pop(webhook_id, None)
        self._known.pop(webhook_id, None)
        self._service.switch.alarm(f"webhook.{webhook_id}", "")

    def _use(self, webhook: Webhook) -> None:
        self._leave(webhook.id)
        self._known[webhook.id] = webhook
        alarm = webhook.disabled_because and f"{webhook.name}: {webhook.disabled_because}"
        self._service.switch.alarm(f"webhook.{webhook.id}", alarm)
        if webhook.active:
            told = self._told[webhook.id] = _Told(self, webhook)
            self.hub.listen(told)

    def _leave(self, webhook_id: int) -> None:
        told = self._told.pop(webhook_id, None)
        if told is not None:
            told.close("the webhook was changed")

    # -- telling -----------------------------------------------------------------------------------

    async def send(self, webhook: Webhook, telling: Telling) -> int:
        """POST one event; the status. Raises `RefusedHost`, `OSError`, `TimeoutError`, `ValueError`."""
        async with asyncio.timeout(TIMEOUT_S):
            where = await self._service.guard.where(webhook.url)
        at_s = int(self._service.clock.wall_s())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "softswitch-webhook",
            "X-Softswitch-Event": telling.kind,
            "X-Softswitch-Position": telling.event,
            SIGNATURE_HEADER: signature(webhook.secret, telling.body, at_s),
        }
        return await post(webhook.url, telling.body, headers, timeout_s=TIMEOUT_S, connect_to=where)

    async def test(self, webhook: Webhook) -> tuple[int, str]:
        """Send it a made-up event; status (0: no answer) and what went wrong."""
        body = b'{"topic":"office","kind":"webhook-test","data":{}}'
        return await self._once(webhook, Telling("test", "webhook-test", body))

    async def again(self, webhook: Webhook, delivery_id: int) -> DeliveryLine:
        """Send one event of the log once more, now; its line says what came of it. Raises `Missing`,
        `Conflict` where what it said is kept no longer or its address may not be told."""
        await self.written()
        store = self._service.store.webhooks
        line, body = await store.line(webhook.id, delivery_id)
        if body is None:
            raise Conflict("what this event said is not kept")
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        status, detail = await self._once(webhook, Telling(line.event, line.kind, body))
        good = 200 <= status < 300
        values: dict[str, Any] = {
            "attempts": line.attempts + 1,
            "status": "delivered" if good or line.status == "delivered" else "failed",
            "detail": f"sent again: {status if good else detail}"[:200],
            "took_ms": round((loop.time() - began_s) * 1000, 1),
        }
        await store.update_line(delivery_id, values)
        return replace(line, **values)

    async def _once(self, webhook: Webhook, telling: Telling) -> tuple[int, str]:
        """The status (0: no answer) and what went wrong. Raises `Conflict` for an address that may not be
        told."""
        try:
            status = await self.send(webhook, telling)
        except RefusedHost as error:
            raise Conflict(f"{webhook.url}: {error}") from None
        except (TimeoutError, OSError, ValueError) as error:
            return 0, str(error) or f"no answer within {TIMEOUT_S:g} s"
        return status, "" if 200 <= status < 300 else f"answered {status}"

    async def written(self) -> None:
        """Wait until the log of what has happened is in the database."""
        if self._timer is not None:
            self._timer.cancel()
            await self._write()

    def logged(self, webhook_id: int, log: Log) -> None:
        """Into the database, soon and together with others."""
        lines = self._lines.setdefault(webhook_id, [])
        lines.append(
            {
                "event": log.telling.event,
                "kind": log.telling.kind[:64],
                "at_s": self._service.clock.wall_s(),
                "attempts": log.attempts,
                "status": log.status,
                "detail": log.detail[:200],
                "took_ms": round(log.took_ms, 1),
                "body": log.telling.body if len(log.telling.body) <= BODY_KEPT_MAX else None,
            }
        )
        self._write_soon()

    def note(self, webhook_id: int) -> None:
        """How far it has been told, into the database, soon."""
        self._lines.setdefault(webhook_id, [])
        self._write_soon()

    def _write_soon(self) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(_LOG_EVERY_S, lambda: self._begin(self._write()))

    async def _write(self) -> None:
        self._timer = None
        written, self._lines = self._lines, {}
        for webhook_id, lines in written.items():
            told = self._told.get(webhook_id)
            told_to = told.told_to if told is not None else self._left.get(webhook_id)
            try:
                await self._service.store.webhooks.log(webhook_id, lines, told_to)
            except StoreError as error:
                _log.error("%d deliveries are not in the log: %s", len(lines), error)

    def switched_off(self, told: _Told, why: str) -> None:
        """It fails too often: no more, until somebody switches it on again."""
        _log.error("webhook %s is switched off: %s", told.webhook.name, why)
        self._service.switch.alarm(f"webhook.{told.webhook.id}", f"{told.webhook.name}: {why}")
        self._begin(self._switch_off(told.webhook.id, why))

    async def _switch_off(self, webhook_id: int, why: str) -> None:
        values = {"active": False, "disabled_because": why[:256]}
        try:
            await self.change("switch:webhooks", webhook_id, values, None)
        except (StoreError, Missing, Conflict) as error:
            _log.error("webhook %d is off until the next start only: %s", webhook_id, error)

    def _begin(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
