"""Files of tickets."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import FileResponse
from pydantic import Field

from softswitch.api.access import PREFIX, GuardedRoute, Me
from softswitch.api.models import Id, Output
from softswitch.api.paging import Cursor, Limit, Page, page_of
from softswitch.api.service import Served
from softswitch.store.attachments import TYPES, Attachment

router = APIRouter(prefix=PREFIX, route_class=GuardedRoute, tags=["tickets"])

_ANY = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}


class FileShown(Output):
    """A file of a ticket. `name` and `type` are what its sender said."""

    id: int = Field(examples=[2])
    ticket_id: int
    name: str = Field(examples=["photo.jpg"])
    type: str = Field(examples=["image/jpeg"])
    size: int
    sha256: str
    author: str
    at_s: float
    comment_id: int | None = Field(description="The comment that it goes with.")


@router.get("/tickets/{ticket_id}/files")
async def list_files(
    ticket_id: Id, service: Served, limit: Limit = 50, cursor: Cursor = None
) -> Page[FileShown]:
    """The files of a ticket, oldest first."""
    await service.store.tickets.get(ticket_id)
    found = await service.store.attachments.of_ticket(ticket_id)
    page, more = page_of(found, lambda one: (one.id,), limit, cursor)
    return Page(items=[_file(one) for one in page], next=more)


@router.post(
    "/tickets/{ticket_id}/files",
    status_code=201,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                kind: {"schema": {"type": "string", "format": "binary"}} for kind in sorted(TYPES)
            },
        }
    },
)
async def add_file(
    ticket_id: Id,
    request: Request,
    me: Me,
    service: Served,
    name: Annotated[str, Query(max_length=255, examples=["photo.jpg"])] = "file",
    content_type: Annotated[str, Header(max_length=200, include_in_schema=False)] = "",
) -> FileShown:
    """Add a file: the body as it is, of one of the types named here (else 415), at most 10 MiB (else 413);
    409 for one too many."""
    data = await request.body()
    found = await service.store.attachments.add(me.actor, ticket_id, name, content_type, data)
    return _file(found)


@router.get(
    "/tickets/{ticket_id}/files/{file_id}",
    response_class=FileResponse,
    responses={
        200: {"description": "The file.", "content": _ANY},
        206: {"description": "The range asked for.", "content": _ANY},
        416: {"description": "A range outside the file."},
    },
)
async def show_file(ticket_id: Id, file_id: Id, service: Served) -> FileResponse:
    """A file, to be saved: no browser shows it in our name."""
    found, path = await service.store.attachments.find(ticket_id, file_id)
    return FileResponse(path, media_type="application/octet-stream", filename=found.name)


@router.delete("/tickets/{ticket_id}/files/{file_id}", status_code=204)
async def remove_file(ticket_id: Id, file_id: Id, me: Me, service: Served) -> None:
    """Delete a file."""
    await service.store.attachments.remove(me.actor, ticket_id, file_id)


def _file(found: Attachment) -> FileShown:
    return FileShown.model_validate(found)
