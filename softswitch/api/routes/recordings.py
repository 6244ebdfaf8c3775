"""Recordings: the sound in ranges, its peaks for a player. Who listens is in the audit log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi import Path as PathParameter
from fastapi.responses import FileResponse
from pydantic import Field

from softswitch.api.access import PREFIX, GuardedRoute, Identity, Me
from softswitch.api.models import ID_MAX, Epoch, Input, Line, Output
from softswitch.api.paging import Cursor, Limit, Page, page_read, read_cursor, write_cursor
from softswitch.api.peaks import peaks_of
from softswitch.api.problem import Refused
from softswitch.api.routes.calls import CallId, RecordingShown
from softswitch.api.service import Served, Service
from softswitch.apps.recording_files import inside, purge
from softswitch.store.calls import CallFilter
from softswitch.store.evaluations import EvaluationFilter
from softswitch.store.ledger import Missing
from softswitch.store.record import CallRecord

router = APIRouter(prefix=PREFIX, route_class=GuardedRoute, tags=["recordings"])

Number = Annotated[
    int,
    PathParameter(ge=0, le=63, examples=[0], description="Of the call's recordings, from 0."),
]
_TYPES = {".wav": "audio/wav", ".flac": "audio/flac", ".opus": "audio/ogg"}
_WAV = {
    "content": {
        kind: {"schema": {"type": "string", "format": "binary"}} for kind in _TYPES.values()
    }
}


class Peaks(Output):
    """The loudest samples of equal stretches, for each track (customer, agent): 0 to 1."""

    duration_s: float
    tracks: list[list[float]] = Field(examples=[[[0.1, 0.7], [0.0, 0.3]]])


@router.get(
    "/calls/{call_id}/recordings/{number}",
    response_class=FileResponse,
    responses={
        200: {"description": "The whole file.", **_WAV},
        206: {"description": "The range asked for.", **_WAV},
        416: {"description": "A range outside the file."},
    },
)
async def play_recording(call_id: CallId, number: Number, me: Me, service: Served) -> FileResponse:
    """The sound of a recording, as WAV or as it is archived (FLAC, Opus); ranges are served. Agents hear
    those of conversations that an inspector has judged, once they see what he says."""
    await _require_heard(service, me, call_id)
    path = await recording_path(service, call_id, number)
    if service.listened.is_new((me.actor, path.name), service.clock.monotonic_s()):
        async with service.store.ledger.change(me.actor) as change:
            change.note("recording-played", f"call:{call_id}", recording=path.name)
    return FileResponse(path, media_type=_TYPES.get(path.suffix, "audio/wav"), filename=path.name)


@router.get("/calls/{call_id}/recordings/{number}/peaks")
async def show_peaks(
    call_id: CallId,
    number: Number,
    me: Me,
    service: Served,
    points: Annotated[int, Query(ge=1, le=10_000, description="Stretches.")] = 1_000,
) -> Peaks:
    """What a player draws of a recording."""
    await _require_heard(service, me, call_id)
    path = await recording_path(service, call_id, number)
    found = await service.in_thread(peaks_of, path, points)
    if found is None:
        raise Missing("the recording cannot be read")
    duration_s, tracks = found
    return Peaks(duration_s=duration_s, tracks=tracks)


async def _require_heard(service: Service, me: Identity, call_id: str) -> None:
    """Raises `Missing` for an agent whose conversation it is not, or that nobody has judged."""
    if me.at_least("supervisor"):
        return
    which = EvaluationFilter(agent_id=me.agent_id, call_id=call_id, visible_only=True)
    if not me.agent_id or not await service.store.evaluations.page(which, 1):
        raise Missing(f"call {call_id} has no recording for you")


async def recording_path(service: Service, call_id: str, number: int) -> Path:
    """The file of a call's recording. Raises `Missing`; never leads out of the recordings' folder."""
    record = await service.store.calls.get(call_id)
    if record is None or number >= len(record.recordings):
        raise Missing(f"call {call_id} has no recording {number}")
    path = await service.in_thread(inside, _folder(service), record.recordings[number]["name"])
    if path is None:
        raise Missing("the recording is not there any more")
    return path


class RecordingListed(RecordingShown):
    """A recording, and whose it is."""

    call_id: str = Field(examples=["c-0f3a"])
    number: int = Field(examples=[0], description="Of the call's recordings.")
    number_from: str = Field(examples=["+8613800000001"])
    number_to: str = Field(examples=["5000"])
    customer_id: int | None
    held: bool = Field(description="It outlives its time.")


@router.get("/recordings")
async def list_recordings(
    service: Served,
    limit: Limit = 50,
    cursor: Cursor = None,
    number: Annotated[str | None, Query(max_length=64, examples=["+8613800000001"])] = None,
    queue: Annotated[str | None, Query(max_length=64)] = None,
    agent: Annotated[str | None, Query(max_length=64)] = None,
    customer_id: Annotated[int | None, Query(ge=1, le=ID_MAX)] = None,
    since_s: Epoch | None = None,
    until_s: Epoch | None = None,
) -> Page[RecordingListed]:
    """Recordings, those of the newest calls first; also of such whose sound was deleted."""
    which = CallFilter(
        number=service.spellings(number) if number is not None else (),
        queue=queue,
        agent=agent,
        since_s=since_s,
        until_s=until_s,
        recorded=True,
        customer=customer_id,
    )
    seq, after = _place(cursor)
    found: list[tuple[CallRecord, int]] = []
    while len(found) <= limit:
        records = await service.store.calls.list(limit + 1, seq, which)
        for record in records:
            numbers = range(len(record.recordings))
            found += [(record, n) for n in numbers if (-record.seq, n) > after]
        if len(records) <= limit:
            break
        seq = records[-1].seq
    page = found[:limit]
    held = await service.store.recordings.held_among([record.call_id for record, _ in page])
    items = [_listed(record, n, record.call_id in held) for record, n in page]
    more = write_cursor(page[-1][0].seq, page[-1][1]) if len(found) > limit else None
    return Page(items=items, next=more)


def _place(cursor: str | None) -> tuple[int | None, tuple[float, float]]:
    """Before which call to look, and after what: a call may be cut by the end of a page."""
    keys = read_cursor(cursor)
    if keys is None:
        return None, (float("-inf"), 0)
    if len(keys) != 2 or not all(isinstance(k, int) and 0 <= k < 1 << 62 for k in keys):
        raise Refused(422, "the cursor is none of ours")
    seq, number = int(keys[0]), int(keys[1])
    return seq + 1, (-seq, number)


def _listed(record: CallRecord, number: int, held: bool) -> RecordingListed:
    return RecordingListed(
        **record.recordings[number],
        call_id=record.call_id,
        number=number,
        number_from=record.number_from,
        number_to=record.number_to,
        customer_id=record.customer_id,
        held=held,
    )


class HoldShown(Output):
    """Why the recordings of a call are kept beyond their time."""

    call_id: str = Field(examples=["c-0f3a"])
    reason: str
    held_by: str
    at_s: float


class NewHold(Input):
    """Why they are to be kept."""

    reason: Line = Field(min_length=1, examples=["Dispute about invoice A-17"])


@router.get("/recording-holds")
async def list_holds(service: Served, limit: Limit = 50, cursor: Cursor = None) -> Page[HoldShown]:
    """Recordings that are not deleted when their time has come, by call."""
    keys = read_cursor(cursor)
    if keys is not None and (len(keys) != 1 or not isinstance(keys[0], str)):
        raise Refused(422, "the cursor is none of ours")
    after = "" if keys is None else str(keys[0])
    found = await service.store.recordings.holds(limit + 1, after)
    return page_read(found, limit, HoldShown.model_validate, lambda row: row.call_id)


@router.get("/calls/{call_id}/recording-hold")
async def show_hold(call_id: CallId, service: Served) -> HoldShown:
    """Why a call's recordings are kept; 404 where they go with their time."""
    found = await service.store.recordings.held(call_id)
    if found is None:
        raise Missing(f"the recordings of call {call_id} are not held")
    return HoldShown.model_validate(found)


@router.put("/calls/{call_id}/recording-hold")
async def hold_recordings(call_id: CallId, body: NewHold, me: Me, service: Served) -> HoldShown:
    """Keep a call's recordings until they are released."""
    found = await service.store.recordings.hold(me.actor, call_id, body.reason)
    return HoldShown.model_validate(found)


@router.delete("/calls/{call_id}/recording-hold", status_code=204)
async def release_recordings(call_id: CallId, me: Me, service: Served) -> None:
    """Let them go with their time again."""
    await service.store.recordings.release(me.actor, call_id)


@router.delete("/calls/{call_id}/recordings/{number}", status_code=204)
async def purge_recording(call_id: CallId, number: Number, me: Me, service: Served) -> None:
    """Delete a recording now; 409 for one that is held."""
    record = await service.store.calls.get(call_id)
    if record is None or number >= len(record.recordings):
        raise Missing(f"call {call_id} has no recording {number}")
    recording = record.recordings[number]
    if "deleted_at_s" in recording:
        raise Missing("the recording was deleted already")
    await purge(service.store, _folder(service), me.actor, call_id, recording["name"], "asked for")
    await service.store.journal.flush()


def _folder(service: Service) -> Path:
    return service.office.storage.directory / "recordings"
