"""Two runs of the bench compared: what is worse is named, noise is not."""

from __future__ import annotations

import asyncio
import json
import math
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench import comparison, peak, programs, runs, scenarios
from bench.__main__ import Session
from bench.beside import Beside
from bench.figures import Figure, entry
from bench.runs import BETTER, GONE, NEW, SAME, WORSE, Run, compare
from softswitch.load.measure import Meter
from softswitch.load.plan import Plan, against_itself
from softswitch.load.result import Result, summarise
from softswitch.load.run import run

ROOT = Path(__file__).resolve().parents[2]


def run_of(**values: float) -> Run:
    figures = [
        Figure("cpu", values.get("cpu", 2.0), "ms", 3.0),
        Figure("rate", values.get("rate", 100.0), "calls/s", 90.0, at_least=True),
        Figure("lost", values.get("lost", 0.0), "packets", 0.0),
        Figure("delay", values.get("delay", 1.0), "ms"),
    ]
    return {"load": {figure.name: entry(figure) for figure in figures}}


@pytest.mark.parametrize(
    ("changed", "verdict", "regression"),
    [
        ({"cpu": 2.3}, SAME, False),
        ({"cpu": 2.5}, WORSE, True),
        ({"cpu": 1.5}, BETTER, False),
        ({"rate": 125.0}, BETTER, False),
        ({"rate": 80.0}, WORSE, True),
        ({"rate": 88.0}, SAME, True),  # not far, but below its bar
        ({"lost": 1.0}, WORSE, True),
        ({"delay": 0.8}, BETTER, False),
        ({"delay": 1.3}, WORSE, True),
    ],
)
def test_what_is_worse_is_told_from_what_is_noise(
    changed: dict[str, float], verdict: str, regression: bool
) -> None:
    (change,) = [
        change for change in compare(run_of(), run_of(**changed)) if change.name in changed
    ]
    assert (change.verdict, change.regression) == (verdict, regression)
    others = [c for c in compare(run_of(), run_of(**changed)) if c.name not in changed]
    assert {(c.verdict, c.regression) for c in others} == {(SAME, False)}


def test_what_is_new_and_what_is_gone_is_said_and_is_no_regression() -> None:
    old, new = run_of(), run_of()
    del old["load"]["cpu"], new["load"]["rate"]
    found = {change.name: change for change in compare(old, new)}
    assert found["cpu"].verdict == NEW
    assert math.isnan(found["cpu"].ratio)
    assert found["rate"].verdict == GONE
    assert not any(change.regression for change in found.values())
    assert compare({"acd": {}}, new)[0].verdict == NEW  # a bench that was not run is not gone


def test_the_reports_name_the_regression() -> None:
    changes = compare(run_of(), run_of(cpu=4.0, delay=0.5))
    text, page = (
        comparison.markdown(changes, "a <machine>"),
        comparison.html(changes, "a <machine>"),
    )
    assert "**load: cpu**: 2 ms → 4 ms (x2.00): worse, above its bar now" in text
    assert "1 worse, 1 better" in text
    assert "a &lt;machine&gt;" in page
    assert '<td class="bad">worse, above its bar now</td>' in page
    assert '<td class="good">better</td>' in page
    assert "None." in comparison.markdown(compare(run_of(), run_of()), "")


def test_runs_are_kept_and_joined(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    assert runs.read(file) == {}
    part = {"load": {"cpu": run_of(cpu=1.0)["load"]["cpu"]}}
    joined = runs.merged(run_of(), part)
    runs.write(file, joined, {"commit": "abc"})
    assert runs.read(file) == joined
    assert runs.read_about(file) == {"commit": "abc"}
    only = runs.merged(run_of(), part, whole=["load"])
    assert list(only["load"]) == ["cpu"]
    assert (joined["load"]["cpu"]["value"], joined["load"]["rate"]["value"]) == (1.0, 100.0)


def test_two_files_are_compared_from_the_command_line(tmp_path: Path) -> None:
    files = [tmp_path / "old.json", tmp_path / "new.json"]
    for file, cpu in zip(files, (2.0, 4.0), strict=True):
        file.write_text(json.dumps(run_of(cpu=cpu)))
    command = [sys.executable, "-m", "bench", "--compare", *files, "--strict"]
    command += ["--markdown", tmp_path / "report.md"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "REGRESSION load: cpu: 2 ms -> 4 ms (x2.00)" in done.stdout
    assert "load: cpu" in (tmp_path / "report.md").read_text()


def test_a_target_without_a_number_is_asked_for_one() -> None:
    command = [sys.executable, "-m", "bench", "--target", "sip:127.0.0.1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "--dial NUMBER" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.realtime
async def test_a_scenario_becomes_figures_that_always_have_the_same_names() -> None:
    work = next(work for work in scenarios.programme(1.0) if work.name == "set-up 50")
    found = list(scenarios.told(work, "the lab", await run(against_itself(work.plan))))
    assert [figure.name.removeprefix(f"{work.title}, the lab: ") for figure in found] == [
        "failed",
        "set-up p50",
    ]
    assert found[0].value == 0
    assert "50 of 50 in order" in found[0].note


def test_whatever_is_measured_has_a_target_and_a_name_of_its_own() -> None:
    works = scenarios.programme(1.0)
    assert len({work.name for work in works}) == len({work.title for work in works}) == len(works)
    assert {target for work in works for target in work.targets} == set(scenarios.NAMES)


# -- programs that fail ---------------------------------------------------------------------------------

SHOW = "import figures; figures.show([figures.Figure('a', 1.0, 'ms')])\n"
HANG = f"""{SHOW}
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print("child", child.pid, flush=True)
time.sleep(600)
"""


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (SHOW, ""),
        (SHOW + "1 / 0", "ended with 1"),
        ("", "showed no figure"),
        ("import figures; raise figures.lacking('no such tool')", ""),
        (HANG, "not over after 2 s"),
    ],
)
def test_a_program_ends_in_its_time_with_all_it_has_started_and_what_it_showed_counts(
    text: str,
    problem: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "one.py").write_text(text)
    monkeypatch.setattr(programs.figures, "ROOT", tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "bench"))
    outcome = programs.carry_out(programs.Program("one", "", limit_s=2.0), tmp_path)
    assert outcome.problem == problem
    assert [entry["value"] for entry in outcome.entries.values()] == (
        [1.0] if "show(" in text else []
    )
    assert outcome.lacking is ("lacking" in text)
    started = [line.split()[1] for line in capfd.readouterr().out.splitlines() if "child" in line]
    assert len(started) == (text == HANG)
    for pid in started:
        assert any(gone(int(pid)) or time.sleep(0.05) for _ in range(100))


