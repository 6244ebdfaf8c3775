"""Queues: what they do now, and who waits in them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import Field

from routing.contact import Phase
from routing.model import Media
from softswitch.api.access import PREFIX, GuardedRoute
from softswitch.api.models import Output, among
from softswitch.api.paging import Cursor, Limit, Page, int_cursor, page_of, write_cursor
from softswitch.api.rows import queue_row
from softswitch.api.service import Served
from softswitch.apps.acd_agents import QueueStatus
from softswitch.store.ledger import Missing

router = APIRouter(prefix=PREFIX, route_class=GuardedRoute, tags=["agents"])

QueueName = Annotated[str, Path(pattern=r"^[A-Za-z0-9_.-]{1,64}$", examples=["support"])]


PHASES = tuple(phase.name.lower() for phase in Phase)
"""Of whoever is in a queue."""


class QueueShown(Output):
    """One queue: of the office, what it does now and has done today."""

    name: str = Field(examples=["support"])
    number: str
    waiting: int = Field(description="Without tickets, which nobody waits for on a telephone.")
    longest_wait_s: float
    tickets_waiting: int
    longest_ticket_s: float
    agents: dict[str, int] = Field(description="Its members by state.")
    entered: int = Field(description="Contacts that came today: the reception volume.")
    answered: int
    abandoned: int
    abandoned_in_time: int = Field(description="Of them, short ones: within `within_s`.")
    flowed_out: int
    callbacks: int = Field(description="Of those who came today, whatever came of them.")
    handled: int
    average_answer_s: float | None = Field(description="ASA today; null: nobody was answered.")
    average_wait_s: float | None = Field(description="Of all who wait no longer.")
    average_handle_s: float | None = Field(description="AHT: talk, hold and wrap-up.")
    occupancy: float | None = Field(
        description="Of its agents, today: on-contact and wrap-up over that, available and offered."
    )
    occupancy_lately: float | None = Field(
        description="The same since the half-hour before this one began."
    )
    service_level: float | None
    within_s: float
    target: float
    open: bool
    expected_wait_s: float | None = Field(
        description="Of a caller who came now; null while nothing can be promised."
    )


class WaitingShown(Output):
    """Somebody in a queue: a call, a callback, a ticket or a chat."""

    contact: str = Field(
        examples=["c-0f3a"], description="Of a call: its `call_id`, unless it came back."
    )
    media: str = Field(examples=["call"], json_schema_extra=among(Media))
    phase: str = Field(
        examples=["waiting"],
        json_schema_extra=among(PHASES),
        description="waiting; offered: an agent is rung; dialing, dormant: a callback, or not yet due.",
    )
    position: int = Field(
        description="1 is next; 0: not in the line now. Tickets have places of their own."
    )
    waited_s: float
    priority: float
    agent: str = Field(description='The agent who is rung for it; "" for none.')
    demands: list[str] = Field(description="What is demanded of agents now, in words.")
    expected_wait_s: float | None


@router.get("/queues")
async def list_queues(
    service: Served,
    limit: Limit = 200,
    cursor: Cursor = None,
    agent: Annotated[str, Query(max_length=64, description="Those that he serves.")] = "",
    open: Annotated[bool | None, Query(description="Now.")] = None,  # noqa: A002
) -> Page[QueueShown]:
    """All queues, by name."""
    centre = service.switch.centre
    found = list(centre.queues)
    if agent:
        serving = centre.agents_by_id.get(agent)
        found = [name for name in found if serving is not None and name in serving.queues]
    if open is not None:
        found = [state.queue for state in centre.queue_desk.some(found) if state.open is open]
    page, more = page_of(found, str, limit, cursor)
    states = centre.queue_desk.some(page)
    return Page(items=[_shown(state) for state in states], next=more)


@router.get("/queues/{queue}")
async def show_queue(queue: QueueName, service: Served) -> QueueShown:
    """One queue."""
    if queue not in service.switch.centre.queues:
        raise Missing(f"there is no queue {queue}")
    return _shown(service.switch.centre.queue_desk.some([queue])[0])


@router.get("/queues/{queue}/waiting")
async def list_waiting(
    queue: QueueName,
    service: Served,
    limit: Limit = 50,
    cursor: Cursor = None,
    media: Media | None = None,
) -> Page[WaitingShown]:
    """Who waits in a queue: those that are being offered or dialled, then the line, then tickets."""
    if queue not in service.switch.centre.queues:
        raise Missing(f"there is no queue {queue}")
    start = int_cursor(cursor) or 0
    end = start + limit
    waiting = service.switch.centre.queue_desk.waiting(queue)
    found = [view for view in waiting if media in (None, view.media)]
    items = [
        WaitingShown(
            contact=view.contact_id,
            media=view.media.value,
            phase=view.phase,
            position=view.position,
            waited_s=view.waited_s,
            priority=view.priority,
            agent=view.agent_id,
            demands=list(view.rule),
            expected_wait_s=view.wait.median_s
            if view.wait is not None and view.calibrated
            else None,
        )
        for view in found[start:end]
    ]
    return Page(items=items, next=write_cursor(end) if end < len(found) else None)


def _shown(state: QueueStatus) -> QueueShown:
    return QueueShown(**queue_row(state))
