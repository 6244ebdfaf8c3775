"""Is it alive, and can it do its work."""

from __future__ import annotations

from fastapi import APIRouter, Response
from pydantic import Field

from softswitch.api.access import PREFIX, GuardedRoute
from softswitch.api.models import Output
from softswitch.api.service import Served

router = APIRouter(prefix=PREFIX, route_class=GuardedRoute, tags=["health"])


class Health(Output):
    """`ok` False: something needs attention; what, is told to those who are logged in (`/status`)."""

    ok: bool
    version: str = Field(examples=["0.1.0"])


@router.get("/health")
async def health(service: Served) -> Health:
    """Alive. For those who restart what does not answer."""
    from softswitch import __version__

    return Health(ok=not service.switch.alarms, version=__version__)


@router.get("/ready")
async def ready(response: Response, service: Served) -> Health:
    """Ready to take calls: 503 while it is not, or is about to stop. For those who choose a server."""
    from softswitch import __version__

    good = service.switch.is_running and not service.stopping.is_set()
    if not good:
        response.status_code = 503
    return Health(ok=good, version=__version__)
