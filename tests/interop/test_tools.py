"""Further peers, each where it is installed: sipsak and Kamailio."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

from tests.interop.peers.kamailio import Proxy
from tests.interop.peers.ports import HOST, free_port
from tests.interop.peers.process import require, wait_until
from tests.interop.peers.server import Server, Trunk, password_of
from tests.interop.peers.sipp import Sipp

Serve = Callable[..., Server]


def sipsak(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = require("sipsak", "sipsak")
    return subprocess.run(
        [program, "-vvv", "-H", "127.0.0.1", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_sipsak_as_a_stranger_is_asked_who_it_is(serve: Serve) -> None:
    require("sipsak", "sipsak")
    server = serve()
    done = sipsak("-s", f"sip:{server.address}")
    assert "SIP/2.0 401 Unauthorized" in done.stdout, done.stdout + done.stderr


def test_sipsak_registers(serve: Serve) -> None:
    require("sipsak", "sipsak")
    server = serve()
    arguments = ("-U", "-i", "-x", "60", "-s", f"sip:1001@{server.address}")
    contact = ("-C", f"sip:1001@127.0.0.1:{free_port()}")
    wrong = sipsak(*arguments, *contact, "-u", "1001", "-a", "guess")
    assert wrong.returncode != 0, wrong.stdout
    assert server.registrations() == 0
    right = sipsak(*arguments, *contact, "-u", "1001", "-a", password_of("1001"))
    assert right.returncode == 0, right.stdout + right.stderr
    assert server.registrations() == 1


def test_a_carrier_behind_a_record_routing_proxy(
    serve: Serve, sipp: Callable[..., Sipp], kamailio: Callable[..., Proxy]
) -> None:
    """ACK and BYE follow the route set that Kamailio wrote, though the callee's Contact is near."""
    carrier_port = free_port()
    called = sipp("callee.xml", calls=20)
    proxy = kamailio(Proxy, f"{HOST}:{called.port}")
    server = serve(
        trunks=[Trunk("caller", f"{HOST}:{carrier_port}"), Trunk("proxy", proxy.address)],
        more='[[inbound]]\nfrom = "caller"\nnumber = "88*"\nto = "trunk:proxy"\n',
    )
    calling = sipp(
        "uac",
        server=server.address,
        port=carrier_port,
        number="88100",
        calls=20,
        hold_ms=200,
    )
    counts = calling.wait()
    assert (counts.successful, counts.failed) == (20, 0), counts
    assert called.wait().successful == 20
    for method in ("ACK", "BYE"):
        wait_until(
            lambda method=method: proxy.log().count(f"within the dialog: {method}") == 20,
            lambda method=method: f"20 {method} through Kamailio:\n{proxy.tail()}",
        )
    server.wait_idle()
