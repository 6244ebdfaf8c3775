"""A call's way through queues in words, from its journal entries: ``softswitch why``. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from routing.explain import chosen, words
from softswitch.store import acd

Told = tuple[float, str, dict[str, Any]]
"""Wall time, kind and particulars of an entry."""

_OFFER_ENDS = {
    "no-answer": "did not answer in time",
    "answered-elsewhere": "was not needed: another agent answered",
    "abandoned": "was no longer needed: the caller had left",
    "withdrawn": "was no longer needed: the caller was taken out of the queue",
    "callback": "was no longer needed: the caller is called back instead",
    "overflow": "was no longer needed: the caller went elsewhere",
    "late": "answered too late",
    "busy": "was busy",
    "rejected": "declined",
    "unreachable": "could not be reached",
    "failed": "could not be reached",
    "agent hung up": "answered, and hung up again",
}
_REFUSALS = {
    "full": "as many wait as may",
    "closed": "it is closed at this hour",
    "max-wait": "he had waited as long as callers may",
    "empty": "no agent was at work",
    "removed": "the queue is no longer there",
}


def tell(entries: Iterable[Told]) -> Iterator[str]:
    """One line or more an entry that says why; times count from the first entry."""
    first_s: float | None = None
    for at_s, kind, data in entries:
        if first_s is None:
            first_s = at_s
        for number, line in enumerate(_lines(kind, data)):
            time = f"{at_s - first_s:9.1f} s  " if number == 0 else " " * 13
            yield time + line


def _lines(kind: str, data: dict[str, Any]) -> list[str]:
    match kind:
        case "call-started":
            return [f"{data.get('number_from')} called {data.get('number_to')}."]
        case "call-routed":
            return [f"It went to {data.get('kind')} {data.get('name')}.".replace(" .", ".")]
        case "call-refused":
            return [f"It was refused: {data.get('why')} ({data.get('status')})."]
        case "menu-left":
            pressed = data.get("pressed") or "nothing"
            return [f"In the menu {data.get('menu')} he pressed {pressed}: {data.get('to')}."]
        case "flow-asked":
            got = "an answer" if data.get("answered") else "no answer"
            return [f"Asked {data.get('url')}: {got} after {_seconds(data.get('took_s'))}."]
        case "flow-left":
            steps = " -> ".join(str(step) for step in data.get("steps") or ())
            to = data.get("to") or "nowhere, he hung up"
            return [f"In the flow {data.get('flow')} he came by {steps}: {to}."]
        case "transfer":
            return [f"{data.get('by')} transferred it to {data.get('to')} ({data.get('how')})."]
        case "consult-started":
            return [f"A third is consulted: {data.get('number')}."]
        case "consult-ended":
            whom = f" with {data['number']}" if data.get("number") else ""
            return [f"The consultation{whom} is over: {data.get('outcome')}."]
        case "call-ended":
            return [f"The call ended: {data.get('outcome')}, by {data.get('by')}."]
        case "survey":
            score = data.get("score")
            return [f"Asked how satisfied he was: {'no answer' if score is None else score}."]
        case "acd-callback-dialled":
            return [
                f"{data.get('number')} was called back for {data.get('queue')}, "
                f"attempt {data.get('attempt')}."
            ]
        case acd.OFFERED:
            return _offered(data)
        case _:
            line = _contact_line(kind, data)
            return [line] if line else []


def _offered(data: dict[str, Any]) -> list[str]:
    why = data.get("why")
    if not isinstance(why, dict):
        return [f"{data.get('agent')} was rung for it."]
    lines = words(why)
    try:
        contact, agent = chosen(why)
        same = (contact, agent) == (why["contact_id"], why["agent_id"])
    except (KeyError, IndexError, TypeError, ValueError):
        same = False
    verdict = "gives the same agent" if same else "DOES NOT give the same agent"
    return [*lines, f"Decided again from this record: {verdict}."]


def _contact_line(kind: str, data: dict[str, Any]) -> str:
    agent, queue = data.get("agent"), data.get("queue")
    match kind:
        case acd.QUEUED:
            kept = {"resumed": " (his old place)", "callback-replaced": " (his callback's place)"}
            return (
                f"Waits in {queue} at place {data.get('position')}"
                f"{kept.get(data.get('reason', ''), '')}."
            )
        case acd.OFFER_ENDED:
            reason = str(data.get("reason"))
            return f"{agent} {_OFFER_ENDS.get(reason, f'was not needed any more: {reason}')}."
        case acd.CONNECTED:
            return f"{agent} took it after {_seconds(data.get('waited_s'))}."
        case acd.MOVED:
            return (
                f"Moved from {data.get('from_queue')} to {data.get('to_queue')}: "
                f"{data.get('reason')}."
            )
        case acd.OVERFLOWED:
            reason = str(data.get("reason"))
            to = data.get("target") or "nowhere"
            return f"{queue} sent it to {to}: {_REFUSALS.get(reason, reason)}."
        case acd.HANDLED:
            return (
                f"{agent} is done with it ({data.get('outcome')}): "
                f"talk {_seconds(data.get('talk_s'))}, hold {_seconds(data.get('hold_s'))}, "
                f"wrap-up {_seconds(data.get('wrap_up_s'))}."
            )
        case acd.CLOSED:
            ends = [str(part) for part in (data.get("outcome"), data.get("reason")) if part]
            return f"{queue} is done with it: {', '.join(ends)}."
        case acd.AGENT_STATE if data.get("contact"):
            reason = f" ({data['reason']})" if data.get("reason") else ""
            return f"{agent} is {data.get('new')}{reason}."
    return ""


def _seconds(value: object) -> str:
    return f"{value:.1f} s" if isinstance(value, int | float) else "?"
