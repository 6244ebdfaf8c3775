"""Servers with two faults, or with one in a tenth of their calls: they are named, and nothing else is."""

from __future__ import annotations

import itertools
import re

import pytest

from softswitch.load.result import Result
from softswitch.load.verdict import Limits
from tests.load.test_broken_servers import plan, simulated

NAMES = {
    "one-way": {"one-way audio"},
    "swapped": {"swapped legs", "wrong party"},
    "loss": {"loss"},
    "delay": {"delay"},
    "duplicates": {"duplicates"},
    "leak": {"dialog leak"},
    "slow-bye": {"slow BYE"},
    "wrong-file": {"unknown sound"},
}
HIDDEN = {
    # The BYE of a leak is answered at once.
    frozenset(("leak", "slow-bye")): {"slow BYE"},
    # Of a file nobody can say when it was spoken, nor whose voice it has displaced.
    frozenset(("delay", "wrong-file")): {"delay"},
    frozenset(("swapped", "wrong-file")): {"swapped legs", "wrong party"},
}


PAIRS = list(itertools.combinations(NAMES, 2))


def through(fault: str, *, every: int = 1, calls: int = 4) -> Result:
    return simulated(
        plan(
            calls=calls,
            hold="4" if "loss" in fault else "2",
            limits=Limits(hanging_s=1.0 if "leak" in fault else 5.0),
        ),
        fault,
        every=every,
    )


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_two_faults_at_once_are_both_named_and_no_other(one: str, other: str) -> None:
    result = through(f"{one}+{other}")
    wanted = (NAMES[one] | NAMES[other]) - HIDDEN.get(frozenset((one, other)), set())
    assert {entry["code"] for entry in result.findings} == wanted, result.findings
    assert result.figures["completed"] == 4


@pytest.mark.parametrize("fault", NAMES)
def test_a_fault_of_a_tenth_of_the_calls_is_told_of_those_and_of_no_other(fault: str) -> None:
    result = through(fault, every=10, calls=40)
    assert {entry["code"] for entry in result.findings} == NAMES[fault], result.findings
    assert result.figures["calls_with_findings"] == 4
    for entry in result.findings:
        assert entry["count"] == 4
        told = " ".join(entry["examples"])
        if entry["code"] == "slow BYE":
            assert len(set(re.findall(r"Call-ID \w{20}:", told))) == 4
        else:
            assert {int(n) for n in re.findall(r"\bcall ([0-9]+)\b", told)} == {0, 1, 20, 21}


def test_five_hundred_calls_through_a_good_server_have_no_fault() -> None:
    result = simulated(plan(calls=500, rate=100.0, hold="1", streams_max=512))
    assert result.findings == []
    assert result.figures["answered"] == result.figures["completed"] == 500
    assert result.figures["packets_received"] > 500 * 2 * 45
    assert result.figures["packets_lost"] == 0
