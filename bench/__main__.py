"""The bench: all programs and scenarios, one report that compares this run with the last one.

    make bench                                   # everything; figures.json and RESULTS.md are renewed
    make bench TARGET=sip:192.0.2.7 DIAL=600     # the scenarios against any server
    python -m bench --only load,scenarios/set-up # a part; --list tells what there is
    python -m bench --compare before.json after.json

Without --save nothing is kept, and the comparison is with what was. --write keeps a run in a file of
its own, --against compares with such a file. Regressions are named first; --strict makes them an error.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench import comparison, figures, runs, scenarios
from softswitch.errors import SoftswitchError
from softswitch.load.plan import Plan, local_host, parse_accounts, parse_target

PROGRAMS = {
    "acd": "the call distributor, alone",
    "api": "the HTTP API",
    "callgen": "the whole exchange, calls by a C program",
    "digits_heard": "in-band digits, alone",
    "failover": "from one trunk to the next",
    "load": "the load lab's own generator",
    "media_plane": "the media worker, alone",
    "overload": "calls and strangers in a crowd",
    "registrations": "ten thousand phones",
    "sip_calls": "CPU and memory of calls, driven by SIPp",
    "store": "the database",
}
SCENARIOS = "scenarios"


def programs(wanted: list[str]) -> runs.Run:
    """Run the programs; what each has shown."""
    found: runs.Run = {}
    with tempfile.TemporaryDirectory(prefix="softswitch-bench-") as folder:
        file = Path(folder) / "shown"
        for name in wanted:
            print(f"== {name}: {PROGRAMS[name]}", flush=True)
            file.write_text("")
            command = [sys.executable, str(figures.ROOT / "bench" / f"{name}.py")]
            environment = {**os.environ, figures.SHOWN: str(file)}
            done = subprocess.run(command, env=environment, check=False, cwd=figures.ROOT)
            if done.returncode:
                print(f"bench: {name} has failed ({done.returncode})", file=sys.stderr)
            shown = [json.loads(line) for line in file.read_text().splitlines()]
            if shown:
                found[name] = {entry["name"]: entry for entry in shown}
    return found


def own_scenarios(only: str, targets: list[str], seconds: float) -> dict[str, runs.Entry]:
    """The scenarios against the servers that we start."""
    found: dict[str, runs.Entry] = {}
    lacking = {target: scenarios.unavailable(target) for target in targets}
    for target, what in lacking.items():
        if what:
            print(f"{target}: left out, {what} is not installed")
    for work in scenarios.programme(seconds):
        for target in targets:
            if not work.name.startswith(only) or target not in work.targets or lacking[target]:
                continue
            result = asyncio.run(scenarios.measure(work, target))
            found |= keep(list(scenarios.told(work, scenarios.NAMES[target], result)))
    return found


def other_scenarios(only: str, other: Plan, name: str, seconds: float) -> dict[str, runs.Entry]:
    """Those that any server can take which answers a number, against one that runs already."""
    found: dict[str, runs.Entry] = {}
    for work in scenarios.programme(seconds):
        if work.any_number and work.name.startswith(only):
            result = asyncio.run(scenarios.measure_other(work, other))
            found |= keep(list(scenarios.told(work, name, result)))
    return found


def keep(measured: list[figures.Figure]) -> dict[str, runs.Entry]:
    """Show figures and make entries of them."""
    figures.show(measured)
    return {figure.name: figures.entry(figure) for figure in measured}


def other_plan(chosen: argparse.Namespace) -> Plan:
    """Where `--target` is and whom to call there. Raises `SoftswitchError`."""
    address, transport, host = parse_target(chosen.target)
    callees = parse_accounts(chosen.callees, "callees")
    if not chosen.dial and not callees:
        raise SoftswitchError(
            "whom to call there? --dial NUMBER (DIAL=) or --callees 1051-1100:secret"
        )
    return Plan(
        scenario="uac", target=address, transport=transport, domain=host, pids=chosen.pid,
        host=local_host(address[0]), dial=chosen.dial, register=bool(callees), callees=callees,
        callers=parse_accounts(chosen.callers, "callers"),
    )  # fmt: skip


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m bench", description=(__doc__ or "").partition("\n")[0]
    )
    made.add_argument("--list", action="store_true", help="tell what there is")
    made.add_argument(
        "--only", default="", help="names of programs, scenarios, scenarios/NAME; with commas"
    )
    targets = ",".join(scenarios.NAMES)
    made.add_argument("--targets", default=targets, help=f"servers of the scenarios: {targets}")
    made.add_argument("--target", default="", help="any other server instead, sip:host:port")
    made.add_argument("--dial", default="", help="the number to call there")
    made.add_argument("--callers", default="", help="accounts there, 1001-1050:secret")
    made.add_argument("--callees", default="", help="telephones of ours to be called through it")
    made.add_argument("--pid", type=int, action="append", default=[], help="its processes")
    made.add_argument("--seconds", type=float, default=8.0, help="of scenarios that last")
    made.add_argument("--save", action="store_true", help="keep all, and write RESULTS.md")
    made.add_argument("--write", type=Path, help="keep this run in a file of its own")
    made.add_argument("--against", type=Path, default=figures.KEPT, help="compare with this run")
    made.add_argument(
        "--compare", type=Path, nargs=2, metavar="RUN", help="run nothing, compare two"
    )
    made.add_argument(
        "--noise", type=float, default=100 * runs.NOISE, help="%% that count as no change"
    )
    made.add_argument("--markdown", type=Path, help="the comparison as Markdown")
    made.add_argument("--html", type=Path, help="and as a page")
    made.add_argument("--strict", action="store_true", help="exit with 1 where something is worse")
    return made


def measured(chosen: argparse.Namespace) -> runs.Run:
    """Run what was asked for."""
    if chosen.target:
        only = chosen.only.removeprefix(SCENARIOS).removeprefix("/")
        other = other_plan(chosen)
        return {SCENARIOS: other_scenarios(only, other, chosen.target, chosen.seconds)}
    wanted = [part for part in chosen.only.split(",") if part] or [*PROGRAMS, SCENARIOS]
    unknown = [part for part in wanted if part.partition("/")[0] not in (*PROGRAMS, SCENARIOS)]
    if unknown:
        raise SoftswitchError(f"--only: no {', '.join(unknown)}; --list tells what there is")
    found = programs([part for part in wanted if part in PROGRAMS])
    for part in wanted:
        if part.partition("/")[0] == SCENARIOS:
            entries = own_scenarios(
                part.partition("/")[2], chosen.targets.split(","), chosen.seconds
            )
            found.setdefault(SCENARIOS, {}).update(entries)
    return found


def report(chosen: argparse.Namespace, changes: list[runs.Change]) -> None:
    """Tell what has changed."""
    about = f"{figures.machine()}, commit {figures.commit()}"
    if chosen.markdown:
        chosen.markdown.write_text(comparison.markdown(changes, about))
    if chosen.html:
        chosen.html.parent.mkdir(parents=True, exist_ok=True)
        chosen.html.write_text(comparison.html(changes, about))
        print(f"written: {chosen.html}")
    print(f"\n{comparison.headline(changes)} (noise {chosen.noise:g} %)")
    for change in changes:
        if change.regression:
            name, before, now, ratio, _, verdict, _ = comparison.cells(change)
            print(f"  REGRESSION {change.bench}: {name}: {before} -> {now} (x{ratio}), {verdict}")


def main() -> None:
    chosen = parser().parse_args()
    if chosen.list:
        for name, words in PROGRAMS.items():
            print(f"{name:24} {words}")
        for work in scenarios.programme(1.0):
            print(f"{SCENARIOS + '/' + work.name:24} {work.title}: {', '.join(work.targets)}")
        return
    if chosen.compare:
        old, new = (runs.read(path) for path in chosen.compare)
    else:
        try:
            old, new = runs.read(chosen.against), measured(chosen)
        except SoftswitchError as error:
            sys.exit(f"bench: {error}")
    changes = compared(old, new, chosen)
    report(chosen, changes)
    if chosen.write:
        runs.write(chosen.write, new)
    if chosen.save and not chosen.target and not chosen.compare:
        runs.write(figures.KEPT, runs.merged(runs.read(figures.KEPT), new))
        figures.write()
        print(f"written: {figures.KEPT}, {figures.RESULTS}")
    sys.exit(chosen.strict and any(change.regression for change in changes))


def compared(old: runs.Run, new: runs.Run, chosen: Any) -> list[runs.Change]:
    """The changes; of a part of a bench nobody asks where the rest is."""
    changes = runs.compare(old, new, chosen.noise / 100)
    if chosen.compare or not chosen.only:
        return changes
    return [change for change in changes if change.verdict != runs.GONE]


if __name__ == "__main__":
    main()
