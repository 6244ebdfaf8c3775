"""Agents: log-in, states, presence, wrap-up, forced states. The visible state follows from what the
agent asked for and from the work at hand; an agent is never freed by a timer he has left behind."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from routing import events
from routing.decisions import AgentStateChanged, ContactHandled
from routing.desk import Agent, Seat, Work, WorkPhase
from routing.line import RESTING
from routing.model import TEXT, AgentConfig, AgentState, Media, Membership

if TYPE_CHECKING:
    from routing.floor import Floor
    from routing.line import Queue
    from routing.offering import Offering
    from routing.waiting import Waiting

# Out for this long and the next log-in starts a new shift, with counters at nought.
SHIFT_GAP_S = 4 * 3600.0

STATE_CODES = {state: code for code, state in enumerate(AgentState)}
_BUSY = (AgentState.ON_CONTACT, AgentState.WRAP_UP)


class Staffing:
    """Handles every event about agents themselves."""

    offering: Offering
    waiting: Waiting

    def __init__(self, floor: Floor) -> None:
        self._floor = floor

    # --- configuration ---

    def set_agent(self, event: events.AgentSet, now_s: float) -> None:
        self.configure(event.agent, now_s)

    def configure(self, config: AgentConfig, now_s: float) -> None:
        """A new agent, or new facts about one; his state and his work stay."""
        agent = self._floor.agents.get(config.id)
        if agent is None:
            agent = Agent(config, now_s)
            self._floor.agents[config.id] = agent
        else:
            agent.configure(config)
            agent.removed = False
        wanted = {m.queue_id: m for m in map(_membership, config.queues)}
        for queue_id in [queue_id for queue_id in agent.seats if queue_id not in wanted]:
            self.unseat(agent, queue_id, now_s)
        for queue_id, membership in wanted.items():
            seat = agent.seats.get(queue_id)
            if seat is None:
                self._seat(agent, membership, now_s)
            else:
                seat.level = membership.level
                seat.position = membership.position
                seat.weight = membership.weight
                self._note_levels(seat.queue, now_s)
                self._recount(seat, now_s)
        self.offering.withdraw_unfit(agent, now_s)
        self.refresh(agent, now_s)

    def seat_members(self, queue_id: str, now_s: float) -> None:
        """A queue is new: agents who name it take their seats."""
        for agent in self._floor.agents.values():
            if queue_id not in agent.seats and not agent.removed:
                for membership in map(_membership, agent.config.queues):
                    if membership.queue_id == queue_id:
                        self._seat(agent, membership, now_s)

    def _seat(self, agent: Agent, membership: Membership, now_s: float) -> None:
        """Unknown queues are waited for: they may be added later."""
        queue = self._floor.queues.get(membership.queue_id)
        if queue is None:
            return
        seat = Seat(agent, queue, membership, self._floor.next_seq())
        agent.seats[queue.id] = seat
        queue.seat_down(seat, self._code(agent, -math.inf))
        if agent.present:
            queue.present += 1
            if queue.present == 1:
                self.waiting.staffed_again(queue)
        self._note_size(queue, now_s)
        # All of it: with the number of members the verdicts on others may change too.
        self.waiting.deserted(queue, queue.recount(), now_s)

    def _note_size(self, queue: Queue, now_s: float) -> None:
        """Levels begin or cease to matter with the number of members: all are judged anew."""
        self._note_levels(queue, now_s)
        limit = queue.config.levels.ignore_up_to
        if limit and queue.pools and len(queue.seats) in (limit, limit + 1):
            for seat in list(queue.seats.values()):
                self._recount(seat, now_s)
                if seat.agent.free_kinds:
                    self._floor.hungry[seat.agent] = None

    def _note_levels(self, queue: Queue, now_s: float) -> None:
        """What the next level is, for those who must not wait for an empty one, has changed."""
        if queue.note_levels() and queue.config.levels.skip_absent:
            self.waiting.recheck(queue.pools.values(), now_s)

    def unseat(self, agent: Agent, queue_id: str, now_s: float) -> None:
        seat = agent.seats.pop(queue_id)
        queue = seat.queue
        held = [pool for pool in agent.pools if pool.queue is queue and pool.only is not None]
        queue.stand_up(seat)
        if agent.present:
            queue.present -= 1
        self._note_size(queue, now_s)
        self.waiting.deserted(queue, queue.recount(), now_s)
        self.waiting.recheck(held, now_s)

    def _recount(self, seat: Seat, now_s: float) -> None:
        """Judged anew, and so is who is at work for what."""
        queue, agent_id = seat.queue, seat.agent.id
        queue.rejudge(seat)
        self.waiting.deserted(queue, queue.recount(), now_s)
        held = [pool for pool in queue.pools.values() if agent_id in (pool.only or ())]
        self.waiting.recheck(held, now_s)

    def remove_agent(self, event: events.AgentRemoved, now_s: float) -> None:
        agent = self._floor.agents.get(event.agent_id)
        if agent is None:
            self._floor.ignore(event, "unknown agent")
            return
        self._want(agent, AgentState.LOGGED_OUT, "removed", now_s)
        self.offering.withdraw_from(agent, "removed", now_s)
        self._end_wrap_ups(agent, now_s)
        for queue_id in list(agent.seats):
            self.unseat(agent, queue_id, now_s)
        agent.removed = True
        for contact in list(self._floor.contacts.values()):
            if contact.assigned_to == agent.id:
                self.waiting.unassign(contact, now_s)
        self.refresh(agent, now_s, "removed")
        self._forget_if_done(agent)

    def _forget_if_done(self, agent: Agent) -> None:
        if agent.removed and not agent.works:
            self._floor.hungry.pop(agent, None)
            self._floor.timers.clear(agent)
            self._floor.agents.pop(agent.id, None)

    # --- states asked for ---

    def log_in(self, event: events.AgentLoggedIn, now_s: float) -> None:
        agent = self._known(event, event.agent_id)
        if agent is None:
            return
        if agent.wanted is AgentState.LOGGED_OUT:
            agent.missed = 0
            agent.idle_since_s = now_s
            if now_s - agent.last_logout_s >= SHIFT_GAP_S:
                agent.calls = 0
                agent.talk_s = 0.0
                for seat in agent.seats.values():
                    seat.calls = 0
                    seat.talk_s = 0.0
        state = AgentState.AVAILABLE if event.available else AgentState.UNAVAILABLE
        self._want(agent, state, event.reason, now_s)
        if not event.available:
            self.offering.withdraw_from(agent, "unavailable", now_s)
        self.refresh(agent, now_s, event.reason)

    def log_out(self, event: events.AgentLoggedOut, now_s: float) -> None:
        agent = self._known(event, event.agent_id)
        if agent is None:
            return
        self._want(agent, AgentState.LOGGED_OUT, "", now_s)
        self.offering.withdraw_from(agent, "logged-out", now_s)
        self.refresh(agent, now_s)

    def set_state(self, event: events.AgentStateSet, now_s: float) -> None:
        agent = self._known(event, event.agent_id)
        if agent is None:
            return
        state = event.state
        if state not in (AgentState.AVAILABLE, AgentState.UNAVAILABLE, AgentState.LOGGED_OUT):
            self._floor.ignore(event, f"{state} cannot be set")
            return
        if agent.wanted is AgentState.LOGGED_OUT and state is not AgentState.LOGGED_OUT:
            self._floor.ignore(event, "logged out")
            return
        ready_again = agent.present and state is AgentState.AVAILABLE
        reason = event.reason or (f"forced by {event.forced_by}" if event.forced_by else "")
        if state is AgentState.AVAILABLE:
            agent.missed = 0
            agent.rest_until_s = -math.inf
        self._want(agent, state, reason, now_s)
        if state is not AgentState.AVAILABLE:
            self.offering.withdraw_from(agent, "unavailable", now_s)
        if event.forced_by or ready_again:
            self._end_wrap_ups(agent, now_s)
        self.refresh(agent, now_s, reason)

    def take_off(self, agent: Agent, reason: str, now_s: float) -> None:
        """The engine itself makes him unavailable (he did not answer)."""
        self._want(agent, AgentState.UNAVAILABLE, reason, now_s)

    def _known(self, event: events.Event, agent_id: str) -> Agent | None:
        agent = self._floor.agents.get(agent_id)
        if agent is None or agent.removed:
            self._floor.ignore(event, "unknown agent")
            return None
        return agent

    def _want(self, agent: Agent, state: AgentState, reason: str, now_s: float) -> None:
        was_present = agent.present
        if state is AgentState.AVAILABLE and not was_present:
            agent.idle_since_s = now_s
        if state is AgentState.LOGGED_OUT and agent.wanted is not AgentState.LOGGED_OUT:
            agent.last_logout_s = now_s
        agent.wanted = state
        agent.wanted_reason = reason
        if agent.present == was_present:
            return
        for seat in agent.seats.values():
            deserted = seat.queue.note_present(seat, 1 if agent.present else -1)
            if not agent.present:
                self.waiting.deserted(seat.queue, deserted, now_s)
            elif seat.queue.present == 1:
                self.waiting.staffed_again(seat.queue)
        if not agent.present:
            self.waiting.recheck([p for p in agent.pools if p.only is not None], now_s)

    # --- what follows ---

    def refresh(self, agent: Agent, now_s: float, reason: str = "", contact_id: str = "") -> None:
        """After any change: what he is free for, his visible state, his next timer."""
        if agent.entries:
            for pool, entry in agent.entries.items():
                pool.free.remove(entry)
            agent.entries.clear()
        agent.free_kinds = agent.kinds_free(now_s)
        if agent.free_kinds:
            self._floor.hungry[agent] = None
        else:
            self._floor.hungry.pop(agent, None)
        self._arm(agent, now_s)
        old, new = agent.state, agent.visible_state()
        code = self._code(agent, now_s)
        for seat in agent.seats.values():
            seat.queue.codes[seat.index] = code
        if new is agent.wanted:
            reason = agent.wanted_reason
        if new is old and (new is not AgentState.UNAVAILABLE or reason == agent.state_reason):
            return
        if agent.busy != (new in _BUSY):
            agent.note_occupancy(new in _BUSY, now_s)
        lasted_s = now_s - agent.state_since_s
        agent.state, agent.state_reason, agent.state_since_s = new, reason, now_s
        self._floor.say(AgentStateChanged(agent.id, old, new, reason, contact_id, lasted_s))

    @staticmethod
    def _code(agent: Agent, now_s: float) -> int:
        if agent.rest_until_s > now_s:
            return RESTING
        return STATE_CODES[agent.visible_state()]

    def _arm(self, agent: Agent, now_s: float) -> None:
        due_s = agent.rest_until_s if agent.rest_until_s > now_s else math.inf
        for work in agent.works.values():
            due_s = min(due_s, work.wrap_until_s)
        self._floor.timers.set(agent, due_s)

    def rest(self, agent: Agent, rest_s: float, now_s: float) -> None:
        """No offer for a while after a missed or declined one."""
        if rest_s > 0:
            agent.rest_until_s = max(agent.rest_until_s, now_s + rest_s)

    def wake(self, agent: Agent, now_s: float) -> None:
        """His timer: wrap-ups that are over, a rest that is."""
        for work in list(agent.works.values()):
            if work.phase is WorkPhase.WRAP_UP and work.wrap_until_s <= now_s:
                self.finish(agent, work, now_s)
        if agent.id in self._floor.agents:
            self.refresh(agent, now_s)

    # --- wrap-up ---

    def wrap_up(self, agent: Agent, work: Work, outcome: str, now_s: float) -> None:
        """The conversation is over. Wrap-up belongs to the agent, so every queue waits for it."""
        if work.held_since_s is not None:
            work.hold_s += now_s - work.held_since_s
            work.held_since_s = None
        work.ended_s = now_s
        work.outcome = outcome
        if work.media is not Media.TICKET:
            self._note_talk(agent, work, now_s)
        wrap_s = self._wrap_up_s(agent, work)
        if wrap_s > 0:
            work.phase = WorkPhase.WRAP_UP
            work.wrap_until_s = now_s + wrap_s
        else:
            self.finish(agent, work, now_s)
        if not agent.removed or agent.works:
            self.refresh(agent, now_s, contact_id=work.contact_id)

    @staticmethod
    def _note_talk(agent: Agent, work: Work, now_s: float) -> None:
        talk_s = now_s - work.answered_s - work.hold_s
        agent.talk_s += talk_s
        agent.last_end_s = now_s
        seat = agent.seats.get(work.queue_id)
        if seat is not None:
            seat.talk_s += talk_s
            seat.last_end_s = now_s

    def _wrap_up_s(self, agent: Agent, work: Work) -> float:
        if work.media is Media.TICKET:
            return 0.0
        if agent.config.wrap_up_s is not None:
            return agent.config.wrap_up_s
        queue = self._floor.queues.get(work.queue_id)
        return queue.config.wrap_up_s if queue is not None else 0.0

    def finish(self, agent: Agent, work: Work, now_s: float) -> None:
        """The last of it: counted once, for the queue and for every other queue of this agent."""
        agent.drop(work)
        if work.media is not Media.TICKET:
            agent.idle_since_s = now_s
        wrap_up_s = now_s - work.ended_s
        talk_s = max(0.0, work.ended_s - work.answered_s - work.hold_s)
        self._floor.say(
            ContactHandled(
                work.contact_id,
                agent.id,
                work.queue_id,
                work.media,
                work.answered_s - work.offered_s,
                talk_s,
                work.hold_s,
                wrap_up_s,
                work.outcome,
            )
        )
        if work.media in TEXT:
            self._forget_if_done(agent)
            return
        busy_s = now_s - work.answered_s
        for queue_id, seat in agent.seats.items():
            seat.queue.model.agent_busy(busy_s, queue_id == work.queue_id)
        queue = self._floor.queues.get(work.queue_id)
        if queue is not None:
            queue.model.served(now_s - work.offered_s)
        self._forget_if_done(agent)

    def abort(self, agent: Agent, work: Work, now_s: float) -> None:
        """The hand-over failed before there was a conversation."""
        agent.drop(work)
        ring_s = work.answered_s - work.offered_s
        self._floor.say(
            ContactHandled(
                work.contact_id,
                agent.id,
                work.queue_id,
                work.media,
                ring_s,
                0.0,
                0.0,
                0.0,
                "failed",
            )
        )
        self.refresh(agent, now_s, contact_id=work.contact_id)
        self._forget_if_done(agent)

    def _end_wrap_ups(self, agent: Agent, now_s: float, contact_id: str = "") -> int:
        ended = 0
        for work in list(agent.works.values()):
            if work.phase is WorkPhase.WRAP_UP and contact_id in ("", work.contact_id):
                self.finish(agent, work, now_s)
                ended += 1
        return ended

    def end_wrap_up(self, event: events.WrapUpEnded, now_s: float) -> None:
        agent = self._known(event, event.agent_id)
        if agent is None:
            return
        if self._end_wrap_ups(agent, now_s, event.contact_id):
            self.refresh(agent, now_s)
        else:
            self._floor.ignore(event, "not in wrap-up")

    def extend_wrap_up(self, event: events.WrapUpExtended, now_s: float) -> None:
        agent = self._known(event, event.agent_id)
        if agent is None:
            return
        extended = False
        for work in agent.works.values():
            if work.phase is WorkPhase.WRAP_UP and event.contact_id in ("", work.contact_id):
                work.wrap_until_s = max(now_s, work.wrap_until_s + event.extra_s)
                extended = True
        if extended:
            self._arm(agent, now_s)
        else:
            self._floor.ignore(event, "not in wrap-up")

    # --- calls no queue gave him ---

    def start_external(self, event: events.ExternalCallStarted, now_s: float) -> None:
        agent = self._known(event, event.agent_id)
        if agent is None:
            return
        if agent.work_on(event.call_id) is not None:
            self._floor.ignore(event, "already started")
            return
        work = Work(self._floor.next_seq(), event.call_id, "", Media.CALL, now_s)
        work.phase = WorkPhase.TALKING
        agent.take(work)
        self.refresh(agent, now_s, contact_id=event.call_id)

    def end_external(self, event: events.ExternalCallEnded, now_s: float) -> None:
        agent = self._floor.agents.get(event.agent_id)
        work = agent.work_on(event.call_id) if agent is not None else None
        if agent is None or work is None or work.queue_id:
            self._floor.ignore(event, "unknown call")
            return
        agent.drop(work)
        agent.idle_since_s = now_s
        self.refresh(agent, now_s, contact_id=event.call_id)
        self._forget_if_done(agent)


def _membership(membership: Membership | str) -> Membership:
    if isinstance(membership, str):
        return Membership(queue_id=membership)
    return membership
