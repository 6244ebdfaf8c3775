"""The result of a run: figures with names, findings in words, and what `--fail-if` may ask. Pure."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from softswitch.load.causes import hints
from softswitch.load.kernel_drops import Drops
from softswitch.load.measure import Meter
from softswitch.load.plan import Plan
from softswitch.load.verdict import CODES, name, swapped

LATE_MS_MAX = 50.0
PACER_LATE_MS_MAX = 20.0
CPU_MAX = 0.9
SILENT_S = 3.0
"""A target that says nothing for so long, and to the end, has gone."""


@dataclass(slots=True)
class Result:
    """`figures` are what `--fail-if` knows; `findings` code, how often, words, examples; `saturated`
    says why the generator itself was the limit, "" if it was not."""

    scenario: str
    target: str
    began: float
    figures: dict[str, float]
    findings: list[dict[str, Any]]
    saturated: str
    causes: dict[str, int]
    ladders: dict[str, list[dict[str, Any]]]
    seconds: list[dict[str, Any]]
    notes: list[str]
    plan: dict[str, Any]
    failed_if: list[dict[str, Any]] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether no threshold was crossed; where none was named, whether any call came about."""
        if self.failed_if:
            return not any(entry["failed"] for entry in self.failed_if)
        return not 0 < self.figures["attempted"] == self.figures["failed"]

    @property
    def faultless(self) -> str:
        """What to say where there are no findings: not that all is well when nothing was measured."""
        attempted, failed = self.figures["attempted"], self.figures["failed"]
        if attempted and failed == attempted:
            return f"Not one of {attempted:.0f} calls came about: there is nothing to judge."
        if failed:
            return f"No fault found in the calls that came about; {failed:.0f} of {attempted:.0f} failed."
        return "No fault found."

    def as_dict(self) -> dict[str, Any]:
        """JSON types."""
        return {key: getattr(self, key) for key in self.__dataclass_fields__}


def summarise(
    plan: Plan, meter: Meter, began: float, used: dict[str, float], drops: Drops | None = None
) -> Result:
    """Put a run into figures and words; `used` is what the target's processes used, `drops` what the kernel
    threw away."""
    drops = drops if drops is not None else Drops()
    figures = _figures(plan, meter, used) | {
        "dropped_at_target": drops.target,
        "dropped_at_generator": drops.generator,
        "dropped_on_machine": drops.machine,
    }
    return Result(
        scenario=plan.scenario,
        target=f"{plan.target[0]}:{plan.target[1]}",
        began=began,
        figures=figures,
        findings=_findings(meter),
        saturated=saturation(figures),
        causes=dict(meter.causes.most_common()),
        ladders=meter.ladders,
        seconds=[_second(second) for _, second in sorted(meter.seconds.items())],
        notes=[*_notes(plan, meter, figures), *_failure_notes(plan, meter), *_drop_notes(drops)],
        plan=_plan(plan),
    )


