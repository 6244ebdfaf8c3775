"""Session timers as time passes (RFC 4028), with SIPp scripts that refresh, do not, and refuse; and a
connection to a Kamailio that CRLF keeps open (RFC 5626). All at once: the least interval is 90 seconds."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.interop.peers.baresip import Baresip
from tests.interop.peers.kamailio import Kamailio, Pinged
from tests.interop.peers.ports import HOST, free_port
from tests.interop.peers.process import wait_until
from tests.interop.peers.script import Script
from tests.interop.peers.server import Server, Trunk
from tests.interop.peers.sipp import Sipp
from tests.rows import Row

Serve = Callable[..., Server]
Phone = Callable[..., Baresip]
Peer = Callable[..., Sipp]

TIMER = ("Supported: timer", "Min-SE: 90")
WITHOUT_UPDATE = "Allow: INVITE, ACK, BYE, CANCEL"
WITH_UPDATE = "Allow: INVITE, ACK, BYE, CANCEL, UPDATE"
BY_US, BY_THEM = "Session-Expires: 90;refresher=uas", "Session-Expires: 90;refresher=uac"


def call(name: str, *headers: str) -> Script:
    script = Script(name).invite(
        *TIMER, *headers, direction="inactive"
    )  # nobody waits for its sound
    script.receive(100, optional=True)
    return script.receive(180, optional=True).receive(200, routes=True).within("ACK", 1)


def scripts() -> dict[str, Script]:
    """One call each, named by what becomes of it."""
    refreshed = "Session-Expires: 90;refresher=uac"
    return {
        "they refresh, then die": call("dies", WITH_UPDATE, BY_THEM)
        .pause(30_000)
        .within("UPDATE", 2, *TIMER, BY_THEM)
        .receive(200, check={"Session-Expires": "90;refresher=uac"})
        .receive("BYE", check={"Reason": "102"})
        .confirm(),
        "we refresh by UPDATE": call("update", WITH_UPDATE, BY_US)
        .receive("UPDATE", check={"Session-Expires": "90;refresher=uac"})
        .confirm(200, "Require: timer", refreshed)
        .leaves(2),
        "we refresh by re-INVITE": call("reinvite", WITHOUT_UPDATE, BY_US)
        .receive("INVITE", check={"Session-Expires": "90;refresher=uac"}, body="m=audio")
        .confirm(200, "Require: timer", refreshed, sdp=True)
        .receive("ACK")
        .leaves(2),
        "our refresh crosses theirs": call("glare", WITHOUT_UPDATE, BY_US)
        .receive("INVITE")
        .confirm(491)
        .receive("ACK")
        .receive("INVITE", body="m=audio")
        .confirm(200, "Require: timer", refreshed, sdp=True)
        .receive("ACK")
        .leaves(2),
        "too often for them": call("longer", WITH_UPDATE, BY_US)
        .receive("UPDATE")
        .confirm(422, "Min-SE: 120")
        .receive("UPDATE", check={"Session-Expires": "120", "Min-SE": "120"})
        .confirm(200, "Require: timer", "Session-Expires: 120;refresher=uac")
        .leaves(2),
        "they know no UPDATE after all": call("not-allowed", WITH_UPDATE, BY_US)
        .receive("UPDATE")
        .confirm(405)
        .receive("INVITE", body="m=audio")
        .confirm(200, "Require: timer", refreshed, sdp=True)
        .receive("ACK")
        .leaves(2),
        "they have forgotten the call": call("forgotten", WITH_UPDATE, BY_US)
        .receive("UPDATE")
        .confirm(481)
        .receive("BYE")
        .confirm(481),
        "they answer no refresh": call("silent", WITH_UPDATE, BY_US)
        .receive("UPDATE")  # and the same again: nothing is asked beside what has no answer yet
        .receive("BYE", check={"Reason": "408"})
        .confirm(),
    }


@pytest.mark.soak
def test_every_way_in_which_a_session_is_kept_or_lost(
    serve: Serve, baresip: Phone, sipp: Peer, row: Row
) -> None:
    ports = {name: free_port() for name in scripts()}
    server = serve(
        trunks=[Trunk(f"t{place}", f"{HOST}:{port}") for place, port in enumerate(ports.values())],
        more='[[inbound]]\nnumber = "88*"\nto = "conference:8000"\n\n[[conference]]\nnumber = "8000"\n',
    )
    options = {"server": server.address, "number": "88100", "keys": {"caller": "13800000001"}}
    peers = {name: sipp(script, port=ports[name], **options) for name, script in scripts().items()}
    right = 0
    for name, peer in peers.items():
        counts = peer.wait(timeout_s=150)
        assert (counts.successful, counts.failed) == (1, 0), f"{name}: {counts}"
        right += 1
    row(39, "session timers, against SIPp", right=f"{right}/{len(peers)}")
    server.wait_idle()


@pytest.mark.soak
def test_a_connection_of_ours_is_kept_open(serve: Serve, kamailio: Callable[..., Kamailio]) -> None:
    """Nothing is said on it for a minute: we ping, Kamailio answers, and the next OPTIONS goes by it again."""
    address = kamailio(Pinged).address
    server = serve(trunks=[Trunk("carrier", address, more='transport = "tcp"', health_check_s=75)])

    def tcp() -> dict[str, int]:
        return next(row for row in server.status()["transports"] if row["name"] == "tcp")

    wait_until(lambda: tcp()["connected"] == 1, lambda: f"a connection: {tcp()}")
    wait_until(lambda: tcp()["pongs"] >= 1, lambda: f"an answer: {tcp()}", timeout_s=90)
    assert (tcp()["connected"], tcp()["opened"], tcp()["late"]) == (1, 1, 0)


@pytest.mark.soak
def test_a_telephone_keeps_its_way_in_open_by_stun(serve: Serve, baresip: Phone) -> None:
    """baresip over UDP with outbound (RFC 5626 4.4.2): it asks within half a minute, is answered, and keeps its
    flow."""
    server = serve()
    at = f'sipnat=outbound;outbound="sip:{server.address}"'
    baresip(server, "1001", plays="caller", account=at, register=None)
    wait_until(lambda: server.registrations() == 1, "the registration")

    def answered() -> int:
        return int(server.status()["counters"]["stun_answered"])

    wait_until(lambda: answered() >= 2, lambda: f"two keep-alives: {answered()}", timeout_s=75)
    said = server.run("trace", str(server.file), "--no-follow", "--raw")
    assert said.count("Require: outbound") == 1, "it need not register anew"
