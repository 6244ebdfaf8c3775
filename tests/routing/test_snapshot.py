"""kill -9: places in line, pending callbacks and agents' states survive."""

from __future__ import annotations

import json
import random

import pytest

from routing.audit import audit
from routing.engine import AcdEngine
from routing.errors import RoutingError, SnapshotError
from routing.events import (
    AgentSet,
    AgentStateSet,
    CalendarSet,
    CallbackRequested,
    ContactArrived,
    ContactEnded,
    Event,
    OfferAccepted,
    QueueSet,
    TimerFired,
)
from routing.explain import chosen, words
from routing.journal import event_of, event_record, reason_for, replay
from routing.model import (
    AcdConfig,
    AgentConfig,
    AgentState,
    Membership,
    QueueConfig,
    RegionConfig,
    Relaxation,
)

QUEUE = QueueConfig(
    id="q",
    route=("priority", "last-agent", "region", "skill", "longest-idle"),
    skill="s",
    relax=(Relaxation(after_s=60.0, skill=""),),
    wrap_up_s=20.0,
    max_wait_s=600.0,
)
CONFIG = AcdConfig(
    queues=(QUEUE,),
    agents=tuple(AgentConfig(id=name, queues=("q",), skills={"s": 1}) for name in "abc"),
    regions=(RegionConfig(name="north", prefixes=("+8610",)),),
)


def image(engine: AcdEngine) -> dict:
    return json.loads(json.dumps(engine.snapshot()))


def busy(desk):
    office = desk(QUEUE, list(CONFIG.agents), epoch_s=0.0)
    office.tell(AgentStateSet("c", AgentState.UNAVAILABLE, "lunch"))
    for number in range(2):
        office.arrive(f"t{number}")
        office.accept(f"t{number}")
    office.wait(5)
    for number in range(3):
        office.arrive(f"w{number}", caller=f"+86{number}", attributes={"n": number})
        office.wait(1)
    office.tell(CallbackRequested(contact_id="w0", number="+860"))
    office.tell(CallbackRequested(contact_id="s0", number="+87", queue_id="q", not_before_s=500.0))
    office.end("t0")
    return office


def test_after_kill_9_everything_stands_where_it_stood(desk):
    office = busy(desk)
    before = image(office.engine)
    fresh = AcdEngine(CONFIG, random.Random(99))
    assert fresh.restore(before, office.now_s) == []
    assert image(fresh) == before
    assert audit(fresh, office.now_s) == []
    assert fresh.get_timer() == office.engine.get_timer()
    positions = [fresh.view_contact(f"w{n}", office.now_s).position for n in range(3)]
    assert positions == [1, 2, 3]
    assert fresh.view_agent("a").state is AgentState.WRAP_UP
    assert fresh.view_agent("b").state is AgentState.ON_CONTACT
    assert fresh.view_agent("c").reason == "lunch"


def test_the_future_is_the_same_after_it(desk):
    office = busy(desk)
    fresh = AcdEngine(CONFIG, random.Random(99))
    fresh.restore(image(office.engine), office.now_s)
    now_s = office.now_s
    for _ in range(40):
        due_s = office.engine.get_timer()
        if due_s is None:
            break
        now_s = max(now_s, due_s)
        one, other = office.engine.handle(TimerFired(), now_s), fresh.handle(TimerFired(), now_s)
        assert [repr_of(d) for d in one] == [repr_of(d) for d in other]


def repr_of(decision) -> str:
    return str(decision).split(", why=")[0]


def test_another_clock(desk):
    """The process comes back 100 s later on a clock that started then."""
    office = busy(desk)
    moved = AcdConfig(**{**fields_of(CONFIG), "epoch_s": office.now_s + 100.0})
    fresh = AcdEngine(moved, random.Random(1))
    fresh.restore(image(office.engine), 0.0)
    assert fresh.view_contact("w1", 0.0).waited_s == pytest.approx(
        office.engine.view_contact("w1", office.now_s).waited_s + 100.0
    )
    decisions = fresh.handle(TimerFired(), 0.0)
    assert "OfferTo" in {type(d).__name__ for d in decisions}, "wrap-up ended meanwhile"


def fields_of(config: AcdConfig) -> dict:
    return {name: getattr(config, name) for name in AcdConfig.__dataclass_fields__}


def test_what_the_configuration_no_longer_has_is_left_out(desk):
    office = busy(desk)
    only_a = AcdConfig(queues=(QUEUE,), agents=CONFIG.agents[:1])
    fresh = AcdEngine(only_a, random.Random(1))
    closed = fresh.restore(image(office.engine), office.now_s)
    assert {d.contact_id for d in closed if type(d).__name__ == "ContactClosed"} == {"t1"}
    assert audit(fresh, office.now_s) == []
    none = AcdEngine(AcdConfig(agents=CONFIG.agents), random.Random(1))
    gone = none.restore(image(office.engine), office.now_s)
    assert {d.contact_id for d in gone if type(d).__name__ == "Overflow"} == {
        "w0",
        "w1",
        "w2",
        "s0",
    }
    assert none.view_agent("b").state is AgentState.ON_CONTACT


