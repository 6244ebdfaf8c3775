"""Agents and their skills: what they are and what they do now."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from fastapi import APIRouter, Query
from pydantic import Field

from softswitch.api.access import PREFIX, GuardedRoute, Identity, Me
from softswitch.api.models import Input, Line, NamePath, Output, among
from softswitch.api.paging import Cursor, Limit, Page, page_of
from softswitch.api.problem import Refused
from softswitch.api.rows import agent_row
from softswitch.api.service import Served, Service
from softswitch.apps.acd_agents import AgentStatus
from softswitch.store.ledger import Missing

router = APIRouter(prefix=PREFIX, route_class=GuardedRoute, tags=["agents"])


StateName = Literal["logged-out", "unavailable", "available", "offered", "on-contact", "wrap-up"]


class AgentShown(Output):
    """One agent: of the office file, and what he does now. His state, why, and the call at hand are in the
    ETag; how long and how often is not."""

    passing = frozenset(
        {
            *(
                "for_s",
                "reachable",
                "calls",
                "tickets",
                "offered",
                "accepted",
                "missed",
                "rejected",
            ),
            *("occupancy", "handled", "average_handle_s"),
        }
    )

    id: str = Field(examples=["lilei"])
    name: str
    extension: str
    role: str = Field(json_schema_extra=among(("agent", "supervisor")))
    queues: list[str]
    skills: dict[str, int]
    regions: list[str]
    state: str = Field(json_schema_extra=among(get_args(StateName)))
    reason: str
    for_s: float = Field(description="How long he has been in it.")
    call: str = Field(description='The call at hand; "" for none.')
    reachable: bool = Field(description="Whether his phone could be rung.")
    calls: int = Field(description="That he was connected to since he logged in.")
    occupancy: float | None = Field(
        description="Today: on-contact and wrap-up over that, available and offered; null: neither yet."
    )
    tickets: int = Field(description="In his hands now.")
    offered: int = Field(description="How often he was rung today; tickets ring nobody.")
    accepted: int
    missed: int = Field(description="Of them, not answered.")
    rejected: int
    handled: int = Field(description="Contacts, today, without tickets.")
    average_handle_s: float | None = Field(description="AHT today: talk, hold and wrap-up.")


class AgentChange(Input):
    """What an agent is to do. "available" ends a break or a wrap-up, and logs in."""

    state: Literal["available", "unavailable", "logged-out"]
    reason: Line = ""


class SkillShown(Output):
    """A skill that somebody has."""

    name: str = Field(examples=["lang.en"])
    agents: dict[str, int] = Field(examples=[{"mary": 5}], description="Level by agent.")


@router.get("/skills")
async def list_skills(
    service: Served,
    limit: Limit = 200,
    cursor: Cursor = None,
    agent: Annotated[str, Query(max_length=64, description="Those that he has.")] = "",
) -> Page[SkillShown]:
    """All skills by name, and who has them."""
    found: dict[str, dict[str, int]] = {}
    for each in service.office.agents:
        for name, level in each.skills.items():
            found.setdefault(name, {})[each.id] = level
    asked = [name for name, levels in found.items() if not agent or agent in levels]
    page, more = page_of(asked, str, limit, cursor)
    return Page(items=[SkillShown(name=name, agents=found[name]) for name in page], next=more)


@router.get("/agents")
async def list_agents(
    service: Served,
    limit: Limit = 200,
    cursor: Cursor = None,
    queue: Annotated[str, Query(max_length=64, description="Who serves it.")] = "",
    skill: Annotated[str, Query(max_length=64, description="Who has it.")] = "",
    state: StateName | None = None,
    text: Annotated[str, Query(max_length=64, description="A part of the id or the name.")] = "",
) -> Page[AgentShown]:
    """All agents, by id."""
    agents = service.switch.centre.agents
    words = text.casefold()
    found = [
        agent.id
        for agent in service.office.agents
        if (not queue or queue in agent.queues)
        and (not skill or skill in agent.skills)
        and (state is None or agents.doing(agent.id) == state)
        and words in f"{agent.id} {agent.name}".casefold()
    ]
    page, more = page_of(found, str, limit, cursor)
    return Page(items=[_shown(service, agents.state(each)) for each in page], next=more)


@router.get("/agents/{agent_id}")
async def show_agent(agent_id: NamePath, service: Served) -> AgentShown:
    """One agent."""
    _require_known(service, agent_id)
    return _shown(service, service.switch.centre.agents.state(agent_id))


@router.put("/agents/{agent_id}/state")
async def set_state(agent_id: NamePath, body: AgentChange, me: Me, service: Served) -> AgentShown:
    """Log in, take a break, come back, log out. Others' states are for supervisors to change."""
    by = _on_behalf(me, agent_id)
    _require_known(service, agent_id)
    agents = service.switch.centre.agents
    if body.state == "logged-out":
        agents.log_out(agent_id, by=by)
    elif not agents.is_logged_in(agent_id):
        agents.log_in(agent_id, available=body.state == "available", reason=body.reason)
    elif body.state == "available":
        agents.resume(agent_id, by=by)
    else:
        agents.pause(agent_id, body.reason, by=by)
    if by:
        service.noted(me, "agent-state-forced", f"agent:{agent_id}", state=body.state)
    return _shown(service, agents.state(agent_id))


def _on_behalf(me: Identity, agent_id: str) -> str:
    """Who forces another's state; "" for one's own. Raises `Refused`."""
    if me.agent_id == agent_id:
        return ""
    if not me.at_least("supervisor"):
        raise Refused(403, "the states of others are for supervisors to change")
    return me.name


def _require_known(service: Service, agent_id: str) -> None:
    if agent_id not in service.switch.centre.agents_by_id:
        raise Missing(f"there is no agent {agent_id}")


def _shown(service: Service, status: AgentStatus) -> AgentShown:
    return AgentShown(**agent_row(service, status))
