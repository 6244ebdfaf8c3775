"""Whole calls over IPv6 between SIPp's own scenarios, and the capture file of one of them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable

import pytest

from tests.interop.peers.ports import free_port
from tests.interop.peers.process import wait_until
from tests.interop.peers.server import Server, Trunk
from tests.interop.peers.sipp import Sipp

Serve = Callable[..., Server]
Peer = Callable[..., Sipp]

HOST = "::1"
TRANSIT = '[[inbound]]\nfrom = "carrier"\nnumber = "88*"\nto = "trunk:sink"\n'


def test_calls_over_ipv6_and_the_capture_of_one(serve: Serve, sipp: Peer) -> None:
    ports = {name: free_port() for name in ("carrier", "sink")}
    trunks = [Trunk(name, f"[{HOST}]:{port}") for name, port in ports.items()]
    server = serve(host=f"[{HOST}]", trunks=trunks, more=TRANSIT)
    called = sipp("uas", host=HOST, port=ports["sink"], calls=2, rtp_echo=True)
    options = {"host": HOST, "port": ports["carrier"], "number": "88100", "server": server.address}
    calling = sipp("uac", calls=2, rate=2, hold_ms=4000, **options)
    live = wait_until(
        lambda: [c for c in server.status()["calls"] if c["state"] == "talking"][1:],
        "two calls at once",
    )
    for peer in (calling, called):
        counts = peer.wait()
        assert (counts.successful, counts.failed, counts.unexpected) == (2, 0, 0), counts
    assert {record.status for record in server.records(2)} == {"answered"}

    tshark = shutil.which("tshark")
    if tshark is None:
        pytest.skip("tshark is missing: apt-get install tshark")
    path = server.directory / "one.pcap"
    ids = {}
    for call in (live[0]["call_id"], None):
        one = [call] if call else []
        server.run("trace", *one, "--pcap", str(path), "--no-follow")
        read = [tshark, "-r", str(path), "-T", "fields", "-e", "ipv6.src", "-e", "sip.Call-ID"]
        rows = subprocess.run(read, capture_output=True, text=True, check=True).stdout.split("\n")
        fields = [row.split("\t") for row in rows if row]
        assert {source for source, _ in fields} == {HOST}
        ids[call] = {call_id for _, call_id in fields}
    one, everything = ids.values()
    assert len(one) == 2, "both legs of this call, and nothing of the other"
    assert one < everything
    assert len(everything) == 4
