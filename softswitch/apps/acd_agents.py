"""Agents and queues by program: what feature codes, the console, an API and embedding programs use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from routing import decisions as decided
from routing import events
from routing.model import AgentState, Media
from routing.stats import average_handle
from softswitch.apps.acd_host import OWN_CALL
from softswitch.apps.acd_watch import UNREACHABLE
from softswitch.config.derived import FromOffice
from softswitch.errors import CallError, QueueUnavailable

if TYPE_CHECKING:
    from routing.views import AgentView, ContactView, QueueView
    from softswitch.apps.acd import CallCentre
    from softswitch.apps.acd_figures import GroupStatus
    from softswitch.config import Agent, Office

_WAITING = frozenset({"waiting", "offered", "dormant", "dialing"})
"""Phases of those who are not with an agent yet."""


@dataclass(frozen=True, slots=True)
class AgentStatus:
    """What one agent is doing. `state` is one of logged-out, unavailable, available, offered, on-contact
    and wrap-up; `for_s` since when, in seconds; `call` the call at hand, "" for none; `tickets` in his
    hands. Of today, tickets left aside: how often he was `offered` something and what came of it;
    `handled`, in `average_handle_s` each, of talking, holding and wrapping up; `occupancy`, None before he
    was free or busy."""

    agent: str
    name: str
    extension: str
    role: str
    state: str
    reason: str
    for_s: float
    call: str
    queues: tuple[str, ...]
    calls: int
    occupancy: float | None
    reachable: bool
    tickets: int = 0
    offered: int = 0
    accepted: int = 0
    missed: int = 0
    rejected: int = 0
    handled: int = 0
    average_handle_s: float | None = None


def row_of(status: AgentStatus | QueueStatus | GroupStatus) -> dict[str, Any]:
    """A status as plain values, its name first. `asdict` copies them deeply: half the time of `status` in an
    office of thousands."""
    return {name: getattr(status, name) for name in status.__slots__}


class Agents:
    """The agents of one exchange (``switch.agents``). All methods raise `CallError` for an agent that
    does not exist. `by` names the supervisor who does it in the agent's stead."""

    def __init__(self, centre: CallCentre) -> None:
        self._centre = centre

    # -- what agents do ----------------------------------------------------------------------------

    def log_in(self, agent_id: str, *, available: bool = True, reason: str = "") -> None:
        """Begin to work; `available` False: on a break at first, for `reason`."""
        self._known(agent_id)
        self._do(events.AgentLoggedIn(agent_id, available, reason))

    def log_out(self, agent_id: str, *, by: str = "") -> None:
        """End the shift, after the call at hand."""
        self._known(agent_id)
        if by:
            self._do(events.AgentStateSet(agent_id, AgentState.LOGGED_OUT, forced_by=by))
        else:
            self._do(events.AgentLoggedOut(agent_id))

    def pause(self, agent_id: str, reason: str = "", *, by: str = "") -> None:
        """No calls for now; an offer that rings is withdrawn. Raises `CallError` for one who is logged
        out."""
        self._set(agent_id, AgentState.UNAVAILABLE, reason, by)

    def resume(self, agent_id: str, *, by: str = "") -> None:
        """Take calls again; wrap-up ends. Raises `CallError` for one who is logged out."""
        self._set(agent_id, AgentState.AVAILABLE, "", by)

    def end_wrap_up(self, agent_id: str) -> bool:
        """Ready before the time; False: he was not in wrap-up."""
        self._known(agent_id)
        return self._do(events.WrapUpEnded(agent_id))

    def extend_wrap_up(self, agent_id: str, extra_s: float) -> bool:
        """More time after the call; False: he was not in wrap-up."""
        self._known(agent_id)
        return self._do(events.WrapUpExtended(agent_id, extra_s))

    def _set(self, agent_id: str, state: AgentState, reason: str, by: str) -> None:
        self._known(agent_id)
        if not self._do(events.AgentStateSet(agent_id, state, reason, by)):
            raise CallError(f"agent {agent_id} is logged out")

    # -- what can be read --------------------------------------------------------------------------

    def is_logged_in(self, agent_id: str) -> bool:
        view = self._centre.host.engine.view_agent(agent_id)
        return view is not None and view.wanted is not AgentState.LOGGED_OUT

    def state(self, agent_id: str) -> AgentStatus:
        """One agent."""
        return self._status(self._known(agent_id))

    def states(self) -> list[AgentStatus]:
        """All agents, as the office file has them."""
        return [self._status(agent) for agent in self._centre.desk.office.agents]

    def rows(self) -> list[dict[str, Any]]:
        """All agents as plain values, for `status`."""
        return [row_of(status) for status in self.states()]

    def doing(self, agent_id: str) -> str:
        """The state of one agent, and nothing else: cheap enough to be asked of thousands."""
        state = self._centre.host.engine.agent_state(agent_id)
        return "" if state is None else state.value

    def counts(self) -> dict[str, int]:
        """How many are in each state."""
        return dict(Counter(self.doing(agent.id) for agent in self._centre.desk.office.agents))

    def view(self, agent_id: str) -> AgentView:
        """What the engine knows of an agent."""
        self._known(agent_id)
        view = self._centre.host.engine.view_agent(agent_id)
        assert view is not None
        return view

    def of_extension(self, extension: str) -> Agent | None:
        """Whose telephone this is."""
        return self._centre.agents_by_extension.get(extension)

    def reachable(self, extension: str, reachable: bool) -> None:
        """A telephone has registered: who was unavailable for want of it is available again."""
        agent = self.of_extension(extension)
        if agent is None or not reachable:
            return
        view = self._centre.host.engine.view_agent(agent.id)
        if view is not None and (view.state, view.reason) == (AgentState.UNAVAILABLE, UNREACHABLE):
            self._centre.host.tell(events.AgentStateSet(agent.id, AgentState.AVAILABLE))

    # -- inside ------------------------------------------------------------------------------------

    def _known(self, agent_id: str) -> Agent:
        agent = self._centre.agents_by_id.get(agent_id)
        if agent is None:
            raise CallError(f"there is no agent {agent_id}")
        return agent

    def _do(self, event: events.Event) -> bool:
        found = self._centre.host.do(event)
        return not any(isinstance(decision, decided.Ignored) for decision in found)

    def _status(self, agent: Agent) -> AgentStatus:
        centre = self._centre
        view = self.view(agent.id)
        texts = centre.contacts
        now_s = centre.host.now_s()
        for_s = max(0.0, now_s - view.since_s)
        day = centre.host.counts.of_agent(agent.id, now_s + centre.host.epoch_s)
        calls = (c for c in view.contact_ids if not c.startswith(OWN_CALL) and not texts.is_text(c))
        return AgentStatus(
            agent=agent.id,
            name=agent.name,
            extension=agent.extension,
            role=agent.role,
            state=view.state.value,
            reason=view.reason,
            for_s=for_s,
            call=next(calls, ""),
            queues=tuple(agent.queues),
            calls=view.calls,
            occupancy=day.occupancy.value,
            reachable=centre.control.office_calls.can_ring(agent.extension),
            tickets=view.tickets,
            offered=day.offered,
            accepted=day.accepted,
            missed=day.missed,
            rejected=day.rejected,
            handled=day.times.handled,
            average_handle_s=average_handle(day.times).value,
        )


