"""The ladder of a call: its legs side by side, the exchange between them, and what it decided. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

COLUMN = 32
_TIME = 11
_US = "softswitch"


def ladder(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Lines of the drawing.

    Parameters: `rows` in the order of time, each a message (``at_s``, ``received``, ``peer``,
    ``first_line``, ``cseq``, ``call_id``; ``leg`` and ``transport`` where known) or a decision (``at_s``,
    ``decided``: words). The leg that was there first is drawn on the left, all others on the right of the
    exchange.
    """
    rows = list(rows)
    legs: list[str] = []
    heads: dict[str, tuple[str, str]] = {}
    for row in rows:
        if "call_id" in row and row["call_id"] not in heads:
            legs.append(row["call_id"])
            place = f"{row.get('transport') or ''} {row['peer']}".strip()
            heads[row["call_id"]] = (str(row.get("leg") or ""), place)
    lanes = [*legs[:1], _US, *legs[1:]]
    heads[_US] = (_US, "")
    for line in (0, 1)[: 2 if legs else 1]:
        cells = (_fitting(heads[lane][line]).ljust(COLUMN) for lane in lanes)
        yield (" " * _TIME + "".join(cells)).rstrip()
    began_s = rows[0]["at_s"] if rows else 0.0
    us = lanes.index(_US) if legs else 0
    for row in rows:
        time = f"{row['at_s'] - began_s:9.3f}  "
        if "decided" in row:
            yield time + _verticals(len(lanes), us, "* " + row["decided"])
        else:
            yield time + _arrow(lanes, us, row)


def _fitting(text: str) -> str:
    """What there is room for at the head of a lane; of a long address the end, where its port is."""
    return text if len(text) <= COLUMN - 2 else f"…{text[3 - COLUMN :]}"


def _verticals(lanes: int, at: int, words: str) -> str:
    before = ("|".ljust(COLUMN)) * at
    return f"{before}{words}" if lanes else words


def _arrow(lanes: list[str], us: int, row: Mapping[str, Any]) -> str:
    lane = lanes.index(row["call_id"])
    left, right = min(lane, us), max(lane, us)
    to_right = row["received"] == (lane < us)
    width = COLUMN * (right - left) - 1
    body = f" {_what(row, width - 3)} ".center(width - 1, "-")
    shaft = f"{body}>" if to_right else f"<{body}"
    line = ["|".ljust(COLUMN)] * len(lanes)
    head = "".join(line[:left])
    tail = "".join(line[right:]).rstrip() if right < len(lanes) else ""
    return f"{head}|{shaft}{tail}"


def _what(row: Mapping[str, Any], room: int) -> str:
    """A request's method; a response's status, as much of its reason as there is room for, and its method."""
    first = str(row["first_line"])
    if not first.startswith("SIP/2.0 "):
        return first.partition(" ")[0][:room]
    method = f" ({str(row['cseq']).rpartition(' ')[2]})"[:room]
    reason = first.removeprefix("SIP/2.0 ")
    left = room - len(method)
    return (reason if len(reason) <= left else reason[: left - 1].rstrip() + "…") + method


def distinct(endpoints: Iterable[str]) -> Iterator[str]:
    """Names for the legs of a call, in the order in which these began: its endpoint, and for the second
    telephone of an extension, and the others, their number with it."""
    seen: Counter[str] = Counter()
    for endpoint in endpoints:
        seen[endpoint] += 1
        yield endpoint if seen[endpoint] == 1 else f"{endpoint} ({seen[endpoint]})"


def decisions(
    entries: Iterable[tuple[float, str, Mapping[str, Any]]],
) -> Iterator[tuple[float, str]]:
    """What a call's entries of the journal (time, kind, particulars) say that was decided, in words."""
    entries = list(entries)
    begun: dict[object, str] = {
        data.get("leg"): str(data.get("endpoint") or f"leg {data.get('leg')}")
        for _, kind, data in entries
        if kind == "leg-started"
    }
    legs = dict(zip(begun, distinct(begun.values()), strict=True))
    for at_s, kind, data in entries:
        leg = legs.get(data.get("leg"), f"leg {data.get('leg')}")
        words = _decision(kind, data, leg)
        if words is not None:
            yield at_s, words


def _decision(kind: str, data: Mapping[str, Any], leg: str) -> str | None:
    """An entry in words, None where nothing is to be drawn; `leg` is the one that it is about."""
    match kind:
        case "call-started":
            return f"call from {data.get('number_from')} to {data.get('number_to')}"
        case "call-routed":
            if data.get("kind") == "trunk":
                return f"goes outside, to {data.get('name')}"
            return f"goes to {data.get('kind')} {data.get('name')}".rstrip()
        case "call-refused":
            return f"refused: {data.get('why')} ({data.get('status')})"
        case "call-forwarded":
            return f"forwarded by {data.get('by')} to {data.get('to')}"
        case "transfer":
            return f"transfer ({data.get('how')}) by {data.get('by')} to {data.get('to')}"
        case "consult-started":
            return f"{leg} consults {data.get('number')}"
        case "consult-ended":
            return f"{leg} has consulted: {data.get('outcome')}"
        case "call-answered":
            return "the caller is answered"
        case "call-held":
            return f"{leg} holds"
        case "call-resumed":
            return f"{leg} resumes"
        case "recording-started":
            return f"recorded as {data.get('name')}"
        case "leg-ended":
            return f"{leg} is over: by {data.get('by')}, {data.get('status')}"
        case "call-ended":
            return f"ended by {data.get('by')}: {data.get('outcome')} (Q.850 {data.get('q850')})"
    if kind.startswith(("acd-", "conference-")) and kind != "acd-event":
        more = ", ".join(f"{k} {v}" for k, v in data.items() if isinstance(v, str | int) and v)
        return f"{kind.removeprefix('acd-')}: {more}"[:100]
    return None
