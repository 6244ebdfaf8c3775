"""What carriers insist on: early media, reliable ringing, UPDATE, session timers, late offers, a rate."""

from __future__ import annotations

from collections.abc import Callable

from tests.interop.peers.audio import RATE_HZ, assert_heard
from tests.interop.peers.baresip import Baresip, settle
from tests.interop.peers.ports import HOST, free_port
from tests.interop.peers.script import Script
from tests.interop.peers.server import Server, Trunk
from tests.interop.peers.sipp import Sipp

Serve = Callable[..., Server]
Phone = Callable[..., Baresip]
Peer = Callable[..., Sipp]

CALLER = "13800000001"
ROUTES = """
[[outbound]]
prefix = "9"
strip = 1
permission = "internal"
trunks = ["carrier"]

[[inbound]]
number = "88*"
to = "extension:1002"

[[inbound]]
number = "89*"
to = "extension:1001"
"""


def test_what_a_carrier_lets_hear_before_the_answer_is_heard(
    serve: Serve, baresip: Phone, sipp: Peer, voices: dict
) -> None:
    """A SIPp as the carrier sends 183 with its SDP and says what it hears; it answers long afterwards."""
    port = free_port()
    server = serve(trunks=[Trunk("carrier", f"{HOST}:{port}")], more=ROUTES)
    carrier = sipp("early.xml", port=port, rtp_echo=True, hold_ms=6500)
    caller = baresip(server, "1001", plays="caller")
    caller.dial(f"9{CALLER}")
    caller.wait_event("CALL_PROGRESS")
    caller.wait_heard_bytes(2 * (len(voices["caller"].samples) + RATE_HZ))
    assert not caller.has_event("CALL_ESTABLISHED")
    assert_heard(voices["caller"].samples, caller.heard(), "early media at the caller")
    caller.wait_event("CALL_ESTABLISHED")
    caller.hang_up()
    assert carrier.wait().successful == 1
    server.wait_idle()


def test_who_insists_on_reliable_ringing_and_makes_no_offer_hears_it(
    serve: Serve, baresip: Phone, sipp: Peer, voices: dict
) -> None:
    """A SIPp as the carrier takes the offer in our 180, answers it in its PRACK, and echoes what it hears."""
    port = free_port()
    server = serve(trunks=[Trunk("carrier", f"{HOST}:{port}")], more=ROUTES)
    phone = baresip(server, "1001", plays="caller", answer="manual")
    script = Script("late-reliable").invite("Require: 100rel", sdp=False)
    script.receive(100, optional=True)
    script.receive(
        180, body="m=audio", check={"Require": "100rel"}, keep={"RSeq": "rseq"}, routes=True
    )
    script.within("PRACK", 2, "RAck: [$rseq] 1 INVITE", sdp=True).receive(200)
    script.receive(200, check={"Content-Length": "^ *0"}).within("ACK", 1)
    script.receive("BYE").confirm()
    options = {"server": server.address, "port": port, "keys": {"caller": CALLER}}
    calling = sipp(script, number="89100", rtp_echo=True, **options)
    phone.wait_event("CALL_INCOMING")
    settle([phone], 0.3)  # the answer comes in the PRACK of the ringing
    phone.accept()
    phone.wait_heard_bytes(2 * (len(voices["caller"].samples) + RATE_HZ))
    assert_heard(voices["caller"].samples, phone.heard(), "its own voice from a caller who echoes")
    phone.hang_up()
    counts = calling.wait()
    assert (counts.successful, counts.failed, counts.unexpected) == (1, 0, 0), counts
    server.wait_idle()


def test_two_exchanges_that_send_a_call_to_and_fro_stop(serve: Serve, baresip: Phone) -> None:
    """Each has one hop less left (RFC 7332), and neither mistakes the refusal for a carrier that is ill."""
    ports = [free_port(), free_port()]
    round_trip = '[[outbound]]\nprefix = "7"\npermission = "internal"\ntrunks = ["other"]\n'
    round_trip += '[[inbound]]\nnumber = "7*"\nfrom = "other"\nto = "trunk:other"\n'
    here, there = (
        serve(
            trunks=[Trunk("other", f"{HOST}:{other}")],
            sip_port=port,
            more=round_trip,
            rtp_ports=400,
        )
        for port, other in (ports, ports[::-1])
    )
    caller = baresip(here, "1001", plays="caller")
    caller.dial("7123")
    assert str(caller.wait_event("CALL_CLOSED")["param"]).startswith("483")
    for server in (here, there):
        server.wait_idle()
        (trunk,) = server.status()["trunks"]
        assert trunk["state"] == "up", trunk
        assert len(server.records(35)) == 35


def test_reliable_ringing_update_session_timers_and_late_offers(
    serve: Serve, baresip: Phone, sipp: Peer
) -> None:
    port = free_port()
    trunk = Trunk("carrier", f"{HOST}:{port}", calls_per_s=2)
    server = serve(trunks=[trunk], more=ROUTES)
    rings = baresip(server, "1001", plays="caller", answer="manual")
    baresip(server, "1002", plays="callee")
    options = {"server": server.address, "port": port, "keys": {"caller": CALLER}}
    calling = sipp("careful.xml", number="89100", **options)
    rings.wait_event("CALL_INCOMING")
    settle([rings], 0.3)  # the ringing is acknowledged before the answer
    rings.accept()
    counts = calling.wait()
    assert (counts.successful, counts.failed, counts.unexpected) == (1, 0, 0), counts
    server.wait_idle()
    # More than `max_calls_per_s` at once: the others are asked to come again.
    rush = sipp("late.xml", number="88100", calls=12, rate=1000, hold_ms=100, **options).wait()
    assert 1 <= rush.successful <= 4, rush
    assert rush.successful + rush.failed == 12
    assert "SIP/2.0 503" in rush.details
    server.wait_idle()
