"""What is shown on the terminal: progress while it runs, and the summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from softswitch.load.facts import Facts
from softswitch.load.result import Result

_PROGRESS = (
    "seconds", "calls", "answered", "failed", "live", "set-up p50/p99", "delay p50", "packets lost",
    "findings", "generator",
)  # fmt: skip


def progress_view(workers: list[dict[str, Any]], title: str) -> Any:
    """The figures of now from the newest words of all generators."""
    told = [worker for worker in workers if worker]
    if not told:
        return Facts(title, [(name, "") for name in _PROGRESS])
    counts: Counter[str] = Counter()
    findings: Counter[str] = Counter()
    for worker in told:
        counts.update(worker["counts"])
        findings.update(worker["findings"])
    p50 = max(worker["setup_p50_ms"] for worker in told)
    p99 = max(worker["setup_p99_ms"] for worker in told)
    values = (
        f"{max(worker['at_s'] for worker in told):.0f}",
        str(counts["attempted"]),
        str(counts["answered"]),
        str(counts["failed"]),
        str(sum(worker["live"] for worker in told)),
        f"{p50:.1f} / {p99:.1f} ms",
        f"{max(worker['delay_p50_ms'] for worker in told):.2f} ms",
        str(counts["packets_lost"]),
        ", ".join(f"{code} {many}" for code, many in findings.most_common(3)) or "none",
        f"{max(worker['cpu'] for worker in told):.0%}",
    )
    return Facts(title, list(zip(_PROGRESS, values, strict=True)))


def progress_line(workers: list[dict[str, Any]]) -> str:
    """The same in a few words, for where nothing can be drawn anew."""
    told = [worker for worker in workers if worker]
    counts: Counter[str] = Counter()
    for worker in told:
        counts.update(worker["counts"])
    at_s = max((worker["at_s"] for worker in told), default=0.0)
    live = sum(worker["live"] for worker in told)
    return (
        f"{at_s:.0f} s: {counts['attempted']} calls, {counts['answered']} answered, "
        f"{counts['failed']} failed, {live} up"
    )


def summary_view(result: Result) -> Any:
    """The summary of a run."""
    figures = result.figures
    calls = [
        ("calls", f"{figures['attempted']:.0f}"),
        ("answered", f"{figures['answered']:.0f}"),
        ("completed", f"{figures['completed']:.0f}"),
        ("failed", f"{figures['failed']:.0f}"),
        ("calls/s", f"{figures['rate']:.1f}"),
        ("most at once", f"{figures['live_max']:.0f}"),
        ("resent", f"{figures['resent']:.0f}"),
    ]
    parts: list[Any] = [Facts(f"{result.scenario} against {result.target}", calls)]
    times = Table("ms", "p50", "p90", "p99", "most", title="Times", title_justify="left")
    for key, words in times_of(figures).items():
        if figures[f"{key}_max_ms"]:
            row = [f"{figures[f'{key}_{p}_ms']:.2f}" for p in ("p50", "p90", "p99", "max")]
            times.add_row(words, *row)
    if times.row_count:
        parts.append(times)
    if figures["packets_received"]:
        parts.append(Facts("Sound", _sound(figures)))
    if "sample_match_p50" in figures:
        middle, worst = figures["sample_match_p50"], figures["sample_match_p5"]
        words = f"speech: correlation {middle:.3f} (worst {worst:.3f})"
        if "pesq_p50" in figures:
            words += f", PESQ {figures['pesq_p50']:.2f} (worst {figures['pesq_p5']:.2f})"
        parts.append(Text(words))
    if "target_cpu_s" in figures:
        used = [
            ("CPU", f"{figures['target_cpu_s']:.1f} s"),
            ("a call", f"{figures['target_cpu_ms_per_call']:.2f} ms"),
            ("memory at most", f"{figures['target_rss_kb_max'] / 1024:.0f} MB"),
        ]
        parts.append(Facts("Target", used))
    if result.causes:
        causes = Table("calls", "failed because", title="Failures", title_justify="left")
        for cause, many in list(result.causes.items())[:10]:
            causes.add_row(str(many), cause)
        parts.append(causes)
    parts.append(_findings(result))
    parts.extend(Text(f"note: {note}", style="dim") for note in result.notes)
    if result.saturated:
        words = f"GENERATOR SATURATED: {result.saturated}. Do not blame the target: "
        words += "more --processes or less --rate."
        parts.append(Text(words, style="bold red"))
    for entry in result.failed_if:
        style = "red" if entry["failed"] else "green"
        state = "CROSSED" if entry["failed"] else "not crossed"
        parts.append(Text(f"{state}: {entry['text']}", style=style))
    return Group(*parts)


def _sound(figures: dict[str, float]) -> list[tuple[str, str]]:
    streams, share = figures["streams"], figures["packets_stamped"] / figures["packets_received"]
    found = [
        ("streams", f"{figures['streams_heard']:.0f} of {streams:.0f}"),
        ("packets", f"{figures['packets_received']:.0f}"),
        ("lost", f"{figures['packets_lost']:.0f} ({figures['loss']:.3%})"),
        ("MOS p50", f"{figures.get('mos_p50', 0):.2f}"),
        ("MOS p5", f"{figures.get('mos_p5', 0):.2f}"),
        ("told by", f"notes, {share:.0%}" if share > 0.5 else "listening"),
    ]
    if figures["streams_sealed"]:
        found.append(("SRTP", f"{figures['streams_sealed']:.0f} of {streams:.0f}"))
    return found


TIMES = {
    "setup": "set-up (due to 200)",
    "ring": "ringing (due to 180)",
    "bye": "hang-up (BYE to 200)",
    "register": "registration",
    "answer_wait": "wait for an agent",
    "options": "OPTIONS",
    "delay": "sound, one way",
    "jitter": "jitter",
    "late": "generator's own lateness",
}


def times_of(figures: Mapping[str, float]) -> dict[str, str]:
    """Keys and words of all times that were measured, a scenario's own last."""
    ending = "_p50_ms"
    measured = [key.removesuffix(ending) for key in figures if key.endswith(ending)]
    known = {key: words for key, words in TIMES.items() if key in measured}
    return known | {key: key for key in measured if key not in TIMES}


def _findings(result: Result) -> Any:
    if not result.findings:
        good = not result.figures["failed"]
        return Text(result.faultless, style="green" if good else "red")
    table = Table("times", "finding", "what it means", "for example", title="Findings")
    table.title_justify = "left"
    for entry in result.findings:
        example = entry["examples"][0] if entry["examples"] else ""
        table.add_row(str(entry["count"]), f"[red]{entry['code']}[/]", entry["words"], example)
    return table
