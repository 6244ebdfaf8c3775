"""The story of one call or contact, read from its journal entries: what lay in a queue, who was rung,
who served, and the segments of the call. Pure: the same entries give the same rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from softswitch.store import acd
from softswitch.store.entry import Entry, number_of, text_of
from softswitch.store.told import (
    CallEnded,
    CallRouted,
    CallStarted,
    Heard,
    LegEnded,
    Name,
    OfLeg,
    name_of,
    tell_entry,
)

VISIT_OUTCOMES = (
    "waiting",
    "answered",
    "abandoned",
    "overflowed",
    "withdrawn",
    "requeued",
    "callback",
    "callback-done",
    "callback-failed",
    "callback-cancelled",
    "lost",
)
SEGMENT_KINDS = ("ring", "talk", "hold", "consult", "queue", "ivr", "voicemail", "app", "wrap-up")
ROWS_MAX = 500
"""Of each sort in one story: somebody who holds and resumes for hours must not fill the database."""

TELLING = acd.CONTACT_KINDS | {"call-ended"}
"""The kinds after which it is told anew: no call needs its segments in a table before its end."""

_NOWHERE = ("", "")
_APPS = {
    "ivr": "ivr",
    "flow": "ivr",
    "voicemail": "voicemail",
    "queue": "",
    "extension": "",
    "ring_group": "",
    "trunk": "",
    "number": "",
}


@dataclass(slots=True)
class Segment:
    """A stretch of a call. `seq` is the entry that began it. Kind "hold" lies within a "talk", "consult" is
    when the one at `leg` called and spoke to a third; `name` is the menu, mailbox or application, or whom he
    called; `ended_at_s` None until it is over."""

    seq: int
    kind: str
    started_at_s: float
    ended_at_s: float | None = None
    leg: str = ""
    endpoint: str = ""
    queue_id: str = ""
    agent_id: str = ""
    name: str = ""
    outcome: str = ""


@dataclass(slots=True)
class Visit:
    """One contact's stay in one queue: the unit that reception volume and service levels count.

    `seq` is the entry that began it, `waited_s` by a monotonic clock until the answer or until it
    left. `outcome` is one of `VISIT_OUTCOMES`; a contact in conversation is "answered" already.
    "requeued" left for another queue by hand and counts nowhere else; "lost" was cut by a crash.
    """

    seq: int
    contact_id: str
    queue_id: str
    entered_at_s: float
    media: str = "call"
    caller: str = ""
    customer_id: str = ""
    region: str = ""
    priority: float = 0.0
    answered_at_s: float | None = None
    left_at_s: float | None = None
    waited_s: float = 0.0
    outcome: str = "waiting"
    reason: str = ""
    agent_id: str = ""
    offers: int = 0


@dataclass(slots=True)
class AgentOffer:
    """An agent was rung for a contact, which nobody is for a ticket. `outcome` is "ringing", "answered" or
    why it ended."""

    seq: int
    contact_id: str
    agent_id: str
    queue_id: str
    offer_id: str
    offered_at_s: float
    ended_at_s: float | None = None
    outcome: str = "ringing"


@dataclass(slots=True)
class Handling:
    """One agent was done with one contact at `at_s`, wrap-up included. `outcome`: ended, transferred,
    requeued, failed (a hand-over that did not come about: counted nowhere). `region`: the caller's."""

    seq: int
    contact_id: str
    agent_id: str
    queue_id: str
    media: str
    at_s: float
    ring_s: float
    talk_s: float
    hold_s: float
    wrap_up_s: float
    outcome: str
    region: str = ""


class Story(msgspec.Struct):
    """All rows of one call or contact."""

    visits: list[Visit] = msgspec.field(default_factory=list)
    offers: list[AgentOffer] = msgspec.field(default_factory=list)
    handlings: list[Handling] = msgspec.field(default_factory=list)
    segments: list[Segment] = msgspec.field(default_factory=list)


ROW_KINDS: dict[str, type[Any]] = {
    "segments": Segment,
    "visits": Visit,
    "offers": AgentOffer,
    "handlings": Handling,
}
"""The rows of a story by the name of their list."""


def tell(entries: Iterable[Entry]) -> Story:
    """The story that entries of one `call_id`, in order, tell."""
    return tell_heard((entry, tell_entry(entry)) for entry in entries if entry.kind in KINDS)


def tell_heard(heard: Iterable[Heard]) -> Story:
    """The same of entries of `KINDS`, and others, each with what it tells."""
    teller = _Teller()
    for entry, told in heard:
        hear = _OF_CALLS.get(entry.kind)
        if hear is not None:
            hear(teller, entry, told)
    return teller.finish()


