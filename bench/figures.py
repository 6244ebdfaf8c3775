"""Figures with their bars: one line each on the terminal, kept in figures.json, shown in RESULTS.md."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / "bench" / "figures.json"
RESULTS = ROOT / "bench" / "RESULTS.md"
BEGIN, END = "<!-- figures -->", "<!-- /figures -->"


@dataclass(frozen=True, slots=True)
class Figure:
    """`bar` is the limit, None for what is told for comparison only; `at_least` where more is better.
    `note`: how it was measured, and what belongs to it."""

    name: str
    value: float
    unit: str
    bar: float | None = None
    at_least: bool = False
    note: str = ""

    @property
    def reached(self) -> bool | None:
        if self.bar is None:
            return None
        return self.value >= self.bar if self.at_least else self.value <= self.bar

    def cells(self) -> list[str]:
        sign = ">=" if self.at_least else "<="
        bar = "" if self.bar is None else f"{sign} {self.bar:g} {self.unit}"
        word = {True: "yes", False: "no", None: ""}[self.reached]
        return [self.name, f"{self.value:.4g} {self.unit}", bar, word, self.note]


def show(figures: list[Figure]) -> None:
    """One line a figure."""
    for figure in figures:
        name, value, bar, word, note = figure.cells()
        print(f"{name:58} {value:>14}  {bar:>14}  {word:3}  {note}", flush=True)


def save(bench: str, figures: list[Figure]) -> None:
    """Keep the figures of one program, and write the part of RESULTS.md that shows all of them."""
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    entries = kept.setdefault(bench, {})
    stamp = {"commit": _commit(), "date": time.strftime("%Y-%m-%d")}
    for figure in figures:
        entries[figure.name] = {**asdict(figure), **stamp}
    KEPT.write_text(json.dumps(kept, indent=1) + "\n")
    text = RESULTS.read_text() if RESULTS.exists() else "# Results\n"
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    RESULTS.write_text(before.rstrip() + "\n\n" + section() + after)


def section() -> str:
    """The figures as a part of RESULTS.md, marks included; "" while there are none."""
    if not KEPT.exists():
        return ""
    lines = [
        BEGIN,
        "## Figures with a bar",
        "",
        "Measured by the program named, the switch on one core, what drives it on the other.",
        "",
        "| figure | measured | bar | reached | how | program | commit |",
        "|---|---|---|---|---|---|---|",
    ]
    for bench, entries in json.loads(KEPT.read_text()).items():
        for entry in entries.values():
            commit = entry.pop("commit")
            entry.pop("date")
            cells = [*Figure(**entry).cells(), f"`bench/{bench}.py`", commit]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, END, ""])


def _commit() -> str:
    def git(*arguments: str) -> str:
        command = ["git", "-C", str(ROOT), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", "softswitch", "media")
    return git("rev-parse", "--short", "HEAD") + (" with local changes" if changed else "")
