"""Voicemail: messages of a mailbox, to be listened to, marked and deleted. Agents see their own box."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from fastapi.responses import FileResponse
from pydantic import Field

from softswitch.api.access import PREFIX, GuardedRoute, Identity, Me
from softswitch.api.models import Input, Output
from softswitch.api.paging import Cursor, Limit, Page, page_of
from softswitch.api.problem import Refused
from softswitch.api.service import Served, Service
from softswitch.apps.mailbox import Message
from softswitch.store.ledger import Missing

router = APIRouter(prefix=PREFIX, route_class=GuardedRoute, tags=["voicemail"])

Box = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$", examples=["1001"])]
MessageId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_.-]{1,128}$", examples=["c18c2f3a-41d9e0"])]
_WAV = {"content": {"audio/wav": {"schema": {"type": "string", "format": "binary"}}}}


class BoxShown(Output):
    """One mailbox and how many messages are in it."""

    box: str = Field(examples=["1001"])
    name: str
    new: int
    heard: int


class MessageShown(Output):
    """One message."""

    message_id: str = Field(examples=["c18c2f3a-41d9e0"])
    box: str = Field(examples=["1001"])
    call_id: str
    number_from: str = Field(examples=["+8613800000001"])
    caller_name: str
    at_s: float
    duration_s: float
    heard: bool


class MessageChange(Input):
    """`heard`: its owner has listened to it. The lamp on his telephone follows."""

    heard: bool = Field(examples=[True])


@router.get("/voicemails")
async def list_boxes(
    me: Me,
    service: Served,
    limit: Limit = 200,
    cursor: Cursor = None,
    new: Annotated[bool | None, Query(description="Only those with new messages, or none.")] = None,
) -> Page[BoxShown]:
    """The mailboxes of the office, by number; an agent's own for him."""
    counts = service.switch.catalogue.mailboxes.counts
    boxes = [
        each
        for each in service.office.extensions
        if each.voicemail is not None
        and _may_hear(service, me, each.number)
        and new in (None, counts(each.number)[0] > 0)
    ]
    page, more = page_of(boxes, lambda each: each.number, limit, cursor)
    items = [
        BoxShown(box=each.number, name=each.name, new=fresh, heard=heard)
        for each in page
        for fresh, heard in [counts(each.number)]
    ]
    return Page(items=items, next=more)


@router.get("/voicemails/{box}")
async def list_messages(
    box: Box,
    me: Me,
    service: Served,
    limit: Limit = 200,
    cursor: Cursor = None,
    heard: Annotated[bool | None, Query(description="Only those heard, or only new ones.")] = None,
    number: Annotated[str, Query(max_length=64, description="Of whoever spoke.")] = "",
) -> Page[MessageShown]:
    """The messages of a box: new ones first, the oldest of them first."""
    _require_box(service, me, box)
    found = [
        message
        for message in service.switch.catalogue.mailboxes.messages(box)
        if heard in (None, message.heard) and number in ("", message.number_from)
    ]
    page, more = page_of(found, lambda m: (m.heard, m.at_s, m.message_id), limit, cursor)
    return Page(items=[MessageShown.model_validate(message) for message in page], next=more)


@router.get(
    "/voicemails/{box}/{message_id}",
    response_class=FileResponse,
    responses={
        200: {"description": "The whole file.", **_WAV},
        206: {"description": "The range asked for.", **_WAV},
        416: {"description": "A range outside the file."},
    },
)
async def play_message(box: Box, message_id: MessageId, me: Me, service: Served) -> FileResponse:
    """The sound of a message, as WAV; ranges are served."""
    message = _message(service, me, box, message_id)
    path = service.switch.catalogue.mailboxes.path_of(message)
    if not await service.in_thread(path.is_file):
        raise Missing("the message is not there any more")
    if service.listened.is_new((me.actor, path.name), service.clock.monotonic_s()):
        service.noted(me, "voicemail-played", f"voicemail:{box}/{message_id}")
    return FileResponse(path, media_type="audio/wav", filename=path.name)


@router.patch("/voicemails/{box}/{message_id}")
async def change_message(
    box: Box, message_id: MessageId, body: MessageChange, me: Me, service: Served
) -> MessageShown:
    """Mark a message as heard."""
    mailboxes = service.switch.catalogue.mailboxes
    message = _message(service, me, box, message_id)
    if not body.heard:
        raise Refused(422, "a message that was heard does not become new again")
    mailboxes.mark_heard(message)
    service.noted(me, "voicemail-marked-heard", f"voicemail:{box}/{message_id}")
    return MessageShown.model_validate(_message(service, me, box, message_id))


@router.delete("/voicemails/{box}/{message_id}", status_code=204)
async def delete_message(box: Box, message_id: MessageId, me: Me, service: Served) -> None:
    """Delete a message."""
    message = _message(service, me, box, message_id)
    service.switch.catalogue.mailboxes.delete(message, why=me.actor)
    service.noted(me, "voicemail-removed", f"voicemail:{box}/{message_id}")


def _require_box(service: Service, me: Identity, box: str) -> None:
    """Own boxes for agents; whether others exist is not told."""
    known = {e.number for e in service.office.extensions if e.voicemail is not None}
    if box not in known or not _may_hear(service, me, box):
        raise Missing(f"there is no mailbox {box}")


def _may_hear(service: Service, me: Identity, box: str) -> bool:
    agent = service.switch.centre.agents_by_id.get(me.agent_id)
    return me.at_least("supervisor") or (agent is not None and agent.extension == box)


def _message(service: Service, me: Identity, box: str, message_id: str) -> Message:
    _require_box(service, me, box)
    for message in service.switch.catalogue.mailboxes.messages(box):
        if message.message_id == message_id:
            return message
    raise Missing(f"mailbox {box} has no message {message_id}")
