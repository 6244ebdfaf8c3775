"""Two runs beside each other for people: regressions by name, then every figure; Markdown and HTML."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from html import escape

from bench.runs import BETTER, GONE, NEW, SAME, Change, Entry, reached
from softswitch.load.html import STYLE

COLUMNS = ("figure", "before", "now", "ratio", "bar", "verdict", "how")


def _value(entry: Entry | None) -> str:
    return "" if entry is None else f"{entry['value']:.4g} {entry['unit']}".strip()


def _bar(entry: Entry | None) -> str:
    if entry is None or entry.get("bar") is None:
        return ""
    return f"{'>=' if entry['at_least'] else '<='} {entry['bar']:g} {entry['unit']}".strip()


def _verdict(change: Change) -> str:
    words = [] if change.verdict == SAME else [change.verdict]
    if change.bar_lost:
        words.append(
            "below its bar now" if change.new and change.new["at_least"] else "above its bar now"
        )
    elif change.new is not None and reached(change.new) is False:
        words.append("bar not reached")
    return ", ".join(words)


def cells(change: Change) -> list[str]:
    """A row of `COLUMNS`."""
    ratio = (
        ""
        if math.isnan(change.ratio)
        else "from 0"
        if math.isinf(change.ratio)
        else f"{change.ratio:.2f}"
    )
    entry = change.new or change.old
    note = str(change.new["note"]) if change.new is not None else ""
    return [
        change.name,
        _value(change.old),
        _value(change.new),
        ratio,
        _bar(entry),
        _verdict(change),
        note,
    ]


def commits(changes: Sequence[Change]) -> str:
    """From which commits the older figures are."""
    found = {str(c.old["commit"]) for c in changes if c.old is not None and c.old.get("commit")}
    return ", ".join(sorted(found)) or "none"


def headline(changes: Sequence[Change]) -> str:
    """What there is to say, in one line."""
    worse = sum(change.regression for change in changes)
    better = sum(change.verdict == BETTER for change in changes)
    new = sum(change.verdict == NEW for change in changes)
    gone = sum(change.verdict == GONE for change in changes)
    return f"{len(changes)} figures: {worse} worse, {better} better, {new} new, {gone} gone"


def markdown(changes: Sequence[Change], about: str) -> str:
    """The report; `about` is the machine and commit of the new run."""
    lines = [
        "# Bench: this run and the one before",
        "",
        f"- now: {about}, {time.strftime('%Y-%m-%d %H:%M')}",
    ]
    lines += [f"- before: {commits(changes)}", f"- {headline(changes)}", "", "## Regressions", ""]
    worse = [change for change in changes if change.regression]
    for change in worse:
        _, before, now, ratio, _, verdict, _ = cells(change)
        lines.append(f"- **{change.bench}: {change.name}**: {before} → {now} (x{ratio}): {verdict}")
    if not worse:
        lines.append("None.")
    for bench in dict.fromkeys(change.bench for change in changes):
        lines += [
            "",
            f"## {bench}",
            "",
            "| " + " | ".join(COLUMNS) + " |",
            "|---" * len(COLUMNS) + "|",
        ]
        lines += ["| " + " | ".join(cells(c)) + " |" for c in changes if c.bench == bench]
    return "\n".join(lines) + "\n"


def html(changes: Sequence[Change], about: str) -> str:
    """The same as a page that needs nothing else."""
    worse = [change for change in changes if change.regression]
    when = time.strftime("%Y-%m-%d %H:%M")
    parts = [
        "<h1>Bench: this run and the one before</h1>",
        f'<p class="sub">{escape(about)} · {when} · before: {escape(commits(changes))}</p>',
        f'<div class="banner {"fail" if worse else "pass"}">{escape(headline(changes))}</div>',
    ]
    if worse:
        parts += ["<h2>Regressions</h2>", _table(worse, with_bench=True)]
    for bench in dict.fromkeys(change.bench for change in changes):
        mine = [change for change in changes if change.bench == bench]
        parts += [f"<h2>{escape(bench)}</h2>", _table(mine, with_bench=False)]
    body = "\n".join(parts)
    head = f'<meta charset="utf-8"><title>Bench</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body><main>{body}</main></body></html>\n'


def _table(changes: Sequence[Change], *, with_bench: bool) -> str:
    rows = ["<tr>" + "".join(f"<th>{column}</th>" for column in COLUMNS) + "</tr>"]
    for change in changes:
        name, *rest = cells(change)
        if with_bench:
            name = f"{change.bench}: {name}"
        state = "bad" if change.regression else "good" if change.verdict == BETTER else ""
        made = [
            f"<td>{escape(name)}</td>",
            *(f'<td class="n">{escape(cell)}</td>' for cell in rest[:4]),
        ]
        made += [
            f'<td class="{state}">{escape(rest[4])}</td>',
            f'<td class="dim">{escape(rest[5])}</td>',
        ]
        rows.append("<tr>" + "".join(made) + "</tr>")
    return "<table>" + "".join(rows) + "</table>"
