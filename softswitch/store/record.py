"""Call records, read from the journal's entries. Pure: the same entries give the same records."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from msgspec.structs import asdict

from softswitch.store.entry import Entry, clean, integer_of, text_of
from softswitch.store.told import (
    MEASURED,
    CallEnded,
    CallRouted,
    CallStarted,
    Heard,
    LegAnswered,
    LegEnded,
    LegMeasured,
    LegStarted,
    OfLeg,
    tell_entry,
)

STATUSES = ("open", "answered", "busy", "no-answer", "cancelled", "rejected", "failed", "lost")
LEGS_MAX = 64
RECORDINGS_MAX = 64


class CallRecord(msgspec.Struct):
    """One call as it is shown and billed.

    Times are wall-clock seconds since the epoch, None where it did not come to that; `duration_s`
    is talking time. `status` is one of `STATUSES` ("open" until the end), `cause` a word for why it
    ended, `q850` and `sip_status` the same in numbers. `legs` and `recordings` hold one JSON object
    each: leg (id), role, endpoint, sip_call_id, user_agent (what that telephone says it is), started_at_s,
    ringing_at_s, answered_at_s, ended_at_s, status, q850, by, quality; name, started_at_s, stopped_at_s,
    frames (at 8,000 a second), reason, deleted_at_s. `customer_id` and `customer_name`: who was calling, as it
    was known then; None and "" for nobody known. `origin` is "extension:1001", "trunk:carrier" or, of who is
    called back, "queue:support", `destination` where it was routed to first.
    `seq` orders calls by their start.
    """

    call_id: str
    seq: int
    started_at_s: float
    number_from: str = ""
    number_to: str = ""
    caller_name: str = ""
    direction: str = ""
    origin: str = ""
    destination: str = ""
    ringing_at_s: float | None = None
    answered_at_s: float | None = None
    ended_at_s: float | None = None
    duration_s: float = 0.0
    status: str = "open"
    cause: str = ""
    q850: int | None = None
    sip_status: int | None = None
    ended_by: str = ""
    legs: list[dict[str, Any]] = msgspec.field(default_factory=list)
    recordings: list[dict[str, Any]] = msgspec.field(default_factory=list)
    customer_id: int | None = None
    customer_name: str = ""

    @property
    def recording(self) -> str | None:
        """The first recording's name."""
        return self.recordings[0]["name"] if self.recordings else None

    @property
    def ended(self) -> bool:
        return self.ended_at_s is not None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {**asdict(self), "recording": self.recording}


def apply(record: CallRecord | None, entry: Entry) -> CallRecord | None:
    """The record after `entry`, changed in place; a new one where there was none. An entry that says
    nothing of a call, or of no kind known here, changes nothing."""
    if entry.kind not in KINDS or entry.call_id is None:
        return record
    return apply_all(record, [(entry, tell_entry(entry))])


def apply_all(record: CallRecord | None, heard: Iterable[Heard]) -> CallRecord | None:
    """The same for entries of one call in order, each with what it tells, which is not changed."""
    for entry, told in heard:
        change = _CHANGES.get(entry.kind)
        if change is not None:
            if record is None:
                # Not only at "call-started": a record must come of what a damaged journal still holds.
                record = CallRecord(clean(entry.call_id or ""), entry.seq, entry.at_s)
            change(record, told, entry.at_s)
    return record


def _known(record: CallRecord, data: dict[str, Any], at_s: float) -> None:
    record.customer_id = integer_of(data.get("id"))
    record.customer_name = text_of(data.get("name"))


def _routed(record: CallRecord, told: CallRouted, at_s: float) -> None:
    if not record.destination:
        record.destination = f"{told.kind}:{told.name}" if told.name else told.kind


def _answered(record: CallRecord, told: object, at_s: float) -> None:
    if record.answered_at_s is None:
        record.answered_at_s = at_s


def _start(record: CallRecord, told: CallStarted, at_s: float) -> None:
    record.started_at_s = at_s
    record.number_from = told.number_from
    record.number_to = told.number_to
    record.caller_name = told.caller_name
    record.direction = told.direction
    if told.queue:
        record.origin = f"queue:{told.queue}"
    elif told.trunk:
        record.origin = f"trunk:{told.trunk}"
    elif told.extension:
        record.origin = f"extension:{told.extension}"


def _end(record: CallRecord, told: CallEnded, at_s: float) -> None:
    if record.ended:
        return
    record.ended_at_s = ended_at_s = at_s if told.ended_at_s is None else told.ended_at_s
    record.q850 = told.q850
    record.sip_status = told.status
    record.ended_by = told.by
    record.status = _status(record, told.outcome)
    record.cause = told.outcome if told.cause is None else told.cause
    # The caller's measure is monotonic time; the difference of two wall times is what is left
    # after a crash, or when a clock was set meanwhile.
    if told.duration_s is not None:
        record.duration_s = max(0.0, told.duration_s)
    elif record.answered_at_s is not None:
        record.duration_s = max(0.0, ended_at_s - record.answered_at_s)


