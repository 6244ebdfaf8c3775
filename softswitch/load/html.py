"""The report as one HTML file that needs nothing else: figures, plots (inline SVG), faults, ladders."""

from __future__ import annotations

import time
from collections.abc import Sequence
from html import escape
from typing import Any

from softswitch.load.console import times_of
from softswitch.load.plot import Line, plot
from softswitch.load.result import Result

STYLE = """
:root{--ink:#1c2733;--dim:#66768a;--line:#dfe5ec;--paper:#fff;--wash:#f5f7fa;--bad:#b3261e;--good:#1b7f4b;
--warn:#8a5a00}
@media (prefers-color-scheme:dark){:root{--ink:#e6ebf1;--dim:#94a3b5;--line:#2d3947;--paper:#141b23;
--wash:#1b242e;--bad:#ff8a80;--good:#6fd8a0;--warn:#f2c063}}
*{box-sizing:border-box}
body{font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;color:var(--ink);
background:var(--wash);margin:0}
main{max-width:1080px;margin:0 auto;padding:28px 20px 60px}
h1{font-size:26px;margin:0 0 2px}h2{font-size:18px;margin:34px 0 10px}
p.sub{color:var(--dim);margin:0 0 18px}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:10px}
.card{background:var(--paper);border:1px solid var(--line);border-radius:8px;padding:10px 14px}
.card b{display:block;white-space:nowrap;font-size:22px;font-variant-numeric:tabular-nums}
.card span{color:var(--dim);font-size:13px}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(460px,1fr));gap:12px}
figure{background:var(--paper);border:1px solid var(--line);border-radius:8px;padding:12px 14px 8px;margin:0}
figcaption{font-weight:600;margin-bottom:2px}figcaption small{font-weight:400;color:var(--dim)}
table{border-collapse:collapse;width:100%;
background:var(--paper);border:1px solid var(--line);border-radius:8px}
td,th{padding:6px 12px;text-align:left;border-top:1px solid var(--line);vertical-align:top}
th{font-weight:600;color:var(--dim);border-top:0;font-size:13px}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.bad{color:var(--bad);font-weight:600}.good{color:var(--good);font-weight:600}.dim{color:var(--dim)}
.banner{border-radius:8px;padding:12px 16px;margin:14px 0;border:1px solid var(--line);background:var(--paper)}
.banner.warn{border-color:var(--warn);color:var(--warn)}
.banner.fail{border-color:var(--bad);color:var(--bad)}.banner.pass{border-color:var(--good);color:var(--good)}
details{background:var(--paper);border:1px solid var(--line);border-radius:8px;padding:8px 14px;margin:8px 0}
summary{cursor:pointer}pre{font:12.5px/1.45 ui-monospace,Menlo,Consolas,monospace;overflow:auto;margin:8px 0}
svg{display:block;width:100%;height:auto}svg text{fill:var(--dim);font-size:11px}
svg .grid{stroke:var(--line)}svg .legend{fill:var(--ink)}
"""

POINTS_MAX = 1000
"""Of a plot; it is not wider in pixels."""


def report(result: Result) -> str:
    """The whole page."""
    began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(result.began))
    title = f"{escape(result.scenario)} against {escape(result.target)}"
    parts = [
        f"<h1>{title}</h1>",
        f'<p class="sub">softswitch load · {began} · {result.figures["seconds"]:.0f} s</p>',
        *_banners(result),
        _cards(result.figures),
        "<h2>Findings</h2>",
        _findings(result),
        "<h2>Over time</h2>",
        f'<div class="plots">{"".join(_plots(result.seconds))}</div>',
        "<h2>Times</h2>",
        _times(result.figures),
        *_failures(result),
        "<h2>All figures</h2>",
        _all(result),
    ]
    head = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style></head>"
    )
    return f"{head}<body><main>{''.join(parts)}</main></body></html>\n"


def _banners(result: Result) -> list[str]:
    found = []
    if result.saturated:
        found.append(
            '<div class="banner warn"><b>Generator saturated:</b> '
            f"{escape(result.saturated)}. What follows tells of the generator as much as of the "
            "target: use more processes or a lower rate.</div>"
        )
    for entry in result.failed_if:
        kind, word = ("fail", "Crossed") if entry["failed"] else ("pass", "Not crossed")
        found.append(
            f'<div class="banner {kind}"><b>{word}:</b> {escape(str(entry["text"]))}</div>'
        )
    found += [f'<p class="dim">Note: {escape(note)}</p>' for note in result.notes]
    return found


def _cards(figures: dict[str, float]) -> str:
    wanted = [
        ("attempted", "calls", "{:.0f}", 1),
        ("answered_share", "answered", "{:.1f} %", 100),
        ("failed", "failed", "{:.0f}", 1),
        ("rate", "calls a second", "{:.1f}", 1),
        ("live_max", "most at once", "{:.0f}", 1),
        ("setup_p50_ms", "set-up, median", "{:.1f} ms", 1),
        ("setup_p99_ms", "set-up, 99 %", "{:.1f} ms", 1),
        ("delay_p50_ms", "sound, one way", "{:.2f} ms", 1),
        ("loss", "packets lost", "{:.3f} %", 100),
        ("mos_p5", "MOS, worst 5 %", "{:.2f}", 1),
        ("cpu_peak", "generator's core", "{:.0f} %", 100),
        ("target_cpu_ms_per_call", "target's CPU a call", "{:.2f} ms", 1),
    ]
    cards = [
        f'<div class="card"><b>{form.format(figures[key] * scale)}</b><span>{words}</span></div>'
        for key, words, form, scale in wanted
        if key in figures
    ]
    return f'<div class="cards">{"".join(cards)}</div>'


