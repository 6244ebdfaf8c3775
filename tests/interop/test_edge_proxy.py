"""Telephones behind a Kamailio at the edge, that says by Path (RFC 3327) how they are reached and passes on
nothing that does not name it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.interop.peers.audio import RATE_HZ, assert_heard
from tests.interop.peers.baresip import Baresip, settle
from tests.interop.peers.ports import HOST, free_port, listening
from tests.interop.peers.process import Process, require, wait_until
from tests.interop.peers.server import Server

Serve = Callable[..., Server]
Phone = Callable[..., Baresip]

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
loadmodule "path.so"
loadmodule "siputils.so"
loadmodule "textops.so"
loadmodule "xlog.so"
request_route {{
    if (is_method("CANCEL") || is_method("ACK")) {{
        if (t_check_trans()) {{
            t_relay();
            exit;
        }}
    }}
    if (!loose_route()) {{
        sl_send_reply("404", "Not through here");
        exit;
    }}
    xlog("L_ALERT", "passed: $rm from $si:$sp\\n");
    if (is_method("REGISTER")) add_path();
    else if (!has_totag()) record_route();
    t_relay();
}}
"""


def test_telephones_behind_an_edge_proxy(
    serve: Serve, baresip: Phone, process: Callable[..., Process], tmp_path: Path, voices: dict
) -> None:
    program, port = require("kamailio", "kamailio"), free_port()
    config = tmp_path / "edge.cfg"
    config.write_text(KAMAILIO.format(address=f"{HOST}:{port}"))
    edge = process("edge", [program, "-f", str(config), "-m", "16", "-M", "4"])
    wait_until(lambda: listening(port), lambda: f"Kamailio:\n{edge.tail()}")
    server = serve()
    account = f'outbound="sip:{HOST}:{port}"'
    caller = baresip(server, "1001", plays="caller", account=account)
    callee = baresip(server, "1002", plays="callee", account=account)
    assert {row["address"] for row in server.status()["registrations"]} == {f"{HOST}:{port}"}
    caller.dial("1002")
    for phone in (caller, callee):
        phone.wait_event("CALL_ESTABLISHED")
    settle([caller, callee], 2.0)
    callee.hang_up()
    caller.wait_event("CALL_CLOSED")
    server.wait_idle()
    said = {who: voices[who].samples[:RATE_HZ] for who in ("caller", "callee")}
    assert_heard(said["caller"], callee.heard(), "the caller at the callee")
    assert_heard(said["callee"], caller.heard(), "the callee at the caller")
    ours = f"from {HOST}:{server.office.sip_port}"
    for method in ("INVITE", "ACK", "BYE"):
        assert f"passed: {method} {ours}" in edge.log(), edge.tail()