def test_programs_that_only_reckon_go_side_by_side_each_on_a_core(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bench").mkdir()
    names = ["one", "two", "three"]
    for name in names:
        told = "import os, time; time.sleep(0.3); print(len(os.sched_getaffinity(0)), 'core')\n"
        (tmp_path / "bench" / f"{name}.py").write_text(SHOW + told)
    monkeypatch.setattr(programs.figures, "ROOT", tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "bench"))
    for name in names:
        monkeypatch.setitem(programs.PROGRAMS, name, programs.Program(name, "", 20.0))
    session = Session()
    began_s = time.monotonic()
    session.side_by_side(names, tmp_path, quick=False)
    took_s = time.monotonic() - began_s
    assert session.failed == {}
    assert set(session.found) == set(names)
    assert capsys.readouterr().out.count("1 core") == 3
    assert 0.3 <= sum(session.took_s.values()) <= took_s, "what went side by side counts once"


def test_every_program_is_there_and_knows_the_options_it_is_given() -> None:
    for program in programs.PROGRAMS.values():
        text = (ROOT / "bench" / f"{program.name}.py").read_text()
        for option in (*program.options, *program.quick):
            if option.startswith("--"):
                assert f'"{option}"' in text, (program.name, option)


def test_what_fails_does_not_end_the_rest_and_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    session = Session()

    async def broken(plan: Plan) -> Result:
        raise OSError("no such server\nand more")

    async def sound(plan: Plan) -> Result:
        return summarise(plan, Meter(), 0.0, {})

    async def both() -> None:
        one, two, *_ = scenarios.programme(1.0)
        await session.scenario(one, "nowhere", broken)
        await session.scenario(two, "here", sound)

    asyncio.run(both())
    assert session.failed == {"scenarios/set-up 50, nowhere": "OSError: no such server"}
    (figure,) = session.found["scenarios"].values()
    assert figure["name"].endswith("here: failed")
    assert set(session.about) == {"machine", "commit", "began", "took_s", "failed"}
    assert "set-up 50, nowhere has failed" in capsys.readouterr().err


@pytest.mark.parametrize("capacity", [90.0, 480.0, 700.0, 964.0, 1300.0, 2400.0])
@pytest.mark.parametrize("kept", [0.7, 0.95])
def test_the_peak_is_found_in_few_steps(capacity: float, kept: float) -> None:
    """Of a server that keeps so much of its capacity when more is offered."""
    tried: list[tuple[float, float]] = []
    while (rate := peak.next_rate(tried)) is not None:
        tried.append((rate, rate if rate <= capacity else kept * capacity))
    assert len(tried) <= peak.STEPS_MAX
    assert max(completed for _, completed in tried) >= 0.9 * capacity


def test_a_server_that_carries_whatever_is_offered_ends_the_search() -> None:
    tried: list[tuple[float, float]] = []
    while (rate := peak.next_rate(tried)) is not None:
        tried.append((rate, rate))
    assert len(tried) == peak.STEPS_MAX


QUIET = Beside(
    loop=0.86, threads=0.03, media=0.1, idle=0.0, stolen=0.0, generator=0.2, generator_idle=0.75,
    dropped=0, generator_dropped=0, begun_per_s=2000.0, offered_per_s=2000.0,
)  # fmt: skip


def test_a_run_in_which_only_the_switch_was_short_of_time_is_not_doubted() -> None:
    assert QUIET.doubts == ""
    assert "other programs 1, stolen 0; generator 20 of the other, 75 idle" in QUIET.words
    assert replace(QUIET, dropped=7, begun_per_s=1941.0).doubts == "", "7 messages too many for us"


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"begun_per_s": 1939.0}, "1939 of 2000 calls a second begun"),
        ({"generator_dropped": 3}, "3 datagrams dropped at the generator's sockets"),
        ({"generator_idle": 0.02}, "the generator's core full, 20 % of it by itself"),
        ({"loop": 0.7}, "17 % of the switch's core taken by others"),
        ({"loop": 0.7, "stolen": 0.17}, "17 % of the switch's core taken by others"),
    ],
)
def test_a_run_that_says_little_about_the_switch_says_so(
    changed: dict[str, Any], told: str
) -> None:
    doubted = replace(QUIET, **changed)
    assert doubted.doubts == told
    assert doubted.words.endswith(f"; NOT THE SWITCH ALONE: {told}")
