"""What happened before anybody could be told of it, read back from the journal: the exchange was killed or
stopped while a webhook's events waited, or wrote entries before webhooks listened."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from softswitch.api.events.hub import Event, Hub

if TYPE_CHECKING:
    from softswitch.store.entry import Entry
    from softswitch.store.store import Store

_log = logging.getLogger("softswitch.webhooks")

RUN = "journal"
"""Stands for the run in positions of such events; the number is that of the entry."""

ENTRIES_MAX = 100_000
"""Entries that are looked through, the newest."""

_PAGE = 200
_RETRY_S = 1.0


async def missed(
    store: Store, after: int, until: int, agent_at: Callable[[str], str | None]
) -> AsyncIterator[tuple[Event, str]]:
    """The events of the entries numbered above `after` up to `until`, oldest first, each with what `Hub.encode`
    says of it; its number is that of the entry. Calls are known by all that they met, before `after` too.

    Parameters: `agent_at` gives the agent of an extension, None for none. Waits until the database holds them;
    raises `StoreError` where it cannot be read.
    """
    await store.journal.caught_up.wait()
    while not await store.journal.flush():  # noqa: ASYNC110
        await asyncio.sleep(_RETRY_S)
    if until - after > ENTRIES_MAX:
        _log.error("webhooks are not told of %d entries, the oldest", until - after - ENTRIES_MAX)
        after = until - ENTRIES_MAX
    hub, heard = Hub(RUN, agent_at, kept_max=1), _Heard()
    hub.listen(heard)
    first, calls = after, set[str]()
    while after < until:
        page = await store.entries.between(after, until, _PAGE)
        if not page:
            return
        new = {entry.call_id for entry in page if entry.call_id is not None} - calls
        calls |= new
        for entry in await store.entries.of_calls(new, first):
            _note(hub, entry)
        heard.events.clear()
        for entry in page:
            _note(hub, entry)
            for event in heard.events:
                yield event, hub.encode(event)
            heard.events.clear()
        after = page[-1].seq
        await asyncio.sleep(0)


def _note(hub: Hub, entry: Entry) -> None:
    hub.last = entry.seq - 1
    hub.note(entry.kind, entry.call_id, entry.data(), entry.at_s)


class _Heard:
    """Listens for whoever reads one entry after the other."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def take(self, event: Event) -> None:
        self.events.append(event)