@pytest.mark.parametrize(
    "damage",
    [
        lambda i: i.update(version=99),
        lambda i: i.pop("agents"),
        lambda i: i["contacts"][0].pop("phase"),
        lambda i: i.update(rng=[1, 2]),
        lambda i: i["agents"]["a"].update(wanted="flying"),
        lambda i: i["contacts"][0].update(skill="3"),
    ],
)
def test_a_damaged_snapshot_is_refused(desk, damage):
    broken = image(busy(desk).engine)
    damage(broken)
    with pytest.raises(SnapshotError):
        AcdEngine(CONFIG, random.Random(1)).restore(broken, 0.0)


def test_only_into_a_fresh_engine(desk):
    office = busy(desk)
    with pytest.raises(SnapshotError, match="in use"):
        office.engine.restore(image(office.engine), office.now_s)


# --- the journal ---

STORY: list[tuple[Event, float]] = [
    (
        AgentSet(AgentConfig(id="d", queues=(Membership(queue_id="q", level=2),), skills={"s": 2})),
        0.0,
    ),
    (QueueSet(QueueConfig(id="q2", route=("random",))), 0.0),
]


def test_events_survive_the_journal():
    for event, _ in STORY:
        assert event_of(json.loads(json.dumps(event_record(event)))) == event
    arrived = ContactArrived(contact_id="c", queue_id="q", attributes={"a": [1, {"b": None}]})
    assert event_of(json.loads(json.dumps(event_record(arrived)))) == arrived
    with pytest.raises(RoutingError, match="no event"):
        event_of({"kind": "Nonsense"})
    with pytest.raises(RoutingError, match="OfferAccepted"):
        event_of({"kind": "OfferAccepted", "offer_id": "x"})
    with pytest.raises(TypeError):
        json.dumps(event_record(CalendarSet("x", object())))


def test_the_past_told_again_gives_the_same_agents(desk):
    """The same journal, configuration and seed: the same decisions; one offer's reason in full."""
    told = []
    office = desk(
        QueueConfig(id="q", route=("random",), wrap_up_s=5.0), list("abcd"), logged_in=False
    )
    original = office.engine.handle

    def record(event, now_s):
        told.append((json.loads(json.dumps(event_record(event))), now_s))
        return original(event, now_s)

    office.engine.handle = record
    office.log_in(*"abcd")
    chance = random.Random(8)
    for number in range(30):
        office.arrive(f"c{number}", priority=float(chance.randrange(3)))
        if office.offered(f"c{number}"):
            office.accept(f"c{number}")
        if chance.random() < 0.7:
            talking = office.all("Connect")[-1].contact_id
            office.tell(ContactEnded(talking))
        office.wait(chance.choice((0.5, 3.0, 9.0)))
        for offer in list(office.engine._floor.offers.values()):
            office.tell(OfferAccepted(offer.id))

    def again() -> AcdEngine:
        config = AcdConfig(
            queues=(QueueConfig(id="q", route=("random",), wrap_up_s=5.0),),
            agents=tuple(AgentConfig(id=name, queues=("q",)) for name in "abcd"),
        )
        return AcdEngine(config, random.Random(1))

    decisions = [repr_of(d) for _, decided in replay(again(), told) for d in decided]
    assert decisions == [repr_of(d) for d in office.said]
    for offer in office.all("OfferTo"):
        why = reason_for(again(), told, offer.offer_id)
        assert why is not None
        full = why.record()
        assert (full["contact_id"], full["agent_id"]) == (offer.contact_id, offer.agent_id)
        assert chosen(full) == (offer.contact_id, offer.agent_id)
    assert reason_for(again(), told, 10_000) is None


def test_the_reason_in_words(desk, agent):
    queue = QueueConfig(id="q", route=("priority", "region", "skill", "longest-idle"), skill="law")
    agents = [
        agent("n", skills={"law": 1}, regions=("north",)),
        agent("m", skills={"law": 2}, regions=("north",)),
        agent("e", skills={"law": 3}, regions=("east",)),
        agent("x", regions=("north",)),
        agent("lunch", skills={"law": 1}, regions=("north",)),
    ]
    office = desk(queue, agents, regions=CONFIG.regions)
    office.tell(AgentStateSet("lunch", AgentState.UNAVAILABLE, "lunch"))
    office.arrive("c", caller="+861055")
    record = office.offer_of("c").why.record()
    assert record["rule"] == ["region north", "skill law >= 1"]
    assert [c["agent_id"] for c in record["candidates"]] == ["n", "m"]
    assert {e["agent_id"]: e["reason"] for e in record["excluded"]} == {
        "e": "not of region north",
        "x": "skill: law >= 1 (has 0)",
        "lunch": "unavailable",
    }
    text = "\n".join(words(record))
    assert "Free were n, m; longest-idle put n first." in text
    assert "Not e: not of region north." in text
