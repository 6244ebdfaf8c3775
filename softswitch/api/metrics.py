"""What Prometheus scrapes: read from the exchange when it is asked for, counted beside it only what no snapshot
has (quality of media, requests)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from routing.model import Media
from softswitch import __version__
from softswitch.apps.acd_figures import (
    Group,
    largest,
    region_groups,
    skill_groups,
    status_of,
)

if TYPE_CHECKING:
    from prometheus_client import Metric

    from softswitch.api.service import Service

AGENT_STATES = (
    "logged-out",
    "unavailable",
    "available",
    "offered",
    "on-contact",
    "wrap-up",
)
STORE: dict[str, tuple[str, bool]] = {
    "seq": ("Entries of the journal.", False),
    "database_seq": ("Of them, in the database.", False),
    "waiting": ("Entries that are not in the log yet.", False),
    "pending": ("Entries in the log that are not in the database yet.", False),
    "behind": ("1: the database may miss entries that the log has.", False),
    "calls_open": ("Calls whose records have no end yet.", False),
    "commits": ("Groups written to the database.", True),
    "lost": ("Entries that could not be kept.", True),
    "refused": ("Entries too large or malformed to be kept.", True),
    "damaged_lines": ("Lines of the log that could not be read.", True),
}
"""What the journal says of itself: in words, and whether it only grows."""

LABELS_MAX = 50
"""Regions and skills that have series of their own, those with most contacts; the others are one."""

NONE = "(none)"
"""Those of no region, or of queues that ask for no skill: an empty label is none."""

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(slots=True)
class Spread:
    """A histogram. `bounds` ascending."""

    bounds: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def note(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative, as Prometheus has them."""
        found, seen = [], 0
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            seen += count
            found.append(("+Inf" if bound == float("inf") else f"{bound:g}", float(seen)))
        return found


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


COUNTED = frozenset({"call-ended", "leg-quality"})
"""Entries of the journal that `Counted` wants to hear of."""


class Counted:
    """What is counted as it happens."""

    def __init__(self) -> None:
        self.mos = Spread((2.0, 2.5, 3.0, 3.5, 4.0, 4.2, 4.4))
        self.loss = Spread((0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2))
        self.jitter_s = Spread((0.005, 0.01, 0.02, 0.03, 0.05, 0.1))
        self.calls: dict[str, int] = {}
        self.requests: dict[tuple[str, str, int], int] = {}
        self.request_s = Spread(_SECONDS)

    def entry(self, kind: str, data: dict[str, Any]) -> None:
        """An entry of the journal."""
        if kind == "call-ended":
            outcome = str(data.get("outcome") or "other")[:32]
            self.calls[outcome] = self.calls.get(outcome, 0) + 1
        elif kind == "leg-quality":
            received, lost = data.get("packets_in") or 0, data.get("lost") or 0
            if received + lost > 0:
                self.loss.note(lost / (received + lost))
                self.jitter_s.note((data.get("jitter_ms") or 0.0) / 1000)
            if data.get("mos") is not None:
                self.mos.note(data["mos"])

    def request(self, method: str, route: str, status: int, took_s: float) -> None:
        """A request has been answered. `route` is the template, never what a stranger asked for."""
        key = (method if method in _METHODS else "other", route, status)
        self.requests[key] = self.requests.get(key, 0) + 1
        self.request_s.note(took_s)


def exposition(service: Service) -> bytes:
    """Everything, as Prometheus reads it."""
    from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Exchange(service))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


