"""The journal itself, and what callers answered when they were asked."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from softswitch.api.access import PREFIX, GuardedRoute
from softswitch.api.models import Epoch, Output
from softswitch.api.paging import Cursor, Limit, Page, int_cursor, write_cursor
from softswitch.api.routes.calls import JournalEntry
from softswitch.api.service import Served
from softswitch.store.entries import SurveyFilter

router = APIRouter(prefix=PREFIX, route_class=GuardedRoute, tags=["reports"])


class SurveyShown(Output):
    """What one caller answered after his call; `score` null: nothing."""

    call_id: str = Field(examples=["c-0f3a"])
    survey: str = Field(examples=["satisfaction"])
    queue: str = Field(examples=["support"])
    agent: str = Field(examples=["lilei"])
    caller: str = Field(examples=["+8613800000001"])
    score: int | None = Field(examples=[4])
    at_s: float


@router.get("/journal")
async def list_journal(
    service: Served,
    limit: Limit = 50,
    cursor: Cursor = None,
    kind: Annotated[str | None, Query(max_length=64, examples=["call-ended"])] = None,
    since_s: Epoch | None = None,
    until_s: Epoch | None = None,
) -> Page[JournalEntry]:
    """The journal, newest first: everything that records and reports are read from."""
    found = await service.store.entries.page(
        limit + 1, int_cursor(cursor), kind=kind, since_s=since_s, until_s=until_s
    )
    items = [
        JournalEntry(seq=entry.seq, at_s=entry.at_s, kind=entry.kind, data=entry.data())
        for entry in found[:limit]
    ]
    return Page(items=items, next=write_cursor(items[-1].seq) if len(found) > limit else None)


@router.get("/surveys")
async def list_surveys(
    service: Served,
    limit: Limit = 50,
    cursor: Cursor = None,
    queue: Annotated[str | None, Query(max_length=64)] = None,
    agent: Annotated[str | None, Query(max_length=64)] = None,
    survey: Annotated[str | None, Query(max_length=64)] = None,
    call_id: Annotated[str | None, Query(max_length=256)] = None,
    score_max: Annotated[
        int | None, Query(ge=0, le=100, description="Only scores up to this one.")
    ] = None,
    since_s: Epoch | None = None,
    until_s: Epoch | None = None,
) -> Page[SurveyShown]:
    """Answers to surveys, newest first."""
    which = SurveyFilter(queue, agent, survey, call_id, score_max, since_s, until_s)
    found = await service.store.entries.surveys(limit + 1, int_cursor(cursor), which)
    items = [
        SurveyShown(
            call_id=row["call_id"],
            survey=row["survey"],
            queue=row["queue_id"],
            agent=row["agent_id"],
            caller=row["caller"],
            score=row["score"],
            at_s=row["at_s"],
        )
        for row in found[:limit]
    ]
    more = write_cursor(found[limit - 1]["seq"]) if len(found) > limit else None
    return Page(items=items, next=more)
