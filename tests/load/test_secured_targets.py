"""Targets over streams, secured ones among them, and sound by SRTP: switches of ours and a Kamailio."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from bench.peers import Kamailio
from media.wire import srtp
from softswitch.errors import SoftswitchError
from softswitch.load import Lab, Plan
from softswitch.load.result import Result, summarise
from softswitch.load.scenarios import load
from softswitch.testing import Laboratory
from softswitch.testing.laboratory import TestSwitch, switch
from tests.certificates import Authority

pytestmark = pytest.mark.asyncio(loop_scope="module")
HOST = "127.0.0.1"
RUNS = itertools.count(1000, 1000)
needs_srtp = pytest.mark.skipif(not srtp.available(), reason="no pylibsrtp here")
needs_kamailio = pytest.mark.skipif(
    not shutil.which("kamailio") or not list(Path("/usr/lib").glob("*/kamailio/modules/tls.so")),
    reason="apt-get install kamailio kamailio-tls-modules",
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ours() -> AsyncIterator[TestSwitch]:
    async with switch() as running:
        yield running


def plan(**options: Any) -> Plan:
    """Four calls between telephones of ours."""
    given: dict[str, Any] = {"scenario": "uac-uas", "target": (HOST, 9), "calls": 4, "rate": 8.0}
    # A switch remembers the Call-IDs of a run for a while: each has its own.
    return Plan(**{**given, "hold": "1", "streams_max": 64, "run": next(RUNS), **options})


async def carried_out(wanted: Plan) -> Result:
    async with Lab(wanted, load(wanted.scenario).run) as lab:
        return summarise(wanted, await lab.run(), 0.0, {})


async def through(ours: TestSwitch, transport: str, **options: Any) -> Result:
    """Telephones that register and call over `transport`."""
    port = int(ours.over(transport).partition(";")[0].rpartition(":")[2])  # type: ignore[arg-type]
    numbers = [(str(number), ours.password) for number in range(1001, 1009)]
    wanted = plan(
        target=(HOST, port), transport=transport, domain=ours.domain, register=True,
        callers=numbers[:4], callees=numbers[4:],
    )  # fmt: skip
    return await carried_out(msgspec.structs.replace(wanted, **options))


def faultless(result: Result, transport: str) -> None:
    assert result.figures["answered"] == result.figures["completed"] == 4, result.causes
    assert result.findings == []
    assert result.figures["packets_stamped"] == result.figures["packets_received"] > 4 * 2 * 40
    assert result.plan["transport"] == transport


@pytest.mark.realtime
@pytest.mark.parametrize("transport", ["tcp", "ws"])
async def test_calls_over_a_stream(ours: TestSwitch, transport: str) -> None:
    faultless(await through(ours, transport), transport)


@pytest.mark.realtime
@needs_srtp
@pytest.mark.parametrize("transport", ["tls", "wss"])
async def test_calls_over_tls_with_sound_by_srtp(ours: TestSwitch, transport: str) -> None:
    """The switch keeps plain RTP to its telephones unless told otherwise: half of the streams are sealed."""
    result = await through(ours, transport, trusted=str(ours.certificate), srtp=True)
    faultless(result, transport)
    assert result.figures["streams_sealed"] == 4
    assert result.figures["packets_forged"] == 0


@pytest.mark.realtime
@pytest.mark.parametrize("transport", ["tls", "wss"])
async def test_a_certificate_that_nobody_trusts_ends_it_and_says_how_to_go_on(
    ours: TestSwitch, transport: str
) -> None:
    with pytest.raises(
        SoftswitchError, match=r"100\d cannot register.*certificate refused.*--trust"
    ):
        await through(ours, transport)


@pytest.mark.realtime
async def test_a_certificate_must_name_the_target_as_it_was_called(ours: TestSwitch) -> None:
    options = {"trusted": str(ours.certificate), "server_name": "other.example"}
    with pytest.raises(SoftswitchError, match=r"mismatch.*by the name"):
        await through(ours, "tls", **options)


@pytest.mark.realtime
async def test_a_telephone_of_the_fixtures_speaks_tls(ours: TestSwitch) -> None:
    async with Laboratory() as lab:
        phone = await lab.phone(
            ours.over("tls"), "1001", ours.password, domain=ours.domain, trust=ours.certificate
        )
        assert phone.registered
        assert phone.contact.endswith(";transport=tls")


@pytest.mark.interop
@needs_kamailio
@needs_srtp
async def test_kamailio_over_tls_both_ways_with_srtp_from_end_to_end(tmp_path: Path) -> None:
    """It calls the called side over TLS, too; its own counters know of no other call."""
    authority = Authority(tmp_path, "ours")
    async with Kamailio(1, certificate=authority.issue(HOST)) as proxy:
        trusted = {"trusted": str(authority.file), "srtp": True}
        result = await carried_out(proxy.adapt(plan(**trusted)))
        faultless(result, "tls")
        assert result.figures["streams_sealed"] == result.figures["streams"] == 8
        assert (await proxy.statistics())["core:rcv_requests_invite"] == 4
        untrusted = await carried_out(proxy.adapt(plan(calls=1)))
        assert untrusted.figures["failed"] == 1
        (cause,) = untrusted.causes
        assert "certificate refused" in cause
        assert any("--trust" in note for note in untrusted.notes)
