"""What the engine is configured with: queues, agents, regions, customers. Plain frozen dataclasses.

All durations are seconds. Absolute times are seconds on the caller's own clock (`now_s`);
`AcdConfig.epoch_s` ties that clock to Unix time for calendars and for restoring after a restart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from routing.calendar import Calendar
    from routing.registry import Registry


class Media(StrEnum):
    """What kind of contact it is."""

    CALL = "call"
    CALLBACK = "callback"
    TICKET = "ticket"
    CHAT = "chat"


# A contact takes one place of its slot; a medium may have a limit of its own inside the slot.
SLOT_OF = {
    Media.CALL: "voice",
    Media.CALLBACK: "voice",
    Media.TICKET: "text",
    Media.CHAT: "text",
}
TEXT = frozenset(media for media, slot in SLOT_OF.items() if slot == "text")
DEFAULT_CAPACITIES: Mapping[str, int] = {"voice": 1, "text": 3}


class AgentState(StrEnum):
    """What an agent is doing now; each has an entry time."""

    LOGGED_OUT = "logged-out"
    UNAVAILABLE = "unavailable"
    AVAILABLE = "available"
    OFFERED = "offered"
    ON_CONTACT = "on-contact"
    WRAP_UP = "wrap-up"


class Outcome(StrEnum):
    """How a contact's story ended."""

    ANSWERED = "answered"
    ABANDONED = "abandoned"
    OVERFLOWED = "overflowed"
    WITHDRAWN = "withdrawn"
    CALLBACK_DONE = "callback-done"
    CALLBACK_FAILED = "callback-failed"
    CALLBACK_CANCELLED = "callback-cancelled"


class Rng(Protocol):
    """A seeded generator; `random.Random` is one."""

    def random(self) -> float: ...
    def getstate(self) -> tuple[Any, ...]: ...
    def setstate(self, state: Any, /) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """An agent's place in one queue: `level` (tier or penalty, low first), `position` for ordered
    strategies (0 = order of appearance), `weight` for weighted-random, `at_once`, how many contacts
    of this queue he has at hand at most, wrap-up included (None: as many as his capacities allow)."""

    queue_id: str
    level: int = 0
    position: int = 0
    weight: float = 1.0
    at_once: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentConfig:
    """One agent. `capacities` by slot ("voice", "text") or medium ("ticket", "chat")."""

    id: str
    queues: tuple[Membership | str, ...] = ()
    name: str = ""
    skills: Mapping[str, int] = field(default_factory=dict)
    regions: tuple[str, ...] = ()
    capacities: Mapping[str, int] = field(default_factory=lambda: dict(DEFAULT_CAPACITIES))
    attributes: Mapping[str, Any] = field(default_factory=dict)
    wrap_up_s: float | None = None  # overrides the queue's


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorityRule:
    """`aging_s`: so many seconds of waiting are worth one point of priority; None is strict
    priority, under which low ones may starve."""

    aging_s: float | None = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LastAgentRule:
    """Whoever served this customer within `within_s` gets him again, if free within `wait_s`."""

    within_s: float = 72 * 3600.0
    wait_s: float = 20.0
    wait_for_absent: bool = False  # else a logged-out or unavailable agent is not waited for


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionRule:
    """Only agents of the caller's region for `wait_s`, then any. `skip_absent`: do not wait when
    nobody of the region is at work."""

    wait_s: float = 15.0
    skip_absent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Relaxation:
    """After `after_s` in the queue the skill expression changes, in this order: `skill` replaces it
    (None leaves it), `drop` removes demands on the skills named, `also` adds an alternative,
    `require` adds a demand. Steps accumulate."""

    after_s: float
    skill: str | None = None
    drop: tuple[str, ...] = ()
    also: str = ""
    require: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelStep:
    """From `after_s` on only levels `minimum`..`maximum` (None: open). Levels below `raise_to`
    count as `raise_to`, which also brings them into the window unless `raise_inside`: then only
    levels that are in the window already are raised."""

    after_s: float = 0.0
    maximum: int | None = None
    minimum: int | None = None
    raise_to: int | None = None
    raise_inside: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelRule:
    """How membership levels are used by the criterion `level`.

    `steps`: the window at each time. `skip_absent`: while no agent of the window is at work (a
    break is not at work) the next level is opened at once. `ignore_up_to`: levels mean nothing in
    a queue of at most so many members.
    """

    steps: tuple[LevelStep, ...] = ()
    skip_absent: bool = False
    ignore_up_to: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnounceRule:
    """Position and expected wait, every `every_s`, first after `first_s`."""

    position: bool = True
    wait: bool = True
    every_s: float = 45.0
    first_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackRule:
    """`offer_after_s` None never offers it. One attempt lasts at most `dial_s`."""

    offer_after_s: float | None = None
    key: str = "1"
    customer_first: bool = False
    attempts: int = 3
    retry_after_s: float = 300.0
    dial_s: float = 60.0
    agent_wait_s: float = 600.0  # a callback owned by one agent waits so long for him alone


