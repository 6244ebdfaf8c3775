"""What entries tell of calls, as objects with fields: texts clean and bounded, numbers within their bounds,
whatever was journaled. Nearly all entries are plain; msgspec makes the object of their text in one step."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Annotated, Any, NamedTuple, TypeAlias, get_type_hints

import msgspec

from softswitch.store.entry import TEXT_MAX, Entry, integer_of, number_of, text_of

Whole: TypeAlias = Annotated[int, msgspec.Meta(gt=-(1 << 31), lt=1 << 31)] | None
Number: TypeAlias = Annotated[float, msgspec.Meta(gt=-1e15, lt=1e15)] | None
Name: TypeAlias = int | str | None
"""A leg: its number, where somebody else writes entries a text."""
Status: TypeAlias = Annotated[int, msgspec.Meta(gt=-(1 << 31), lt=1 << 31)] | str | None
Word: TypeAlias = str | None


class CallStarted(msgspec.Struct, gc=False):
    number_from: str = ""
    number_to: str = ""
    caller_name: str = ""
    direction: str = ""
    extension: str = ""
    trunk: str = ""
    queue: str = ""


class CallRouted(msgspec.Struct, gc=False):
    kind: str = ""
    name: str = ""


class CallAnswered(msgspec.Struct, gc=False):
    pass


class CallEnded(msgspec.Struct, gc=False):
    by: str = ""
    status: Whole = None
    q850: Whole = None
    outcome: str = ""
    duration_s: Number = None
    cause: Word = None
    ended_at_s: Number = None


class OfLeg(msgspec.Struct, gc=False):
    """Any entry of a leg may be the first that there is of it."""

    leg: Name = None
    role: str = ""
    endpoint: str = ""
    user_agent: str = ""


class LegStarted(OfLeg, gc=False):
    sip_call_id: str = ""


class LegAnswered(OfLeg, gc=False):
    codec: str = ""


class LegEnded(OfLeg, gc=False):
    by: str = ""
    status: Status = None
    cause: Whole = None
    q850: Whole = None
    ended_at_s: Number = None


class LegMeasured(OfLeg, gc=False):
    """`quality`: the figures by their names, or the JSON object of them."""

    quality: dict[str, Any] | msgspec.Raw = msgspec.field(default_factory=dict)


class _Measured(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """What call control says of a leg's quality."""

    leg: int
    packets_in: int | float | None = None
    packets_out: int | float | None = None
    lost: int | float | None = None
    late: int | float | None = None
    jitter_ms: int | float | None = None
    round_trip_ms: int | float | None = None
    mos: int | float | None = None
    remote_lost: int | float | None = None
    remote_jitter_ms: int | float | None = None
    remote_mos: int | float | None = None


_KINDS: dict[str, type[msgspec.Struct]] = {
    "call-started": CallStarted,
    "call-routed": CallRouted,
    "call-answered": CallAnswered,
    "call-ended": CallEnded,
    "leg-started": LegStarted,
    "leg-ringing": OfLeg,
    "leg-answered": LegAnswered,
    "leg-ended": LegEnded,
}
MEASURED = "leg-quality"
_LEG = '{"leg":'


def name_of(value: object) -> int | str | None:
    """A particular as a leg; None where it is none."""
    return value if isinstance(value, int) else text_of(value) if isinstance(value, str) else None


def _status(value: object) -> int | str | None:
    whole = integer_of(value)
    return text_of(value) if whole is None and value is not None else whole


def _word(value: object) -> str | None:
    return text_of(value) if isinstance(value, str) else None


_READERS: dict[Any, Callable[[object], Any]] = {
    str: text_of,
    Whole: integer_of,
    Number: number_of,
    Name: name_of,
    Status: _status,
    Word: _word,
}
_FIELDS = {
    kind: [
        (name, _READERS[hint]) for name, hint in get_type_hints(told, include_extras=True).items()
    ]
    for kind, told in _KINDS.items()
}


def told_of(kind: str, data: dict[str, Any]) -> Any:
    """What an entry of a kind tells by its particulars: one of the objects above, or the particulars
    themselves where the kind has none."""
    if kind == MEASURED:
        quality = {text_of(key): value for key, value in data.items() if key != "leg"}
        return LegMeasured(name_of(data.get("leg")), quality=quality)
    told = _KINDS.get(kind)
    if told is None:
        return data
    return told(**{name: read(data[name]) for name, read in _FIELDS[kind] if name in data})


_decode = msgspec.json.Decoder().decode
_decode_measured = msgspec.json.Decoder(_Measured).decode
_DECODERS = {kind: msgspec.json.Decoder(told).decode for kind, told in _KINDS.items()}
_DAMAGED = (ValueError, TypeError, RecursionError)


def tell_entry(entry: Entry) -> Any:
    """What an entry tells, by the surest way."""
    return told_of(entry.kind, entry.data())


def _measured(text: str) -> LegMeasured:
    leg = _decode_measured(text).leg
    if text.startswith(_LEG):
        return LegMeasured(leg, quality=msgspec.Raw("{" + text[text.index(",") + 1 :]))
    raise ValueError


class OfCall(NamedTuple):
    """Entries of one call in their order, each with what it tells, and the kinds among them."""

    heard: list[Heard]
    kinds: set[str]


Heard: TypeAlias = tuple[Entry, Any]
"""An entry and what it tells."""
HeardByCall: TypeAlias = dict[str, OfCall]
"""What was heard of each call, the calls in the order of their first entry."""


def hear(entries: Iterable[Entry], kinds: Collection[str]) -> HeardByCall:
    """Read those entries of calls that are of `kinds`, each as `tell_entry` does, but where it is plain in one
    step."""
    found: HeardByCall = {}
    for entry in entries:
        kind, call_id = entry.kind, entry.call_id
        if kind not in kinds or call_id is None:
            continue
        told: Any
        try:
            decode = _DECODERS.get(kind)
            if decode is None:
                told = _measured(entry.text) if kind == MEASURED else entry.data()
            else:
                text = entry.text
                # Then its texts are clean as they stand, and none is too long.
                if len(text) <= TEXT_MAX and text.isascii() and "\\" not in text:
                    told = decode(text)
                else:
                    told = tell_entry(entry)
        except _DAMAGED:
            told = tell_entry(entry)
        if call_id in found:
            heard, kinds_heard = found[call_id]
        else:
            heard, kinds_heard = found[call_id] = OfCall([], set())
        heard.append((entry, told))
        kinds_heard.add(kind)
    return found