def _figures(plan: Plan, meter: Meter, used: dict[str, float]) -> dict[str, float]:
    counts = meter.counts
    seconds = max(meter.seconds) + 1 if meter.seconds else 0
    found: dict[str, float] = {
        key: counts[key]
        for key in (
            "attempted", "answered", "completed", "failed", "received", "resent",
            "received_again", "messages_in", "messages_out", "streams", "streams_heard",
            "packets_sent", "packets_received", "packets_lost", "packets_duplicated",
            "packets_reordered", "packets_stamped", "packets_forged",
            "streams_sealed", "calls_with_findings", "sessions_left",
            "byes_unanswered", "held_back", "abandoned", "frames_skipped", "registered",
        )
    }  # fmt: skip
    # What scenarios count themselves.
    found |= {key: many for key, many in counts.items() if key not in found and "sent_" not in key}
    found["seconds"] = seconds
    attempted = max(counts["attempted"], 1)
    found["answered_share"] = counts["answered"] / attempted
    found["failed_share"] = counts["failed"] / attempted
    active = [s for s in meter.seconds.values() if s.counts["attempted"]]
    found["rate"] = counts["attempted"] / len(active) if active else 0.0
    found["live_max"] = max((s.live for s in meter.seconds.values()), default=0)
    for key, histogram in (*meter.times.items(), *meter.custom.items()):
        if histogram.count:
            found |= _distribution(key, histogram)
    for key in ("delay", "jitter"):
        if getattr(meter, key).count:
            found |= _distribution(key, getattr(meter, key))
    received, lost = counts["packets_received"], counts["packets_lost"]
    if received:  # of nothing it is not 0 that was lost
        found["loss"] = lost / (received + lost)
    if meter.mos.count:
        found["mos_p50"] = meter.mos.percentile(50) / 1000
        found["mos_p5"] = meter.mos.percentile(5) / 1000
        found["mos_mean"] = meter.mos.mean / 1000
    for key, histogram in (("sample_match", meter.matched), ("pesq", meter.pesq)):
        if histogram.count:
            found[f"{key}_p50"] = histogram.percentile(50) / 1000
            found[f"{key}_p5"] = histogram.percentile(5) / 1000
    found["cpu_peak"] = meter.cpu_peak
    found["generator_cpu_s"] = meter.cpu_s
    found["pacer_late_p99_ms"] = meter.pacer_late.percentile(99) / 1000
    if used:
        found["target_cpu_s"] = used["cpu_s"]
        found["target_cpu_ms_per_call"] = 1000 * used["cpu_s"] / attempted
        found["target_rss_kb_max"] = used["rss_kb_max"]
        found["target_rss_kb_grown"] = used["rss_kb_last"] - used["rss_kb_first"]
    for code in CODES:
        found["found_" + code.replace(" ", "_").replace("-", "_").lower()] = meter.findings[code]
    return {key: round(value, 4) for key, value in found.items()}


def _distribution(key: str, histogram: Any) -> dict[str, float]:
    return {
        f"{key}_p50_ms": histogram.percentile(50) / 1000,
        f"{key}_p90_ms": histogram.percentile(90) / 1000,
        f"{key}_p99_ms": histogram.percentile(99) / 1000,
        f"{key}_max_ms": histogram.highest / 1000,
        f"{key}_mean_ms": histogram.mean / 1000,
    }


def saturation(figures: dict[str, float]) -> str:
    """Why the generator, not the target, may be what was measured; "" when it was not the limit."""
    reasons = []
    late = figures.get("late_p99_ms", 0.0)
    if late > LATE_MS_MAX:
        reasons.append(f"calls began up to {late:.0f} ms late (99 %)")
    if figures["pacer_late_p99_ms"] > PACER_LATE_MS_MAX:
        reasons.append(f"sound was sent {figures['pacer_late_p99_ms']:.0f} ms late (99 %)")
    if figures["frames_skipped"]:
        reasons.append(f"{figures['frames_skipped']:.0f} frames could not be sent in time")
    dropped = figures.get("dropped_at_generator", 0.0)
    if dropped:
        reasons.append(
            f"{dropped:.0f} datagrams that had come were dropped at its own full sockets"
        )
    if figures["cpu_peak"] > CPU_MAX and reasons:
        reasons.append(f"a process used {figures['cpu_peak']:.0%} of its core")
    return "; ".join(reasons)


def _findings(meter: Meter) -> list[dict[str, Any]]:
    exchanged = swapped(meter.wrong)
    found = []
    counts = dict(meter.findings)
    examples = dict(meter.examples)
    if exchanged:
        counts["swapped legs"] = len(exchanged)
        examples["swapped legs"] = [f"{name(a)} and {name(b)}" for a, b in exchanged[:5]]
    for code, many in sorted(counts.items(), key=lambda item: -item[1]):
        if many:
            words = CODES.get(code, "")
            found.append(
                {"code": code, "count": many, "words": words, "examples": examples.get(code, [])}
            )
    return found


def _notes(plan: Plan, meter: Meter, figures: dict[str, float]) -> list[str]:
    notes = []
    if plan.media and not meter.precise:
        notes.append("no kernel times here: delays are 5 ms coarse")
    if figures["held_back"]:
        notes.append(
            f"{figures['held_back']:.0f} calls waited for --concurrent; they are timed from then"
        )
    heard = figures["packets_received"]
    if heard and figures["packets_stamped"] < 0.5 * heard and figures["attempted"] > plan.samples:
        g711 = any(codec.upper() in ("PCMA", "PCMU") for codec in plan.codecs)
        why = "the path decodes sound" if g711 else f"notes need G.711, not {plan.codecs[0]}"
        notes.append(f"{why}: parties and delay were found by listening")
    return notes


