"""Baresip phones over UDP, TCP and TLS at one exchange: they talk, give up, decline, come and go."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.interop.peers.audio import RATE_HZ, assert_heard
from tests.interop.peers.baresip import Baresip, call_back, talk_and_hear
from tests.interop.peers.ports import HOST, free_port
from tests.interop.peers.process import wait_until
from tests.interop.peers.server import Server
from tests.interop.peers.stage import Stage

Serve = Callable[..., Server]
Phone = Callable[..., Baresip]

pytestmark = pytest.mark.xdist_group("telephone calls")


@pytest.fixture(scope="module")
def the_office(shared: Stage) -> Server:
    return shared.serve(tls_port=free_port())


def connections_to(port: int) -> int:
    """TCP connections to this port that are up (Linux)."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[2].endswith(f":{port:04X}") and row[3] == "01" for row in rows)


def test_a_law_and_mu_law_phones_understand_each_other(
    office: Server, baresip: Phone, voices: dict
) -> None:
    callee = baresip(office, "1002", plays="callee", codecs="PCMA/8000/1")
    caller = baresip(office, "1001", plays="caller", codecs="PCMU/8000/1")
    talk_and_hear(caller, callee, voices)
    office.wait_idle()


def test_a_phone_on_tcp_and_a_phone_on_udp(office: Server, baresip: Phone, voices: dict) -> None:
    callee = baresip(office, "1002", plays="callee", transport="tcp")
    caller = baresip(office, "1001", plays="caller")
    talk_and_hear(caller, callee, voices)
    office.wait_idle()
    call_back(callee, caller)
    office.wait_idle()


def test_a_phone_on_tls_and_a_phone_on_tcp(office: Server, baresip: Phone, voices: dict) -> None:
    callee = baresip(f"{HOST}:{office.office.tls_port}", "1002", plays="callee", transport="tls")
    caller = baresip(office, "1001", plays="caller", transport="tcp")
    transports = {row["extension"]: row["transport"] for row in office.status()["registrations"]}
    assert transports == {"1001": "tcp", "1002": "tls"}
    talk_and_hear(caller, callee, voices)
    office.wait_idle()
    call_back(callee, caller)
    office.wait_idle()


def test_echo_test_returns_the_voice(office: Server, baresip: Phone, voices: dict) -> None:
    caller = baresip(office, "1001", plays="caller")
    caller.dial("*43")
    caller.wait_event("CALL_ESTABLISHED")
    caller.wait_heard_bytes(2 * (len(voices["caller"].samples) + 2 * RATE_HZ), timeout_s=60)
    caller.hang_up()
    caller.wait_event("CALL_CLOSED")
    assert_heard(voices["caller"].samples, caller.heard(), "the echo")
    office.wait_idle()


@pytest.mark.parametrize(
    ("number", "status"), [("1003", "480"), ("4999", "404")], ids=["unregistered", "unknown"]
)
def test_a_number_that_cannot_be_reached(
    office: Server, baresip: Phone, number: str, status: str
) -> None:
    caller = baresip(office, "1001", plays="caller")
    caller.dial(number)
    assert status in caller.wait_event("CALL_CLOSED")["param"]
    office.wait_idle()


def test_a_caller_who_gives_up_stops_the_ringing(office: Server, baresip: Phone) -> None:
    callee = baresip(office, "1002", plays="callee", answer="manual")
    caller = baresip(office, "1001", plays="caller")
    caller.dial("1002")
    callee.wait_event("CALL_INCOMING")
    caller.wait_event("CALL_RINGING")
    caller.hang_up()
    callee.wait_event("CALL_CLOSED")
    office.wait_idle()
    (record,) = office.records(1)
    assert record.status != "answered", record
    # What they are is known though nobody has answered, and they are found by it.
    legs = record.row["legs"]
    assert [leg["user_agent"].partition(" ")[0] for leg in legs] == ["baresip", "baresip"], legs
    for named in (
        ("--user-agent", "Baresip"),
        *(("--sip-call-id", leg["sip_call_id"]) for leg in legs),
    ):
        found = json.loads(office.run("calls", str(office.file), "--json", *named))
        assert record.call_id in [row["call_id"] for row in found], named


def test_a_callee_who_declines(office: Server, baresip: Phone) -> None:
    callee = baresip(office, "1002", plays="callee", answer="manual")
    caller = baresip(office, "1001", plays="caller")
    caller.dial("1002")
    callee.wait_event("CALL_INCOMING")
    callee.hang_up()
    closed = caller.wait_event("CALL_CLOSED")
    assert closed["param"][:3] in ("486", "603"), closed
    office.wait_idle()


def test_a_phone_with_a_wrong_password_is_not_registered(serve: Serve, baresip: Phone) -> None:
    server = serve()
    phone = baresip(server, "1001", plays="caller", password="guess", register=None)
    # It guesses again with every nonce it is given, until the exchange stops listening to it.
    wait_until(lambda: server.status()["bans"], "the guessing phone to be banned")
    assert server.status()["gate"]["wrong_password"] >= 10
    assert server.registrations() == 0
    assert " 200 OK " not in phone.process.log()
    told = wait_until(lambda: dict(server.noted("security-ban")), "the entry")["security-ban"]
    assert (told["account"], told["username"]) == ("1001", "1001")
    assert told["user_agent"].startswith("baresip")
    assert told["sip_call_id"]
    (ban,) = server.status()["bans"]
    assert ban["source"] == HOST
    assert 0 < ban["left_s"] <= 3600
    assert HOST in server.run("status", str(server.file))
    server.run("unban", HOST, str(server.file))
    assert server.status()["bans"] == []


def test_a_phone_unregisters_when_it_leaves(office: Server, baresip: Phone) -> None:
    phone = baresip(office, "1001", plays="caller")
    assert office.registrations() == 1
    phone.close()
    wait_until(lambda: office.registrations() == 0, "the binding to go")


def test_a_phone_that_keeps_its_flow_is_called_on_it(office: Server, baresip: Phone) -> None:
    """RFC 5626 over TCP: it registers with instance and reg-id, is told how often to ping, and one connection
    carries everything; when it is cut off, its registration goes with it."""
    at = f'sipnat=outbound;outbound="sip:{office.address};transport=tcp"'
    phone = baresip(office, "1002", plays="callee", transport="tcp", account=at)
    caller = baresip(office, "1001", plays="caller")
    said = office.run("trace", str(office.file), "--no-follow", "--raw")
    for words in ("reg-id=1", "+sip.instance=", "Require: outbound", "Flow-Timer: "):
        assert words in said, words
    caller.dial("1002")
    caller.wait_event("CALL_ESTABLISHED")
    caller.hang_up()
    phone.wait_event("CALL_CLOSED")
    since = phone.mark()
    phone.dial("1001")
    phone.wait_event("CALL_ESTABLISHED", since=since)
    phone.hang_up()
    office.wait_idle()
    assert connections_to(office.office.sip_port) == 1
    phone.process.kill()
    wait_until(lambda: office.registrations() == 1, "the lost flow to be noticed")
