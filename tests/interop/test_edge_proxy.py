"""Telephones behind a Kamailio at the edge, that says by Path (RFC 3327) how they are reached and passes on
nothing that does not name it."""

from __future__ import annotations

from collections.abc import Callable

from tests.interop.peers.audio import RATE_HZ, assert_heard
from tests.interop.peers.baresip import Baresip, settle
from tests.interop.peers.kamailio import Edge, Kamailio
from tests.interop.peers.server import Server

Serve = Callable[..., Server]
Phone = Callable[..., Baresip]


def test_telephones_behind_an_edge_proxy(
    serve: Serve, baresip: Phone, kamailio: Callable[..., Kamailio], voices: dict
) -> None:
    server = serve()
    edge = kamailio(Edge, server.address)
    account = f'outbound="sip:{edge.address}"'
    caller = baresip(server, "1001", plays="caller", account=account)
    callee = baresip(server, "1002", plays="callee", account=account)
    assert {row["address"] for row in server.status()["registrations"]} == {edge.address}
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
    log = edge.log()
    assert log.count("heard: INVITE by udp") >= 3, "one challenged, one taken, one for the callee"
    assert "within the dialog: BYE" in log
