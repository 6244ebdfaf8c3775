"""The agents' side at run time: an agent, his seats in queues, the work at hand."""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from routing.model import SLOT_OF, AgentConfig, AgentState, Media, Membership

if TYPE_CHECKING:
    from routing.line import Queue
    from routing.pool import Pool

OCCUPANCY_MEMORY_S = 3600.0
NEVER = -math.inf

# What an agent can be free for; a call and a callback are the same to him.
KINDS = ("voice", "ticket", "chat")
KIND_OF = {
    Media.CALL: "voice",
    Media.CALLBACK: "voice",
    Media.TICKET: "ticket",
    Media.CHAT: "chat",
}


class WorkPhase(IntEnum):
    OFFERED = 0
    DIALING = 1  # agent-first callback: he is on the line, the customer not yet
    TALKING = 2
    WRAP_UP = 3


class Work:
    """One contact in one agent's hands, from the offer to the end of wrap-up."""

    __slots__ = (
        "answered_s",
        "contact_id",
        "ended_s",
        "held_since_s",
        "hold_s",
        "id",
        "media",
        "offered_s",
        "outcome",
        "phase",
        "queue_id",
        "wrap_until_s",
    )

    def __init__(
        self, work_id: int, contact_id: str, queue_id: str, media: Media, now_s: float
    ) -> None:
        self.id = work_id
        self.contact_id = contact_id
        self.queue_id = queue_id
        self.media = media
        self.phase = WorkPhase.OFFERED
        self.offered_s = now_s
        self.answered_s = now_s
        self.ended_s = now_s
        self.hold_s = 0.0
        self.held_since_s: float | None = None
        self.wrap_until_s = math.inf
        self.outcome = ""


class Seat:
    """An agent's membership of one queue: what criteria judge and orders rank."""

    __slots__ = (
        "agent",
        "calls",
        "index",
        "last_end_s",
        "level",
        "position",
        "queue",
        "seq",
        "talk_s",
        "weight",
    )

    def __init__(self, agent: Agent, queue: Queue, membership: Membership, seq: int) -> None:
        self.agent = agent
        self.queue = queue
        self.seq = seq
        self.index = 0
        self.level = membership.level
        self.position = membership.position
        self.weight = membership.weight
        self.calls = 0
        self.talk_s = 0.0
        self.last_end_s = NEVER  # end of his last conversation from this queue


