"""Prompts: the office's own sounds, uploaded in whatever form soundfile reads, played at once."""

from __future__ import annotations

import os
import secrets
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal, get_args

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import FileResponse
from pydantic import Field

from softswitch.api.access import PREFIX, GuardedRoute, Me
from softswitch.api.models import Output, among
from softswitch.api.paging import Cursor, Limit, Page, page_of
from softswitch.api.problem import Refused
from softswitch.api.service import Served, Service
from softswitch.errors import CallError
from softswitch.prompts import PROMPT_SUFFIXES, SOUNDS, recording_in
from softswitch.sounds import SOUND_S_MAX, convert_sound
from softswitch.store.ledger import Conflict, Missing

router = APIRouter(prefix=PREFIX, route_class=GuardedRoute, tags=["prompts"])

OWN_MAX = 2_000
OCTETS_MAX = 32 << 20
_UPLOADED = "uploaded"
Languages = Literal["en", "zh", "sounds", "music"]
Language = Annotated[
    Languages,
    Path(description='Of its words; "sounds" has none; "music" is for queues and hold.'),
]
PromptName = Annotated[
    str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$", examples=["main-menu"])
]
_SOUND = {"type": "string", "format": "binary"}
_WAV: dict[str, Any] = {
    "content": {kind: {"schema": _SOUND} for kind in ("audio/wav", "audio/flac")}
}
_BODY = {
    "requestBody": {
        "required": True,
        "description": f"WAV, FLAC, OGG or MP3, at most 32 MiB and {SOUND_S_MAX:g} s.",
        "content": {"application/octet-stream": {"schema": _SOUND}},
    }
}


class PromptShown(Output):
    """One prompt."""

    name: str = Field(examples=["main-menu"])
    language: str = Field(examples=["en"], json_schema_extra=among(get_args(Languages)))
    source: str = Field(
        description='"own": of this office; "shipped": comes with the program.',
        json_schema_extra=among(("own", "shipped")),
    )


@router.get("/prompts")
async def list_prompts(
    service: Served,
    limit: Limit = 200,
    cursor: Cursor = None,
    language: Annotated[Languages | None, Query()] = None,
    source: Annotated[Literal["own", "shipped"] | None, Query()] = None,
) -> Page[PromptShown]:
    """All prompts by name; an own one is heard instead of a shipped one."""
    found = [
        prompt
        for prompt in await service.in_thread(_list, service)
        if language in (None, prompt.language) and source in (None, prompt.source)
    ]
    page, more = page_of(found, lambda each: (each.name, each.language), limit, cursor)
    return Page(items=page, next=more)


@router.get(
    "/prompts/{language}/{name}",
    response_class=FileResponse,
    responses={
        200: {"description": "The sound.", **_WAV},
        206: {"description": "The range asked for.", **_WAV},
        416: {"description": "A range outside the file."},
    },
)
async def play_prompt(language: Language, name: PromptName, service: Served) -> FileResponse:
    """The sound of a prompt."""
    prompts = service.switch.desk.prompts
    for root in prompts.roots:
        path = await service.in_thread(recording_in, root / language, name)
        if path is not None:
            kind = "audio/flac" if path.suffix == ".flac" else "audio/wav"
            return FileResponse(path, media_type=kind, filename=f"{name}{path.suffix}")
    raise Missing(f"there is no prompt {name} in {language}")


@router.put("/prompts/{language}/{name}", openapi_extra=_BODY)
async def upload_prompt(
    language: Language, name: PromptName, request: Request, me: Me, service: Served
) -> PromptShown:
    """Upload a prompt, or another one of the same name: the next call hears it."""
    data = await request.body()
    if len(data) > OCTETS_MAX:
        raise Refused(413, f"the sound is larger than {OCTETS_MAX} octets")
    if not data:
        raise Refused(422, "the body is empty: send the sound itself")
    await service.in_thread(_take, service, language, name, data)
    service.switch.desk.prompts.forget(name)
    service.noted(me, "prompt-uploaded", f"prompt:{language}/{name}", octets=len(data))
    return PromptShown(name=name, language=language, source="own")


@router.delete("/prompts/{language}/{name}", status_code=204)
async def remove_prompt(language: Language, name: PromptName, me: Me, service: Served) -> None:
    """Remove an own prompt; a shipped one of the same name is heard again."""
    await service.in_thread(_remove, service, language, name)
    service.switch.desk.prompts.forget(name)
    service.noted(me, "prompt-removed", f"prompt:{language}/{name}")


def _own(service: Service) -> FilePath:
    own = service.switch.desk.prompts.own
    if own is None:
        raise Conflict("this exchange has no folder for prompts of its own")
    return own


def _list(service: Service) -> list[PromptShown]:
    found: dict[tuple[str, str], str] = {}
    prompts = service.switch.desk.prompts
    for root in prompts.roots:
        source = "own" if root == prompts.own else "shipped"
        for language in ("en", "zh", SOUNDS, "music"):
            for path in (root / language).glob("*"):
                if path.suffix in PROMPT_SUFFIXES:
                    found.setdefault((path.stem, language), source)
    return [PromptShown(name=n, language=x, source=s) for (n, x), s in sorted(found.items())]


def _take(service: Service, language: str, name: str, data: bytes) -> None:
    """Convert and put into place. The file has a new name each time: whatever plays it knows files by their
    names."""
    own = _own(service)
    uploads = own / _UPLOADED
    uploads.mkdir(mode=0o700, parents=True, exist_ok=True)
    (own / language).mkdir(mode=0o700, exist_ok=True)
    if sum(1 for _ in uploads.iterdir()) >= OWN_MAX:
        raise Conflict(f"there are {OWN_MAX} prompts already")
    target = uploads / f"{language}-{name}-{secrets.token_hex(4)}.wav"
    raw, made = target.with_suffix(".upload"), target.with_suffix(".part")
    try:
        raw.write_bytes(data)
        convert_sound(made, raw)
        os.replace(made, target)
    except CallError as error:
        raise Refused(422, str(error).replace(str(raw), "the sound")) from None
    except RuntimeError:
        raise Refused(415, "this is no sound that can be read: WAV, FLAC, OGG or MP3") from None
    finally:
        raw.unlink(missing_ok=True)
        made.unlink(missing_ok=True)
    place = own / language / f"{name}.wav"
    before = place.resolve() if place.is_symlink() else None
    link = place.with_suffix(".link")
    link.unlink(missing_ok=True)
    link.symlink_to(FilePath("..") / _UPLOADED / target.name)
    os.replace(link, place)
    if before is not None and before.parent == uploads.resolve():
        before.unlink(missing_ok=True)


def _remove(service: Service, language: str, name: str) -> None:
    own = _own(service)
    place = own / language / f"{name}.wav"
    if not place.is_file():
        raise Missing(f"there is no own prompt {name} in {language}")
    _require_unused(service, name)
    behind = place.resolve()
    place.unlink()
    if behind.parent == (own / _UPLOADED).resolve():
        behind.unlink(missing_ok=True)


def _require_unused(service: Service, name: str) -> None:
    """A menu that greets with it, and a queue whose music it is, would be silent."""
    if service.switch.desk.prompts.has_shipped(name):
        return
    users = [f"ivr {i.name}" for i in service.office.ivrs if i.greeting.value == name]
    users += [f"queue {q.name}" for q in service.office.queues if q.music == name]
    if users:
        raise Conflict(f"{name} is used by {', '.join(users[:5])}")
