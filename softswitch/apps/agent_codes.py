"""Agents by telephone: a code logs in and out, another pauses, goes on, or ends wrap-up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from routing.model import AgentState
from softswitch.call.identity import PhoneIdentity

if TYPE_CHECKING:
    from softswitch.apps.acd import CallCentre
    from softswitch.call.call import Call
    from softswitch.config import Agent

REASONS = {
    "1": "break",
    "2": "meal",
    "3": "meeting",
    "4": "training",
    "5": "back office",
}
"""What a key pressed after the pause means; other keys are reasons of the office's own: ``key 6``."""
_REASON_S = 4.0


class AgentCodes:
    """The applications of the codes ``agent_log_in_out`` and ``agent_pause``. Each confirms in words what
    state the agent has now; who is no agent hears that, too."""

    def __init__(self, centre: CallCentre) -> None:
        self._centre = centre

    async def log_in_or_out(self, call: Call, _: str = "") -> None:
        """Begin the shift, or end it."""
        agent = await self._agent(call)
        if agent is None:
            return
        agents = self._centre.agents
        if agents.is_logged_in(agent.id):
            agents.log_out(agent.id)
            await call.play("agent-logged-out")
        else:
            agents.log_in(agent.id)
            await call.play("agent-logged-in")

    async def pause_or_go_on(self, call: Call, _: str = "") -> None:
        """Go on after a pause, be ready before wrap-up is over, or pause; a key then says why."""
        agent = await self._agent(call)
        if agent is None:
            return
        agents = self._centre.agents
        if not agents.is_logged_in(agent.id):
            await call.play("agent-logged-out")
            return
        ready = agents.end_wrap_up(agent.id)
        if agents.view(agent.id).wanted is AgentState.UNAVAILABLE:
            agents.resume(agent.id)
            ready = True
        if ready:
            await call.play("agent-available")
            return
        agents.pause(agent.id)
        key = await call.collect("agent-paused", timeout_s=_REASON_S, terminator="")
        if key:
            agents.pause(agent.id, REASONS.get(key, f"key {key}"))
            await call.play("agent-paused")

    async def _agent(self, call: Call) -> Agent | None:
        """Whose telephone calls."""
        await call.answer()
        agent = None
        if isinstance(call.identity, PhoneIdentity):
            agent = self._centre.agents.of_extension(call.identity.extension)
        if agent is None:
            await call.play("unavailable")
        return agent
