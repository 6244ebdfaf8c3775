"""Transfers asked for by SIPp with scenario files of our own: who is connected in the end, by the sound that
two baresip hear of each other, and by the call records; then many in a row."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.interop.peers.audio import LATE_S, TALK_S, assert_heard
from tests.interop.peers.baresip import Baresip, settle
from tests.interop.peers.ports import free_port
from tests.interop.peers.process import wait_until
from tests.interop.peers.script import Script
from tests.interop.peers.server import Record, Server, password_of
from tests.interop.peers.sipp import Sipp, register

Serve = Callable[..., Server]
Phone = Callable[..., Baresip]
Peer = Callable[..., Sipp]


@pytest.fixture
def transferor(sipp: Peer, tmp_path: Path) -> Callable[..., Sipp]:
    """Start a SIPp that is the telephone of 1001, calls 1002 and sends it on to 1003."""

    def start(server: Server, scenario: str, **options: object) -> Sipp:
        port = free_port()
        account = {"number": "1001", "password": password_of("1001"), "port": port}
        register(tmp_path, server=server.address, **account)  # type: ignore[arg-type]
        return sipp(
            scenario,
            server=server.address,
            port=port,
            number="1002",
            username="1001",
            password=password_of("1001"),
            keys={"caller": "1001", "target": "1003"},
            **options,
        )

    return start


def legs(record: Record) -> list[str]:
    return [leg["endpoint"].removeprefix("extension:") for leg in record.row["legs"]]


@pytest.mark.slow
@pytest.mark.parametrize("scenario", ["blind-transfer.xml", "attended-transfer.xml"])
def test_those_who_were_joined_hear_each_other(
    serve: Serve, baresip: Phone, transferor: Callable[..., Sipp], voices: dict, scenario: str
) -> None:
    server = serve()
    second = baresip(server, "1002", plays="callee-late")
    third = baresip(server, "1003", plays="caller-late")
    asked = transferor(server, scenario, hold_ms=500).wait()
    assert (asked.successful, asked.failed, asked.unexpected) == (1, 0, 0), asked
    third.wait_event("CALL_ESTABLISHED")
    settle([second, third], LATE_S + TALK_S)
    (live,) = server.status()["calls"]
    assert live["state"] == "talking"
    assert not second.has_event("CALL_CLOSED")
    third.hang_up()
    for phone in (second, third):
        phone.wait_event("CALL_CLOSED")
    assert_heard(voices["callee-late"].samples, third.heard(), "the second at the third")
    assert_heard(voices["caller-late"].samples, second.heard(), "the third at the second")
    server.wait_idle()
    records = server.records(1 if scenario.startswith("blind") else 2)
    assert {record.status for record in records} == {"answered"}
    assert ["1001", "1002", "1003"] in [legs(record) for record in records]


def test_a_target_who_is_busy_gives_the_call_back(
    serve: Serve, sipp: Peer, transferor: Callable[..., Sipp], tmp_path: Path
) -> None:
    server = serve()
    ports = {number: free_port() for number in ("1002", "1003")}
    for number, port in ports.items():
        account = {"number": number, "password": password_of(number), "port": port}
        register(tmp_path, server=server.address, **account)  # type: ignore[arg-type]
    stays = sipp("callee.xml", port=ports["1002"], calls=1)
    sipp("busy.xml", port=ports["1003"], calls=1)
    asked = transferor(server, "blind-transfer.xml", hold_ms=500).wait()
    assert (asked.successful, asked.failed, asked.unexpected) == (1, 0, 0), asked
    assert "BYE_Sent" in asked.details, "the call was given back, and ended by who asked"
    assert stays.wait().successful == 1
    server.wait_idle()
    (record,) = server.records(1)
    assert legs(record) == ["1001", "1002", "1003"]


def test_who_hangs_up_after_a_transfer_that_nobody_takes_is_called_back(
    serve: Serve, baresip: Phone, sipp: Peer, tmp_path: Path
) -> None:
    """A baresip holds, transfers by REFER and hangs up while a SIPp still rings, which is then busy."""
    server = serve()
    port = free_port()
    register(
        tmp_path, server=server.address, number="1003", password=password_of("1003"), port=port
    )
    script = Script("rings").receive("INVITE").answer(180).pause(1500).answer(486)
    rings = sipp(script.receive("ACK"), port=port)
    stays = baresip(server, "1002", plays="callee")
    leaves = baresip(server, "1001", plays="caller")
    leaves.dial("1002")
    leaves.wait_event("CALL_ESTABLISHED")
    leaves.command("hold")
    leaves.command("transfer", f"sip:1003@{server.address}")
    wait_until(lambda: len(server.status()["calls"][0]["legs"]) == 3, "the target to ring")
    since = leaves.mark()
    leaves.hang_up()
    counts = rings.wait()
    assert (counts.successful, counts.failed, counts.unexpected) == (1, 0, 0), counts
    back = leaves.wait_event("CALL_ESTABLISHED", since=since)
    assert "1002" in str(back["peeruri"]), back
    assert not stays.has_event("CALL_CLOSED")
    stays.hang_up()
    leaves.wait_event("CALL_CLOSED", since=since)
    server.wait_idle()


@pytest.mark.parametrize("scenario", ["blind-transfer.xml", "attended-transfer.xml"])
def test_who_remain_are_told_with_whom_they_talk(
    serve: Serve, sipp: Peer, transferor: Callable[..., Sipp], tmp_path: Path, scenario: str
) -> None:
    """Telephones that take UPDATE are told by it who is there now (RFC 4916), and go on."""
    server = serve()
    ports = {number: free_port() for number in ("1002", "1003")}
    for number, port in ports.items():
        account = {"number": number, "password": password_of(number), "port": port}
        register(tmp_path, server=server.address, **account)  # type: ignore[arg-type]
    who = {"P-Asserted-Identity": '"Phone 1003" <sip:1003@interop.example>'}
    script = Script("stays").receive("INVITE").answer(200, "Allow: ACK, BYE, UPDATE", sdp=True)
    script.receive("ACK").receive("UPDATE", check=who).confirm().is_left()
    stays = sipp(script, port=ports["1002"])
    leaves = sipp("leaver.xml", port=ports["1003"], calls=1, hold_ms=1500)
    asked = transferor(server, scenario, hold_ms=300)
    for peer in (asked, leaves, stays):
        counts = peer.wait()
        assert (counts.successful, counts.failed, counts.unexpected) == (1, 0, 0), counts
    server.wait_idle()


@pytest.mark.parametrize("scenario", ["blind-transfer.xml", "attended-transfer.xml"])
@pytest.mark.parametrize("many", [20, pytest.param(100, marks=pytest.mark.soak)])
def test_transfers_in_a_row(
    serve: Serve,
    sipp: Peer,
    transferor: Callable[..., Sipp],
    tmp_path: Path,
    scenario: str,
    many: int,
) -> None:
    """Ten a second; the one called in the end talks for a second and hangs up."""
    server = serve()
    ports = {number: free_port() for number in ("1002", "1003")}
    for number, port in ports.items():
        account = {"number": number, "password": password_of(number), "port": port}
        register(tmp_path, server=server.address, **account)  # type: ignore[arg-type]
    stays = sipp("callee.xml", port=ports["1002"], calls=many)
    leaves = sipp("leaver.xml", port=ports["1003"], calls=many, hold_ms=1500)
    asked = transferor(server, scenario, calls=many, rate=10, hold_ms=300)
    for peer in (asked, leaves, stays):
        counts = peer.wait()
        assert (counts.successful, counts.failed, counts.unexpected) == (many, 0, 0), counts
    server.wait_idle()
    attended = scenario.startswith("attended")
    records = server.records(2 * many if attended else many)
    whole = [record for record in records if legs(record) == ["1001", "1002", "1003"]]
    assert len(whole) == many
    assert {record.status for record in records} == {"answered"}
