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
    service: Served, limit: Limit = 200, cursor: Cursor = None
) -> Page[HoursShown]:
    """All opening hours, by name."""
    now_s = service.clock.wall_s()
    shown = []
    page, more = page_of(service.office.hours, lambda hours: hours.name, limit, cursor)
    for hours in page:
        calendar = calendar_of(hours, service.office)
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
    service: Served, limit: Limit = 200, cursor: Cursor = None
) -> Page[RegionShown]:
    """All regions, by name."""
    page, more = page_of(service.office.regions, lambda region: region.name, limit, cursor)
    serving: dict[str, list[str]] = {}
    for agent in service.office.agents:
        for region in agent.regions:
            serving.setdefault(region, []).append(agent.id)
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
