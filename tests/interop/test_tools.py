"""Further peers, each where it is installed: sipsak and Kamailio."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.interop.peers.ports import HOST, free_port, listening
from tests.interop.peers.process import Process, require, wait_until
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


KAMAILIO = """\
#!KAMAILIO
debug=0
log_stderror=yes
fork=no
children=1
disable_tcp=yes
listen=udp:{address}
loadmodule "pv.so"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "siputils.so"
loadmodule "textops.so"
loadmodule "xlog.so"
request_route {{
    if (has_totag()) {{
        if (loose_route()) {{
            xlog("L_ALERT", "within the dialog: $rm\\n");
            t_relay();
        }}
        exit;
    }}
    if (is_method("CANCEL")) {{
        if (t_check_trans()) t_relay();
        exit;
    }}
    record_route();
    $du = "sip:{next_hop}";
    t_relay();
}}
"""


def test_a_carrier_behind_a_record_routing_proxy(
    serve: Serve, sipp: Callable[..., Sipp], process: Callable[..., Process], tmp_path: Path
) -> None:
    """ACK and BYE follow the route set that Kamailio wrote, though the callee's Contact is near."""
    program = require("kamailio", "kamailio")
    proxy, carrier = f"{HOST}:{free_port()}", f"{HOST}:{free_port()}"
    called = sipp("callee.xml", calls=20)
    config = tmp_path / "kamailio.cfg"
    config.write_text(KAMAILIO.format(address=proxy, next_hop=f"{HOST}:{called.port}"))
    kamailio = process("kamailio", [program, "-f", str(config), "-m", "16", "-M", "4"])
    proxy_port = int(proxy.rpartition(":")[2])
    wait_until(lambda: listening(proxy_port), lambda: f"Kamailio:\n{kamailio.tail()}")
    server = serve(
        trunks=[Trunk("caller", carrier), Trunk("proxy", proxy)],
        more='[[inbound]]\nfrom = "caller"\nnumber = "88*"\nto = "trunk:proxy"\n',
    )
    calling = sipp(
        "uac",
        server=server.address,
        port=int(carrier.rpartition(":")[2]),
        number="88100",
        calls=20,
        hold_ms=200,
    )
    counts = calling.wait()
    assert (counts.successful, counts.failed) == (20, 0), counts
    assert called.wait().successful == 20
    for method in ("ACK", "BYE"):
        wait_until(
            lambda method=method: kamailio.log().count(f"within the dialog: {method}") == 20,
            lambda method=method: f"20 {method} through Kamailio:\n{kamailio.tail()}",
        )
    server.wait_idle()
