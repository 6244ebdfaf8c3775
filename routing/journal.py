"""Events to JSON-ready records and back, and the past told again: the same events, configuration and
seed give the same decisions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from routing import events
from routing.decisions import Decision, OfferTo
from routing.engine import AcdEngine
from routing.errors import RoutingError
from routing.explain import Why

_KINDS: dict[str, type[events.Event]] = {kind.__name__: kind for kind in events.Event.__args__}


def event_record(event: events.Event) -> dict[str, Any]:
    """`{"kind": "ContactArrived", ...}`. A calendar has no record: TypeError."""
    record: dict[str, Any] = msgspec.to_builtins(event)
    return {"kind": type(event).__name__, **record}


def event_of(record: dict[str, Any]) -> events.Event:
    """The event a record was made from; RoutingError when there is none such."""
    fields = dict(record)
    kind = _KINDS.get(str(fields.pop("kind", "")))
    if kind is None:
        raise RoutingError(f"no event {record.get('kind')!r}")
    try:
        return msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        raise RoutingError(f"record of {kind.__name__}: {error}") from error


Told = tuple[dict[str, Any], float]  # record, now_s


def replay(engine: AcdEngine, records: Iterable[Told]) -> Iterator[tuple[Told, list[Decision]]]:
    """Tell an engine (fresh, or restored from a snapshot) what happened; yields what it decides."""
    for record, now_s in records:
        yield (record, now_s), engine.handle(event_of(record), now_s)


def reason_for(engine: AcdEngine, records: Iterable[Told], offer_id: int) -> Why | None:
    """The full reason of one offer, decided again from the journal; None when it is not reached.
    The engine stands right after that decision, so everything can be asked of it."""
    for _, decisions in replay(engine, records):
        for decision in decisions:
            if isinstance(decision, OfferTo) and decision.offer_id == offer_id:
                return decision.why
    return None