def _status(record: CallRecord, outcome: str) -> str:
    if outcome in STATUSES and outcome != "open":
        return outcome
    if record.answered_at_s is not None:
        return "answered"
    match record.sip_status:
        case 486 | 600:
            return "busy"
        case 408 | 480:
            return "no-answer"
        case 487:
            return "cancelled"
        case 603:
            return "rejected"
    return "failed"


def _leg(record: CallRecord, told: OfLeg, at_s: float) -> dict[str, Any] | None:
    """The leg that an entry is about, which may be the first to say so; None where there are too many."""
    number = told.leg
    for leg in record.legs:
        if leg["leg"] == number:
            if told.user_agent:
                leg.setdefault("user_agent", told.user_agent)
            return leg
    if len(record.legs) >= LEGS_MAX or number is None:
        return None
    leg = {
        "leg": number,
        "role": told.role,
        "endpoint": told.endpoint,
        "started_at_s": at_s,
    }
    if told.user_agent:
        leg["user_agent"] = told.user_agent
    record.legs.append(leg)
    return leg


def _leg_started(record: CallRecord, told: LegStarted, at_s: float) -> None:
    leg = _leg(record, told, at_s)
    if leg is not None and told.sip_call_id:
        leg.setdefault("sip_call_id", told.sip_call_id)


def _leg_rang(record: CallRecord, told: OfLeg, at_s: float) -> None:
    leg = _leg(record, told, at_s)
    if leg is not None:
        leg.setdefault("ringing_at_s", at_s)
        if record.ringing_at_s is None:
            record.ringing_at_s = at_s


def _leg_answered(record: CallRecord, told: LegAnswered, at_s: float) -> None:
    leg = _leg(record, told, at_s)
    if leg is not None:
        leg.setdefault("answered_at_s", at_s)
        if told.codec:
            leg["codec"] = told.codec


def _leg_ended(record: CallRecord, told: LegEnded, at_s: float) -> None:
    leg = _leg(record, told, at_s)
    if leg is not None:
        leg.setdefault("ended_at_s", at_s if told.ended_at_s is None else told.ended_at_s)
        leg["status"] = told.status if isinstance(told.status, int) else None
        leg["q850"] = told.q850 if told.cause is None else told.cause
        leg["by"] = told.by


def _leg_measured(record: CallRecord, told: LegMeasured, at_s: float) -> None:
    leg = _leg(record, told, at_s)
    if leg is not None:
        leg["quality"] = told.quality


def _recording_started(record: CallRecord, data: dict[str, Any], at_s: float) -> None:
    if len(record.recordings) < RECORDINGS_MAX:
        record.recordings.append({"name": text_of(data.get("name")), "started_at_s": at_s})


def _recording_stopped(record: CallRecord, data: dict[str, Any], at_s: float) -> None:
    name = text_of(data.get("name"))
    recording = next((r for r in record.recordings if r["name"] == name), None)
    if recording is None:
        _recording_started(record, data, at_s)
        recording = next((r for r in record.recordings if r["name"] == name), None)
    if recording is not None:
        recording["stopped_at_s"] = at_s
        recording["frames"] = integer_of(data.get("frames"))
        recording["reason"] = text_of(data.get("reason"))


def _recording_archived(record: CallRecord, data: dict[str, Any], at_s: float) -> None:
    for recording in record.recordings:
        if recording["name"] == text_of(data.get("name")):
            recording["name"] = text_of(data.get("stored"))


def _recording_deleted(record: CallRecord, data: dict[str, Any], at_s: float) -> None:
    for recording in record.recordings:
        if recording["name"] == text_of(data.get("name")):
            recording["deleted_at_s"] = at_s


_CHANGES: dict[str, Callable[[CallRecord, Any, float], object]] = {
    "leg-started": _leg_started,
    "leg-ringing": _leg_rang,
    "leg-answered": _leg_answered,
    "leg-ended": _leg_ended,
    MEASURED: _leg_measured,
    "call-started": _start,
    "call-customer": _known,
    "call-routed": _routed,
    "call-answered": _answered,
    "call-ended": _end,
    "recording-started": _recording_started,
    "recording-stopped": _recording_stopped,
    "recording-archived": _recording_archived,
    "recording-deleted": _recording_deleted,
}

KINDS = frozenset(_CHANGES)
"""The kinds that change a record; all others are only journaled."""
