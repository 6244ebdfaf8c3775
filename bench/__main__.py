"""The bench: all programs and scenarios, one report that compares this run with the last one.

    make bench                                   # everything; figures.json and RESULTS.md are renewed
    make bench QUICK=1                           # everything in little: whether all of it goes; nothing is kept
    make bench TARGET=sip:192.0.2.7 DIAL=600     # the scenarios against any server
    python -m bench --only load,scenarios/set-up # a part; --list tells what there is
    python -m bench --compare before.json after.json

Each program has a limit of time, and one that fails does not end the rest; what has failed is told at the end
and makes the exit status 1. Without --save nothing is kept, and the comparison is with what was. --write keeps
a run in a file of its own, --against compares with such a file. Regressions are named first; --strict makes
them an error.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import queue
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import comparison, figures, runs, scenarios
from bench.programs import PROGRAMS, RUNNING, Outcome, carry_out, end
from softswitch.errors import SoftswitchError
from softswitch.load.plan import Plan, local_host, parse_accounts, parse_target
from softswitch.load.run import run

SCENARIOS = "scenarios"
SCENARIO_LIMIT_S = 180.0


@dataclass(slots=True)
class Session:
    """What has been measured so far, how long each part took, and what has failed; `after` hears of each
    part that is over."""

    after: Callable[[], None] = lambda: None
    found: runs.Run = field(default_factory=dict)
    took_s: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    began: str = field(default_factory=lambda: time.strftime("%Y-%m-%d %H:%M"))

    def program(self, name: str, folder: Path, *, quick: bool) -> None:
        """Run one program."""
        print(f"== {name}: {PROGRAMS[name].about}", flush=True)
        self._keep(name, carry_out(PROGRAMS[name], folder, quick=quick))

    def side_by_side(self, names: list[str], folder: Path, *, quick: bool) -> None:
        """Run programs that only reckon, each on a core of its own."""
        print(f"== side by side, a core each: {', '.join(names)}", flush=True)
        cores: queue.SimpleQueue[int] = queue.SimpleQueue()
        for core in sorted(os.sched_getaffinity(0)):
            cores.put(core)

        def one(name: str) -> Outcome:
            core = cores.get()
            try:
                return carry_out(PROGRAMS[name], folder, quick=quick, core=core)
            finally:
                cores.put(core)

        began_s = time.monotonic()
        with ThreadPoolExecutor(cores.qsize()) as pool:
            running = {pool.submit(one, name): name for name in names}
            try:
                for future in as_completed(running):
                    self._keep(running[future], future.result())
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                for child in list(RUNNING):
                    end(child)
                raise
        # Of seconds that were used twice only once is told.
        twice_s = sum(self.took_s[name] for name in names) - (time.monotonic() - began_s)
        self.took_s["(side by side)"] = -max(0.0, twice_s)

    def _keep(self, name: str, outcome: Outcome) -> None:
        if outcome.entries:
            self.found[name] = outcome.entries
        if outcome.lacking:
            print(f"{name}: left out")
        self.over(name, outcome.took_s, outcome.problem)

    async def scenario(self, work: scenarios.Work, target: str, measure: scenarios.Measure) -> None:
        """Put one load on a server."""
        began_s = time.monotonic()
        problem = ""
        try:
            async with asyncio.timeout(SCENARIO_LIMIT_S):
                result = await measure(scenarios.fresh(work))
            measured = list(scenarios.told(work, target, result))
            figures.show(measured)
            entries = self.found.setdefault(SCENARIOS, {})
            entries.update({figure.name: figures.entry(figure) for figure in measured})
        except TimeoutError:
            problem = f"not over after {SCENARIO_LIMIT_S:.0f} s"
        except Exception as error:  # the others have their turn
            problem = _words(error)
        self.over(f"{SCENARIOS}/{work.name}, {target}", time.monotonic() - began_s, problem)

    def over(self, name: str, took_s: float, problem: str) -> None:
        part = name.partition("/")[0]
        self.took_s[part] = self.took_s.get(part, 0.0) + took_s
        if problem:
            self.failed[name] = problem
            print(f"bench: {name} has failed: {problem}", file=sys.stderr, flush=True)
        elif part == name:
            print(f"-- {name}: {took_s:.0f} s", flush=True)
        self.after()

    @property
    def minutes(self) -> float:
        """How long it all took."""
        return sum(self.took_s.values()) / 60

    def whole(self, part: str) -> bool:
        """Whether a part has shown all that it can show."""
        failed = {name.partition("/")[0] for name in self.failed}
        return part not in failed and not (part in PROGRAMS and PROGRAMS[part].other_figures)

    @property
    def about(self) -> dict[str, Any]:
        """As `runs.ABOUT` of a file."""
        return {
            "machine": figures.machine(),
            "commit": figures.commit(),
            "began": self.began,
            "took_s": {name: round(took_s, 1) for name, took_s in self.took_s.items()},
            "failed": self.failed,
        }


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".partition("\n")[0]


async def own_scenarios(session: Session, only: str, targets: list[str], seconds: float) -> None:
    """The scenarios against the servers that we start, each for all of its loads."""
    for target in targets:
        name = scenarios.NAMES[target]
        works = [
            work
            for work in scenarios.programme(seconds)
            if work.name.startswith(only) and target in work.targets
        ]
        lacking = scenarios.unavailable(target)
        if lacking:
            print(f"{name}: left out, {lacking} is not installed")
        elif works:
            try:
                async with scenarios.started(target) as measure:
                    for work in works:
                        await session.scenario(work, name, measure)
            except Exception as error:  # a server that does not start
                session.over(f"{SCENARIOS}/{name}", 0.0, _words(error))


async def other_scenarios(
    session: Session, only: str, other: Plan, name: str, seconds: float
) -> None:
    """Those that any server can take which answers a number, against one that runs already."""
    for work in scenarios.programme(seconds):
        if work.any_number and work.name.startswith(only):
            await session.scenario(work, name, lambda plan: run(scenarios.against(other, plan)))


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
    made.add_argument("--seconds", type=float, default=4.0, help="of scenarios that last")
    made.add_argument("--save", action="store_true", help="keep all, and write RESULTS.md")
    made.add_argument("--quick", action="store_true", help="in little: whether all of it goes")
    made.add_argument("--write", type=Path, help="keep this run in a file of its own")
    made.add_argument("--against", type=Path, help="compare with this run, not with the last")
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


def carry_out_all(chosen: argparse.Namespace, session: Session) -> None:
    """Run what was asked for. Raises `SoftswitchError` for what there is not."""
    seconds = 2.0 if chosen.quick else chosen.seconds
    if chosen.target:
        only = chosen.only.removeprefix(SCENARIOS).removeprefix("/")
        other = other_plan(chosen)
        asyncio.run(other_scenarios(session, only, other, chosen.target, seconds))
        return
    wanted = [part for part in chosen.only.split(",") if part] or [*PROGRAMS, SCENARIOS]
    unknown = [part for part in wanted if part.partition("/")[0] not in (*PROGRAMS, SCENARIOS)]
    if unknown:
        raise SoftswitchError(f"--only: no {', '.join(unknown)}; --list tells what there is")
    with tempfile.TemporaryDirectory(prefix="softswitch-bench-") as folder:
        reckoning = [part for part in wanted if part in PROGRAMS and PROGRAMS[part].reckons]
        if len(reckoning) > 1:
            # The longest first, so that the others fit in beside it.
            reckoning.sort(key=lambda part: -PROGRAMS[part].limit_s)
            session.side_by_side(reckoning, Path(folder), quick=chosen.quick)
            wanted = [part for part in wanted if part not in reckoning]
        for part in wanted:
            if part in PROGRAMS:
                session.program(part, Path(folder), quick=chosen.quick)
            else:
                only = part.partition("/")[2]
                asyncio.run(own_scenarios(session, only, chosen.targets.split(","), seconds))


def keep(chosen: argparse.Namespace, session: Session, before: runs.Run) -> None:
    """Keep what has been measured, after each part: a run that is broken off has not been for nothing."""
    if chosen.write:
        runs.write(chosen.write, session.found, session.about)
    if not chosen.save or chosen.target:
        return
    about = runs.read_about(figures.KEPT)
    if not chosen.only:
        about = session.about
    # Of what was measured whole and well nothing older stays.
    whole = [part for part in session.found if not chosen.only and session.whole(part)]
    runs.write(figures.KEPT, runs.merged(before, session.found, whole), about)
    figures.write()


def report(
    chosen: argparse.Namespace, changes: list[runs.Change], session: Session | None = None
) -> None:
    """Tell what has changed; and of a run of now how long it took and what failed in it."""
    about = f"{figures.machine()}, commit {figures.commit()}"
    if session is not None:
        about += f", {session.minutes:.1f} minutes"
        about += "".join(f"; FAILED {name}: {why}" for name, why in session.failed.items())
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
        for name, program in PROGRAMS.items():
            print(f"{name:24} {program.about}")
        for work in scenarios.programme(1.0):
            print(f"{SCENARIOS + '/' + work.name:24} {work.title}: {', '.join(work.targets)}")
        return
    if chosen.quick and chosen.save:
        sys.exit("bench: figures of --quick are worth nothing: they are not kept by --save")
    if chosen.compare:
        old, new = (runs.read(path) for path in chosen.compare)
        changes = compared(old, new, chosen)
        report(chosen, changes)
        sys.exit(chosen.strict and any(change.regression for change in changes))
    kept = figures.KEPT
    if chosen.target:  # each has a run before of its own
        kept = figures.OUT / f"{re.sub('[^A-Za-z0-9]+', '-', chosen.target)}.json"
        chosen.write = chosen.write or kept
    old, before = runs.read(chosen.against or kept), runs.read(figures.KEPT)
    if chosen.quick and not chosen.against:
        old = {}  # figures in little are compared with nothing
    # Who ends the bench ends what it has started, too, and keeps what was measured.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    session = Session()
    session.after = lambda: keep(chosen, session, before)
    try:
        carry_out_all(chosen, session)
    except SoftswitchError as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        session.failed["the rest"] = "broken off"
        session.after()
    changes = compared(old, session.found, chosen)
    report(chosen, changes, session)
    ending(chosen, session)
    worse = chosen.strict and any(change.regression for change in changes)
    sys.exit(bool(worse or session.failed))


def ending(chosen: argparse.Namespace, session: Session) -> None:
    """How long it took, what has failed, what was written: the last lines, which are read."""
    took_s = session.took_s
    parts = ", ".join(f"{name} {seconds:.0f}" for name, seconds in took_s.items())
    print(f"took {session.minutes:.1f} minutes (seconds: {parts})")
    for name, why in session.failed.items():
        print(f"  FAILED {name}: {why}")
    if chosen.save and not chosen.target:
        print(f"written: {figures.KEPT}, {figures.RESULTS}")


def compared(old: runs.Run, new: runs.Run, chosen: Any) -> list[runs.Change]:
    """The changes; of a part of a bench nobody asks where the rest is."""
    changes = runs.compare(old, new, chosen.noise / 100)
    if chosen.compare or not (chosen.only or chosen.quick):
        return changes
    return [change for change in changes if change.verdict != runs.GONE]


if __name__ == "__main__":
    main()
