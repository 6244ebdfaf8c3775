"""Requests to carriers that are too long for a datagram (RFC 3261 18.1.1): by TCP to one that takes it, by UDP
after all to one that refuses it."""

from __future__ import annotations

import re
from collections.abc import Callable

from tests.interop.peers.baresip import Baresip
from tests.interop.peers.ports import HOST, free_port
from tests.interop.peers.server import Server, Trunk
from tests.interop.peers.sipp import Sipp

Serve = Callable[..., Server]
Phone = Callable[..., Baresip]
Peer = Callable[..., Sipp]

OUTSIDE = "13800000001"
# Each carrier is at the end of a chain of forwarding, and every link of it is a Diversion in the INVITE.
CHAINS = {prefix: [f"1{prefix}00000000000{link}" for link in range(5)] for prefix in ("8", "9")}
FORWARD = {
    number: f'forward = {{ always = "{onward}" }}'
    for prefix, chain in CHAINS.items()
    for number, onward in zip(chain, [*chain[1:], prefix + OUTSIDE], strict=True)
}
CODECS = 'codecs = ["PCMA", "PCMU", "G722", "opus", "L16", "L16/16000"]'
ROUTE = '[[outbound]]\nprefix = "{}"\nstrip = 1\npermission = "internal"\ntrunks = ["{}"]\n'


def sent(server: Server, port: int) -> list[str]:
    """By what each INVITE of ours to this carrier has gone, as its Via says it, in order."""
    said = server.run("trace", str(server.file), "--no-follow", "--raw").replace("\r", "")
    pattern = rf"^INVITE sip:{OUTSIDE}@{HOST}:{port}\b.*\nVia: SIP/2.0/(\w+) "
    return re.findall(pattern, said, re.MULTILINE)


def test_long_requests_go_by_tcp_where_it_is_taken(
    serve: Serve, baresip: Phone, sipp: Peer
) -> None:
    ports = {"9": free_port(), "8": free_port()}
    names = {"9": "takes", "8": "refuses"}
    server = serve(
        media_more=CODECS,
        extensions=("1001", *FORWARD),
        extension_more=FORWARD,
        trunks=[Trunk(names[prefix], f"{HOST}:{port}") for prefix, port in ports.items()],
        more="".join(ROUTE.format(prefix, name) for prefix, name in names.items()),
    )
    options = {"register": False, "password": "none", "sip_port": ports["9"]}
    takes = baresip(server, OUTSIDE, plays="callee", **options)
    refuses = sipp("callee.xml", calls=1, port=ports["8"])
    caller = baresip(server, "1001", plays="caller")
    caller.dial(CHAINS["9"][0])
    takes.wait_event("CALL_ESTABLISHED")
    caller.wait_event("CALL_ESTABLISHED")
    caller.hang_up()
    takes.wait_event("CALL_CLOSED")
    assert sent(server, ports["9"]) == ["TCP"]

    since = caller.mark()
    caller.dial(CHAINS["8"][0])
    caller.wait_event("CALL_ESTABLISHED", since=since)
    caller.hang_up()
    assert refuses.wait().successful == 1
    assert sent(server, ports["8"])[-1] == "UDP"
    server.wait_idle()
