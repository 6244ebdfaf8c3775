"""Scorecards: what is asked of a conversation."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import Field

from softswitch.api.access import PREFIX, GuardedRoute, Me
from softswitch.api.models import Id, IfMatch, Input, Line, Output, tag, version_of
from softswitch.api.paging import Cursor, Limit, Page, int_cursor, page_read
from softswitch.api.service import Served
from softswitch.store.scorecards import Scorecard
from softswitch.store.scoring import ITEMS_MAX, POINTS_MAX, SECTIONS_MAX, Form, Item, Section

router = APIRouter(prefix=PREFIX, route_class=GuardedRoute, tags=["quality"])

Key = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$", examples=["greeting"])]
Weight = Annotated[float, Field(ge=0, le=1_000)]


class ItemModel(Input):
    """One question. A `critical` item without points makes the whole worth nothing. `key` names it in
    answers and between versions."""

    key: Key
    question: Annotated[Line, Field(min_length=1, examples=["Greeted by name?"])]
    points: int = Field(default=1, ge=1, le=POINTS_MAX)
    weight: Weight = 1.0
    critical: bool = False


class SectionModel(Input):
    """Questions about the same. Its weight is against the other sections, an item's within it."""

    name: Annotated[Line, Field(min_length=1, examples=["Opening"])]
    weight: Weight = 1.0
    items: list[ItemModel] = Field(min_length=1, max_length=ITEMS_MAX)


SectionModels = Annotated[
    list[SectionModel],
    Field(
        min_length=1,
        max_length=SECTIONS_MAX,
        examples=[
            [
                {
                    "name": "Opening",
                    "weight": 1,
                    "items": [{"key": "greeting", "question": "Greeted by name?", "points": 2}],
                },
                {
                    "name": "Rules",
                    "weight": 2,
                    "items": [
                        {
                            "key": "identity",
                            "question": "Asked for the identity?",
                            "critical": True,
                        }
                    ],
                },
            ]
        ],
    ),
]
Percent = Annotated[float, Field(ge=0, le=100)]


class ScorecardShown(Output):
    """One scorecard; `number` says which of its forms this is, the newest or the one asked for."""

    id: int = Field(examples=[3])
    name: str = Field(examples=["Support call"])
    number: int = Field(examples=[2])
    archived: bool
    pass_percent: float
    sections: list[SectionModel]
    created_at_s: float
    changed_at_s: float
    version: int


class NewScorecard(Input):
    """A scorecard to be."""

    name: Annotated[Line, Field(min_length=1, examples=["Support call"])]
    pass_percent: Percent = 80.0
    sections: SectionModels


class ScorecardChange(Input):
    """What is to be different. Other sections (or another pass mark) are a new number, for what is judged
    from now on; what was judged stays. `archived`: no longer used."""

    name: Annotated[Line, Field(min_length=1)] | None = None
    pass_percent: Percent | None = None
    sections: SectionModels | None = None
    archived: bool | None = None


@router.get("/scorecards")
async def list_scorecards(
    service: Served,
    limit: Limit = 50,
    cursor: Cursor = None,
    archived: Annotated[bool, Query(description="Also those no longer used.")] = False,
) -> Page[ScorecardShown]:
    """Scorecards by id."""
    after = int_cursor(cursor) or 0
    found = await service.store.scorecards.page(limit + 1, after, archived=archived)
    return page_read(found, limit, shown)


@router.post("/scorecards", status_code=201)
async def add_scorecard(
    body: NewScorecard, response: Response, me: Me, service: Served
) -> ScorecardShown:
    """Make a scorecard; 409 for one that makes no sense."""
    card = await service.store.scorecards.add(
        me.actor, body.name, form_of(body.sections, body.pass_percent)
    )
    tag(response, card.version)
    return shown(card)


@router.get("/scorecards/{scorecard_id}")
async def show_scorecard(
    scorecard_id: Id,
    response: Response,
    service: Served,
    number: Annotated[int | None, Query(ge=1, le=1_000_000, description="Of its forms.")] = None,
) -> ScorecardShown:
    """One scorecard, in its newest form or another."""
    card = await service.store.scorecards.get(scorecard_id, number)
    tag(response, card.version)
    return shown(card)


@router.patch("/scorecards/{scorecard_id}")
async def change_scorecard(
    scorecard_id: Id,
    body: ScorecardChange,
    response: Response,
    me: Me,
    service: Served,
    if_match: IfMatch = None,
) -> ScorecardShown:
    """Change a scorecard."""
    form = None
    if body.sections is not None or body.pass_percent is not None:
        old = (await service.store.scorecards.get(scorecard_id)).form
        percent = old.pass_percent if body.pass_percent is None else body.pass_percent
        form = (
            Form(old.sections, percent)
            if body.sections is None
            else form_of(body.sections, percent)
        )
    card = await service.store.scorecards.change(
        me.actor,
        scorecard_id,
        name=body.name,
        form=form,
        archived=body.archived,
        version=version_of(if_match),
    )
    tag(response, card.version)
    return shown(card)


def form_of(sections: list[SectionModel], pass_percent: float) -> Form:
    """The sections of a request as the scoring knows them."""
    return Form(
        tuple(
            Section(s.name, tuple(Item(**item.model_dump()) for item in s.items), s.weight)
            for s in sections
        ),
        pass_percent,
    )


def shown(card: Scorecard) -> ScorecardShown:
    """A scorecard as the API shows it."""
    return ScorecardShown(
        id=card.id,
        name=card.name,
        number=card.number,
        archived=card.archived,
        pass_percent=card.form.pass_percent,
        sections=[
            SectionModel(
                name=section.name,
                weight=section.weight,
                items=[
                    ItemModel(
                        key=item.key,
                        question=item.question,
                        points=item.points,
                        weight=item.weight,
                        critical=item.critical,
                    )
                    for item in section.items
                ],
            )
            for section in card.form.sections
        ],
        created_at_s=card.created_at_s,
        changed_at_s=card.changed_at_s,
        version=card.version,
    )