@dataclass(frozen=True, slots=True, kw_only=True)
class RonaRule:
    """Redirect on no answer: after `after` offers in a row without answer the agent becomes
    unavailable(`reason`); 0 never. The rests are pauses before the next offer of any contact,
    `again_s` before the same contact is offered to the same agent again."""

    after: int = 1
    reason: str = "no-answer"
    no_answer_rest_s: float = 0.0
    reject_rest_s: float = 0.0
    busy_rest_s: float = 5.0
    again_s: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EmptyRule:
    """`join`/`leave`: "always" (waiting is allowed), "present" (only while an agent is at work;
    a break is not at work) or "free" (only while one could take a contact). `leave` acts after
    `leave_after_s` without."""

    join: str = "always"
    leave: str = "always"
    leave_after_s: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceLevelRule:
    within_s: float = 20.0
    target: float = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueConfig:
    """One queue. `route` names criteria in order and, last, the order among those left; or one
    preset (``asterisk.rrmemory``, ``freeswitch.top-down``)."""

    id: str
    route: tuple[str, ...] = ("priority", "longest-idle")
    name: str = ""
    skill: str = ""
    relax: tuple[Relaxation, ...] = ()
    priority: PriorityRule = PriorityRule()
    last_agent: LastAgentRule = LastAgentRule()
    region: RegionRule = RegionRule()
    levels: LevelRule = LevelRule()
    weight: float = 0.0  # points of priority every contact of this queue has over others'
    prefer: tuple[str, ...] = ()  # criteria of `route` that rank agents instead of excluding them
    options: Mapping[str, Any] = field(default_factory=dict)  # read by third-party strategies
    ring_s: float = 15.0
    ring_max: int = 20  # legs of ring-all and ring-progressive
    progressive_s: float = 10.0
    wrap_up_s: float = 0.0
    rona: RonaRule = RonaRule()
    announce: AnnounceRule | None = None
    callback: CallbackRule = CallbackRule()
    empty: EmptyRule = EmptyRule()
    max_waiting: int | None = None
    max_wait_s: float | None = None
    overflow: str = ""
    hours: str = ""  # name of a calendar; "" is always open
    place_held_s: float = 0.0  # a caller who drops and comes back within this has his place
    place_from_call: bool = False  # places count from the start of the call, not of the waiting
    service_level: ServiceLevelRule = ServiceLevelRule()
    handle_guess_s: float = 240.0  # until enough has been learned
    patience_guess_s: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionConfig:
    name: str
    prefixes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerConfig:
    id: str
    phones: tuple[str, ...]
    name: str = ""
    priority: float = 0.0
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AcdConfig:
    """Everything the engine starts with; queues and agents also come and go live by events.

    `assignment`: "greedy" decides each contact or agent as it comes; "joint" solves all that wait
    together, collecting for `batch_s` (0: what one event brings). `epoch_s` is Unix time at
    ``now_s == 0`` (0 when `now_s` is Unix time).
    """

    queues: tuple[QueueConfig, ...] = ()
    agents: tuple[AgentConfig, ...] = ()
    regions: tuple[RegionConfig, ...] = ()
    customers: tuple[CustomerConfig, ...] = ()
    calendars: Mapping[str, Calendar] = field(default_factory=dict)
    registry: Registry | None = None  # None: the built-in criteria, orders and presets
    assignment: str = "greedy"
    batch_s: float = 0.0
    joint_max: int = 64  # contacts and agents in one joint problem
    epoch_s: float = 0.0
    contacts_max: int = 200_000
    remembered_customers_max: int = 500_000
