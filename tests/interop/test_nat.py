"""Peers that do not know how they are reached: a carrier behind a NAT, telephones that are asked whether they
are still there."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.interop.peers.audio import TALK_S, assert_heard, match
from tests.interop.peers.baresip import Baresip, settle
from tests.interop.peers.ports import HOST, free_port
from tests.interop.peers.process import wait_until
from tests.interop.peers.server import Server, Trunk

Serve = Callable[..., Server]
Phone = Callable[..., Baresip]

INBOUND = '[[inbound]]\nnumber = "88*"\nto = "extension:1001"\n'


@pytest.mark.parametrize("media_from", ["sdp", "source"])
def test_a_carrier_whose_sdp_names_an_address_that_is_not_its_own(
    serve: Serve, baresip: Phone, voices: dict, media_from: str
) -> None:
    """It signals from the loopback address and names another in SDP, where its sound is not from."""
    port = free_port()
    carrier = Trunk("branch", f"{HOST}:{port}", more=f'media_from = "{media_from}"')
    server = serve(trunks=[carrier], more=INBOUND)
    callee = baresip(server, "1001", plays="callee")
    options = {"register": False, "password": "none", "sip_port": port, "behind_nat": True}
    caller = baresip(server, "13800000001", plays="caller", **options)
    caller.dial("88100")
    callee.wait_event("CALL_ESTABLISHED")
    settle([caller, callee], TALK_S)
    caller.hang_up()
    callee.wait_event("CALL_CLOSED")
    server.wait_idle()
    if media_from == "source":
        assert_heard(voices["caller"].samples, callee.heard(), "the carrier at the telephone")
        assert_heard(voices["callee"].samples, caller.heard(), "the telephone at the carrier")
    else:
        heard = callee.heard() if list(callee.heard_directory.glob("*-dec.wav")) else []
        assert match(voices["caller"].samples, heard).correlation < 0.3, "taken from nowhere else"


@pytest.mark.slow
def test_a_telephone_is_asked_and_found_silent(serve: Serve, baresip: Phone) -> None:
    server = serve(sip_more='qualify = "all"\nqualify_s = 5')
    phone = baresip(server, "1001", plays="caller")

    def row() -> dict:
        return server.status()["registrations"][0]

    wait_until(lambda: row()["reachable"], "an answer to OPTIONS")
    assert 0 < row()["round_trip_ms"] < 2000
    assert " ms" in server.run("status", str(server.file))
    phone.process.kill()
    wait_until(lambda: row()["reachable"] is False, "the silence to be noticed")
    assert "unreachable" in server.run("status", str(server.file))
    caller = baresip(server, "1002", plays="callee")
    caller.dial("1001")
    assert "480" in caller.wait_event("CALL_CLOSED")["param"]
    server.wait_idle()
