"""Admission: trunks by address, phones by digest, nobody by a header."""

from __future__ import annotations

import pytest

from softswitch.call.gatekeeper import Gatekeeper
from softswitch.call.guard import Guard
from softswitch.call.identity import PhoneIdentity, TrunkIdentity
from softswitch.call.trunks import TrunkLoad, TrunkRecord, Trunks, plain_host
from softswitch.config import parse_office
from softswitch.sip.credentials import Credentials
from softswitch.sip.digest import answer_challenge
from softswitch.sip.flow import Flow
from softswitch.sip.gate import Admitted, Drop, Refuse
from softswitch.sip.parser import parse_message

OFFICE = parse_office(
    """
[office]
domain = "office.example"

[[extension]]
number = "1001"
password = "a-long-secret-1001"

[[extension]]
number = "1002"
password = "a-long-secret-1002"

[[trunk]]
name = "carrier"
uri = "sip:192.0.2.10"
from_addresses = ["192.0.2.10:5060"]
""",
    source="test",
)
LOCAL = ("192.0.2.1", 5060)
PHONE_FLOW = Flow("udp", LOCAL, ("198.51.100.7", 40000))
TRUNK_FLOW = Flow("udp", LOCAL, ("192.0.2.10", 5060))


@pytest.fixture
def gate():
    trunks = Trunks([TrunkRecord(OFFICE.trunks[0], ("192.0.2.10", 5060))])
    return Gatekeeper(OFFICE, trunks, b"k" * 32, frozenset({"office.example", "192.0.2.1"}))


def request(method="INVITE", user="1001", extra=""):
    return parse_message(
        f"{method} sip:1002@office.example SIP/2.0\r\n"
        "Via: SIP/2.0/UDP 198.51.100.7:40000;branch=z9hG4bKx\r\n"
        f"From: <sip:{user}@office.example>;tag=a\r\n"
        f"To: <sip:{user if method == 'REGISTER' else '1002'}@office.example>\r\n"
        f"Call-ID: abc\r\nCSeq: 1 {method}\r\nMax-Forwards: 70\r\n"
        f"{extra}Content-Length: 0\r\n\r\n".encode()
    )


def authorised(gate, user="1001", password="a-long-secret-1001", now_s=10.0, **kwargs):
    method = kwargs.get("method", "INVITE")
    verdict = gate.admit(request(**{"user": user, **kwargs}), PHONE_FLOW, now_s)
    assert isinstance(verdict, Refuse)
    value = answer_challenge(
        [value for _, value in verdict.headers],
        Credentials(user, password),
        method,
        "sip:1002@office.example",
        cnonce="c",
    )
    extra = kwargs.pop("extra", "") + f"Authorization: {value}\r\n"
    return request(**{"user": user, **kwargs, "extra": extra})


def test_stranger_gets_a_challenge_whatever_the_method(gate):
    for method in ("INVITE", "REGISTER", "OPTIONS", "SUBSCRIBE", "MESSAGE", "PUBLISH", "NOTIFY"):
        verdict = gate.admit(request(method), PHONE_FLOW, 1.0)
        assert isinstance(verdict, Refuse)
        assert verdict.status == 401


def test_ack_is_never_answered(gate):
    assert isinstance(gate.admit(request("ACK"), PHONE_FLOW, 1.0), Drop)


def test_a_cancel_of_nothing_is_told_so_and_never_challenged(gate):
    assert gate.admit(request("CANCEL"), PHONE_FLOW, 1.0) == Refuse(481)


def test_phone_with_the_password_enters_as_its_extension(gate):
    verdict = gate.admit(authorised(gate), PHONE_FLOW, 11.0)
    assert verdict == Admitted(PhoneIdentity("1001"))


def test_the_same_credentials_do_not_enter_twice_nor_from_elsewhere(gate):
    once = authorised(gate)
    elsewhere = Flow("udp", LOCAL, ("203.0.113.9", 40000))
    assert isinstance(gate.admit(once, elsewhere, 11.0), Refuse)
    assert isinstance(gate.admit(once, PHONE_FLOW, 11.0), Admitted)
    assert isinstance(gate.admit(once, PHONE_FLOW, 11.1), Refuse)


def test_wrong_password_and_unknown_user_get_the_same_answer(gate):
    wrong = gate.admit(authorised(gate, password="nope-nope"), PHONE_FLOW, 11.0)
    unknown = gate.admit(authorised(gate, user="7777", password="nope"), PHONE_FLOW, 11.0)
    assert wrong.status == unknown.status == 401
    assert [len(v) for _, v in wrong.headers] == [len(v) for _, v in unknown.headers]
    assert gate.snapshot()["wrong_password"] == 2


@pytest.mark.parametrize("method", ["INVITE", "REGISTER"])
def test_a_phone_speaks_for_itself_only(gate, method):
    proven = authorised(gate, method=method)
    text = proven.serialise().replace(b"sip:1001@", b"sip:1002@")
    told = []
    gate.guard = Guard(report=lambda *event: told.append(event))
    verdict = gate.admit(parse_message(text), PHONE_FLOW, 11.0)
    assert verdict == Refuse(403)
    who = {"source": PHONE_FLOW.remote[0], "account": "1001", "claimed": "1002"}
    who |= {"username": "1001", "sip_call_id": "abc", "user_agent": ""}
    assert told == [("security-identity", who)]


def test_a_route_to_elsewhere_is_refused_and_one_to_us_is_not(gate):
    relay = authorised(gate, extra="Route: <sip:203.0.113.1;lr>\r\n")
    assert gate.admit(relay, PHONE_FLOW, 11.0) == Refuse(403)
    own = authorised(gate, extra="Route: <sip:192.0.2.1;lr>\r\n")
    assert isinstance(gate.admit(own, PHONE_FLOW, 11.0), Admitted)


def test_a_trunk_is_its_address_and_port_never_its_headers(gate):
    verdict = gate.admit(request(user="anyone"), TRUNK_FLOW, 1.0)
    assert isinstance(verdict, Admitted)
    assert verdict.identity == TrunkIdentity("carrier")
    other_port = Flow("udp", LOCAL, ("192.0.2.10", 5061))
    assert isinstance(gate.admit(request(user="anyone"), other_port, 1.0), Refuse)
    mapped = Flow("udp", LOCAL, ("::ffff:192.0.2.10", 5060))
    assert isinstance(gate.admit(request(user="anyone"), mapped, 1.0), Admitted)


def test_a_trunk_may_not_register(gate):
    assert isinstance(gate.admit(request("REGISTER"), TRUNK_FLOW, 1.0), Refuse)


def test_plain_host_has_one_form():
    assert plain_host("::ffff:10.0.0.1") == "10.0.0.1"
    assert plain_host("2001:DB8::1") == "2001:db8::1"
    assert plain_host("sip.example") == "sip.example"


def test_trunk_load_at_its_limits():
    load = TrunkLoad(calls_max=2, calls_per_s_max=100)
    assert [load.take(1.0) for _ in range(3)] == [True, True, False]
    load.give_back()
    assert load.take(1.0)
    rate = TrunkLoad(calls_max=1000, calls_per_s_max=10)
    assert sum(rate.take(5.0) for _ in range(20)) == 10
    assert rate.take(5.125)
    assert not rate.take(5.125)
