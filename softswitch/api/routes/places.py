"""Hours and regions: whether the office is open, and where a number is from."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from routing.regions import RegionTable
from softswitch.api.access import PREFIX, GuardedRoute
from softswitch.api.models import Output
from softswitch.api.paging import Cursor, Limit, Page, page_of
from softswitch.api.service import Served
from softswitch.apps.acd_config import calendar_of, regions_of

router = APIRouter(prefix=PREFIX, route_class=GuardedRoute, tags=["office"])


class HoursShown(Output):
    """One table of opening hours, and what it says now."""

    name: str = Field(examples=["office"])
    open: bool = Field(description="Now, in the office's time zone.")
    changes_at_s: float | None = Field(description="When that changes; null: not within a year.")
    week: list[list[str]] = Field(
        examples=[[["09:00-18:00"], ["09:00-18:00"], [], [], [], [], []]],
        description="From Monday to Sunday.",
    )
    holidays: list[str] = Field(examples=[["2026-10-01"]])


class RegionShown(Output):
    """One region, and who serves it."""

    name: str = Field(examples=["north"])
    prefixes: list[str] = Field(examples=[["+8610"]])
    agents: list[str] = Field(examples=[["lilei"]])


class RegionOf(Output):
    """Where a number is from; `region` "": no prefix fits."""

    number: str = Field(examples=["+861065550001"], description="As the world writes it.")
    region: str = Field(examples=["north"])


@router.get("/hours")
async def list_hours(
    service: Served,
    limit: Limit = 200,
    cursor: Cursor = None,
    open: Annotated[bool | None, Query(description="Now.")] = None,  # noqa: A002
) -> Page[HoursShown]:
    """All opening hours, by name."""
    now_s = service.clock.wall_s()
    shown = []
    calendars = {each.name: calendar_of(each, service.office) for each in service.office.hours}
    found = [
        each for each in service.office.hours if open in (None, calendars[each.name].is_open(now_s))
    ]
    page, more = page_of(found, lambda hours: hours.name, limit, cursor)
    for hours in page:
        calendar = calendars[hours.name]
        week = [[_span(*span) for span in day] for day in hours.open]
        shown.append(
            HoursShown(
                name=hours.name,
                open=calendar.is_open(now_s),
                changes_at_s=calendar.next_change(now_s),
                week=week,
                holidays=[day.isoformat() for day in hours.holidays],
            )
        )
    return Page(items=shown, next=more)


@router.get("/regions")
async def list_regions(
    service: Served,
    limit: Limit = 200,
    cursor: Cursor = None,
    agent: Annotated[str, Query(max_length=64, description="Those that he serves.")] = "",
) -> Page[RegionShown]:
    """All regions, by name."""
    serving: dict[str, list[str]] = {}
    for each in service.office.agents:
        for region in each.regions:
            serving.setdefault(region, []).append(each.id)
    found = [r for r in service.office.regions if not agent or agent in serving.get(r.name, ())]
    page, more = page_of(found, lambda region: region.name, limit, cursor)
    return Page(
        items=[
            RegionShown(name=r.name, prefixes=list(r.prefixes), agents=serving.get(r.name, []))
            for r in page
        ],
        next=more,
    )


@router.get("/regions/lookup")
async def look_up_region(
    service: Served,
    number: Annotated[str, Query(pattern=r"^\+?[0-9]{1,32}$", examples=["01065550001"])],
) -> RegionOf:
    """The region of a number, as the queues see it: by the longest prefix."""
    written = service.switch.centre.written(number)
    table = RegionTable(regions_of(service.office))
    return RegionOf(number=written, region=table.region_of(written))


def _span(start: int, end: int) -> str:
    return f"{start // 60:02}:{start % 60:02}-{end // 60:02}:{end % 60:02}"
