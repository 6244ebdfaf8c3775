"""What tickets, and what makes tickets, may name: people who are there, queues, demands on skills, places to be
filled in. A slip would leave a ticket with nobody, without a word."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from routing.errors import RoutingError
from routing.expressions import parse_skill
from softswitch.api.problem import Fault, Refused
from softswitch.config.places import PLACES, unknown_places

if TYPE_CHECKING:
    from softswitch.api.service import Service

SUPERVISORS = "role:supervisor"


def require_known(service: Service, said: Mapping[str, Any]) -> None:
    """Look at what is said of a ticket, or of what makes tickets. Raises `Refused` (422) with every fault."""
    _require(_unknown(service, said))


def require_places(said: Mapping[str, Any]) -> None:
    """Look at what a template or a macro will fill in. Raises `Refused` (422)."""
    _require(
        (part, f"{{{{{place}}}}} is no place to fill in; there are: {', '.join(PLACES)}")
        for part in ("subject", "description", "comment")
        for place in unknown_places(said.get(part) or "")
    )


def _require(found: Iterator[tuple[str, str]]) -> None:
    faults = [Fault(pointer=f"/{at}", detail=why) for at, why in found]
    if faults:
        raise Refused(422, "; ".join(fault.detail for fault in faults), faults=faults)


def _unknown(service: Service, said: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    people = [("assignee", said.get("assignee"))]
    people += [(f"watchers/{place}", name) for place, name in enumerate(said.get("watchers") or ())]
    for at, name in people:
        if name and not service.accounts.has(name) and name != SUPERVISORS:
            yield at, f"there is no agent and no user {name}"
    queue = said.get("queue")
    queues = [one.name for one in service.office.queues]
    if queue and queue not in queues:
        yield "queue", f"there is no queue {queue}; there are: {', '.join(queues) or 'none'}"
    if skill := said.get("skill"):
        try:
            parse_skill(skill)
        except RoutingError as error:
            yield "skill", str(error)
