"""Kamailio as the carrier: it registers the office, challenges its calls, brings calls in, and fails."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.interop.peers.audio import TALK_S, assert_heard
from tests.interop.peers.baresip import Baresip, settle
from tests.interop.peers.kamailio import OFFICE, PASSWORD, Carrier
from tests.interop.peers.ports import HOST, free_port
from tests.interop.peers.process import wait_until
from tests.interop.peers.server import Server, Trunk, password_of
from tests.interop.peers.sipp import Sipp, register

Serve = Callable[..., Server]
Phone = Callable[..., Baresip]
NUMBER = "+861065551002"

OUT_AND_IN = f"""
[[outbound]]
prefix = "9"
strip = 1
permission = "internal"
trunks = ["carrier", "backup"]

[[inbound]]
number = "{NUMBER}"
to = "extension:1002"
"""


def trunk_row(server: Server, name: str = "carrier") -> dict[str, object]:
    return next(row for row in server.status()["trunks"] if row["name"] == name)


@pytest.mark.slow
def test_registration_and_calls_both_ways(
    serve: Serve, kamailio: Callable[..., Carrier], baresip: Phone, voices: dict
) -> None:
    """A telephone behind the carrier and one of the office call each other, by digest, and hear each
    other."""
    carrier, spare = kamailio(Carrier), kamailio(Carrier)
    more = carrier.trunk('register = true\ncaller_id = "+861065551000"')
    server = serve(
        trunks=[Trunk("carrier", carrier.address, more=more), Trunk("backup", spare.address)],
        more=OUT_AND_IN,
    )
    wait_until(
        lambda: trunk_row(server)["registration"] == "registered",
        lambda: f"the registration: {trunk_row(server)}\n{carrier.tail()}",
    )
    assert f"registered: {OFFICE}" in carrier.log()
    inside = baresip(server, "1002", plays="callee")
    outside = baresip(
        carrier.address, "13800000001", plays="caller", password=PASSWORD, loopback=True
    )
    for caller, callee, number in (
        (outside, inside, NUMBER),
        (inside, outside, "913800000001"),
    ):
        since, there = caller.mark(), callee.mark()
        caller.dial(number)
        caller.wait_event("CALL_ESTABLISHED", since=since)
        settle([caller, callee], TALK_S)
        caller.hang_up()
        for phone, mark in ((caller, since), (callee, there)):
            phone.wait_event("CALL_CLOSED", since=mark)
        assert_heard(voices["caller"].samples, inside.heard(), f"{number}: at the office")
        assert_heard(voices["callee"].samples, outside.heard(), f"{number}: outside")
        server.wait_idle()
    assert "invited: 13800000001 by +861065551000" in carrier.log()
    assert [record.status for record in server.records(2)] == ["answered", "answered"]


@pytest.mark.parametrize(("kind", "each_s"), [("refusing", 1.0), ("silent", 3.0), ("dead", 1.0)])
def test_a_sick_carrier_gives_way_to_the_next(
    serve: Serve,
    sipp: Callable[..., Sipp],
    kamailio: Callable[..., Carrier],
    tmp_path: Path,
    kind: str,
    each_s: float,
) -> None:
    """Ten calls reach the second carrier, another Kamailio, though the first answers 503, nothing, or
    is not there."""
    well = kamailio(Carrier)
    sick = kamailio(Carrier, refuse=503).address if kind == "refusing" else f"{HOST}:{free_port()}"
    hears_only = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    if kind == "silent":
        hears_only.bind((HOST, int(sick.rpartition(":")[2])))
    server = serve(
        trunks=[Trunk("carrier", sick), Trunk("backup", well.address, more=well.trunk())],
        more=OUT_AND_IN,
    )
    callee_port, caller_port = free_port(), free_port()
    register(
        tmp_path,
        server=well.address,
        number="13800000001",
        password=PASSWORD,
        port=callee_port,
    )
    register(
        tmp_path,
        server=server.address,
        number="1001",
        password=password_of("1001"),
        port=caller_port,
    )
    sipp("callee.xml", port=callee_port, calls=None)
    began_s = time.monotonic()
    counts = sipp(
        "caller.xml",
        server=server.address,
        port=caller_port,
        number="913800000001",
        username="1001",
        password=password_of("1001"),
        keys={"caller": "1001"},
        calls=10,
        rate=10,
        limit=1,
        hold_ms=50,
    ).wait()
    took_s = time.monotonic() - began_s
    assert (counts.successful, counts.failed) == (10, 0), counts
    assert took_s < 10 * each_s + 10, "the first three calls find it out, the others pass it over"
    row = trunk_row(server)
    assert row["state"] != "up", row
    print(
        f"interop: 10/10 calls past a {kind} carrier to Kamailio in {took_s:.1f} s ({row['why']})"
    )
    if kind != "silent":  # an INVITE that nobody answers is given up after 32 s (timer B)
        server.wait_idle()
    hears_only.close()
