"""Figures with their bars: one line each on the terminal, kept in figures.json, shown in RESULTS.md."""

from __future__ import annotations

import functools
import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / "bench" / "figures.json"
RESULTS = ROOT / "bench" / "RESULTS.md"
OUT = ROOT / "bench" / "out"
SHORTFALLS = ROOT / "bench" / "shortfalls.md"
_SOURCES = ("softswitch", "media", "routing", "bench/*.py")
SHOWN = "SOFTSWITCH_BENCH_SHOWN"
"""The variable that names a file in which `show` leaves its figures for `python -m bench`."""

INTERPRETER = "SOFTSWITCH_BENCH_PYTHON"
"""The variable that names another Python for the exchange under test: that of an environment in which this
project is installed."""
SYSTEM = ROOT / ".venv-system" / "bin" / "python"
"""The system's own Python, where `make system-python` has made an environment of it."""

LACKING = 77
"""The exit status of a program that lacks something to measure with, as automake's tests have it."""


def lacking(words: str) -> SystemExit:
    """To be raised: the end of a program that needs what is not here."""
    print(f"bench: {words}", file=sys.stderr)
    return SystemExit(LACKING)


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
    collected = os.environ.get(SHOWN)
    if collected:
        with Path(collected).open("a") as file:
            file.writelines(json.dumps(entry(figure)) + "\n" for figure in figures)


def entry(figure: Figure) -> dict[str, Any]:
    """A figure as it is kept, with where and when it was measured."""
    return {**asdict(figure), "commit": commit(), "date": time.strftime("%Y-%m-%d")}


def save(bench: str, figures: list[Figure]) -> None:
    """Keep the figures of one program, and write the part of RESULTS.md that shows all of them."""
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    entries = kept.setdefault(bench, {})
    for figure in figures:
        entries[figure.name] = entry(figure)
    KEPT.write_text(json.dumps(kept, indent=1) + "\n")
    write()


def write() -> None:
    """Make RESULTS.md of all that is kept, and of what is said about bars that are not reached."""
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    lines = [
        "# Results",
        "",
        "Made by `make bench`, or one program at a time with `--save`; do not edit. The switch runs on one",
        "core, what drives it on the other, all over loopback. Absolute times on a shared machine mean",
        "little: look at the ratios, and at the commit and the day of each line. The scenarios at the end are",
        "the load lab against several servers, generator and server on the same two cores: CPU a call can",
        "be compared, times only where both are far from full.",
        "",
        *_about(kept.pop("about", {})),
        "",
    ]
    names = {field.name for field in fields(Figure)}
    for bench in sorted(kept, key=lambda name: (name == "scenarios", name)):
        lines += [f"## `bench/{bench}.py`", ""]
        lines += ["| figure | measured | bar | reached | how | measured at |", "|" + "---|" * 6]
        for found in kept[bench].values():
            figure = Figure(**{key: value for key, value in found.items() if key in names})
            at = f"{found['commit']}, {found['date']}"
            lines.append("| " + " | ".join([*figure.cells(), at]) + " |")
        lines.append("")
    RESULTS.write_text("\n".join(lines) + "\n" + SHORTFALLS.read_text())


def _about(run: dict[str, Any]) -> list[str]:
    """The last whole run, in a few lines; figures of other commits have been measured by themselves."""
    if not run:
        return [f"- machine: {machine()}"]
    took_s = run["took_s"]
    parts = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in took_s.items())
    failed = "; ".join(f"{name}: {why}" for name, why in run["failed"].items())
    return [
        f"- machine: {run['machine']}",
        f"- last whole run: commit {run['commit']}, {run['began']}, {sum(took_s.values()) / 60:.1f} minutes "
        f"({parts})",
        f"- failed in it: {failed or 'nothing'}",
        "- what bears another commit was measured by its program alone, at that commit",
    ]


_ASKED = """
import platform, sys, sysconfig
arguments = sysconfig.get_config_var("CONFIG_ARGS") or ""
if "--enable-optimizations" in arguments:
    built = "with profile" + (" and link-time optimisation" if "--with-lto" in arguments else "")
elif sys.base_prefix == "/usr":
    built = "by the distribution"
else:
    built = "without profile"
print(f"Python {platform.python_version()}, built {built}")
"""


def interpreter() -> str:
    """The Python of the exchange under test: the bench's own where no other is chosen."""
    # Not resolved: the path of a link in an environment says which environment it is.
    return os.path.abspath(os.environ.get(INTERPRETER) or sys.executable)


@functools.cache
def about_interpreter(path: str) -> str:
    """Version and how it was built, for one built by a profile is quicker. Debian builds its own by profile and
    with link-time optimisation (debian/rules), which its configuration does not tell."""
    done = subprocess.run([path, "-c", _ASKED], capture_output=True, text=True, check=False)
    return done.stdout.strip() or f"{path}, which does not run"


def machine() -> str:
    """Processor, system and Python."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return (
        f"{model}, {os.cpu_count()} cores, Linux {platform.release()}, "
        f"{about_interpreter(interpreter())}"
    )


@functools.cache
def commit() -> str:
    """What is checked out, and whether it was changed since."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(ROOT), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", *_SOURCES)
    return git("rev-parse", "--short", "HEAD") + (" with local changes" if changed else "")


if __name__ == "__main__":
    write()
