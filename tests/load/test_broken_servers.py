"""The lab against switches that were broken on purpose: each fault must be named, and no other.

On virtual time, so that a busy machine changes nothing; a few again on real sockets, with the processor
wanted by others too.
"""

from __future__ import annotations

import asyncio
import functools
import subprocess
import sys
from typing import Any

import msgspec
import pytest

from media.wire import srtp
from softswitch.load import Lab, Plan
from softswitch.load.codecs import available
from softswitch.load.result import Result, summarise
from softswitch.load.scenarios import load
from softswitch.load.verdict import Limits
from softswitch.ports import free_port
from softswitch.sim.datagram import PhoneNetwork
from softswitch.sim.loop import run as run_simulated
from softswitch.sim.network import SimNetwork
from softswitch.sim.real_network import RealNetwork
from tests.load.broken import HOST, BrokenSwitch

G711 = ("PCMA", "PCMU")
PORT = 5099


def plan(**options: Any) -> Plan:
    """Four calls."""
    return Plan(
        **{
            "scenario": "uac-uas",
            "target": (HOST, 9),
            "calls": 4,
            "rate": 20.0,
            "hold": "2",
            "dial": "9{call}",
            "callee_ports": [PORT],
            "run": 77,
            "streams_max": 64,
            **options,
        }
    )


async def through(
    network: PhoneNetwork, wanted: Plan, fault: str, *, blur: bool = False, every: int = 1
) -> Result:
    """Calls through a broken switch; what the lab says of them."""
    simulated = network if isinstance(network, SimNetwork) else None
    callee = (HOST, wanted.callee_ports[0])
    async with BrokenSwitch(network, callee, fault, blur=blur, every=every) as switch:
        wanted = msgspec.structs.replace(wanted, target=switch.address)
        scenario = load(wanted.scenario)
        async with Lab(wanted, scenario.run, network=simulated) as lab:
            meter = await lab.run()
        return summarise(wanted, meter, 0.0, {})


def simulated(wanted: Plan, fault: str = "", *, blur: bool = False, every: int = 1) -> Result:
    """The same on virtual time."""

    async def main() -> Result:
        return await through(SimNetwork(seed=3), wanted, fault, blur=blur, every=every)

    return run_simulated(main(), limit_s=120.0)


CASES = {
    "in order, notes": ("", False, set()),
    "in order, listening": ("", True, set()),
    "one-way": ("one-way", False, {"one-way audio"}),
    "swapped": ("swapped", False, {"swapped legs", "wrong party"}),
    "swapped, listening": ("swapped", True, {"swapped legs", "wrong party"}),
    "looped": ("looped", False, {"swapped channels"}),
    "looped, listening": ("looped", True, {"swapped channels"}),
    "wrong file": ("wrong-file", False, {"unknown sound"}),
    "silence": ("silence", False, {"silence"}),
    "2 % loss": ("loss", False, {"loss"}),
    "2 % loss, listening": ("loss", True, {"loss"}),
    "2 % loss, hidden": ("hidden-loss", False, {"loss"}),
    "40 ms": ("delay", False, {"delay"}),
    "40 ms, listening": ("delay", True, {"delay"}),
    "duplicates": ("duplicates", False, {"duplicates"}),
    "clipping": ("clipping", False, {"clipping"}),
    "gaps": ("gaps", False, {"gaps", "loss"}),
    "a leak of dialogs": ("leak", False, {"dialog leak"}),
    "a dialog that outlives its call": ("zombie", False, {"dialog leak"}),
    "slow BYE": ("slow-bye", False, {"slow BYE"}),
}
OPUS = {
    "in order, Opus": ("", False, set()),
    "one-way, Opus": ("one-way", False, {"one-way audio"}),
    "swapped, Opus": ("swapped", False, {"swapped legs", "wrong party"}),
    "looped, Opus": ("looped", False, {"swapped channels"}),
    "wrong file, Opus": ("wrong-file", False, {"unknown sound"}),
    "silence, Opus": ("silence", False, {"silence"}),
    "2 % loss, Opus": ("loss", False, {"loss"}),
    "40 ms, Opus": ("delay", False, {"delay"}),
    "a leak of dialogs, Opus": ("leak", False, {"dialog leak"}),
    "slow BYE, Opus": ("slow-bye", False, {"slow BYE"}),
}
SRTP = {
    "in order, SRTP": ("", False, set()),
    "one-way, SRTP": ("one-way", False, {"one-way audio"}),
    "2 % loss, SRTP": ("loss", False, {"loss"}),
    "duplicates, SRTP": ("duplicates", False, {"duplicates"}),
    "40 ms, SRTP": ("delay", False, {"delay"}),
    "another key, SRTP": ("forged", False, {"bad SRTP"}),
    "looped, SRTP": ("looped", False, {"bad SRTP"}),  # to him who has sent it, under his own key
}
ALL = CASES | OPUS | SRTP


def options_of(case: str) -> dict[str, Any]:
    fault = ALL[case][0]
    options: dict[str, Any] = {"codecs": ("opus",) if case in OPUS else G711, "srtp": case in SRTP}
    if "loss" in fault:
        options["hold"] = "4"
    if fault == "leak":
        options["limits"] = Limits(hanging_s=1.0)
    return options


