"""Callbacks: customers who are to be called back, at the place they would have in the line."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import Field

from routing.views import ContactView
from softswitch.api.access import PREFIX, GuardedRoute, Me
from softswitch.api.models import Epoch, Input, Line, Output, Text, among
from softswitch.api.paging import Cursor, Limit, Page, page_of
from softswitch.api.problem import Refused
from softswitch.api.routes.queues import PHASES
from softswitch.api.service import Served, Service
from softswitch.store.ledger import Conflict, Missing

router = APIRouter(prefix=PREFIX, route_class=GuardedRoute, tags=["callbacks"])

NOTE_MAX = 1_000
CallbackId = Annotated[
    str, Path(pattern=r"^[A-Za-z0-9_.:/-]{1,128}$", examples=["b18c2f3a-41d9e0"])
]


class CallbackShown(Output):
    """One callback that is still to be made."""

    passing = frozenset({"position", "waited_s"})

    id: str = Field(examples=["b18c2f3a-41d9e0"])
    queue: str = Field(examples=["support"])
    number: str = Field(examples=["01055550001"])
    name: str
    note: str = Field(description="What it is about.", examples=["Asks for the second invoice."])
    phase: str = Field(examples=["waiting"], json_schema_extra=among(PHASES))
    priority: float
    position: int = Field(description="0: not in line yet, or not any more.")
    waited_s: float
    agent: str = Field(description='Who makes it; until then whose own it is to be, "" for any.')
    not_before_s: float = Field(description="It is not made sooner.")
    attempts: int = Field(description="How often the customer was called for it.")


class NewCallback(Input):
    """Who is to be called back, by whom and when."""

    number: str = Field(pattern=r"^[0-9+*#]{2,32}$", examples=["01055550001"])
    queue: Line = Field(min_length=1, examples=["support"])
    name: Line = ""
    note: Text = Field(default="", max_length=NOTE_MAX, description="What it is about.")
    agent: Line = Field(default="", description="This agent's own, for a while.")
    not_before_s: Epoch | None = None


class CallbackChange(Input):
    """What is to be different; what is left out stays."""

    priority: float | None = Field(default=None, ge=-1_000, le=1_000, examples=[5])
    name: Line | None = Field(default=None, examples=["Wang Wei"])
    note: Text | None = Field(
        default=None, max_length=NOTE_MAX, examples=["Asks for the second invoice."]
    )
    number: str | None = Field(default=None, pattern=r"^[0-9+*#]{2,32}$", examples=["01055550002"])
    not_before_s: Epoch | None = Field(
        default=None, description="Another time; one that is over: as soon as it is its turn."
    )


@router.get("/callbacks")
async def list_callbacks(
    service: Served,
    limit: Limit = 200,
    cursor: Cursor = None,
    queue: Annotated[str, Query(max_length=64)] = "",
    number: Annotated[str, Query(max_length=64)] = "",
    agent: Annotated[
        str, Query(max_length=64, description="Who makes it, or whose own it is.")
    ] = "",
) -> Page[CallbackShown]:
    """Callbacks that are still to be made, by id: those that were asked for first come first."""
    found = [
        view
        for view in service.switch.callbacks.pending()
        if queue in ("", view.queue_id)
        and number in ("", view.attributes.get("number"))
        and agent in ("", _agent_of(view))
    ]
    page, more = page_of(found, lambda view: view.contact_id, limit, cursor)
    return Page(items=[_shown(service, view) for view in page], next=more)


@router.get("/callbacks/{callback_id}")
async def show_callback(callback_id: CallbackId, service: Served) -> CallbackShown:
    """One callback."""
    return _shown(service, _pending(service, callback_id))


@router.post("/callbacks", status_code=201)
async def add_callback(body: NewCallback, me: Me, service: Served) -> CallbackShown:
    """Have somebody called back."""
    if body.agent and body.agent not in service.switch.centre.agents_by_id:
        raise Refused(422, f"there is no agent {body.agent}")
    contact_id = service.switch.callbacks.request(
        body.number,
        body.queue,
        not_before_s=body.not_before_s,
        agent_id=body.agent,
        name=body.name,
        note=body.note,
        known=await service.switch.callers.known(body.number),
    )
    service.noted(me, "callback-requested", f"callback:{contact_id}", queue=body.queue)
    return _shown(service, _pending(service, contact_id))


@router.patch("/callbacks/{callback_id}")
async def change_callback(
    callback_id: CallbackId, body: CallbackChange, me: Me, service: Served
) -> CallbackShown:
    """Put it forward in the line, have it made at another time or to another number, name whom it is for or say
    what it is about; 409 once the customer is being called."""
    view = _pending(service, callback_id)
    if view.phase not in ("waiting", "offered", "dormant"):
        raise Conflict(f"callback {callback_id} is being made")
    service.switch.callbacks.change(
        callback_id,
        priority=body.priority,
        name=body.name,
        note=body.note,
        number=body.number or "",
        not_before_s=body.not_before_s,
    )
    told = body.model_dump(exclude_none=True)
    service.noted(me, "callback-changed", f"callback:{callback_id}", **told)
    return _shown(service, _pending(service, callback_id))


@router.delete("/callbacks/{callback_id}", status_code=204)
async def cancel_callback(callback_id: CallbackId, me: Me, service: Served) -> None:
    """Do not call back."""
    _pending(service, callback_id)
    service.switch.callbacks.cancel(callback_id, by=me.name)
    service.noted(me, "callback-cancelled", f"callback:{callback_id}")


def _pending(service: Service, callback_id: str) -> ContactView:
    for view in service.switch.callbacks.pending():
        if view.contact_id == callback_id:
            return view
    raise Missing(f"there is no callback {callback_id}")


def _agent_of(view: ContactView) -> str:
    return view.agent_id or str(view.attributes.get("agent", ""))


def _shown(service: Service, view: ContactView) -> CallbackShown:
    epoch_s = service.switch.centre.host.epoch_s
    return CallbackShown(
        id=view.contact_id,
        queue=view.queue_id,
        number=str(view.attributes.get("number", "")),
        name=str(view.attributes.get("name", "")),
        note=str(view.attributes.get("note", "")),
        phase=view.phase,
        priority=view.priority,
        position=view.position,
        waited_s=view.waited_s,
        agent=_agent_of(view),
        not_before_s=(view.due_s or 0.0) + epoch_s,
        attempts=view.attempts,
    )
