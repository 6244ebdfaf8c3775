"""Whole calls over IPv6: of SIPp's own scenarios, with the capture file of one of them, and with sound between
two baresip, of which one may be on IPv4."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable

import pytest

from tests.interop.peers.audio import TALK_S, assert_heard
from tests.interop.peers.baresip import Baresip, settle
from tests.interop.peers.ports import HOST as IPV4
from tests.interop.peers.ports import free_port
from tests.interop.peers.process import wait_until
from tests.interop.peers.server import Server, Trunk
from tests.interop.peers.sipp import Sipp

Serve = Callable[..., Server]
Phone = Callable[..., Baresip]
Peer = Callable[..., Sipp]

HOST = "::1"
TRANSIT = '[[inbound]]\nfrom = "carrier"\nnumber = "88*"\nto = "trunk:sink"\n'


@pytest.mark.slow
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


def test_telephones_hear_each_other(serve: Serve, baresip: Phone, voices: dict) -> None:
    """Two calls at once of telephones on IPv6, by TCP: to one on IPv6, and to one on IPv4. Each signals and
    sends its sound in its own family."""
    port = free_port()
    server = serve(
        listen_more=(f"tcp://[{HOST}]:{port}",),
        media_more=f'other_address = "{HOST}"',
        extensions=("1001", "1002", "1003", "1004"),
    )
    six = {"server": f"[{HOST}]:{port}", "host": HOST, "transport": "tcp"}
    four = {"server": server.address, "host": IPV4, "transport": "udp"}
    calls = [
        (
            baresip(number=f"100{first}", plays="caller", **six),
            baresip(number=f"100{first + 1}", plays="callee", **there),
        )
        for first, there in ((1, six), (3, four))
    ]
    for caller, callee in calls:
        caller.dial(callee.number)
        callee.wait_event("CALL_ESTABLISHED")
    settle([phone for call in calls for phone in call], TALK_S)
    for caller, callee in calls:
        callee.hang_up()
        caller.wait_event("CALL_CLOSED")
        assert_heard(
            voices["caller"].samples, callee.heard(), f"{caller.number} at {callee.number}"
        )
        assert_heard(
            voices["callee"].samples, caller.heard(), f"{callee.number} at {caller.number}"
        )
    server.wait_idle()
