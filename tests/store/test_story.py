"""The story of a call or contact, told from its entries."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from softswitch.store.entry import make_entry
from softswitch.store.story import KINDS, ROWS_MAX, SEGMENT_KINDS, VISIT_OUTCOMES, Story, tell

Note = tuple[str, float, dict[str, Any]]


def story_of(*notes: Note) -> Story:
    return tell(
        make_entry(seq, at_s, kind, "c1", data) for seq, (kind, at_s, data) in enumerate(notes, 1)
    )


def queued(at_s: float, queue: str = "support", **more: Any) -> Note:
    return "acd-queued", at_s, {"contact": "c1", "queue": queue, "caller": "+861", **more}


def offered(at_s: float, offer: int, agent: str) -> Note:
    data = {"contact": "c1", "queue": "support", "agent": agent, "offer": offer, "ring_s": 15.0}
    return "acd-offered", at_s, data


def connected(at_s: float, offer: int, agent: str, waited_s: float, **more: Any) -> Note:
    data = {"contact": "c1", "queue": "support", "agent": agent, "offer": offer}
    return "acd-connected", at_s, {**data, "waited_s": waited_s, **more}


def handled(at_s: float, agent: str, outcome: str = "ended", **parts: float) -> Note:
    data = {"contact": "c1", "agent": agent, "queue": "support", "media": "call"}
    return "acd-handled", at_s, {**data, "outcome": outcome, **parts}


def closed(at_s: float, outcome: str, waited_s: float, reason: str = "") -> Note:
    data = {"contact": "c1", "queue": "support", "outcome": outcome, "reason": reason}
    return "acd-closed", at_s, {**data, "agent": "", "waited_s": waited_s}


def test_one_does_not_answer_and_the_next_does() -> None:
    story = story_of(
        queued(100.0, region="north", priority=5),
        offered(101.0, 1, "lilei"),
        ("acd-offer-ended", 116.0, {"contact": "c1", "offer": 1, "reason": "no-answer"}),
        offered(116.0, 2, "mary"),
        connected(120.0, 2, "mary", 20.0),
        handled(200.0, "mary", ring_s=4.0, talk_s=60.0, hold_s=10.0, wrap_up_s=10.0),
        closed(190.0, "answered", 20.0),
    )
    (visit,) = story.visits
    assert (visit.outcome, visit.agent_id, visit.waited_s, visit.offers) == (
        "answered",
        "mary",
        20.0,
        2,
    )
    assert (visit.caller, visit.region, visit.priority) == ("+861", "north", 5.0)
    assert (visit.entered_at_s, visit.answered_at_s) == (100.0, 120.0)
    assert [(o.agent_id, o.outcome, o.ended_at_s) for o in story.offers] == [
        ("lilei", "no-answer", 116.0),
        ("mary", "answered", 120.0),
    ]
    (handling,) = story.handlings
    assert (handling.talk_s, handling.hold_s, handling.wrap_up_s) == (60.0, 10.0, 10.0)
    assert [(s.kind, s.started_at_s, s.ended_at_s) for s in story.segments] == [
        ("queue", 100.0, 120.0),
        ("wrap-up", 190.0, 200.0),
    ]


def test_a_contact_in_conversation_is_answered_already() -> None:
    story = story_of(queued(1.0), offered(1.0, 1, "lilei"), connected(5.0, 1, "lilei", 4.0))
    assert [v.outcome for v in story.visits] == ["answered"]


def test_a_hand_over_that_fails_leaves_the_contact_waiting() -> None:
    story = story_of(
        queued(1.0),
        offered(1.0, 1, "lilei"),
        connected(5.0, 1, "lilei", 4.0),
        handled(6.0, "lilei", "failed"),
        queued(6.0, reason="requeued"),
        offered(6.0, 2, "mary"),
        connected(9.0, 2, "mary", 8.0),
    )
    (visit,) = story.visits
    assert (visit.outcome, visit.agent_id, visit.waited_s) == ("answered", "mary", 8.0)


def test_overflow_counts_in_the_first_queue_and_the_wait_begins_again_in_the_second() -> None:
    moved = {"contact": "c1", "from_queue": "billing", "to_queue": "support", "waited_s": 30.0}
    story = story_of(
        queued(1.0, "billing", customer="7"),
        ("acd-moved", 31.0, {**moved, "reason": "overflow:max-wait"}),
        queued(31.0, "support", reason="overflow"),
        connected(40.0, 1, "lilei", 9.0),
    )
    assert [(v.queue_id, v.outcome, v.waited_s, v.customer_id) for v in story.visits] == [
        ("billing", "overflowed", 30.0, "7"),
        ("support", "answered", 9.0, "7"),
    ]


def test_transfer_to_another_queue_after_an_answer() -> None:
    moved = {"contact": "c1", "from_queue": "support", "to_queue": "billing", "waited_s": 90.0}
    story = story_of(
        queued(1.0),
        connected(5.0, 1, "lilei", 4.0),
        ("acd-moved", 90.0, {**moved, "reason": "requeued"}),
        queued(90.0, "billing", reason="requeued"),
        handled(95.0, "lilei", "requeued", talk_s=85.0, wrap_up_s=5.0),
        closed(99.0, "abandoned", 9.0),
    )
    assert [(v.queue_id, v.outcome, v.waited_s) for v in story.visits] == [
        ("support", "answered", 4.0),
        ("billing", "abandoned", 9.0),
    ]


def test_a_full_queue_is_a_visit_of_no_time() -> None:
    story = story_of(
        ("acd-overflowed", 7.0, {"contact": "c1", "queue": "support", "reason": "full"}),
        closed(7.0, "overflowed", 0.0, "full"),
    )
    (visit,) = story.visits
    assert (visit.outcome, visit.reason, visit.waited_s) == ("overflowed", "full", 0.0)
    assert (visit.queue_id, visit.entered_at_s, visit.left_at_s) == ("support", 7.0, 7.0)


def test_a_callback_is_neither_answered_nor_abandoned() -> None:
    story = story_of(
        queued(1.0),
        connected(600.0, 1, "lilei", 599.0, media="callback"),
        closed(700.0, "callback-done", 599.0),
    )
    assert [(v.outcome, v.media) for v in story.visits] == [("callback-done", "callback")]
    story = story_of(queued(1.0), closed(700.0, "callback-failed", 699.0))
    assert [v.outcome for v in story.visits] == ["callback-failed"]


def test_what_a_crash_cut_is_lost_not_abandoned() -> None:
    story = story_of(
        queued(1.0), offered(2.0, 1, "lilei"), ("call-ended", 9.0, {"outcome": "lost"})
    )
    assert [(v.outcome, v.waited_s) for v in story.visits] == [("lost", 8.0)]
    assert [o.outcome for o in story.offers] == ["lost"]
    late = story_of(queued(1.0), ("call-ended", 9.0, {}), closed(9.0, "abandoned", 8.0))
    assert [v.outcome for v in late.visits] == ["abandoned"]


def test_the_segments_of_a_call() -> None:
    story = story_of(
        ("leg-started", 1.0, {"leg": 1, "role": "caller", "endpoint": "trunk:carrier"}),
        ("call-routed", 1.0, {"kind": "ivr", "name": "main"}),
        ("leg-answered", 1.0, {"leg": 1}),
        ("menu-left", 9.0, {"menu": "main", "why": "pressed"}),
        ("call-routed", 9.0, {"kind": "extension", "name": "1001"}),
        ("leg-started", 9.0, {"leg": 2, "role": "callee", "endpoint": "extension:1001"}),
        ("leg-started", 9.0, {"leg": 3, "role": "callee", "endpoint": "extension:1002"}),
        ("leg-ended", 12.0, {"leg": 3, "status": 486}),
        ("leg-answered", 14.0, {"leg": 2}),
        ("call-held", 20.0, {"leg": 2}),
        ("call-resumed", 25.0, {"leg": 2}),
        ("leg-ended", 60.0, {"leg": 2, "status": 200}),
        ("call-routed", 60.0, {"kind": "voicemail", "name": "1001"}),
        ("call-ended", 70.0, {}),
    )
    found = [
        (s.kind, s.endpoint or s.name, s.started_at_s, s.ended_at_s, s.outcome)
        for s in story.segments
    ]
    assert found == [
        ("ivr", "main", 1.0, 9.0, "pressed"),
        ("ring", "extension:1001", 9.0, 14.0, "answered"),
        ("ring", "extension:1002", 9.0, 12.0, "486"),
        ("talk", "extension:1001", 14.0, 60.0, ""),
        ("hold", "extension:1001", 20.0, 25.0, ""),
        ("voicemail", "1001", 60.0, 70.0, ""),
    ]


_values = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
_names = st.sampled_from(["a", "b", "1"])
_keys = [
    "contact",
    "queue",
    "agent",
    "offer",
    "waited_s",
    "outcome",
    "reason",
    "leg",
    "role",
    "endpoint",
    "kind",
    "to_queue",
    "media",
    "talk_s",
    "wrap_up_s",
    "hold_s",
    "ended_at_s",
    "priority",
]
_outcomes = st.sampled_from([*VISIT_OUTCOMES, "failed", "ended", "overflow:full", "callback"])


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(sorted(KINDS)),
            st.floats(0, 1e9),
            st.dictionaries(st.sampled_from(_keys), _values | _names | _outcomes, max_size=8),
        ),
        max_size=40,
    )
)
def test_any_entries_tell_a_story_that_a_database_takes(notes: list[Note]) -> None:
    story = story_of(*notes)
    rows = [*story.visits, *story.offers, *story.handlings]
    assert len({(type(r), r.seq) for r in rows}) == len(rows)
    assert len({s.seq for s in story.segments}) == len(story.segments)
    for visit in story.visits:
        assert visit.outcome in VISIT_OUTCOMES
        assert visit.waited_s >= 0
    for segment in story.segments:
        assert segment.kind in SEGMENT_KINDS


def test_a_story_is_bounded() -> None:
    for limit in (ROWS_MAX, ROWS_MAX + 1):
        holds = [("call-held", float(n), {"leg": 1}) for n in range(limit)]
        assert len(story_of(*holds).segments) == ROWS_MAX
