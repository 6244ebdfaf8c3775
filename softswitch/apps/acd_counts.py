"""What the queues have done since midnight of the office: for screens; reports read the journal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime, tzinfo
from typing import Any

from routing.decisions import Connect, ContactClosed, ContactMoved, Decision
from routing.stats import Ratio, ServiceCounts, service_level, tally

_COUNTED = (Connect, ContactClosed, ContactMoved)


class DayCounts:
    """Counts by queue. `within_s`, by queue, is what its service level promises; `zone` says when a
    day begins."""

    def __init__(self, within_s: Mapping[str, float], zone: tzinfo = UTC) -> None:
        self._within_s = within_s
        self._zone = zone
        self._day = ""
        self._counts: dict[str, ServiceCounts] = {}

    def promise(self, within_s: Mapping[str, float]) -> None:
        """Other promises from now on; what is counted stays counted."""
        self._within_s = within_s

    def use_zone(self, zone: tzinfo) -> None:
        """Days of another zone."""
        self._zone = zone

    def note(self, decision: Decision, unix_s: float) -> None:
        """Count one decision."""
        if not isinstance(decision, _COUNTED):
            return
        self._turn(unix_s)
        if isinstance(decision, ContactMoved):
            queue_id = decision.from_queue_id
        else:
            queue_id = decision.queue_id
        counts = self._counts.setdefault(queue_id, ServiceCounts())
        counts.add(tally([decision], self._within_s.get(queue_id, 20.0), queue_id))

    def of(self, queue_id: str, unix_s: float) -> ServiceCounts:
        """Today's counts of a queue."""
        self._turn(unix_s)
        return self._counts.get(queue_id, ServiceCounts())

    def level(self, queue_id: str, unix_s: float) -> Ratio:
        """Answered in time, of all that were answered or gave up, today."""
        return service_level(self.of(queue_id, unix_s))

    def _turn(self, unix_s: float) -> None:
        day = datetime.fromtimestamp(unix_s, self._zone).date().isoformat()
        if day != self._day:
            self._day = day
            self._counts.clear()

    def snapshot(self) -> dict[str, Any]:
        return {
            "day": self._day,
            "queues": {name: asdict(counts) for name, counts in self._counts.items()},
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Take over what `snapshot` gave; what is not understood is left out."""
        self._day = str(snapshot.get("day", ""))
        for name, counts in dict(snapshot.get("queues") or {}).items():
            known = {k: int(v) for k, v in counts.items() if k in ServiceCounts.__annotations__}
            self._counts[str(name)] = ServiceCounts(**known)