@functools.cache
def result_of(case: str) -> Result:
    fault, blur, _ = ALL[case]
    return simulated(plan(**options_of(case)), fault, blur=blur)


needs_opus = pytest.mark.skipif(not available("OPUS"), reason="no libopus here")
needs_srtp = pytest.mark.skipif(not srtp.available(), reason="no pylibsrtp here")


@pytest.mark.parametrize(
    "case",
    [
        *CASES,
        *(pytest.param(case, marks=needs_opus) for case in OPUS),
        *(pytest.param(case, marks=needs_srtp) for case in SRTP),
    ],
)
def test_the_fault_is_named_and_no_other(case: str) -> None:
    result, (_, blur, names) = result_of(case), ALL[case]
    assert {entry["code"] for entry in result.findings} == names, result.findings
    assert result.figures["answered"] == result.figures["completed"] == 4
    assert result.figures["failed"] == 0
    assert not result.saturated
    if blur or case in OPUS:
        assert result.figures["packets_stamped"] == 0
    assert result.figures["streams_sealed"] == 8 * (case in SRTP)
    if fault_free(case):
        assert result.figures["packets_lost"] == 0


def fault_free(case: str) -> bool:
    return not ALL[case][2]


def test_added_delay_is_measured_by_notes_and_by_listening() -> None:
    assert result_of("40 ms").figures["delay_p50_ms"] == pytest.approx(40, abs=1)
    assert result_of("40 ms, listening").figures["delay_p50_ms"] == pytest.approx(40, abs=6)
    assert result_of("in order, listening").figures["delay_p50_ms"] < 6


def test_loss_is_measured_also_where_sequence_numbers_hide_it() -> None:
    for case in ("2 % loss", "2 % loss, listening", "2 % loss, hidden"):
        assert result_of(case).figures["loss"] == pytest.approx(0.02, abs=0.012)


def test_a_leak_says_what_is_left() -> None:
    (leg,) = result_of("a leak of dialogs").findings
    assert leg["count"] == 4
    assert all("leg was still up" in example for example in leg["examples"])
    (dialog,) = result_of("a dialog that outlives its call").findings
    assert all("answered 200, not 481" in example for example in dialog["examples"])


def test_an_answer_that_cannot_be_used_fails_its_call_and_no_other() -> None:
    result = simulated(plan(), "other-codec", every=2)
    assert result.causes == {
        "the target's session description cannot be used: the answer has no codec that was offered": 2
    }
    assert result.figures["completed"] == 2
    assert result.figures["sessions_left"] == 0
    assert result.findings == []


def test_what_is_worse_scores_worse() -> None:
    scores = [
        result_of(case).figures["mos_mean"] for case in ("in order, notes", "40 ms", "2 % loss")
    ]
    assert scores == sorted(scores, reverse=True)


def test_a_nat_that_forgets_cuts_the_sound_of_a_server_that_believes_sdp() -> None:
    result = simulated(plan(hold="2.5", faults=["rebind=0.8s"]))
    assert result.figures["rebindings"] > 0
    assert "cut" in {entry["code"] for entry in result.findings}
    assert result.figures["completed"] == 4


# -- on real sockets --------------------------------------------------------------------------------


async def real(case: str, **options: Any) -> Result:
    fault, blur, _ = ALL[case]
    wanted = plan(**{**options_of(case), "callee_ports": [free_port()], **options})
    return await through(RealNetwork(), wanted, fault, blur=blur)


REAL = ("in order, notes", "one-way", "swapped", "wrong file", "2 % loss", "40 ms",
        "a leak of dialogs", "slow BYE")  # fmt: skip


@pytest.fixture(scope="module")
def busy_machine() -> dict[str, Result]:
    """All at once, and beside them a process of no importance that wants every core it can get."""

    async def main() -> list[Result]:
        return await asyncio.gather(*(real(case) for case in REAL))

    command = [sys.executable, "-c", "import os\nos.nice(5)\nwhile True: pass"]
    with subprocess.Popen(command) as hog:
        try:
            found = asyncio.run(main())
        finally:
            hog.kill()
    return dict(zip(REAL, found, strict=True))


@pytest.mark.realtime
@pytest.mark.parametrize("case", REAL)
def test_real_sockets_on_a_busy_machine_tell_the_same(
    case: str, busy_machine: dict[str, Result]
) -> None:
    """A fault is named all the same; what the machine adds is no fault unless the generator accuses
    itself."""
    result = busy_machine[case]
    found = {entry["code"] for entry in result.findings}
    assert found >= ALL[case][2], result.findings
    assert result.figures["answered"] == result.figures["completed"] == 4
    if not result.saturated:
        assert found == ALL[case][2], (result.findings, result.figures["pacer_late_p99_ms"])


@pytest.mark.realtime
def test_the_same_network_is_bad_for_signalling_and_for_sound() -> None:
    options = {"faults": ["both:loss=10%,duplicate=5%", "up:delay=5ms"]}
    result = asyncio.run(real("in order, notes", **options))
    assert result.figures["completed"] == 4
    # Twice ten per cent: out of one end and into the other.
    assert 0.1 < result.figures["loss"] < 0.3
    assert result.figures["packets_duplicated"] > 0
    assert {"loss", "duplicates"} <= {entry["code"] for entry in result.findings}