def _findings(result: Result) -> str:
    if not result.findings:
        state = "bad" if result.figures["failed"] else "good"
        return f'<p class="{state}">{escape(result.faultless)}</p>'
    rows = [
        f'<tr><td class="n">{entry["count"]}</td><td class="bad">{escape(entry["code"])}</td>'
        f"<td>{escape(entry['words'])}</td>"
        f'<td class="dim">{"<br>".join(map(escape, entry["examples"]))}</td></tr>'
        for entry in result.findings
    ]
    head = (
        '<tr><th class="n">times</th><th>finding</th><th>what it means</th><th>examples</th></tr>'
    )
    return f"<table>{head}{''.join(rows)}</table>"


def thinned(seconds: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """At most `POINTS_MAX` of them, each for some: of rates and shares the mean, of all else the most."""
    step = -(-len(seconds) // POINTS_MAX)
    if step <= 1:
        return list(seconds)
    found = []
    for start in range(0, len(seconds), step):
        some = seconds[start : start + step]
        made: dict[str, Any] = {"at_s": some[0]["at_s"]}
        for key in some[0].keys() - {"at_s"}:
            values = [second[key] for second in some if second[key] is not None]
            mean = key in ("attempted", "answered", "failed", "loss", "mos")
            together = sum(values) / len(values) if mean and values else max(values, default=None)
            made[key] = together
        found.append(made)
    return found


def _plots(every: Sequence[dict[str, Any]]) -> list[str]:
    seconds = thinned(every)
    at = [float(second["at_s"]) for second in seconds]

    def line(key: str, words: str, scale: float = 1.0) -> Line:
        values = [s[key] * scale if s[key] is not None else None for s in seconds]
        return Line(words, values)

    def where(key: str, words: str, needs: str) -> Line:
        return Line(words, [s[key] if s[needs] else None for s in seconds])

    wanted = [
        ("Set-up", "ms, from the moment a call was due", "linear", [
            where("setup_p50_ms", "50 %", "answered"), where("setup_p90_ms", "90 %", "answered"),
            where("setup_p99_ms", "99 %", "answered")]),
        ("Calls", "begun, answered and failed a second; up", "linear", [
            line("attempted", "begun"), line("answered", "answered"), line("failed", "failed"),
            line("live", "up")]),
        ("Delay of sound", "ms, one way", "linear", [
            where("delay_p50_ms", "50 %", "delay_p99_ms"), where("delay_p99_ms", "99 %", "delay_p99_ms")]),
        ("Loss", "% of the packets of calls that ended", "linear", [line("loss", "lost", 100.0)]),
        ("MOS", "of calls that ended, by the E-model", "mos", [line("mos", "mean")]),
        ("CPU", "% of a core", "linear", [
            line("cpu", "busiest generator", 100.0), line("target_cpu", "target", 100.0)]),
        ("Generator's lateness", "ms of its sound pacer, 99 %", "linear", [line("late_ms", "late")]),
        ("Target's memory", "MB", "linear", [line("target_kb", "resident", 1 / 1024)]),
    ]  # fmt: skip
    found = []
    for title, unit, kind, lines in wanted:
        kept = [one for one in lines if any(value for value in one.values)]
        if kept and len(at) > 1:
            drawn = plot(
                at, kept, floor=1.0 if kind == "mos" else 0.0, top=4.5 if kind == "mos" else None
            )
            found.append(
                f"<figure><figcaption>{title} <small>{unit}</small></figcaption>{drawn}</figure>"
            )
    return found


def _times(figures: dict[str, float]) -> str:
    rows = []
    for key, words in times_of(figures).items():
        if figures[f"{key}_max_ms"]:
            cells = [
                f'<td class="n">{figures[f"{key}_{p}_ms"]:.2f}</td>'
                for p in ("p50", "p90", "p99", "max", "mean")
            ]
            rows.append(f"<tr><td>{escape(words)}</td>{''.join(cells)}</tr>")
    if not rows:
        return '<p class="dim">Nothing was timed.</p>'
    head = "".join(
        f'<th class="n">{name}</th>' for name in ("50 %", "90 %", "99 %", "most", "mean")
    )
    return f"<table><tr><th>ms</th>{head}</tr>{''.join(rows)}</table>"


def _failures(result: Result) -> list[str]:
    if not result.causes:
        return []
    rows = "".join(
        f'<tr><td class="n">{many}</td><td>{escape(cause)}</td></tr>'
        for cause, many in result.causes.items()
    )
    found = [
        "<h2>Failures</h2>",
        f'<table><tr><th class="n">calls</th><th>because</th></tr>{rows}</table>',
    ]
    for cause, ladders in result.ladders.items():
        for number, ladder in enumerate(ladders, 1):
            lines = [_rung(message) for message in ladder["messages"]]
            found.append(
                f"<details><summary>{escape(cause)}: ladder {number}"
                f" ({escape(ladder['call_id'])})</summary>"
                f"<pre>{escape(chr(10).join(lines))}</pre></details>"
            )
    return found


def _rung(message: dict[str, Any]) -> str:
    arrow = "──▶" if message["way"] == "out" else "◀──"
    return f"{message['at_ms']:>10.1f} ms  {arrow}  {message['line']}"


def _all(result: Result) -> str:
    rows = "".join(
        f'<tr><td>{escape(key)}</td><td class="n">{value:g}</td></tr>'
        for key, value in sorted(result.figures.items())
        if value
    )
    asked = "".join(
        f"<tr><td>{escape(key)}</td><td>{escape(str(value))}</td></tr>"
        for key, value in result.plan.items()
        if value not in ("", [], {}, None, 0, 0.0)
    )
    return (
        f"<details><summary>Figures (names for --fail-if)</summary><table>{rows}</table></details>"
        f"<details><summary>What was asked for</summary><table>{asked}</table></details>"
    )
