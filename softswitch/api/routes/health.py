"""Is it alive, and can it do its work."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Response
from pydantic import Field

from softswitch.api.access import PREFIX, GuardedRoute
from softswitch.api.models import Output
from softswitch.api.service import Served
from softswitch.overview import reports_of

router = APIRouter(prefix=PREFIX, route_class=GuardedRoute, tags=["health"])


class Alive(Output):
    """The loop turns."""

    ok: bool = Field(examples=[True])


class ReportProgress(Output):
    """The background works on what reports are made of, as after an upgrade: until that is done, those of the
    rest of the time take longer."""

    stage: Literal["sums", "columns"]
    share: float = Field(
        examples=[0.43], description="Of the half-hours of this stage, how many are done."
    )
    at_s: float = Field(examples=[1_735_660_800.0], description="Until when, as Unix time.")
    left_s: float | None = Field(
        examples=[240.0],
        description="In how many seconds it should be done; null where that is not known yet.",
    )


class Health(Output):
    """`ok` False: something needs attention; what, is told to those who are logged in (`/status`)."""

    ok: bool
    version: str = Field(examples=["0.1.0"])
    reports: ReportProgress | None = Field(
        default=None, description="What is being done that reports wait for; null where nothing is."
    )


outside = APIRouter(route_class=GuardedRoute, tags=["health"])
"""Where programs expect these: at the root."""


@outside.get("/health/live")
async def live() -> Alive:
    """The process is alive and its loop turns: restart it if this does not answer."""
    return Alive(ok=True)


@outside.get("/health/ready")
async def ready_at_root(response: Response, service: Served) -> Health:
    """As `/api/v1/ready`."""
    return await ready(response, service)


@outside.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def show_metrics(service: Served) -> Response:
    """For Prometheus: a token with the scope `metrics:read`."""
    from softswitch.api.metrics import CONTENT_TYPE, exposition

    return Response(exposition(service), media_type=CONTENT_TYPE)


@router.get("/health")
async def health(service: Served) -> Health:
    """Alive. For those who restart what does not answer."""
    from softswitch import __version__

    progress = reports_of(service.switch)
    reports = None if progress is None else ReportProgress(**progress)
    return Health(ok=not service.switch.alarms, version=__version__, reports=reports)


@router.get("/ready")
async def ready(response: Response, service: Served) -> Health:
    """Ready to take calls: 503 while it is not, or is about to stop. For those who choose a server."""
    from softswitch import __version__

    good = service.switch.is_running and not service.stopping.is_set()
    if not good:
        response.status_code = 503
    return Health(ok=good, version=__version__)
