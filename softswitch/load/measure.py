"""What a run has measured: counters, distributions, seconds, faults with examples. Pure, mergeable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from softswitch.load.histogram import Histogram
from softswitch.load.streams import StreamFacts
from softswitch.load.verdict import Finding, mos

_Kept = TypeVar("_Kept")

EXAMPLES_MAX = 5
WRONG_MAX = 2000
CAUSES_MAX = 100
TIMES = ("setup", "ring", "bye", "register", "late", "answer_wait", "options")
"""Distributions, in us."""
_OTHERS = ("delay", "jitter", "mos", "pacer_late", "matched", "pesq")


@dataclass(slots=True)
class Second:
    """One second of a run."""

    at_s: int
    counts: Counter[str] = field(default_factory=Counter)
    setup: Histogram = field(default_factory=Histogram)
    delay: Histogram = field(default_factory=Histogram)
    live: int = 0
    cpu: float = 0.0
    late_ms: float = 0.0
    mos_sum: float = 0.0
    streams: int = 0
    lost: int = 0
    packets: int = 0
    target_cpu: float = 0.0
    target_kb: int = 0

    def merge(self, other: Second) -> None:
        """Add another generator's same second."""
        self.counts.update(other.counts)
        self.setup.merge(other.setup)
        self.delay.merge(other.delay)
        self.live += other.live
        self.cpu = max(self.cpu, other.cpu)
        self.late_ms = max(self.late_ms, other.late_ms)
        self.mos_sum += other.mos_sum
        self.streams += other.streams
        self.lost += other.lost
        self.packets += other.packets

    def as_dict(self) -> dict[str, Any]:
        """JSON types; `from_dict` reads them."""
        plain = {key: getattr(self, key) for key in _SECOND_PLAIN}
        return {
            **plain,
            "counts": dict(self.counts),
            "setup": self.setup.as_dict(),
            "delay": self.delay.as_dict(),
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Second:
        """What `as_dict` has written."""
        return cls(
            **{key: state[key] for key in _SECOND_PLAIN},
            counts=Counter(state["counts"]),
            setup=Histogram.from_dict(state["setup"]),
            delay=Histogram.from_dict(state["delay"]),
        )


_SECOND_PLAIN = (
    "at_s", "live", "cpu", "late_ms", "mos_sum", "streams", "lost", "packets", "target_cpu",
    "target_kb",
)  # fmt: skip


class Meter:
    """Filled by one generator; `merge` adds another's."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.times: dict[str, Histogram] = {key: Histogram() for key in TIMES}
        self.delay = Histogram()
        self.jitter = Histogram()
        self.mos = Histogram()
        self.pacer_late = Histogram()
        self.matched = Histogram()
        self.pesq = Histogram()
        self.causes: Counter[str] = Counter()
        self.ladders: dict[str, list[dict[str, Any]]] = {}
        self.findings: Counter[str] = Counter()
        self.examples: dict[str, list[str]] = {}
        self.wrong: list[tuple[int, int]] = []
        self.seconds: dict[int, Second] = {}
        self.said_s: dict[str, float] = {}
        """When the last SIP message has passed, "in" and "out", since the first call was due."""
        self.cpu_s = 0.0
        self.cpu_peak = 0.0
        self.precise = True
        self.custom: dict[str, Histogram] = {}

    # -- filling ---------------------------------------------------------------------------------

    def second(self, at_s: float) -> Second:
        """The second in which `at_s` (since the start) lies."""
        number = max(0, int(at_s))
        found = self.seconds.get(number)
        if found is None:
            found = self.seconds[number] = Second(number)
        return found

    def count(self, what: str, at_s: float, many: int = 1) -> None:
        """Something has happened."""
        self.counts[what] += many
        self.second(at_s).counts[what] += many

    def time(self, what: str, us: float, at_s: float) -> None:
        """Something took so long."""
        self.times[what].add(us)
        if what == "setup":
            self.second(at_s).setup.add(us)

    def note(self, name: str, us: float) -> None:
        """A scenario's own measurement, in us, under any name."""
        if name in self.custom or len(self.custom) < CAUSES_MAX:
            self.custom.setdefault(name, Histogram()).add(us)

    def failure(
        self, cause: str, ladder: list[dict[str, Any]] | None = None, call_id: str = ""
    ) -> None:
        """A call has failed; the ladders of the first few of each cause are kept."""
        if cause not in self.causes and len(self.causes) >= CAUSES_MAX:
            cause = "other"
        self.causes[cause] += 1
        kept = self.ladders.setdefault(cause, [])
        if ladder and len(kept) < EXAMPLES_MAX:
            kept.append({"call_id": call_id, "messages": ladder})

    def stream(self, facts: StreamFacts, at_s: float) -> None:
        """A stream has ended."""
        self.counts["streams"] += 1
        self.counts["packets_received"] += facts.received
        self.counts["packets_sent"] += facts.sent
        self.counts["packets_lost"] += max(facts.lost, 0)
        self.counts["packets_duplicated"] += facts.duplicates + facts.replays
        self.counts["packets_forged"] += facts.forged
        self.counts["streams_sealed"] += facts.sealed
        self.counts["packets_reordered"] += facts.reordered
        self.counts["packets_stamped"] += facts.stamped
        if not facts.received:
            return
        self.counts["streams_heard"] += 1
        self.jitter.add(facts.jitter_ms * 1000)
        if not facts.stamped and facts.delay_ms is not None:
            self.delay.add(facts.delay_ms * 1000)
        score = mos(facts)
        self.mos.add(score * 1000)
        second = self.second(at_s)
        second.mos_sum += score
        second.streams += 1
        second.lost += max(facts.lost, 0)
        second.packets += facts.received

    def sample(self, correlation: float, pesq: float | None) -> None:
        """Speech was compared with what arrived."""
        self.matched.add(1000 * max(correlation, 0.0))
        if pesq is not None:
            self.pesq.add(1000 * pesq)

    def faults(self, found: list[Finding], call: str, call_ids: Sequence[str] = ()) -> None:
        """What is wrong with a call, which its `call_ids` tell in the target's own log."""
        for finding in found:
            self.findings[finding.code] += 1
            kept = self.examples.setdefault(finding.code, [])
            if len(kept) < EXAMPLES_MAX:
                where = f" (Call-ID {', '.join(call_ids)})" if call_ids else ""
                kept.append(f"{call}: {finding.detail}{where}")
        if found:
            self.counts["calls_with_findings"] += 1

    def heard_wrong(self, expected: int, heard: int) -> None:
        """A listener expected one party and heard another."""
        if len(self.wrong) < WRONG_MAX:
            self.wrong.append((expected, heard))

    # -- joining ---------------------------------------------------------------------------------

    def merge(self, other: Meter) -> None:
        """Add what another generator has measured."""
        self.counts.update(other.counts)
        for key, histogram in other.times.items():
            self.times[key].merge(histogram)
        for name, histogram in other.custom.items():
            self.custom.setdefault(name, Histogram()).merge(histogram)
        for key in _OTHERS:
            getattr(self, key).merge(getattr(other, key))
        self.causes.update(other.causes)
        self.findings.update(other.findings)
        _join(self.ladders, other.ladders)
        _join(self.examples, other.examples)
        self.wrong = (self.wrong + other.wrong)[:WRONG_MAX]
        for number, second in other.seconds.items():
            if number in self.seconds:
                self.seconds[number].merge(second)
            else:
                self.seconds[number] = second
        for way, at_s in other.said_s.items():
            self.said_s[way] = max(at_s, self.said_s.get(way, at_s))
        self.cpu_s += other.cpu_s
        self.cpu_peak = max(self.cpu_peak, other.cpu_peak)
        self.precise = self.precise and other.precise

    def as_dict(self) -> dict[str, Any]:
        """JSON types; `from_dict` reads them."""
        return {
            "counts": dict(self.counts),
            "times": {key: value.as_dict() for key, value in self.times.items()},
            "custom": {key: value.as_dict() for key, value in self.custom.items()},
            **{key: getattr(self, key).as_dict() for key in _OTHERS},
            "causes": dict(self.causes),
            "ladders": self.ladders,
            "findings": dict(self.findings),
            "examples": self.examples,
            "wrong": [list(pair) for pair in self.wrong],
            "seconds": [second.as_dict() for _, second in sorted(self.seconds.items())],
            "said_s": self.said_s,
            "cpu_s": self.cpu_s,
            "cpu_peak": self.cpu_peak,
            "precise": self.precise,
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Meter:
        """What `as_dict` has written."""
        found = cls()
        found.counts = Counter(state["counts"])
        found.times.update({k: Histogram.from_dict(v) for k, v in state["times"].items()})
        found.custom = {k: Histogram.from_dict(v) for k, v in state["custom"].items()}
        for key in _OTHERS:
            setattr(found, key, Histogram.from_dict(state[key]))
        found.causes, found.findings = Counter(state["causes"]), Counter(state["findings"])
        found.ladders, found.examples = dict(state["ladders"]), dict(state["examples"])
        found.wrong = [(pair[0], pair[1]) for pair in state["wrong"]]
        found.seconds = {s["at_s"]: Second.from_dict(s) for s in state["seconds"]}
        found.said_s = dict(state["said_s"])
        found.cpu_s, found.cpu_peak = state["cpu_s"], state["cpu_peak"]
        found.precise = state["precise"]
        return found


def _join(mine: dict[str, list[_Kept]], theirs: dict[str, list[_Kept]]) -> None:
    for key, kept in theirs.items():
        have = mine.setdefault(key, [])
        have.extend(kept[: EXAMPLES_MAX - len(have)])
