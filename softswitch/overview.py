"""What a running exchange shows of itself: `softswitch status`, and the picture of the API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from softswitch.sip.terse import RETRY_AFTER_MAX_S, RETRY_AFTER_MIN_S
from softswitch.sip.uri import write_host

if TYPE_CHECKING:
    from softswitch.call.call import Call
    from softswitch.switch import Switch
    from softswitch.worker_loads import WorkerLoads


def overview(
    switch: Switch, now_s: float, uptime_s: float, loads: WorkerLoads, *, people: bool = True
) -> dict[str, Any]:
    """Everything `status` shows, as plain values.

    Args:
        switch: The exchange.
        now_s: The monotonic time.
        uptime_s: How long it has been running.
        loads: What the media workers have reported.
        people: Whether telephones and agents have a row each; there may be thousands.
    """
    counters = switch.driver.counters
    return {
        "office": switch.office.office.name,
        "alarms": dict(switch.alarms),
        "restart": list(switch.book.restart),
        "uptime_s": uptime_s,
        "calls": switch.call_rows(),
        "registrations": switch.registrar.rows(now_s) if people else [],
        "hep": switch.hep.snapshot() if switch.hep is not None else None,
        "telemetry": switch.telemetry.snapshot() if switch.telemetry is not None else None,
        "lines": switch.lines.rows(),
        "trunks": switch.trunks.snapshot(),
        "transports": [
            {
                "name": each.name,
                "address": write_host(*each.local),
                **each.snapshot(),
            }
            for each in switch.driver.transports
        ],
        "workers": _worker_rows(switch, loads),
        "tables": switch.control.snapshot(),
        "recordings": switch.recordings.snapshot(),
        "apps": {
            **switch.catalogue.snapshot(),
            **switch.phone_requests.snapshot(),
            **switch.registrar.snapshot(),
        },
        "acd": switch.centre.snapshot(),
        "callers": switch.callers.snapshot(),
        "reports": reports_of(switch),
        "clerk": switch.clerk.snapshot() if switch.clerk is not None else {},
        "queues": switch.centre.queue_desk.rows(),
        "agents": switch.centre.agents.rows() if people else [],
        "sip": switch.stack.snapshot(),
        "gate": switch.gatekeeper.snapshot(),
        "bans": switch.gatekeeper.guard.bans(now_s),
        "refused": switch.gatekeeper.guard.refused(now_s),
        "floods": switch.floods.rows(now_s),
        "overload": {
            **switch.gatekeeper.overload.snapshot(),
            "retry_after_s": [RETRY_AFTER_MIN_S, RETRY_AFTER_MAX_S],
            "classes": [
                *switch.driver.intake.rows(now_s),
                _shed("strangers in a crowd, banned", dropped=counters.sieved),
                _shed("new connections", **_connections(switch)),
            ],
        },
        "media": switch.plane.snapshot(),
        "counters": {
            "received": counters.received,
            "sent": counters.sent,
            "sieved": counters.sieved,
            "stun_answered": counters.stun_answered,
            "exceptions": counters.exceptions + counters.stack_exceptions,
        },
    }


def reports_of(switch: Switch) -> dict[str, Any] | None:
    """How far the sums and columns are that reports are made of, as `store.adding_up.Progress.told`; None where
    they are all there."""
    return switch.store.journal.adding_up.told() if switch.store is not None else None


def _shed(title: str, **counts: int) -> dict[str, Any]:
    """What never had a rank, as a row like the others."""
    names = ("waiting", "wait_ms", "waited", "repeated", "dropped", "refused")
    return {"class": title, **dict.fromkeys(names, 0), **counts}


def _connections(switch: Switch) -> dict[str, int]:
    """Connections of strangers that were closed to make room, and those beyond a source's limits."""
    found = {"dropped": 0, "refused": 0}
    for transport in switch.driver.transports:
        counters = transport.snapshot()
        found["dropped"] += counters.get("displaced", 0)
        found["refused"] += counters.get("refused", 0)
    return found


def _worker_rows(switch: Switch, loads: WorkerLoads) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    workers = switch.plane.snapshot().get("workers")
    for row in workers if isinstance(workers, list) else ():
        rows.append({**row, **loads.row(row["worker"])})
    return rows


def call_row(call: Call, wall_s: float) -> dict[str, Any]:
    """One call that goes on, as plain values."""
    if call.answered_at_s is not None:
        state = "talking" if call.partner is not None else "answered"
    else:
        state = "ringing"
    return {
        "call_id": call.call_id,
        "from": call.number_from,
        "to": call.number_to,
        "state": state,
        "age_s": wall_s - call.started_at_s,
        "customer": call.known.told() if call.known is not None else None,
        "recording": call.recording_name if call.recording is not None else None,
        "legs": [leg.snapshot() for leg in call.legs.values()],
    }
