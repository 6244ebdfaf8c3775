"""A carrier that is reached over TLS: a Kamailio whose certificate is looked at before it hears anything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.certificates import Authority, Issued
from tests.interop.peers.baresip import Baresip
from tests.interop.peers.ports import HOST, free_port, listening
from tests.interop.peers.process import Process, require, wait_until
from tests.interop.peers.server import Server, Trunk
from tests.interop.peers.sipp import Sipp

Serve = Callable[..., Server]
Phone = Callable[..., Baresip]

KAMAILIO = """\
#!KAMAILIO
debug=0
log_stderror=yes
fork=yes
children=1
tcp_children=1
enable_tls=yes
listen=udp:{host}:{plain}
listen=tls:{host}:{secure}
loadmodule "tls.so"
loadmodule "pv.so"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "siputils.so"
loadmodule "textops.so"
loadmodule "xlog.so"
modparam("tls", "tls_method", "TLSv1.2+")
modparam("tls", "certificate", "{certificate}")
modparam("tls", "private_key", "{key}")
request_route {{
    xlog("L_ALERT", "heard: $rm by $proto\\n");
    if (has_totag()) {{
        if (loose_route()) t_relay();
        exit;
    }}
    if (is_method("CANCEL")) {{
        if (t_check_trans()) t_relay();
        exit;
    }}
    record_route();
    $du = "sip:{host}:{next_hop}";
    t_relay();
}}
"""


def carrier(
    process: Callable[..., Process], directory: Path, name: str, issued: Issued, next_hop: int
) -> tuple[Process, int]:
    """A Kamailio with this certificate, and the port where it speaks TLS."""
    program = require("kamailio", "kamailio")
    if not list(Path("/usr/lib").glob("*/kamailio/modules/tls.so")):
        require("kamailio's tls.so", "kamailio-tls-modules")
    plain, secure = free_port(), free_port()
    config = directory / f"{name}.cfg"
    config.write_text(
        KAMAILIO.format(
            host=HOST,
            plain=plain,
            secure=secure,
            next_hop=next_hop,
            certificate=issued.certificate,
            key=issued.key,
        )
    )
    started = process(name, [program, "-DD", "-f", str(config), "-m", "32", "-M", "8"])
    wait_until(lambda: listening(plain), lambda: f"Kamailio:\n{started.tail()}")
    return started, secure


def test_only_a_carrier_that_proves_its_name_hears_of_calls(
    serve: Serve,
    process: Callable[..., Process],
    sipp: Callable[..., Sipp],
    baresip: Phone,
    tmp_path: Path,
) -> None:
    """The first carrier shows the certificate of another host; the call goes by the second."""
    ours = Authority(tmp_path, "ours")
    called = sipp("callee.xml", calls=1)
    wrong, first = carrier(process, tmp_path, "wrong", ours.issue("other.example"), called.port)
    right, second = carrier(process, tmp_path, "right", ours.issue("localhost"), called.port)
    trunks = [
        Trunk(name, f"localhost:{port}", source=f"{HOST}:{port}", more='transport = "tls"')
        for name, port in (("wrong", first), ("right", second))
    ]
    routes = '[[outbound]]\nprefix = "9"\npermission = "internal"\ntrunks = ["wrong", "right"]\n'
    trusted = f'[tls]\ntrusted = "{ours.file}"\n'
    server = serve(trunks=trunks, more=trusted + routes, tls_port=free_port())
    caller = baresip(server, "1001", plays="caller")
    caller.dial("913800000001")
    caller.wait_event("CALL_ESTABLISHED")
    caller.hang_up()
    assert called.wait().successful == 1
    server.wait_idle()
    for method in ("INVITE", "ACK", "BYE"):
        assert f"heard: {method} by tls" in right.log(), right.tail()
    assert "heard:" not in wrong.log(), "who does not prove his name hears nothing"
