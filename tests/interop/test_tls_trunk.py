"""A carrier that is reached over TLS: a Kamailio whose certificate is looked at before it hears anything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.certificates import Authority
from tests.interop.peers.baresip import Baresip
from tests.interop.peers.kamailio import Proxy
from tests.interop.peers.ports import HOST, free_port
from tests.interop.peers.server import Server, Trunk
from tests.interop.peers.sipp import Sipp

Serve = Callable[..., Server]
Phone = Callable[..., Baresip]


def test_only_a_carrier_that_proves_its_name_hears_of_calls(
    serve: Serve,
    kamailio: Callable[..., Proxy],
    sipp: Callable[..., Sipp],
    baresip: Phone,
    tmp_path: Path,
) -> None:
    """The first carrier shows the certificate of another host; the call goes by the second."""
    ours = Authority(tmp_path, "ours")
    called = sipp("callee.xml", calls=1)
    onward = f"{HOST}:{called.port}"
    wrong = kamailio(Proxy, onward, issued=ours.issue("other.example"))
    right = kamailio(Proxy, onward, issued=ours.issue("localhost"))
    trunks = [
        Trunk(name, f"localhost:{port}", source=f"{HOST}:{port}", more='transport = "tls"')
        for name, port in (("wrong", wrong.secure), ("right", right.secure))
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
        assert right.heard(method, by="tls"), right.tail()
    assert "heard:" not in wrong.log(), "who does not prove his name hears nothing"
