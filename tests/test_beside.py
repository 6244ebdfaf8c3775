"""`scripts/beside`: what may wait beside what may not."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

BESIDE = Path(__file__).parents[1] / "scripts" / "beside"


def beside(first: str, second: str) -> subprocess.CompletedProcess[str]:
    command = [BESIDE, first, "sh", "-c", second]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("first", "second", "code"),
    [("exit 0", "exit 0", 0), ("exit 3", "exit 0", 3), ("exit 0", "exit 4", 4)],
)
def test_it_fails_if_either_does(first: str, second: str, code: int) -> None:
    assert beside(first, second).returncode == code


def test_the_first_has_the_lowest_priority_and_is_shown_when_both_are_done(tmp_path: Path) -> None:
    over = tmp_path / "over"
    done = beside(
        f"nice; until [ -e {over} ]; do sleep 0.01; done; echo late >&2",
        f"nice; echo second; touch {over}",
    )
    assert done.stdout.split() == [done.stdout.split()[0], "second", "19", "late"]
    assert (done.returncode, done.stderr) == (0, "")


def test_the_first_and_what_it_has_started_end_at_once_when_the_second_fails(
    tmp_path: Path,
) -> None:
    begun = tmp_path / "begun"
    first = f"sleep 600 & echo $! > {begun}.new; mv {begun}.new {begun}; wait"
    done = beside(first, f"until [ -e {begun} ]; do sleep 0.01; done; exit 1")
    assert done.returncode == 1
    until_s = time.monotonic() + 30  # of the lowest priority, it takes a while to end
    while _runs(begun.read_text().strip()):
        assert time.monotonic() < until_s
        time.sleep(0.01)


def _runs(process_id: str) -> bool:
    try:
        status = Path("/proc", process_id, "stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"