class Agent:
    """Run-time state of one agent. `wanted` is what he (or a supervisor) asked for; the visible
    `state` follows from it and from the work at hand."""

    __slots__ = (
        "attributes",
        "busy",
        "calls",
        "config",
        "entries",
        "free_kinds",
        "id",
        "idle_since_s",
        "last_end_s",
        "last_logout_s",
        "limits",
        "missed",
        "occupancy",
        "occupancy_at_s",
        "pools",
        "queued_s",
        "regions",
        "removed",
        "rest_until_s",
        "seats",
        "skills",
        "state",
        "state_reason",
        "state_since_s",
        "talk_s",
        "text_load",
        "tickets",
        "timer_s",
        "voice_load",
        "wanted",
        "wanted_reason",
        "works",
    )

    def __init__(self, config: AgentConfig, now_s: float) -> None:
        self.id = config.id
        self.seats: dict[str, Seat] = {}
        self.pools: dict[Pool, Seat] = {}  # all that admit him
        # those he stands free in, with his entry there
        self.entries: dict[Pool, tuple[Any, ...]] = {}
        self.configure(config)
        self.wanted = AgentState.LOGGED_OUT
        self.wanted_reason = ""
        self.state = AgentState.LOGGED_OUT
        self.state_reason = ""
        self.state_since_s = now_s
        self.works: dict[int, Work] = {}
        self.voice_load = 0
        self.text_load = 0
        self.tickets = 0  # of the texts; they lie on the desk and keep nobody from anything
        self.free_kinds: tuple[str, ...] = ()
        self.rest_until_s = NEVER
        self.missed = 0
        self.calls = 0
        self.talk_s = 0.0
        self.last_end_s = NEVER
        self.last_logout_s = NEVER
        self.idle_since_s = now_s
        self.busy = False
        self.occupancy = 0.0
        self.occupancy_at_s = now_s
        self.removed = False
        self.timer_s: float | None = None
        self.queued_s: float | None = None

    def configure(self, config: AgentConfig) -> None:
        self.config = config
        self.skills: Mapping[str, int] = config.skills
        self.regions = frozenset(config.regions)
        self.attributes: Mapping[str, Any] = config.attributes
        self.limits = {
            membership.queue_id: membership.at_once
            for membership in config.queues
            if isinstance(membership, Membership) and membership.at_once is not None
        }

    def may_take(self, pool: Pool) -> bool:
        """Whether he is free for this kind of contact, and has not enough of that queue at hand."""
        return pool.kind in self.free_kinds and not (self.limits and self._is_sated(pool))

    def _is_sated(self, pool: Pool) -> bool:
        limit = self.limits.get(pool.queue.id)
        if limit is None or pool.by_hand:
            return False
        return sum(work.queue_id == pool.queue.id for work in self.works.values()) >= limit

    @property
    def present(self) -> bool:
        """At work: logged in and not on a break, whatever he is doing."""
        return self.wanted is AgentState.AVAILABLE

    def kinds_free(self, now_s: float) -> tuple[str, ...]:
        """What he could be offered now."""
        if self.wanted is not AgentState.AVAILABLE or self.rest_until_s > now_s:
            return ()
        room = self.config.capacities
        voice = self.voice_load < room.get("voice", 0)
        if not self.text_load:
            text = room.get("text", 0) > 0
            if not text:
                return ("voice",) if voice else ()
            if "ticket" not in room and "chat" not in room:
                return KINDS if voice else ("ticket", "chat")
        elif self.text_load >= room.get("text", 0):
            return ("voice",) if voice else ()
        kinds = ["voice"] if voice else []
        for media in (Media.TICKET, Media.CHAT):
            limit = room.get(media.value)
            if limit is None or self._having(media) < limit:
                kinds.append(media.value)
        return tuple(kinds)

    def _having(self, media: Media) -> int:
        return sum(work.media is media for work in self.works.values())

    def take(self, work: Work) -> None:
        self.works[work.id] = work
        if SLOT_OF[work.media] == "voice":
            self.voice_load += 1
        else:
            self.text_load += 1
            self.tickets += work.media is Media.TICKET

    def work_on(self, contact_id: str) -> Work | None:
        """What he is doing with this contact, wrap-up of an earlier turn left aside."""
        for work in self.works.values():
            if work.contact_id == contact_id and work.phase is not WorkPhase.WRAP_UP:
                return work
        return None

    def drop(self, work: Work) -> None:
        del self.works[work.id]
        if SLOT_OF[work.media] == "voice":
            self.voice_load -= 1
        else:
            self.text_load -= 1
            self.tickets -= work.media is Media.TICKET

    def load_beside(self, kind: str) -> int:
        """Contacts at hand that count when one more of this kind is to be given away: of two agents the
        one with fewer comes first. Tickets count among themselves only."""
        return len(self.works) if kind == "ticket" else len(self.works) - self.tickets

    def visible_state(self) -> AgentState:
        """The most engaging of his works, or what he asked for. A ticket waits on his desk for days: it
        neither engages him nor keeps him at work."""
        if len(self.works) == self.tickets:
            return self.wanted
        phases = [w.phase for w in self.works.values() if w.media is not Media.TICKET]
        if WorkPhase.TALKING in phases or WorkPhase.DIALING in phases:
            return AgentState.ON_CONTACT
        return AgentState.OFFERED if WorkPhase.OFFERED in phases else AgentState.WRAP_UP

    def note_occupancy(self, busy: bool, now_s: float) -> None:
        """Occupancy as an average over the last hour with exponential weights."""
        fade = math.exp(-(now_s - self.occupancy_at_s) / OCCUPANCY_MEMORY_S)
        self.occupancy = self.occupancy * fade + ((1 - fade) if self.busy else 0.0)
        self.occupancy_at_s = now_s
        self.busy = busy

    def occupancy_rank(self) -> float:
        """Orders the free by occupancy at any moment: all of them fade at the same rate, so that
        log(occupancy) + time/memory does not change while they are free. For the busy (with room
        left) the same holds of one minus occupancy."""
        share = 1 - self.occupancy if self.busy else self.occupancy
        if share <= 0:
            return math.inf if self.busy else -math.inf
        rank = math.log(share) * OCCUPANCY_MEMORY_S + self.occupancy_at_s
        return -rank if self.busy else rank