class _Teller:
    __slots__ = (
        "_closed",
        "_ended_at_s",
        "_endpoints",
        "_number_from",
        "_open",
        "_ringing",
        "_story",
        "_visits",
    )

    def __init__(self) -> None:
        self._story = Story()
        self._visits: dict[str, Visit] = {}  # the latest of each contact
        self._closed: set[str] = set()
        self._ringing: dict[str, AgentOffer] = {}
        self._open: dict[tuple[str, Name], Segment] = {}  # by kind and leg
        self._endpoints: dict[Name, tuple[str, str]] = {}  # leg -> role, endpoint
        self._ended_at_s: float | None = None
        self._number_from = ""

    def finish(self) -> Story:
        if self._ended_at_s is not None:
            if self._open:
                self._close_all(self._ended_at_s)
            for visit in self._visits.values():
                if visit.outcome == "waiting":
                    visit.outcome, visit.left_at_s = "lost", self._ended_at_s
                    visit.waited_s = max(0.0, self._ended_at_s - visit.entered_at_s)
            for offer in self._ringing.values():
                offer.ended_at_s, offer.outcome = self._ended_at_s, "lost"
        story = self._story
        for visit in story.visits:
            self._queue_segment(visit)
        for handling in story.handlings:
            same = (v.region for v in story.visits if v.contact_id == handling.contact_id)
            handling.region = max(same, default="")
        if len(story.segments) > 1:
            story.segments.sort(key=lambda segment: (segment.started_at_s, segment.seq))
        return story

    # -- contacts -------------------------------------------------------------------------------

    def hear_contact(self, entry: Entry, data: dict[str, Any]) -> None:
        contact = text_of(data.get("contact")) or entry.call_id or ""
        match entry.kind:
            case acd.QUEUED:
                self._queued(entry, contact, data)
            case acd.OFFERED:
                self._offered(entry, contact, data)
            case acd.OFFER_ENDED:
                self._offer_ended(text_of(data.get("offer")), entry.at_s, data.get("reason"))
            case acd.CONNECTED:
                self._connected(entry, contact, data)
            case acd.MOVED:
                self._moved(entry, contact, data)
            case acd.OVERFLOWED:
                visit = self._waiting(entry, contact, data)
                if visit is not None:
                    visit.reason = text_of(data.get("reason"))
                    visit.region = text_of(data.get("region")) or visit.region
            case acd.HANDLED:
                self._handled(entry, contact, data)
            case acd.CLOSED:
                self._closed_contact(entry, contact, data)

    def _queued(self, entry: Entry, contact: str, data: dict[str, Any]) -> None:
        queue = text_of(data.get("queue"))
        known = self._visits.get(contact)
        if known is not None and known.outcome == "waiting" and known.queue_id == queue:
            return  # put back at its place
        visit = self._enter(entry, contact, queue)
        self._describe(visit, data)
        if visit.reason == "":
            visit.reason = text_of(data.get("reason"))

    def _enter(self, entry: Entry, contact: str, queue: str) -> Visit:
        visit = Visit(entry.seq, contact, queue, entry.at_s, caller=self._number_from)
        former = self._visits.get(contact)
        if former is not None:
            if former.outcome == "waiting":
                former.outcome, former.left_at_s = "requeued", entry.at_s
            visit.caller, visit.customer_id = former.caller, former.customer_id
            visit.region, visit.priority, visit.media = former.region, former.priority, former.media
        self._visits[contact] = visit
        if len(self._story.visits) < ROWS_MAX:
            self._story.visits.append(visit)
        return visit

    def _describe(self, visit: Visit, data: dict[str, Any]) -> None:
        visit.media = text_of(data.get("media")) or visit.media
        visit.caller = text_of(data.get("caller")) or visit.caller
        visit.customer_id = text_of(data.get("customer")) or visit.customer_id
        visit.region = text_of(data.get("region")) or visit.region
        priority = number_of(data.get("priority"))
        if priority is not None:
            visit.priority = priority

    def _waiting(self, entry: Entry, contact: str, data: dict[str, Any]) -> Visit | None:
        """The visit that an entry is about: the contact's latest, or one that never lay in the line
        (a full or closed queue). None for what comes after a conversation."""
        visit = self._visits.get(contact)
        if visit is None or contact in self._closed:
            queue = text_of(data.get("queue")) or text_of(data.get("from_queue"))
            self._closed.discard(contact)
            visit = self._enter(entry, contact, queue)
            waited_s = number_of(data.get("waited_s"))
            if waited_s is not None:
                visit.entered_at_s = entry.at_s - waited_s
        return visit if visit.outcome == "waiting" else None

    def _leave(self, visit: Visit, entry: Entry, data: dict[str, Any], outcome: str) -> None:
        visit.outcome, visit.left_at_s = outcome, entry.at_s
        waited_s = number_of(data.get("waited_s"))
        visit.waited_s = entry.at_s - visit.entered_at_s if waited_s is None else waited_s
        visit.waited_s = max(0.0, visit.waited_s)
        visit.reason = text_of(data.get("reason")) or visit.reason

    def _moved(self, entry: Entry, contact: str, data: dict[str, Any]) -> None:
        visit = self._waiting(entry, contact, data)
        if visit is None or text_of(data.get("to_queue")) == visit.queue_id:
            return
        overflowed = text_of(data.get("reason")).startswith("overflow")
        self._leave(visit, entry, data, "overflowed" if overflowed else "requeued")

    def _connected(self, entry: Entry, contact: str, data: dict[str, Any]) -> None:
        self._offer_ended(text_of(data.get("offer")), entry.at_s, "answered")
        visit = self._waiting(entry, contact, data)
        if visit is None:
            return
        self._describe(visit, data)
        self._leave(visit, entry, data, "callback" if visit.media == "callback" else "answered")
        visit.answered_at_s = entry.at_s
        visit.agent_id = text_of(data.get("agent"))

    def _closed_contact(self, entry: Entry, contact: str, data: dict[str, Any]) -> None:
        outcome = text_of(data.get("outcome"))
        visit = self._waiting(entry, contact, data)
        if visit is not None and outcome in VISIT_OUTCOMES:
            self._leave(visit, entry, data, outcome)
        visit = self._visits[contact]
        if visit.outcome == "callback" and outcome.startswith("callback-"):
            visit.outcome = outcome
        self._closed.add(contact)

    # -- agents ---------------------------------------------------------------------------------

    def _offered(self, entry: Entry, contact: str, data: dict[str, Any]) -> None:
        queue = text_of(data.get("queue"))
        agent = text_of(data.get("agent"))
        offer_id = text_of(data.get("offer"))
        visit = self._visits.get(contact)
        if visit is not None:
            visit.offers += 1
            if visit.media == "ticket":
                return  # it is handed over: nobody is rung
        offer = AgentOffer(entry.seq, contact, agent, queue, offer_id, entry.at_s)
        self._ringing[offer_id] = offer
        if len(self._story.offers) < ROWS_MAX:
            self._story.offers.append(offer)

    def _offer_ended(self, offer_id: str, at_s: float, outcome: object) -> None:
        offer = self._ringing.pop(offer_id, None)
        if offer is not None:
            offer.ended_at_s, offer.outcome = at_s, text_of(outcome)

    def _handled(self, entry: Entry, contact: str, data: dict[str, Any]) -> None:
        ring_s, talk_s, hold_s, wrap_up_s = (
            max(0.0, number_of(data.get(name)) or 0.0)
            for name in ("ring_s", "talk_s", "hold_s", "wrap_up_s")
        )
        agent, queue = text_of(data.get("agent")), text_of(data.get("queue"))
        media, outcome = text_of(data.get("media")) or "call", text_of(data.get("outcome"))
        if len(self._story.handlings) < ROWS_MAX:
            self._story.handlings.append(
                Handling(
                    entry.seq,
                    contact,
                    agent,
                    queue,
                    media,
                    entry.at_s,
                    ring_s,
                    talk_s,
                    hold_s,
                    wrap_up_s,
                    outcome,
                )
            )
        visit = self._visits.get(contact)
        if outcome == "failed" and visit is not None and visit.agent_id == agent:
            # The two could not be joined: the contact is back at its place and still waits.
            visit.outcome, visit.agent_id = "waiting", ""
            visit.answered_at_s = visit.left_at_s = None
            visit.waited_s = 0.0
        if wrap_up_s > 0:
            segment = self._begin(entry.seq, "wrap-up", entry.at_s - wrap_up_s)
            segment.ended_at_s = entry.at_s
            segment.agent_id, segment.queue_id = agent, queue

    # -- the call -------------------------------------------------------------------------------

    def _call_started(self, entry: Entry, told: CallStarted) -> None:
        self._number_from = told.number_from

    def _leg_started(self, entry: Entry, told: OfLeg) -> None:
        self._endpoints[told.leg] = (told.role, told.endpoint)
        if told.role == "callee":
            self._open_segment(entry, "ring", told.leg)

    def _leg_answered(self, entry: Entry, told: OfLeg) -> None:
        leg = told.leg
        if self._endpoints.get(leg, _NOWHERE)[0] == "callee":
            self._close("ring", leg, entry.at_s, "answered")
            self._open_segment(entry, "talk", leg)

    def _held(self, entry: Entry, data: dict[str, Any]) -> None:
        self._open_segment(entry, "hold", name_of(data.get("leg")))

    def _resumed(self, entry: Entry, data: dict[str, Any]) -> None:
        self._close("hold", name_of(data.get("leg")), entry.at_s)

    def _consulting(self, entry: Entry, data: dict[str, Any]) -> None:
        segment = self._open_segment(entry, "consult", name_of(data.get("leg")))
        segment.name = text_of(data.get("number"))

    def _consulted(self, entry: Entry, data: dict[str, Any]) -> None:
        leg, outcome = name_of(data.get("leg")), text_of(data.get("outcome"))
        started_s = number_of(data.get("started_at_s"))
        if started_s is not None:  # in a call of its own, which became this one's
            self._consulting(entry, data)
            self._open["consult", leg].started_at_s = min(started_s, entry.at_s)
        self._close("consult", leg, entry.at_s, outcome)

    def _leg_ended(self, entry: Entry, told: LegEnded) -> None:
        if not self._open:
            return
        leg = told.leg
        at_s = entry.at_s if told.ended_at_s is None else told.ended_at_s
        self._close("ring", leg, at_s, text_of(told.status))
        self._close("talk", leg, at_s)
        self._close("hold", leg, at_s)

    def _routed(self, entry: Entry, told: CallRouted) -> None:
        self._close("app", None, entry.at_s)
        kind = _APPS.get(told.kind, "app")
        if kind:
            segment = self._open_segment(entry, kind, None, key="app")
            segment.name = told.name

    def _menu_left(self, entry: Entry, data: dict[str, Any]) -> None:
        self._close("app", None, entry.at_s, text_of(data.get("why")))

    def _call_ended(self, entry: Entry, told: CallEnded) -> None:
        if self._ended_at_s is None:
            self._ended_at_s = entry.at_s if told.ended_at_s is None else told.ended_at_s

    def _begin(self, seq: int, kind: str, started_s: float) -> Segment:
        segment = Segment(seq, kind, started_s)
        if len(self._story.segments) < ROWS_MAX:
            self._story.segments.append(segment)
        return segment

    def _open_segment(self, entry: Entry, kind: str, leg: Name, key: str = "") -> Segment:
        place = key or kind, leg
        if place in self._open:
            self._close(key or kind, leg, entry.at_s)
        segment = self._begin(entry.seq, kind, entry.at_s)
        if leg is not None:
            segment.leg, segment.endpoint = str(leg), self._endpoints.get(leg, _NOWHERE)[1]
        self._open[place] = segment
        return segment

    def _close(self, kind: str, leg: Name, at_s: float, outcome: str = "") -> None:
        segment = self._open.pop((kind, leg), None)
        if segment is not None:
            segment.ended_at_s = at_s if at_s > segment.started_at_s else segment.started_at_s
            if outcome:
                segment.outcome = outcome

    def _close_all(self, at_s: float) -> None:
        for kind, leg in list(self._open):
            self._close(kind, leg, at_s)

    def _queue_segment(self, visit: Visit) -> None:
        segment = self._begin(visit.seq, "queue", visit.entered_at_s)
        segment.ended_at_s, segment.outcome = visit.left_at_s, visit.outcome
        segment.queue_id, segment.agent_id = visit.queue_id, visit.agent_id


_OF_CALLS: dict[str, Callable[[_Teller, Entry, Any], None]] = {
    "call-started": _Teller._call_started,
    "leg-started": _Teller._leg_started,
    "leg-answered": _Teller._leg_answered,
    "leg-ended": _Teller._leg_ended,
    "call-routed": _Teller._routed,
    "call-held": _Teller._held,
    "call-resumed": _Teller._resumed,
    "consult-started": _Teller._consulting,
    "consult-ended": _Teller._consulted,
    "call-ended": _Teller._call_ended,
    "menu-left": _Teller._menu_left,
}
CALL_KINDS = frozenset(_OF_CALLS)
_OF_CALLS |= dict.fromkeys(acd.CONTACT_KINDS, _Teller.hear_contact)
KINDS = frozenset(_OF_CALLS)
"""The kinds a story is read from."""