def _since(at_s: float | None, now_s: float) -> float:
    return 0.0 if at_s is None else max(0.0, now_s - at_s)


def _members_of(office: Office) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for agent in office.agents:
        for name in agent.queues:
            found.setdefault(name, []).append(agent.id)
    return found


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """What one queue is doing now, and what it has done today. `waiting` without tickets, which nobody
    waits for on a telephone; `longest_wait_s` of those who wait; `tickets_waiting` and `longest_ticket_s`
    say the same of tickets. `agents` counts its members by state, `occupancy` is theirs of today,
    `occupancy_lately` since the half-hour before this one began; `service_level` None while there is
    nothing to divide.

    `expected_wait_s` of a caller who came now, None while it cannot be trusted; `wait_error_s`, how far today's
    expectations were off on the average, `wait_coverage`, the share of waits within the 80 % quantile told.
    The averages, of today, are None while there is nothing to divide."""

    queue: str
    number: str
    waiting: int
    longest_wait_s: float
    agents: dict[str, int]
    answered: int
    abandoned: int
    flowed_out: int
    service_level: float | None
    within_s: float
    target: float
    open: bool
    expected_wait_s: float | None = None
    wait_error_s: float | None = None
    wait_coverage: float | None = None
    abandoned_in_time: int = 0
    entered: int = 0
    callbacks: int = 0
    handled: int = 0
    average_answer_s: float | None = None
    average_wait_s: float | None = None
    average_handle_s: float | None = None
    tickets_waiting: int = 0
    longest_ticket_s: float = 0.0
    occupancy: float | None = None
    occupancy_lately: float | None = None


