"""What a run of the bench has measured, kept as JSON, and two of them compared. Pure but for the files."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Entry = dict[str, Any]
"""A `Figure` as a dict, and the `commit` and `date` at which it was measured."""
Run = dict[str, dict[str, Entry]]
"""Entries by bench and name: the form of `figures.json`, but for what is said about the run."""
ABOUT = "about"
"""The key of a file under which is said of the last whole run: machine, commit, when, how long, what failed."""

NOISE = 0.2
"""A change of less is none: the machine is shared."""
WORSE, BETTER, SAME, NEW, GONE = "worse", "better", "same", "new", "gone"


@dataclass(frozen=True, slots=True)
class Change:
    """One figure in two runs. `ratio` is new to old; nan where one of them is missing."""

    bench: str
    name: str
    old: Entry | None
    new: Entry | None
    verdict: str
    ratio: float = math.nan
    bar_lost: bool = False

    @property
    def regression(self) -> bool:
        """Whether somebody should look at it."""
        return self.verdict == WORSE or self.bar_lost


def reached(entry: Mapping[str, Any]) -> bool | None:
    """Whether a figure reaches its bar; None without one."""
    if entry.get("bar") is None:
        return None
    return bool(
        entry["value"] >= entry["bar"] if entry["at_least"] else entry["value"] <= entry["bar"]
    )


def compare(old: Run, new: Run, noise: float = NOISE) -> list[Change]:
    """All figures of `new` against `old`, and what is gone from benches that both have run."""
    found = []
    for bench, entries in new.items():
        before = old.get(bench, {})
        found += [
            _change(bench, name, before.get(name), entry, noise) for name, entry in entries.items()
        ]
        gone = [name for name in before if name not in entries]
        found += [Change(bench, name, before[name], None, GONE) for name in gone]
    return found


def _change(bench: str, name: str, old: Entry | None, new: Entry, noise: float) -> Change:
    if old is None:
        return Change(bench, name, None, new, NEW)
    was, now = float(old["value"]), float(new["value"])
    lost = reached(old) is not False and reached(new) is False
    if was == now:
        return Change(bench, name, old, new, SAME, 1.0)
    ratio = now / was if was else math.inf
    up = ratio > 1 + noise
    down = ratio < 1 / (1 + noise)
    if not up and not down:
        return Change(bench, name, old, new, SAME, ratio, lost)
    verdict = BETTER if up == bool(new["at_least"]) else WORSE
    return Change(bench, name, old, new, verdict, ratio, lost)


def read(path: Path) -> Run:
    """A run from a file; nothing where there is none."""
    found: Run = json.loads(path.read_text()) if path.exists() else {}
    found.pop(ABOUT, None)
    return found


def read_about(path: Path) -> dict[str, Any]:
    """What a file says about its last whole run; nothing where it says nothing."""
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    about: dict[str, Any] = found.get(ABOUT, {})
    return about


def write(path: Path, run: Run, about: Mapping[str, Any]) -> None:
    """A run to a file."""
    kept = {ABOUT: dict(about), **run} if about else dict(run)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(kept, indent=1) + "\n")


def merged(old: Run, new: Run, whole: Iterable[str] = ()) -> Run:
    """`old` with what `new` has measured again; of benches in `whole` nothing older stays."""
    found = {bench: dict(entries) for bench, entries in old.items()}
    for bench, entries in new.items():
        kept = {} if bench in whole else found.get(bench, {})
        found[bench] = {**kept, **entries}
    return found
