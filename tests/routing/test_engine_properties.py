"""Random orders of events: no contact lost or served twice, nobody stuck, order kept."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from routing import events as ev
from routing.audit import audit, passed_over
from routing.decisions import (
    CancelDial,
    CancelOffer,
    Connect,
    ContactClosed,
    ContactMoved,
    DialCallback,
    OfferTo,
    Overflow,
)
from routing.engine import AcdEngine
from routing.explain import chosen, words
from routing.model import (
    AcdConfig,
    AgentConfig,
    AgentState,
    AnnounceRule,
    CallbackRule,
    CustomerConfig,
    EmptyRule,
    LevelRule,
    LevelStep,
    Media,
    Membership,
    Outcome,
    PriorityRule,
    QueueConfig,
    RegionConfig,
    Relaxation,
    RonaRule,
)

AGENTS = [f"a{number}" for number in range(5)]
QUEUES = ["q0", "q1", "q2"]
NUMBERS = ["+8610001", "+8610002", "+8621003", "+33004"]
ORDERS = [
    "longest-idle",
    "least-occupied",
    "fewest-calls",
    "least-talk-time",
    "round-robin",
    "random",
    "weighted-random",
    "top-down",
    "ring-all",
    "ring-progressive",
    "penalty-weighted",
]


def queue_config(name: str, draw: random.Random, strict: bool = False) -> QueueConfig:
    names = [n for n in ("last-agent", "region", "skill", "level") if draw.random() < 0.6]
    return QueueConfig(
        id=name,
        route=("priority", *names, draw.choice(ORDERS)),
        skill="s >= 2" if "skill" in names and draw.random() < 0.7 else "",
        relax=(Relaxation(after_s=20.0, skill=""),) if "skill" in names else (),
        levels=LevelRule(
            steps=(LevelStep(maximum=0), LevelStep(after_s=15.0, maximum=1), LevelStep(after_s=30)),
            skip_absent=draw.random() < 0.5,
            ignore_up_to=draw.choice((0, 0, 2)),
        )
        if "level" in names
        else LevelRule(),
        priority=PriorityRule(aging_s=None if strict else draw.choice((None, 30.0, 60.0))),
        prefer=("region",) if "region" in names and draw.random() < 0.3 else (),
        ring_s=draw.choice((5.0, 15.0)),
        progressive_s=3.0,
        ring_max=3,
        wrap_up_s=draw.choice((0.0, 7.0)),
        weight=draw.choice((0.0, 0.0, 2.0)),
        rona=RonaRule(after=draw.choice((0, 1, 2)), reject_rest_s=draw.choice((0.0, 4.0))),
        announce=AnnounceRule(every_s=11.0) if draw.random() < 0.5 else None,
        callback=CallbackRule(
            offer_after_s=10.0, customer_first=draw.random() < 0.5, attempts=2, retry_after_s=20.0
        ),
        empty=EmptyRule(
            join=draw.choice(("always", "always", "present", "free")),
            leave=draw.choice(("always", "present")),
        ),
        max_waiting=draw.choice((None, 4)),
        max_wait_s=draw.choice((None, 60.0)),
        overflow=draw.choice(("", "queue:q1", "queue:q2", "voicemail:1")),
        place_held_s=draw.choice((0.0, 30.0)),
    )


def agent_config(name: str, draw: random.Random) -> AgentConfig:
    return AgentConfig(
        id=name,
        queues=tuple(
            Membership(
                queue_id=queue,
                level=draw.choice((0, 0, 1, 2)),
                position=draw.choice((0, 0, 1, 2, 3)),
                weight=draw.choice((1.0, 3.0)),
                at_once=draw.choice((None, None, 1, 2)),
            )
            for queue in QUEUES
            if draw.random() < 0.6
        ),
        skills={"s": draw.randrange(4)},
        regions=tuple(r for r in ("north", "east") if draw.random() < 0.5),
        capacities=draw.choice(
            ({"voice": 1, "text": 2}, {"voice": 1}, {"voice": 1, "text": 3, "chat": 1})
        ),
        wrap_up_s=draw.choice((None, None, 3.0)),
    )


def config(draw: random.Random, assignment: str) -> AcdConfig:
    return AcdConfig(
        queues=tuple(queue_config(name, draw) for name in QUEUES),
        agents=tuple(agent_config(name, draw) for name in AGENTS),
        regions=(
            RegionConfig(name="north", prefixes=("+8610",)),
            RegionConfig(name="east", prefixes=("+8621",)),
        ),
        customers=(CustomerConfig(id="wang", phones=("+8610001",), priority=5.0),),
        assignment=assignment,
    )


class Office(RuleBasedStateMachine):
    """What the control plane would see."""

    assignment = "greedy"

    @initialize(seed=st.integers(0, 2**32))
    def open(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.config = config(self.draw, self.assignment)
        self.engine = AcdEngine(self.config, random.Random(seed))
        self.now_s = 0.0
        self.arrived: set[str] = set()
        self.closed: dict[str, Outcome] = {}
        self.connected: dict[str, str] = {}
        self.ringing: dict[int, tuple[str, str]] = {}
        self.dialling: dict[str, int] = {}
        for agent in AGENTS[:3]:
            self.tell(ev.AgentLoggedIn(agent))

    def tell(self, event: ev.Event) -> None:
        decisions = self.engine.handle(event, self.now_s)
        for position, decision in enumerate(decisions):
            match decision:
                case OfferTo():
                    assert decision.contact_id not in self.closed
                    assert decision.contact_id not in self.connected
                    self.ringing[decision.offer_id] = (decision.agent_id, decision.contact_id)
                    record = json.loads(json.dumps(decision.why.record()))
                    assert chosen(record) == (decision.contact_id, decision.agent_id), record
                    assert words(record)
                    later = decisions[position + 1 :]
                    taken = {d.contact_id for d in later if isinstance(d, OfferTo | Overflow)}
                    behind = passed_over(
                        self.engine, decision.agent_id, decision.contact_id, self.now_s
                    )
                    if self.assignment == "greedy":
                        assert not set(behind) - taken, (decision, behind)
                case CancelOffer(reason="late"):
                    pass
                case CancelOffer():
                    assert self.ringing.pop(decision.offer_id, None) is not None
                case Connect():
                    if decision.offer_id:
                        self.ringing.pop(decision.offer_id)
                    assert decision.contact_id not in self.connected
                    assert decision.contact_id not in self.closed
                    self.connected[decision.contact_id] = decision.agent_id
                    self.dialling.pop(decision.contact_id, None)
                case ContactMoved():
                    self.connected.pop(decision.contact_id, None)
                case DialCallback():
                    assert decision.contact_id not in self.dialling, "dialled twice"
                    self.dialling[decision.contact_id] = decision.attempt
                case CancelDial():
                    assert self.dialling.pop(decision.contact_id, None) is not None
                case ContactClosed():
                    assert decision.contact_id not in self.closed, "closed twice"
                    self.closed[decision.contact_id] = decision.outcome
                    self.connected.pop(decision.contact_id, None)
        pairs = list(self.ringing.values())
        assert len(set(pairs)) == len(pairs), "rung twice for the same contact"

    # --- time ---

    @rule(seconds=st.sampled_from((0.1, 1.0, 3.0, 8.0, 25.0, 90.0)))
    def time_passes(self, seconds: float) -> None:
        until_s = self.now_s + seconds
        for _ in range(500):
            due_s = self.engine.get_timer()
            if due_s is None or due_s > until_s:
                break
            assert due_s > self.now_s or due_s == self.now_s
            self.now_s = max(self.now_s, due_s)
            self.tell(ev.TimerFired())
        else:
            raise AssertionError("timers fire for ever")
        self.now_s = until_s

    # --- agents ---

    @rule(agent=st.sampled_from(AGENTS), available=st.booleans())
    def log_in(self, agent: str, available: bool) -> None:
        self.tell(ev.AgentLoggedIn(agent, available, "" if available else "training"))

    @rule(agent=st.sampled_from(AGENTS))
    def log_out(self, agent: str) -> None:
        self.tell(ev.AgentLoggedOut(agent))

    @rule(
        agent=st.sampled_from(AGENTS),
        state=st.sampled_from(
            (
                AgentState.AVAILABLE,
                AgentState.AVAILABLE,
                AgentState.UNAVAILABLE,
                AgentState.LOGGED_OUT,
            )
        ),
        by=st.sampled_from(("", "boss")),
    )
    def set_state(self, agent: str, state: AgentState, by: str) -> None:
        self.tell(ev.AgentStateSet(agent, state, "break", by))

    @rule(agent=st.sampled_from(AGENTS), extra=st.sampled_from((0.0, 5.0)))
    def wrap_up(self, agent: str, extra: float) -> None:
        self.tell(ev.WrapUpExtended(agent, extra) if extra else ev.WrapUpEnded(agent))

    @rule(agent=st.sampled_from(AGENTS), start=st.booleans())
    def external(self, agent: str, start: bool) -> None:
        kind = ev.ExternalCallStarted if start else ev.ExternalCallEnded
        self.tell(kind(agent, f"x-{agent}"))

    @rule(agent=st.sampled_from(AGENTS), seed=st.integers(0, 1000))
    def change_agent(self, agent: str, seed: int) -> None:
        self.tell(ev.AgentSet(agent_config(agent, random.Random(seed))))

    @rule(agent=st.sampled_from(AGENTS[3:]))
    def remove_agent(self, agent: str) -> None:
        self.tell(ev.AgentRemoved(agent))

    # --- contacts ---

    @rule(
        queue=st.sampled_from([*QUEUES, "nowhere"]),
        caller=st.sampled_from(NUMBERS),
        media=st.sampled_from((Media.CALL, Media.CALL, Media.CALL, Media.CHAT, Media.TICKET)),
        skill=st.sampled_from(("", "", "s >= 3", "s >=")),
        priority=st.sampled_from((None, 0.0, 3.0)),
    )
    def arrive(
        self, queue: str, caller: str, media: Media, skill: str, priority: float | None
    ) -> None:
        contact = f"c{len(self.arrived)}"
        self.arrived.add(contact)
        self.tell(
            ev.ContactArrived(
                contact_id=contact,
                queue_id=queue,
                media=media,
                caller=caller,
                skill=skill,
                priority=priority,
            )
        )

    def _some(self, seed: int) -> str:
        known = sorted(self.arrived - set(self.closed)) or sorted(self.arrived) or ["nobody"]
        return known[seed % len(known)]

    @rule(which=st.integers(0, 50))
    def abandon(self, which: int) -> None:
        self.tell(ev.ContactAbandoned(self._some(which)))

    @rule(which=st.integers(0, 50), reason=st.sampled_from(("exit-key", "")))
    def withdraw(self, which: int, reason: str) -> None:
        self.tell(ev.ContactWithdrawn(self._some(which), reason))

    @rule(which=st.integers(0, 50))
    def end(self, which: int) -> None:
        talking = sorted(self.connected)
        if talking:
            self.tell(ev.ContactEnded(talking[which % len(talking)]))

    @rule(which=st.integers(0, 50), queue=st.sampled_from(["", *QUEUES]), keep=st.booleans())
    def requeue(self, which: int, queue: str, keep: bool) -> None:
        contact = self._some(which)
        self.tell(ev.ContactRequeued(contact_id=contact, queue_id=queue, keep_place=keep))

    @rule(which=st.integers(0, 50), agent=st.sampled_from(AGENTS))
    def assign(self, which: int, agent: str) -> None:
        self.tell(ev.ContactAssigned(self._some(which), agent))

    @rule(which=st.integers(0, 50), agent=st.sampled_from(["", *AGENTS]))
    def transfer(self, which: int, agent: str) -> None:
        self.tell(ev.ContactTransferred(self._some(which), agent))

    @rule(which=st.integers(0, 50), priority=st.sampled_from((0.0, 9.0)))
    def update(self, which: int, priority: float) -> None:
        self.tell(
            ev.ContactUpdated(contact_id=self._some(which), priority=priority, skill="s >= 1")
        )

    @rule(which=st.integers(0, 50))
    def connection_fails(self, which: int) -> None:
        contact = self._some(which)
        self.connected.pop(contact, None)
        self.tell(ev.ConnectFailed(contact))

    # --- offers ---

    @rule(
        which=st.integers(0, 50),
        answer=st.sampled_from(("accept", "accept", "reject", "fail", "busy")),
    )
    def react(self, which: int, answer: str) -> None:
        offers = sorted(self.ringing)
        offer = offers[which % len(offers)] if offers else which
        if answer != "accept":
            self.ringing.pop(offer, None)
        match answer:
            case "accept":
                agent_contact = self.ringing.get(offer)
                self.tell(ev.OfferAccepted(offer))
                if agent_contact is not None:
                    self.ringing.pop(offer, None)
            case "reject":
                self.tell(ev.OfferRejected(offer))
            case _:
                self.tell(ev.OfferFailed(offer, "busy" if answer == "busy" else "unreachable"))

    # --- callbacks ---

    @rule(
        which=st.integers(0, 50),
        number=st.sampled_from(NUMBERS),
        later=st.sampled_from((None, 30.0)),
        agent=st.sampled_from(("", "", "a0")),
        new=st.booleans(),
    )
    def request_callback(
        self, which: int, number: str, later: float | None, agent: str, new: bool
    ) -> None:
        queue = QUEUES[which % 3]
        open_ones = sorted(self.arrived - set(self.closed))
        if new:
            if queue not in self.engine.queue_ids:
                return
            contact = f"c{len(self.arrived)}"
        elif open_ones:
            contact = open_ones[which % len(open_ones)]
        else:
            return
        not_before_s = None if later is None else self.now_s + later
        if new:
            self.arrived.add(contact)
        self.tell(
            ev.CallbackRequested(
                contact_id=contact,
                number=number,
                queue_id=queue,
                not_before_s=not_before_s,
                agent_id=agent,
            )
        )

    @rule(which=st.integers(0, 50), ok=st.booleans(), stale=st.booleans())
    def dialled(self, which: int, ok: bool, stale: bool) -> None:
        dialling = sorted(self.dialling)
        if not dialling:
            return
        contact = dialling[which % len(dialling)]
        attempt = self.dialling[contact] - stale
        if not (stale and attempt):
            self.dialling.pop(contact)
        kind = (
            ev.CallbackAnswered(contact, attempt)
            if ok
            else ev.CallbackFailed(contact, "busy", attempt)
        )
        self.tell(kind)

    @rule(which=st.integers(0, 50))
    def cancel_callback(self, which: int) -> None:
        self.tell(ev.CallbackCancelled(self._some(which)))

    @rule(
        which=st.integers(0, 50),
        number=st.sampled_from(["", *NUMBERS]),
        later=st.none() | st.integers(-60, 600),
    )
    def move_callback(self, which: int, number: str, later: int | None) -> None:
        not_before_s = None if later is None else self.now_s + later
        self.tell(
            ev.CallbackMoved(contact_id=self._some(which), number=number, not_before_s=not_before_s)
        )

    @rule(number=st.sampled_from(NUMBERS), here=st.booleans())
    def calling_in(self, number: str, here: bool) -> None:
        self.tell(ev.CallerSeen(number) if here else ev.CallerGone(number))

    # --- configuration ---

    @rule(queue=st.sampled_from(QUEUES), seed=st.integers(0, 1000))
    def change_queue(self, queue: str, seed: int) -> None:
        self.tell(ev.QueueSet(queue_config(queue, random.Random(seed))))

    @rule()
    def remove_queue(self) -> None:
        self.tell(ev.QueueRemoved("q2"))

    @rule()
    def kill_and_restore(self) -> None:
        """kill -9, then a new process with the same configuration and the last snapshot."""
        image = json.loads(json.dumps(self.engine.snapshot()))
        floor = self.engine._floor
        now = AcdConfig(
            queues=tuple(queue.config for queue in floor.queues.values()),
            agents=tuple(a.config for a in floor.agents.values() if not a.removed),
            regions=self.config.regions,
            customers=self.config.customers,
            assignment=self.assignment,
        )
        removed = [a for a in floor.agents.values() if a.removed]
        if removed:
            return
        fresh = AcdEngine(now, random.Random(0), self.now_s)
        decisions = fresh.restore(image, self.now_s)
        widened = any(queue.levels.skip_absent for queue in now.queues)
        if widened and decisions:
            return  # levels opened for want of agents are weighed anew, which may change an offer
        assert not decisions, decisions
        again = json.loads(json.dumps(fresh.snapshot()))
        for key in image:
            if isinstance(image[key], list):
                for one, other in zip(image[key], again[key], strict=True):
                    assert one == other, key
            assert again[key] == image[key], key
        self.engine = fresh

    # --- what must hold ---

    @invariant()
    def sound(self) -> None:
        if not hasattr(self, "engine"):
            return
        assert audit(self.engine, self.now_s) == []
        known = set(self.engine.contact_ids)
        assert not known & set(self.closed)
        lost = self.arrived - known - set(self.closed)
        assert not lost, lost

    def teardown(self) -> None:
        """Everybody available, everything answered: nobody may be left over."""
        if not hasattr(self, "engine"):
            return
        for number in NUMBERS:
            for _ in range(60):
                self.tell(ev.CallerGone(number))
        for queue in QUEUES:
            if queue in self.engine.queue_ids:
                self.tell(ev.QueueSet(QueueConfig(id=queue)))
        for agent in AGENTS:
            self.tell(
                ev.AgentSet(
                    AgentConfig(id=agent, queues=tuple(QUEUES), capacities={"voice": 1, "text": 3})
                )
            )
            self.tell(ev.AgentLoggedIn(agent))
            self.tell(ev.AgentStateSet(agent, AgentState.AVAILABLE, "", "boss"))
            self.tell(ev.ExternalCallEnded(agent, f"x-{agent}"))
        for contact in sorted(self.arrived - set(self.closed)):
            self.tell(ev.ContactUpdated(contact_id=contact, skill=""))
        for _ in range(400):
            while self.ringing:
                offer = min(self.ringing)
                self.tell(ev.OfferAccepted(offer))
                self.ringing.pop(offer, None)
            for contact in sorted(self.dialling):
                attempt = self.dialling.pop(contact)
                self.tell(ev.CallbackAnswered(contact, attempt))
            for contact in sorted(self.connected):
                self.tell(ev.ContactEnded(contact))
            due_s = self.engine.get_timer()
            if due_s is not None and not self.ringing:
                self.now_s = max(self.now_s, due_s)
                self.tell(ev.TimerFired())
            if not self.engine.contact_ids and due_s is None:
                break
        left = [self.engine.view_contact(c, self.now_s) for c in self.engine.contact_ids]
        assert not left, f"waits for ever: {left}"
        assert audit(self.engine, self.now_s) == []


class JointOffice(Office):
    assignment = "joint"


_QUICK = settings(
    max_examples=40,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    report_multiple_bugs=False,
)
_LONG = settings(_QUICK, max_examples=2000, stateful_step_count=100)

TestOffice = Office.TestCase
TestOffice.settings = _QUICK
TestJointOffice = JointOffice.TestCase
TestJointOffice.settings = settings(_QUICK, max_examples=15)


@pytest.mark.soak
class TestOfficeLong(Office.TestCase):
    settings = _LONG


@pytest.mark.soak
class TestJointOfficeLong(JointOffice.TestCase):
    settings = _LONG
