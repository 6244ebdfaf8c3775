"""What the lab counts and what others count of the same run: Kamailio's statistics, SIPp's, both ways."""

from __future__ import annotations

import asyncio
import re
import shutil
from pathlib import Path

import msgspec
import pytest

from bench.peers import Kamailio, SippUas
from softswitch.load import Plan
from softswitch.load.result import Result
from softswitch.load.run import run
from softswitch.ports import free_port
from tests.interop.peers.ports import listening
from tests.waiting import until

pytestmark = [pytest.mark.interop]
needs_sipp = pytest.mark.skipif(not shutil.which("sipp"), reason="apt-get install sip-tester")
needs_kamailio = pytest.mark.skipif(
    not shutil.which("kamailio") or not shutil.which("kamcmd"), reason="apt-get install kamailio"
)
CALLS = 120


def plan(**options: object) -> Plan:
    return Plan(
        **{  # type: ignore[arg-type]
            "scenario": "uac-uas", "target": ("127.0.0.1", 9), "calls": CALLS, "rate": 60.0,
            "hold": "1", "processes": 2, "run": 5, **options,
        }
    )  # fmt: skip


@pytest.mark.slow
@needs_kamailio
async def test_counts_agree_with_kamailios() -> None:
    async with Kamailio(2) as proxy:
        before = await proxy.statistics()
        result = await run(proxy.adapt(plan()))
        after = await proxy.statistics()
    grown = {key: after[key] - before.get(key, 0) for key in after}
    figures = result.figures
    assert figures["answered"] == figures["completed"] == figures["received"] == CALLS
    assert result.findings == []
    assert figures["packets_stamped"] == figures["packets_received"] > 0.9 * CALLS * 2 * 50
    assert grown["core:rcv_requests_invite"] == CALLS
    assert grown["core:rcv_requests_ack"] == CALLS
    # A few BYEs more: the probes for dialogs that should be forgotten.
    probes = grown["core:rcv_requests_bye"] - CALLS
    assert 0 <= probes <= 44
    assert grown["tmx:2xx_transactions"] == pytest.approx(2 * CALLS, abs=44)


@needs_sipp
async def test_counts_agree_with_sipps_uas() -> None:
    async with SippUas() as uas:
        result = await run(uas.adapt(plan(hold="0.2")))
        theirs = await uas.statistics()
    assert result.figures["answered"] == result.figures["completed"] == CALLS
    assert result.figures["failed"] == 0
    # The made-up dialog of the control probe of each process is one more call to SIPp.
    made_up = theirs["IncomingCall(C)"] - CALLS
    assert 0 <= made_up <= 2
    assert (theirs["SuccessfulCall(C)"], theirs["FailedCall(C)"]) == (CALLS, made_up)


async def our_uas(file: Path, port: int) -> Result:
    return await run(
        plan(scenario=str(file), processes=1, calls=20, options={"port": str(port)}, timeout_s=30.0)
    )


async def sipps(name: str, tmp_path: Path) -> Path:
    """A scenario that is built into SIPp, as a file."""
    process = await asyncio.create_subprocess_exec(
        "sipp", "-sd", name, stdout=asyncio.subprocess.PIPE
    )
    script, _ = await process.communicate()
    file = tmp_path / f"{name}.xml"
    file.write_bytes(script)
    return file


@pytest.mark.slow
@needs_sipp
async def test_sipps_branching_client_runs_here_against_sipps_branching_server(
    tmp_path: Path,
) -> None:
    port = free_port()
    server = await asyncio.create_subprocess_exec(
        "sipp", "-sn", "branchs", "-i", "127.0.0.1", "-p", str(port), "-nostdin", "-m", "12",
        cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    await until(lambda: listening(port))
    file = await sipps("branchc", tmp_path)
    target = ("127.0.0.1", port)
    result = await run(plan(scenario=str(file), target=target, processes=1, calls=12, rate=12.0))
    said, _ = await server.communicate()
    good = re.findall(r"Successful call\s*\|\s*\d+\s*\|\s*(\d+)", said.decode(errors="replace"))
    assert result.figures["completed"] == int(good[-1]) == 12, result.causes
    assert result.figures["answered"] == 1  # number 2; to all others SIPp's server says 403


@needs_sipp
async def test_sipps_own_scenarios_run_here_and_agree_with_sipp(tmp_path: Path) -> None:
    """Our reading of SIPp's `uas` answers SIPp's `uac`; SIPp counts as many good calls as we do."""
    file = await sipps("uas", tmp_path)
    port = free_port()
    ours = asyncio.create_task(our_uas(file, port))
    await until(lambda: listening(port))
    sipp = await asyncio.create_subprocess_exec(
        "sipp", "-sn", "uac", f"127.0.0.1:{port}", "-i", "127.0.0.1", "-p", str(free_port()),
        "-m", "20", "-r", "20", "-nostdin", "-timeout", "25",
        cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    said, _ = await sipp.communicate()
    result = await ours
    assert sipp.returncode == 0
    good = re.findall(r"Successful call\s*\|\s*\d+\s*\|\s*(\d+)", said.decode(errors="replace"))
    assert int(good[-1]) == result.figures["completed"] == 20
    assert result.figures["failed"] == 0


@needs_sipp
async def test_sipps_uac_with_regular_expressions_runs_here(tmp_path: Path) -> None:
    file = await sipps("regexp", tmp_path)
    async with SippUas() as uas:
        wanted = uas.adapt(plan(hold="0.2", calls=20, processes=1))
        result = await run(msgspec.structs.replace(wanted, scenario=str(file)))
    assert result.figures["completed"] == 20, result.causes
