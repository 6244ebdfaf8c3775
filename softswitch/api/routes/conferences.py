"""Conference rooms that somebody is in: who, how each of them hears and is heard, and their end."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import Field

from softswitch.api.access import PREFIX, GuardedRoute, Me
from softswitch.api.models import Input, Output
from softswitch.api.paging import Cursor, Limit, Page, page_of
from softswitch.api.routes.calls import CallId
from softswitch.api.service import Served, Service
from softswitch.apps.conference import Conferences
from softswitch.apps.conference_room import GAIN_DB_MAX, GAIN_DB_MIN
from softswitch.store.ledger import Missing

router = APIRouter(prefix=PREFIX, route_class=GuardedRoute, tags=["live calls"])

Number = Annotated[str, Path(pattern=r"^[0-9]{1,32}$", examples=["8000"])]


class ParticipantShown(Output):
    """Somebody in a room. `waiting`: for the moderator, with music."""

    call_id: str = Field(examples=["c-0f3a"])
    number_from: str = Field(examples=["1001"])
    moderator: bool
    waiting: bool
    muted: bool = Field(description="Nobody hears him.")
    deaf: bool = Field(description="He hears nobody.")
    gain_db: float = Field(description="How much louder the others hear him.")


class ConferenceShown(Output):
    """A room that somebody is in."""

    number: str = Field(examples=["8000"])
    since_s: float
    locked: bool = Field(description="Nobody is let in but moderators.")
    all_muted: bool = Field(description="Only moderators are heard.")
    participants: list[ParticipantShown] = Field(description="In the order in which they came.")


class ConferenceChange(Input):
    """What is to be different."""

    locked: bool = Field(examples=[True])


class ParticipantChange(Input):
    """What is to be different; what is left out stays as it is."""

    muted: bool | None = None
    deaf: bool | None = None
    gain_db: float | None = Field(default=None, ge=GAIN_DB_MIN, le=GAIN_DB_MAX, examples=[6])


@router.get("/conferences")
async def list_conferences(
    service: Served, limit: Limit = 200, cursor: Cursor = None
) -> Page[ConferenceShown]:
    """Rooms that somebody is in, by number."""
    rooms = _conferences(service).snapshot()["rooms"]
    page, more = page_of(rooms, lambda room: str(room["number"]), limit, cursor)
    return Page(items=[_shown(room) for room in page], next=more)


@router.get("/conferences/{number}")
async def show_conference(number: Number, service: Served) -> ConferenceShown:
    """One room that somebody is in."""
    return _shown(_room(service, number))


@router.patch("/conferences/{number}")
async def change_conference(
    number: Number, body: ConferenceChange, me: Me, service: Served
) -> ConferenceShown:
    """Let nobody in but moderators, or everybody again."""
    _room(service, number)
    _conferences(service).lock(number, body.locked)
    service.noted(me, "conference-changed", f"conference:{number}", locked=body.locked)
    return _shown(_room(service, number))


@router.delete("/conferences/{number}", status_code=204)
async def end_conference(number: Number, me: Me, service: Served) -> None:
    """End it for all; everybody is told."""
    _room(service, number)
    service.noted(me, "conference-ended", f"conference:{number}")
    _conferences(service).end(number)


@router.patch("/conferences/{number}/participants/{call_id}")
async def change_participant(
    number: Number, call_id: CallId, body: ParticipantChange, me: Me, service: Served
) -> ParticipantShown:
    """Let somebody be heard no more, hear no more, or be louder."""
    _participant(service, number, call_id)
    changes = body.model_dump(exclude_none=True)
    _conferences(service).set_sound(number, call_id, **changes)
    service.noted(me, "conference-changed", f"conference:{number}", call=call_id, **changes)
    return _participant(service, number, call_id)


@router.delete("/conferences/{number}/participants/{call_id}", status_code=204)
async def remove_participant(number: Number, call_id: CallId, me: Me, service: Served) -> None:
    """Send somebody out: he is told, and his call ends."""
    _participant(service, number, call_id)
    service.noted(me, "conference-changed", f"conference:{number}", call=call_id, removed=True)
    _conferences(service).remove(number, call_id)


def _conferences(service: Service) -> Conferences:
    return service.switch.catalogue.conferences


def _room(service: Service, number: str) -> dict[str, Any]:
    rooms: list[dict[str, Any]] = _conferences(service).snapshot()["rooms"]
    found = next((room for room in rooms if room["number"] == number), None)
    if found is None:
        raise Missing(f"nobody is in conference {number}")
    return found


def _participant(service: Service, number: str, call_id: str) -> ParticipantShown:
    people = _shown(_room(service, number)).participants
    found = next((person for person in people if person.call_id == call_id), None)
    if found is None:
        raise Missing(f"call {call_id} is not in conference {number}")
    return found


def _shown(room: dict[str, Any]) -> ConferenceShown:
    people = [
        ParticipantShown(
            number_from=person["from"], **{k: v for k, v in person.items() if k != "from"}
        )
        for person in room["participants"]
    ]
    return ConferenceShown(
        number=room["number"],
        since_s=room["since_s"],
        locked=room["locked"],
        all_muted=room["all_muted"],
        participants=people,
    )