def _failure_notes(plan: Plan, meter: Meter) -> list[str]:
    """What to look at where calls failed."""
    notes, causes = [], list(meter.causes)
    last_s, asked_s = meter.said_s.get("in"), meter.said_s.get("out", 0.0)
    if last_s is not None and asked_s - last_s > SILENT_S:
        # It was there: what is usually wrong where nobody ever answered is not.
        causes = [cause for cause in causes if not cause.startswith("nothing came back")]
        since = f"the target said nothing more after {max(last_s, 0.0):.0f} s"
        notes.append(f"{since}; it was spoken to until {asked_s:.0f} s")
    if meter.counts["byes_unanswered"]:
        notes.append(f"{meter.counts['byes_unanswered']} BYEs of ours were not answered")
    return [*notes, *hints(causes, plan)]


def _drop_notes(drops: Drops) -> list[str]:
    """Where the kernel threw datagrams away, which have not been lost on the way."""
    notes = []
    if drops.target:
        ports = sorted(drops.ports.items(), key=lambda item: -item[1])[:3]
        where = ", ".join(f"port {port}: {many}" for port, many in ports)
        notes.append(
            f"{drops.target} datagrams had arrived and were dropped at the target's own sockets, whose "
            f"buffers were full ({where})"
        )
    unknown = drops.machine - drops.target - drops.generator
    if unknown > 0:
        notes.append(
            f"{unknown} datagrams were dropped at full sockets of this machine that are neither ours nor of "
            "--pid"
        )
    return notes


def _second(second: Any) -> dict[str, Any]:
    counts = second.counts
    return {
        "at_s": second.at_s,
        "attempted": counts["attempted"],
        "answered": counts["answered"],
        "completed": counts["completed"],
        "failed": counts["failed"],
        "live": second.live,
        "setup_p50_ms": round(second.setup.percentile(50) / 1000, 2),
        "setup_p90_ms": round(second.setup.percentile(90) / 1000, 2),
        "setup_p99_ms": round(second.setup.percentile(99) / 1000, 2),
        "delay_p50_ms": round(second.delay.percentile(50) / 1000, 3),
        "delay_p99_ms": round(second.delay.percentile(99) / 1000, 3),
        "loss": (
            round(second.lost / (second.packets + second.lost), 5) if second.packets else None
        ),
        "mos": round(second.mos_sum / second.streams, 3) if second.streams else None,
        "cpu": round(second.cpu, 3),
        "late_ms": round(second.late_ms, 2),
        "target_cpu": round(second.target_cpu, 3),
        "target_kb": second.target_kb,
    }


def _plan(plan: Plan) -> dict[str, Any]:
    """What was asked for, without passwords."""
    hidden = {"callers", "callees", "limits", "run", "pids"}
    found = {f: getattr(plan, f) for f in plan.__struct_fields__ if f not in hidden}
    found["callers"], found["callees"] = len(plan.callers), len(plan.callees)
    found["began"] = time.strftime("%Y-%m-%d %H:%M:%S")
    return found


def known_figures() -> set[str]:
    """Names that a run of a built-in scenario may have."""
    own = {
        "served",
        "heard_nobody",
        "options_answered",
        "options_unanswered",
        "probed",
        "rebindings",
        "agents_without_customer",
    }
    own |= {f"digits_{by}" for by in ("rfc4733", "info", "inband")}
    used = dict.fromkeys(("cpu_s", "rss_kb_max", "rss_kb_last", "rss_kb_first"), 1.0)
    return own | set(summarise(_ANY_PLAN, _full_meter(), 0.0, used).figures)


_ANY_PLAN = Plan(scenario="any", target=("127.0.0.1", 5060))


def _full_meter() -> Meter:
    meter = Meter()
    others = (meter.mos, meter.matched, meter.pesq, meter.delay, meter.jitter)
    for histogram in (*meter.times.values(), *others):
        histogram.add(1)
    meter.counts["packets_received"] = 1
    meter.note("transfer", 1)
    return meter
