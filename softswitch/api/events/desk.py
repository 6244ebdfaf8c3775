"""The events of a running exchange: taps its journal, keeps states fresh while somebody listens."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from softswitch.api.events.hub import Before, Event, Filter, Hub
from softswitch.api.metrics import COUNTED
from softswitch.api.rows import agent_row, live_row, queue_row
from softswitch.apps.acd_agents import row_of
from softswitch.apps.acd_figures import region_groups, skill_groups, status_of
from softswitch.call.known import KnownCustomer
from softswitch.store.acd import OFFERED

if TYPE_CHECKING:
    from softswitch.api.events.reader import Reader
    from softswitch.api.service import Service

READERS_MAX = 200
READERS_MAX_EACH = 16
"""Connections of one user or token."""

_REFRESH_S = 0.25
_TRUNK = "trunk:"


class EventDesk:
    """One for an exchange. `start` begins to listen to the journal."""

    def __init__(self, service: Service) -> None:
        self._service = service
        before: dict[str, Before] = dict.fromkeys((OFFERED, "leg-started"), self._with_customer)
        before |= dict.fromkeys(COUNTED, self._count)
        self.hub = Hub(service.run, self.agent_at, before, self._beside)
        self.readers: dict[Reader, None] = {}
        self._dirty: set[tuple[str, str]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._service.store.journal.on_entry = self.hub.note

    def stop(self) -> None:
        """Tell every reader that it is over."""
        from softswitch.api.events.reader import STOPPING

        self._service.store.journal.on_entry = None
        if self._timer is not None:
            self._timer.cancel()
        for reader in list(self.readers):
            reader.close(STOPPING)

    def agent_at(self, extension: str) -> str | None:
        """The agent of an extension, None for none."""
        agent = self._service.switch.centre.agents_by_extension.get(extension)
        return agent.id if agent is not None else None

    # -- states --------------------------------------------------------------------------------------

    def _count(self, kind: str, call_id: str | None, data: dict[str, Any]) -> dict[str, Any]:
        self._service.counted.entry(kind, data)
        return data

    def _beside(self, kind: str, data: dict[str, Any]) -> None:
        if self.readers and kind.startswith("acd-"):
            for what in ("queue", "agent"):
                name = data.get(what)
                if isinstance(name, str) and name:
                    self._dirty.add((what, name))
            self._refresh_soon()

    def _with_customer(
        self, kind: str, call_id: str | None, data: dict[str, Any]
    ) -> dict[str, Any]:
        """Somebody is rung: who is calling him, for what pops up on his screen; or which customer is called."""
        if kind == "leg-started" and data.get("role") != "callee":
            return data
        switch = self._service.switch
        call = switch.control.named(call_id) if call_id is not None else None
        if call is not None and call.known is not None:
            outside = str(data.get("endpoint", "")).startswith(_TRUNK)
            return {**data, "called" if outside else "calling": call.known.told()}
        if call is None and kind == OFFERED:  # a callback, or a ticket
            name = switch.centre.customer_name(str(data.get("contact", "")))
            return {**data, "calling": KnownCustomer(name).told()} if name else data
        return data

    def refresh_all(self) -> None:
        """Say the states of all queues and agents anew: somebody resumes who has missed some."""
        centre = self._service.switch.centre
        self._dirty |= {("queue", name) for name in centre.queues}
        self._dirty |= {("agent", name) for name in centre.agents_by_id}
        self._refresh_soon()

    def _refresh_soon(self) -> None:
        if self._dirty and self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(_REFRESH_S, self._refresh)

    def _refresh(self) -> None:
        self._timer = None
        dirty, self._dirty = self._dirty, set()
        if not self.readers:
            return
        centre, now_s = self._service.switch.centre, self._service.clock.wall_s()
        agents = {name for what, name in dirty if what == "agent"} & centre.agents_by_id.keys()
        queues = {name for what, name in dirty if what == "queue"} & centre.queues.keys()
        queues |= {queue for name in agents for queue in centre.agents_by_id[name].queues}
        for name in sorted(agents):
            row = agent_row(self._service, centre.agents.state(name))
            self.hub.note("agent-state", None, row, now_s)
        for state in centre.queue_desk.some(sorted(queues & centre.queues.keys())):
            self.hub.note("queue-state", None, queue_row(state), now_s)
        for group in region_groups(centre, centre.host.counts.take_touched()):
            self.hub.note("region-state", None, row_of(status_of("region", group)), now_s)
        skills = {centre.queues[name].skill for name in queues}
        for group in skill_groups(centre) if skills else ():
            if group.name in skills:
                self.hub.note("skill-state", None, row_of(status_of("skill", group)), now_s)

    def state(self, wanted: Filter) -> dict[str, Any]:
        """What a new reader begins with: rows of the topics that have a state now."""
        switch, found = self._service.switch, {}
        centre = switch.centre
        if "queues" in wanted.topics:
            names = [name for name in centre.queues if wanted.queue in ("", name)]
            found["queues"] = [queue_row(state) for state in centre.queue_desk.some(names)]
            if not wanted.queue:
                for per, groups in (("region", region_groups), ("skill", skill_groups)):
                    rows = [row_of(status_of(per, group)) for group in groups(centre)]
                    found[f"{per}s"] = rows
        if "agents" in wanted.topics:
            found["agents"] = [
                agent_row(self._service, centre.agents.state(agent.id))
                for agent in centre.desk.office.agents
                if wanted.agent in ("", agent.id) and wanted.queue in ("", *agent.queues)
            ]
        if "calls" in wanted.topics:
            found["calls"] = [
                live_row(self._service, call)
                for call in switch.control.calls
                if self._call_fits(call.call_id, wanted)
            ]
        if "alarms" in wanted.topics:
            found["alarms"] = [{"alarm": k, "reason": v} for k, v in switch.alarms.items()]
        return found

    def _call_fits(self, call_id: str, wanted: Filter) -> bool:
        queues, agents = self.hub.met(call_id)
        return wanted.fits(Event(0, 0.0, "calls", "", call_id, queues, agents, {}))
