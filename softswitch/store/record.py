"""Call records, read from the journal's entries. Pure: the same entries give the same records."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from softswitch.store.entry import Entry, clean, integer_of, number_of, text_of

STATUSES = ("open", "answered", "busy", "no-answer", "cancelled", "rejected", "failed", "lost")
LEGS_MAX = 64
RECORDINGS_MAX = 64
_QUALITY = frozenset(
    {
        "packets_in",
        "packets_out",
        "lost",
        "late",
        "jitter_ms",
        "round_trip_ms",
        "mos",
        "remote_lost",
        "remote_jitter_ms",
        "remote_mos",
    }
)
"""What call control says of a leg's quality."""


@dataclass(slots=True)
class CallRecord:
    """One call as it is shown and billed.

    Times are wall-clock seconds since the epoch, None where it did not come to that; `duration_s`
    is talking time. `status` is one of `STATUSES` ("open" until the end), `cause` a word for why it
    ended, `q850` and `sip_status` the same in numbers. `legs` and `recordings` hold one JSON object
    each: leg (id), role, endpoint, started_at_s, ringing_at_s, answered_at_s, ended_at_s, status, q850, by,
    quality; name, started_at_s, stopped_at_s, frames (at 8,000 a
    second), reason, deleted_at_s. `customer_id` and `customer_name`: who was calling, as it was known
    then; None and "" for nobody known. `origin` is "extension:1001",
    "trunk:carrier" or, of who is called back, "queue:support", `destination` where it was routed to first.
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
    legs: list[dict[str, Any]] = field(default_factory=list)
    recordings: list[dict[str, Any]] = field(default_factory=list)
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


def apply(
    record: CallRecord | None, entry: Entry, data: dict[str, Any] | None = None
) -> CallRecord | None:
    """The record after `entry`, changed in place; a new one where there was none. An entry that says
    nothing of a call, or of no kind known here, changes nothing. `data`: its particulars, where they are read
    already; they are not changed."""
    if entry.kind not in KINDS or entry.call_id is None:
        return record
    if record is None:
        # Not only at "call-started": a record must come of what a damaged journal still holds.
        record = CallRecord(clean(entry.call_id), entry.seq, entry.at_s)
    _CHANGES[entry.kind](record, entry.data() if data is None else data, entry.at_s)
    return record


def apply_all(
    record: CallRecord | None, heard: Iterable[tuple[Entry, dict[str, Any]]]
) -> CallRecord | None:
    """The same for entries of one call in order, each with its particulars."""
    for entry, data in heard:
        change = _CHANGES.get(entry.kind)
        if change is not None:
            if record is None:
                record = CallRecord(clean(entry.call_id or ""), entry.seq, entry.at_s)
            change(record, data, entry.at_s)
    return record


def _known(record: CallRecord, data: dict[str, Any], at_s: float) -> None:
    record.customer_id = integer_of(data.get("id"))
    record.customer_name = text_of(data.get("name"))


def _routed(record: CallRecord, data: dict[str, Any], at_s: float) -> None:
    if not record.destination:
        kind, name = text_of(data.get("kind")), text_of(data.get("name"))
        record.destination = f"{kind}:{name}" if name else kind


def _answered(record: CallRecord, data: dict[str, Any], at_s: float) -> None:
    if record.answered_at_s is None:
        record.answered_at_s = at_s


def _start(record: CallRecord, data: dict[str, Any], at_s: float) -> None:
    record.started_at_s = at_s
    record.number_from = text_of(data.get("number_from"))
    record.number_to = text_of(data.get("number_to"))
    record.caller_name = text_of(data.get("caller_name"))
    record.direction = text_of(data.get("direction"))
    for key in ("extension", "trunk", "queue"):
        if data.get(key):
            record.origin = f"{key}:{text_of(data[key])}"


def _end(record: CallRecord, data: dict[str, Any], at_s: float) -> None:
    if record.ended:
        return
    ended_at_s = number_of(data.get("ended_at_s"))
    record.ended_at_s = at_s if ended_at_s is None else ended_at_s
    record.q850 = integer_of(data.get("q850"))
    record.sip_status = integer_of(data.get("status"))
    record.ended_by = text_of(data.get("by"))
    record.status = _status(record, text_of(data.get("outcome")))
    cause = data.get("cause")
    record.cause = text_of(cause) if isinstance(cause, str) else text_of(data.get("outcome"))
    # The caller's measure is monotonic time; the difference of two wall times is what is left
    # after a crash, or when a clock was set meanwhile.
    measured_s = number_of(data.get("duration_s"))
    if measured_s is not None:
        record.duration_s = max(0.0, measured_s)
    elif record.answered_at_s is not None:
        record.duration_s = max(0.0, record.ended_at_s - record.answered_at_s)


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


def _leg(record: CallRecord, data: dict[str, Any], at_s: float) -> dict[str, Any] | None:
    """The leg that an entry is about, which may be the first to say so; None where there are too many."""
    number = data.get("leg")
    for leg in record.legs:
        if leg["leg"] == number:
            return leg
    if len(record.legs) >= LEGS_MAX or not isinstance(number, int | str):
        return None
    leg = {
        "leg": number if isinstance(number, int) else text_of(number),
        "role": text_of(data.get("role")),
        "endpoint": text_of(data.get("endpoint")),
        "started_at_s": at_s,
    }
    record.legs.append(leg)
    return leg


def _leg_rang(record: CallRecord, data: dict[str, Any], at_s: float) -> None:
    leg = _leg(record, data, at_s)
    if leg is not None:
        leg.setdefault("ringing_at_s", at_s)
        if record.ringing_at_s is None:
            record.ringing_at_s = at_s


def _leg_answered(record: CallRecord, data: dict[str, Any], at_s: float) -> None:
    leg = _leg(record, data, at_s)
    if leg is not None:
        leg.setdefault("answered_at_s", at_s)
        if data.get("codec"):
            leg["codec"] = text_of(data["codec"])


def _leg_ended(record: CallRecord, data: dict[str, Any], at_s: float) -> None:
    leg = _leg(record, data, at_s)
    if leg is not None:
        ended_at_s = number_of(data.get("ended_at_s"))
        leg.setdefault("ended_at_s", at_s if ended_at_s is None else ended_at_s)
        leg["status"] = integer_of(data.get("status"))
        leg["q850"] = integer_of(data.get("cause", data.get("q850")))
        leg["by"] = text_of(data.get("by"))


def _leg_measured(record: CallRecord, data: dict[str, Any], at_s: float) -> None:
    leg = _leg(record, data, at_s)
    if leg is not None:
        quality = dict(data)
        quality.pop("leg", None)
        leg["quality"] = quality if quality.keys() <= _QUALITY else _plain_keys(quality)


def _plain_keys(data: dict[str, Any]) -> dict[str, Any]:
    return {text_of(key): value for key, value in data.items()}


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


_CHANGES: dict[str, Callable[[CallRecord, dict[str, Any], float], object]] = {
    "leg-started": _leg,
    "leg-ringing": _leg_rang,
    "leg-answered": _leg_answered,
    "leg-ended": _leg_ended,
    "leg-quality": _leg_measured,
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
