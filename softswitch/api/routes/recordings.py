"""Recordings: the sound in ranges, its peaks for a player. Who listens is in the audit log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi import Path as PathParameter
from fastapi.responses import FileResponse
from pydantic import Field

from softswitch.api.access import PREFIX, GuardedRoute, Me
from softswitch.api.models import Output
from softswitch.api.peaks import peaks_of
from softswitch.api.routes.calls import CallId
from softswitch.api.service import Served, Service
from softswitch.store.ledger import Missing

router = APIRouter(prefix=PREFIX, route_class=GuardedRoute, tags=["recordings"])

Number = Annotated[int, PathParameter(ge=0, le=63, description="Of the call's recordings, from 0.")]
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
async def play_recording(
    call_id: CallId, number: Number, request: Request, me: Me, service: Served
) -> FileResponse:
    """The sound of a recording, as WAV or as it is archived (FLAC, Opus); ranges are served."""
    path = await recording_path(service, call_id, number)
    asked = request.headers.get("range", "bytes=0-")
    if asked.replace(" ", "").startswith("bytes=0-"):  # a player asks for many ranges of one file
        async with service.store.ledger.change(me.actor) as change:
            change.note("recording-played", f"call:{call_id}", recording=path.name)
    return FileResponse(path, media_type=_TYPES.get(path.suffix, "audio/wav"), filename=path.name)


@router.get("/calls/{call_id}/recordings/{number}/peaks")
async def show_peaks(
    call_id: CallId,
    number: Number,
    service: Served,
    points: Annotated[int, Query(ge=1, le=10_000, description="Stretches.")] = 1_000,
) -> Peaks:
    """What a player draws of a recording."""
    path = await recording_path(service, call_id, number)
    found = await service.in_thread(peaks_of, path, points)
    if found is None:
        raise Missing("the recording cannot be read")
    duration_s, tracks = found
    return Peaks(duration_s=duration_s, tracks=tracks)


async def recording_path(service: Service, call_id: str, number: int) -> Path:
    """The file of a call's recording. Raises `Missing`; never leads out of the recordings' folder."""
    record = await service.store.calls.get(call_id)
    if record is None or number >= len(record.recordings):
        raise Missing(f"call {call_id} has no recording {number}")
    path = await service.in_thread(
        _inside, service.office.storage.directory / "recordings", record.recordings[number]["name"]
    )
    if path is None:
        raise Missing("the recording is not there any more")
    return path


def _inside(folder: Path, name: str) -> Path | None:
    """`name` in `folder`, links followed; None for what is not there or not inside."""
    if not name or name != Path(name).name or "\0" in name:
        return None
    path = (folder / name).resolve()
    return path if path.parent == folder.resolve() and path.is_file() else None