class _Exchange:
    """A collector of one scrape."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        snapshot = self._service.switch.snapshot(people=False)
        yield _gauge("build_info", "Which version this is: always 1.", "version", {__version__: 1})
        yield from self._calls(snapshot)
        yield from self._queues(snapshot)
        yield from self._network(snapshot)
        yield from self._media(snapshot)
        yield from self._machine(snapshot)

    def _calls(self, snapshot: dict[str, Any]) -> Iterator[Metric]:
        by_state: dict[str, int] = dict.fromkeys(("ringing", "answered", "talking"), 0)
        for call in snapshot["calls"]:
            by_state[call["state"]] = by_state.get(call["state"], 0) + 1
        yield _gauge("calls", "Calls that go on.", "state", by_state)
        yield _counter(
            "calls_ended", "Calls by how they ended.", "outcome", self._service.counted.calls
        )
        tables = snapshot["tables"]
        yield _counter("calls_started", "Calls since the start.", value=tables["total"])
        yield _counter("calls_broken", "Calls that a defect ended.", value=tables["broken"])
        yield _gauge("legs", "Legs of calls.", value=tables["legs"])

    def _queues(self, snapshot: dict[str, Any]) -> Iterator[Metric]:
        rows = {row["queue"]: row for row in snapshot["queues"]}
        for name, text in (
            ("waiting", "Callers who wait."),
            ("longest_wait_s", "How long the one has waited who came first."),
            ("tickets_waiting", "Tickets that wait."),
            ("answered", "Calls answered today."),
            ("abandoned", "Calls given up today."),
            ("flowed_out", "Calls that overflowed today."),
            ("target", "The share that is promised."),
        ):
            seconds = name.replace("_s", "_seconds") if name.endswith("_s") else name
            values = {queue: row[name] for queue, row in rows.items()}
            yield _gauge(f"queue_{seconds}", text, "queue", values)
        for name, text in (
            ("service_level", "Share answered in time today."),
            ("occupancy", "Share of its agents' time spent on contacts today."),
            ("occupancy_lately", "The same since the half-hour before this one began."),
        ):
            shares = {queue: row[name] for queue, row in rows.items() if row[name] is not None}
            yield _gauge(f"queue_{name}", text, "queue", shares)
        centre = self._service.switch.centre
        yield from _groups("region", largest(region_groups(centre), LABELS_MAX))
        yield from _groups("skill", largest(skill_groups(centre), LABELS_MAX))
        states = dict.fromkeys(AGENT_STATES, 0)
        states |= centre.agents.counts()
        yield _gauge("agents", "Agents by state.", "state", states)
        texts = [text for text in centre.contacts.all() if text.media is Media.TICKET]
        at_hand = sum(bool(text.agent) for text in texts)
        yield _gauge("tickets_at_hand", "Tickets that agents have.", value=at_hand)

    def _network(self, snapshot: dict[str, Any]) -> Iterator[Metric]:
        yield _gauge("registrations", "Phones.", value=snapshot["apps"]["registrar"]["bindings"])
        trunks = {row["name"]: row for row in snapshot["trunks"]}
        up = {
            name: float(row["state"] not in ("down", "half-open")) for name, row in trunks.items()
        }
        yield _gauge("trunk_up", "Whether a trunk is well.", "trunk", up)
        calls = {name: row["calls"] for name, row in trunks.items()}
        yield _gauge("trunk_calls", "Calls over a trunk.", "trunk", calls)
        refused = {name: row["refused"] for name, row in trunks.items()}
        yield _counter("trunk_refused", "Calls a trunk had no room for.", "trunk", refused)
        counters = snapshot["counters"]
        yield _counter("sip_received", "SIP messages received.", value=counters["received"])
        yield _counter("sip_sent", "SIP messages sent.", value=counters["sent"])
        yield _counter("exceptions", "Defects that were caught.", value=counters["exceptions"])
        yield _gauge("banned_sources", "Addresses not listened to.", value=len(snapshot["bans"]))
        if snapshot["hep"] is not None:
            text = "SIP messages for Homer; left out: strangers' beyond their share."
            yield _counter("hep_messages", text, "outcome", snapshot["hep"])
        gate = snapshot["gate"]
        yield _counter("sip_refused", "Requests without good credentials.", value=gate["refused"])

    def _media(self, snapshot: dict[str, Any]) -> Iterator[Metric]:
        workers = {str(row["worker"]): row for row in snapshot["workers"]}
        streams = {name: row["streams"] for name, row in workers.items()}
        yield _gauge("media_streams", "Streams of a worker.", "worker", streams)
        cpu = {name: row["cpu"] for name, row in workers.items()}
        yield _gauge("media_cpu", "Share of a core a worker uses.", "worker", cpu)
        for name, text in (
            ("gap", "Longest time of the last minute without a packet fetched, by worker."),
            ("gap_own", "What of that was the worker's own work."),
            ("gap_overslept", "What of that the machine woke it late."),
        ):
            seconds = {worker: row[f"{name}_ms"] / 1e3 for worker, row in workers.items()}
            yield _gauge(f"media_{name}_seconds", text, "worker", seconds)
        counted = self._service.counted
        yield _spread("media_mos", "Quality of each stream, estimated.", counted.mos)
        yield _spread("media_loss", "Share of packets lost of each stream.", counted.loss)
        yield _spread("media_jitter_seconds", "Jitter of each stream.", counted.jitter_s)

    def _machine(self, snapshot: dict[str, Any]) -> Iterator[Metric]:
        yield _gauge(
            "loop_lag_seconds", "Lateness of timers.", value=snapshot["overload"]["lag_ms"] / 1e3
        )
        turned = snapshot["overload"]["turned_away"]
        yield _counter("turned_away", "Requests refused by overload.", value=turned)
        classes = {row["class"]: row for row in snapshot["overload"]["classes"]}
        waiting = {name: row["waiting"] for name, row in classes.items()}
        yield _gauge("messages_waiting", "Messages read and not looked at.", "class", waiting)
        shed = {name: row["dropped"] + row["refused"] for name, row in classes.items()}
        yield _counter("messages_shed", "Messages dropped or answered 503.", "class", shed)
        yield from _turned_away(snapshot)
        yield _gauge("uptime_seconds", "Since the start.", value=snapshot["uptime_s"])
        alarms = dict.fromkeys(snapshot["alarms"], 1.0)
        yield _gauge("alarm", "Alarms that are raised.", "alarm", alarms)
        for name, value in self._service.store.snapshot().items():
            text, grows = STORE.get(name, ("Of the journal.", False))
            made = _counter if grows else _gauge
            yield made(f"store_{name}", text, value=value)
        yield _gauge("event_readers", "Event connections.", value=len(self._service.events.readers))
        yield _requests(self._service.counted.requests)
        yield _spread("http_request_seconds", "Time to answer.", self._service.counted.request_s)


FLOODS_MAX = 5
"""Addresses that have series of their own while they send most of what is dropped or refused."""


def _turned_away(snapshot: dict[str, Any]) -> Iterator[Metric]:
    """What of `messages_shed` was answered and what was not, by class, and from whom most of it came."""
    rows = {row["class"]: row for row in snapshot["overload"]["classes"]}
    connections = rows.pop("new connections")
    dropped = {name: row["dropped"] for name, row in rows.items()}
    yield _counter("messages_dropped", "Messages dropped by limits.", "class", dropped)
    later = {name: row["refused"] for name, row in rows.items()}
    later["calls over streams, the loop late"] = snapshot["gate"]["told_later"]
    later["no transaction or event free"] = snapshot["sip"]["overload"]
    text = "Requests answered 503 with Retry-After."
    yield _counter("requests_told_to_retry", text, "class", later)
    closed = {"displaced": connections["dropped"], "refused": connections["refused"]}
    text = "Connections of strangers closed to make room, and refused at once."
    yield _counter("connections_turned_away", text, "outcome", closed)
    most = {row["source"]: row["dropped"] + row["refused"] for row in snapshot["floods"]}
    text = "Messages dropped or refused within two minutes, of the addresses with most."
    yield _gauge("flood_messages", text, "source", dict(list(most.items())[:FLOODS_MAX]))


def _groups(per: str, groups: list[Group]) -> Iterator[Metric]:
    rows = [status_of(per, group) for group in groups]
    for name, text in (
        ("waiting", "Callers who wait."),
        ("tickets_waiting", "Tickets that wait."),
        ("entered", "Contacts that came today."),
        ("answered", "Contacts answered today."),
        ("abandoned", "Contacts given up today."),
        ("service_level", "Share answered in time today."),
        ("occupancy", "Share of its agents' time spent on contacts today."),
        ("occupancy_lately", "The same since the half-hour before this one began."),
    ):
        values = {row.name or NONE: getattr(row, name) for row in rows}
        known = {label: value for label, value in values.items() if value is not None}
        yield _gauge(f"{per}_{name}", f"{text} By {per}.", per, known)


def _gauge(
    name: str, text: str, label: str = "", values: Any = None, *, value: float = 0.0
) -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    return _filled(GaugeMetricFamily, name, text, label, values, value)


def _counter(
    name: str, text: str, label: str = "", values: Any = None, *, value: float = 0.0
) -> Metric:
    from prometheus_client.core import CounterMetricFamily

    return _filled(CounterMetricFamily, name, text, label, values, value)


def _filled(family: Any, name: str, text: str, label: str, values: Any, value: float) -> Metric:
    made: Metric = family(f"softswitch_{name}", text, labels=[label] if label else [])
    for key, each in values.items() if label else (("", value),):
        made.add_metric([key] if label else [], float(each))  # type: ignore[attr-defined]
    return made


def _spread(name: str, text: str, spread: Spread) -> Metric:
    from prometheus_client.core import HistogramMetricFamily

    return HistogramMetricFamily(
        f"softswitch_{name}", text, buckets=spread.buckets(), sum_value=spread.total
    )


def _requests(counts: dict[tuple[str, str, int], int]) -> Metric:
    from prometheus_client.core import CounterMetricFamily

    made = CounterMetricFamily(
        "softswitch_http_requests", "Requests answered.", labels=["method", "route", "status"]
    )
    for (method, route, status), count in counts.items():
        made.add_metric([method, route, str(status)], float(count))
    return made