class Queues:
    """The queues of one exchange (``switch.queues``), and what supervisors do with those who wait."""

    def __init__(self, centre: CallCentre) -> None:
        self._centre = centre
        self._members = FromOffice(centre.desk, _members_of)

    def states(self) -> list[QueueStatus]:
        """All queues, as the office file has them."""
        return self.some(list(self._centre.queues))

    def some(self, names: Sequence[str]) -> list[QueueStatus]:
        """Some queues, in this order."""
        doing, members = self._centre.agents.doing, self._members()
        return [
            self._status(name, dict(Counter(doing(agent) for agent in members.get(name, ()))))
            for name in names
        ]

    def rows(self) -> list[dict[str, Any]]:
        """All queues as plain values, for `status`."""
        return [row_of(status) for status in self.states()]

    def waiting(self, name: str) -> list[ContactView]:
        """Who is in a queue and not yet with an agent: those that are being offered, then the line; after them,
        in an order of their own, tickets."""
        host = self._centre.host
        now_s = host.now_s()
        views = (host.engine.view_contact(c, now_s) for c in host.engine.contact_ids)
        found = [v for v in views if v is not None and v.queue_id == name and v.phase in _WAITING]
        return sorted(found, key=lambda v: (v.media is Media.TICKET, v.position, -v.waited_s))

    def _status(self, name: str, agents: dict[str, int]) -> QueueStatus:
        centre = self._centre
        host, queue = centre.host, centre.queues[name]
        view = host.engine.view_queue(name)
        assert view is not None
        now_s = host.now_s()
        unix_s = now_s + host.epoch_s
        day = host.counts.of(name, unix_s)
        counts = day.service
        occupied, lately = host.counts.occupancy(("queue", name), unix_s)
        return QueueStatus(
            queue=name,
            number=queue.number or "",
            waiting=view.in_line,
            longest_wait_s=_since(view.since_s, now_s),
            agents=agents,
            answered=counts.answered,
            abandoned=counts.abandoned,
            flowed_out=counts.flowed_out,
            service_level=host.counts.level(name, unix_s).value,
            within_s=queue.service_level.within_s,
            target=queue.service_level.target,
            open=host.is_open(name),
            expected_wait_s=self._expected_s(view),
            wait_error_s=view.score.error_s if view.score.count else None,
            wait_coverage=view.coverage,
            abandoned_in_time=counts.abandoned_in_time,
            entered=day.visits.entered,
            callbacks=day.visits.callbacks,
            handled=day.times.handled,
            average_answer_s=day.visits.average_answer_s.value,
            average_wait_s=day.visits.average_wait_s.value,
            average_handle_s=day.average_handle_s.value,
            tickets_waiting=view.tickets,
            longest_ticket_s=_since(view.tickets_since_s, now_s),
            occupancy=occupied.value,
            occupancy_lately=lately.value,
        )

    @staticmethod
    def _expected_s(view: QueueView) -> float | None:
        """What a caller would be told: nothing where somebody is free for him, or the record is bad."""
        if not view.calibrated or view.next_wait.drain_per_s <= 0:
            return None
        return view.next_wait.median_s

    # -- supervisors -------------------------------------------------------------------------------

    def requeue(
        self, call_id: str, queue: str = "", *, keep_place: bool = True, by: str = ""
    ) -> None:
        """Into a queue again, from the line or from an agent's hands; "": the same queue. Raises
        `CallError` for a call that is in no queue."""
        if queue and queue not in self._centre.queues:
            raise QueueUnavailable(f"there is no queue {queue}")
        self._do(
            events.ContactRequeued(
                contact_id=self._contact(call_id), queue_id=queue, keep_place=keep_place, by=by
            )
        )

    def withdraw(self, call_id: str, to: str = "", *, by: str = "") -> None:
        """Out of the line, to another destination (``extension:1003``); "": the call ends."""
        contact_id = self._contact(call_id)
        queue_call = self._centre.calls.get(call_id)
        if queue_call is not None:
            queue_call.withdrawn_to = to
        self._do(events.ContactWithdrawn(contact_id, "withdrawn", by))

    def assign(self, call_id: str, agent_id: str, *, by: str = "") -> None:
        """To one agent, past every rule; he is rung as soon as he has room."""
        self._do(events.ContactAssigned(self._contact(call_id), agent_id, by))

    def set_priority(self, call_id: str, priority: float) -> None:
        """Sooner or later in the line."""
        contact_id = self._contact(call_id)
        self._do(events.ContactUpdated(contact_id=contact_id, priority=priority))

    def _contact(self, call_id: str) -> str:
        queue_call = self._centre.calls.get(call_id)
        if queue_call is not None and queue_call.open:
            return queue_call.contact_id
        if self._centre.host.engine.view_contact(call_id, self._centre.host.now_s()) is None:
            raise CallError(f"call {call_id} is in no queue")
        return call_id

    def _do(self, event: events.Event) -> None:
        for decision in self._centre.host.do(event):
            if isinstance(decision, decided.Ignored):
                raise CallError(f"not possible: {decision.reason}")
