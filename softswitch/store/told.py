"""What entries tell of calls, as objects with fields: texts clean and bounded, numbers within their bounds,
whatever was journaled. Nearly all entries are plain; msgspec makes the object of their text in one step."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Annotated, Any, NamedTuple, TypeAlias, get_type_hints

import msgspec

from softswitch.store.entry import TEXT_MAX, Entry, integer_of, number_of, text_of

Whole: TypeAlias = Annotated[int, msgspec.Meta(gt=-(1 << 31), lt=1 << 31)] | None
Number: TypeAlias = Annotated[float, msgspec.Meta(gt=-1e15, lt=1e15)] | None
Text: TypeAlias = Annotated[str, msgspec.Meta(max_length=TEXT_MAX)]
Name: TypeAlias = int | Text | None
"""A leg: its number, where somebody else writes entries a text."""
Status: TypeAlias = Annotated[int, msgspec.Meta(gt=-(1 << 31), lt=1 << 31)] | Text | None
Word: TypeAlias = Text | None


class CallStarted(msgspec.Struct, gc=False):
    number_from: Text = ""
    number_to: Text = ""
    caller_name: Text = ""
    direction: Text = ""
    extension: Text = ""
    trunk: Text = ""
    queue: Text = ""


class CallRouted(msgspec.Struct, gc=False):
    kind: Text = ""
    name: Text = ""


class CallAnswered(msgspec.Struct, gc=False):
    pass


class CallEnded(msgspec.Struct, gc=False):
    by: Text = ""
    status: Whole = None
    q850: Whole = None
    outcome: Text = ""
    duration_s: Number = None
    cause: Word = None
    ended_at_s: Number = None


class OfLeg(msgspec.Struct, gc=False):
    """Any entry of a leg may be the first that there is of it."""

    leg: Name = None
    role: Text = ""
    endpoint: Text = ""
    user_agent: Text = ""


class LegStarted(OfLeg, gc=False):
    sip_call_id: Text = ""


class LegAnswered(OfLeg, gc=False):
    codec: Text = ""


class LegEnded(OfLeg, gc=False):
    by: Text = ""
    status: Status = None
    cause: Whole = None
    q850: Whole = None
    ended_at_s: Number = None


class LegMeasured(OfLeg, gc=False):
    """`quality`: the figures by their names, or the JSON object of them."""

    quality: dict[str, Any] | msgspec.Raw = msgspec.field(default_factory=dict)


class _Measured(msgspec.Struct, gc=False):
    """What is asked of a leg's quality: which leg it is."""

    leg: int


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
    Text: text_of,
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
_DECODERS: dict[str, Callable[[str], Any]] = {
    kind: msgspec.json.Decoder(told).decode for kind, told in _KINDS.items()
}
_DAMAGED = (ValueError, TypeError, RecursionError, KeyError)


def tell_entry(entry: Entry) -> Any:
    """What an entry tells, by the surest way."""
    return told_of(entry.kind, entry.data())


def _measured(text: str) -> LegMeasured:
    """The figures of a leg's quality as the JSON that they are. Raises `ValueError` where it is not sure that
    they are as clean as they would be one by one."""
    leg = _decode_measured(text).leg
    if len(text) <= TEXT_MAX and text.startswith(_LEG):
        return LegMeasured(leg, quality=msgspec.Raw("{" + text[text.index(",") + 1 :]))
    raise ValueError


_DECODERS[MEASURED] = _measured


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
        kind = entry.kind
        if kind not in kinds:
            continue
        call_id = entry.call_id
        if call_id is None:
            continue
        text = entry.text
        told: Any
        try:
            # Without an escape all texts are clean as they stand; the decoder sees that none is too long.
            told = _DECODERS[kind](text) if "\\" not in text else tell_entry(entry)
        except _DAMAGED:
            told = tell_entry(entry)
        if call_id in found:
            heard, kinds_heard = found[call_id]
        else:
            heard, kinds_heard = found[call_id] = OfCall([], set())
        heard.append((entry, told))
        kinds_heard.add(kind)
    return found
