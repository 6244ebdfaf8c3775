"""The registrar's bindings: RFC 3261 10.3 step by step, limits at N and N+1, expiry."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softswitch.sip.effects import SetTimer, TimerFired
from softswitch.sip.flow import Flow
from softswitch.sip.message import SipRequest
from softswitch.sip.registration import (
    Answer,
    Bindings,
    Bound,
    FlowLost,
    RegisterArrived,
    RegistrationPolicy,
    Unbound,
    UnboundBecause,
)

AOR = "sip:1001@office.example"
PHONE = Flow("udp", ("10.0.0.1", 5060), ("192.168.1.7", 5060))


def register(*contacts, cseq=1, call_id="c", flow=PHONE, expires=None, path=()):
    request = SipRequest("REGISTER", "sip:office.example")
    for name, value in (
        ("Via", "SIP/2.0/UDP 192.168.1.7;branch=z9hG4bKr"),
        ("From", f"<{AOR}>;tag=f"),
        ("To", f"<{AOR}>"),
        ("Call-ID", call_id),
        ("CSeq", f"{cseq} REGISTER"),
    ):
        request.headers.add(name, value)
    for contact in contacts:
        request.headers.add("Contact", contact)
    for value in path:
        request.headers.add("Path", value)
    if expires is not None:
        request.headers.add("Expires", str(expires))
    return RegisterArrived(AOR, request, flow)


def answer_of(effects):
    (answer,) = [effect for effect in effects if isinstance(effect, Answer)]
    return answer


def contacts(bindings, now_s=0.0):
    return [binding.contact for binding in bindings.contacts(AOR, now_s)]


@pytest.fixture
def bindings():
    return Bindings()


def test_bind_refresh_query_remove(bindings):
    effects = bindings.handle(register("<sip:1001@192.168.1.7>", expires=600), 0.0)
    assert [type(effect) for effect in effects] == [Bound, Answer, SetTimer]
    assert effects[2] == SetTimer("expiry", 600.0)
    assert answer_of(effects).headers == [("Contact", "<sip:1001@192.168.1.7>;expires=600")]
    refreshed = bindings.handle(register("<sip:1001@192.168.1.7>", cseq=2, expires=600), 300.0)
    assert [type(effect) for effect in refreshed] == [Answer]
    query = bindings.handle(register(cseq=3), 500.0)
    assert answer_of(query).headers == [("Contact", "<sip:1001@192.168.1.7>;expires=400")]
    removed = bindings.handle(register("<sip:1001@192.168.1.7>;expires=0", cseq=4), 600.0)
    assert removed[0].because is UnboundBecause.REMOVED
    assert answer_of(removed).headers == []
    assert bindings.snapshot() == {"aors": 0, "bindings": 0}


def test_expiry_comes_by_timer(bindings):
    bindings.handle(register("<sip:a@192.168.1.7>", "<sip:b@192.168.1.7>;expires=100"), 0.0)
    assert contacts(bindings, 99.9) == ["sip:b@192.168.1.7", "sip:a@192.168.1.7"]
    assert contacts(bindings, 100.0) == ["sip:a@192.168.1.7"]  # before the timer says so too
    effects = bindings.handle(TimerFired("expiry"), 100.0)
    assert [type(effect) for effect in effects] == [Unbound, SetTimer]
    assert effects[0].because is UnboundBecause.EXPIRED
    assert effects[1].after_s == 3500.0
    bindings.handle(TimerFired("expiry"), 3600.0)
    assert bindings.snapshot() == {"aors": 0, "bindings": 0}


def test_early_or_late_timers_do_no_harm(bindings):
    bindings.handle(register("<sip:a@192.168.1.7>", expires=600), 0.0)
    bindings.handle(register("<sip:a@192.168.1.7>", cseq=2, expires=600), 500.0)
    effects = bindings.handle(TimerFired("expiry"), 600.0)  # the entry of the first REGISTER
    assert effects == [SetTimer("expiry", 500.0)]
    assert contacts(bindings, 600.0) == ["sip:a@192.168.1.7"]


@pytest.mark.parametrize(
    ("contact", "expires", "status", "left"),
    [
        ("<sip:a@1.2.3.4>", None, 200, 3600),
        ("<sip:a@1.2.3.4>;expires=70", 900, 200, 70),
        ("<sip:a@1.2.3.4>", 60, 200, 60),
        ("<sip:a@1.2.3.4>", 59, 423, None),
        ("<sip:a@1.2.3.4>;expires=1", None, 423, None),
        ("<sip:a@1.2.3.4>", 1_000_000, 200, 3600),
        ("<sip:a@1.2.3.4>;expires=junk", None, 200, 3600),
        ("<sip:a@1.2.3.4>;expires=99999999999999999999", None, 200, 3600),
    ],
)
def test_how_long(bindings, contact, expires, status, left):
    answer = answer_of(bindings.handle(register(contact, expires=expires), 0.0))
    assert answer.status == status
    if left is None:
        assert answer.headers == [("Min-Expires", "60")]
    else:
        assert answer.headers == [("Contact", f"<sip:a@1.2.3.4>;expires={left}")]


def test_older_request_of_the_same_registration_changes_nothing(bindings):
    bindings.handle(register("<sip:a@1.2.3.4>", cseq=5), 0.0)
    for cseq in (5, 4):
        effects = bindings.handle(
            register("<sip:new@1.2.3.4>", "<sip:a@1.2.3.4>;expires=0", cseq=cseq), 1.0
        )
        assert answer_of(effects).status == 500
    assert contacts(bindings) == ["sip:a@1.2.3.4"]
    bindings.handle(register("<sip:a@1.2.3.4>;expires=0", cseq=1, call_id="after-reboot"), 1.0)
    assert contacts(bindings) == []


def test_star_removes_all_and_only_with_expires_zero(bindings):
    bindings.handle(register("<sip:a@1.2.3.4>", "<sip:b@1.2.3.4>"), 0.0)
    assert answer_of(bindings.handle(register("*", cseq=2), 0.0)).status == 400
    assert answer_of(bindings.handle(register("*", cseq=2, expires=60), 0.0)).status == 400
    both = register("*", "<sip:c@1.2.3.4>", cseq=2, expires=0)
    assert answer_of(bindings.handle(both, 0.0)).status == 400
    assert answer_of(bindings.handle(register("*", cseq=1, expires=0), 0.0)).status == 500
    assert len(contacts(bindings)) == 2
    effects = bindings.handle(register("*", cseq=2, expires=0), 0.0)
    assert [type(effect) for effect in effects] == [Unbound, Unbound, Answer]
    assert bindings.snapshot()["bindings"] == 0


def test_contacts_are_equal_by_the_rules_of_uris(bindings):
    bindings.handle(register("<sip:a@PHONE.example;transport=udp>"), 0.0)
    bindings.handle(register("<sip:a@phone.EXAMPLE;transport=udp>", cseq=2), 0.0)
    bindings.handle(register("<sip:%61@phone.example;transport=udp>", cseq=3), 0.0)
    assert len(contacts(bindings)) == 1
    bindings.handle(register("<sip:a@phone.example>", cseq=4), 0.0)
    assert len(contacts(bindings)) == 2


def test_escaped_nul_makes_different_contacts(bindings):
    # RFC 4475 3.1.1.4
    bindings.handle(register("<sip:%00@host>", "<sip:%00%00@host>"), 0.0)
    assert len(contacts(bindings)) == 2


def test_parameters_of_the_header_are_not_bound(bindings):
    # RFC 4475 3.3.12 and 3.3.13
    bindings.handle(register("sip:a@host;unknownparam"), 0.0)
    bindings.handle(register("<sip:b@host;unknownparam>", call_id="d"), 0.0)
    assert contacts(bindings) == ["sip:b@host;unknownparam", "sip:a@host"]


def test_a_phone_that_moved_replaces_its_binding(bindings):
    instance = '+sip.instance="<urn:uuid:00000000-0000-1000-8000-000A95A0E128>"'
    bindings.handle(register(f"<sip:a@192.168.1.7:5060>;{instance}"), 0.0)
    moved = Flow("udp", PHONE.local, ("203.0.113.9", 7000))
    effects = bindings.handle(
        register(f"<sip:a@203.0.113.9:7000>;{instance}", call_id="new", flow=moved), 5.0
    )
    assert [type(effect) for effect in effects] == [Unbound, Bound, Answer]
    assert effects[0].because is UnboundBecause.REPLACED
    (binding,) = bindings.contacts(AOR, 5.0)
    assert binding.flow == moved


def test_contacts_in_order_of_preference(bindings):
    bindings.handle(
        register("<sip:a@h>;q=0.5", "<sip:b@h>", "<sip:c@h>;q=0.7", "<sip:d@h>;q=junk"), 0.0
    )
    assert contacts(bindings) == ["sip:d@h", "sip:b@h", "sip:c@h", "sip:a@h"]
    lines = answer_of(bindings.handle(register(cseq=2), 0.0)).headers
    assert ("Contact", "<sip:a@h>;expires=3600;q=0.5") in lines


def test_path_is_kept(bindings):
    bindings.handle(register("<sip:a@h>", path=("<sip:p1;lr>, <sip:p2;lr>", "<sip:p3;lr>")), 0.0)
    assert bindings.contacts(AOR, 0.0)[0].path == ("<sip:p1;lr>", "<sip:p2;lr>", "<sip:p3;lr>")


@pytest.mark.limit("contacts of an extension")
def test_ten_contacts_and_not_eleven(bindings):
    for number in range(10):
        request = register(f"<sip:a{number}@h>", call_id=str(number))
        assert answer_of(bindings.handle(request, 0.0)).status == 200
    eleventh = register("<sip:a10@h>", call_id="x")
    assert answer_of(bindings.handle(eleventh, 0.0)).status == 403
    assert answer_of(bindings.handle(register("<sip:a3@h>", call_id="y"), 0.0)).status == 200
    bomb = register(*(f"<sip:z{number}@h>;expires=0" for number in range(11)), call_id="z")
    assert answer_of(bindings.handle(bomb, 0.0)).status == 403
    # Room appears when one has expired, even before the timer came.
    assert answer_of(bindings.handle(eleventh, 3600.0)).status == 200
    assert bindings.snapshot()["bindings"] == 1


@pytest.mark.limit("proxies on the way to a phone", "their addresses")
def test_the_way_to_a_phone_is_bounded(bindings):
    """Path (RFC 3327) is kept with the registration: eight proxies, 1,024 octets."""

    def status(path, number):
        request = register("<sip:a@h>", path=path, call_id=f"{number}")
        return answer_of(bindings.handle(request, 0.0)).status

    whole = "<sip:" + "p" * (1024 - len("<sip:;lr>")) + ";lr>"
    assert len(whole) == 1024
    assert status(["<sip:p;lr>"] * 8, 1) == 200
    assert status(["<sip:p;lr>"] * 9, 2) == 400
    assert status([whole], 3) == 200
    assert status([whole.replace("sip:p", "sip:pp")], 4) == 400
    assert status(["<sip:p;lr>, <sip:q"], 5) == 400
    assert bindings.contacts(AOR, 0.0)[0].path == (whole,)


def test_the_way_that_a_registration_came_is_told_to_who_asks(bindings):
    request = register("<sip:a@h>", path=["<sip:edge;lr>, <sip:core;lr>"])
    assert "Path" not in dict(answer_of(bindings.handle(request, 0.0)).headers)
    again = register("<sip:a@h>", path=["<sip:edge;lr>, <sip:core;lr>"], cseq=2)
    again.request.headers.add("Supported", "gruu, path")
    lines = answer_of(bindings.handle(again, 0.0)).headers
    assert [value for name, value in lines if name == "Path"] == ["<sip:edge;lr>", "<sip:core;lr>"]


def test_another_way_to_the_same_contact_is_news(bindings):
    bindings.handle(register("<sip:a@h>", path=["<sip:one;lr>"]), 0.0)
    effects = bindings.handle(register("<sip:a@h>", path=["<sip:two;lr>"], cseq=2), 0.0)
    assert [type(effect) for effect in effects if isinstance(effect, Bound | Unbound)] == [
        Unbound,
        Bound,
    ]


def test_a_connection_of_a_proxy_is_not_the_phones_to_keep(bindings):
    flow = Flow("tcp", ("10.0.0.1", 5060), ("192.168.1.7", 40000), 1)
    contact = '<sip:a@h>;reg-id=1;+sip.instance="<urn:uuid:1>"'
    for path, kept in ((["<sip:edge;lr>"], False), ([], True)):
        event = register(contact, flow=flow, path=path, call_id=str(kept))
        event.request.headers.add("Supported", "outbound")
        lines = dict(answer_of(bindings.handle(event, 0.0)).headers)
        assert ("Flow-Timer" in lines) is kept


@pytest.mark.limit("registrations")
def test_all_bindings_are_bounded():
    bindings = Bindings(RegistrationPolicy(bindings_max=2))
    for number in range(2):
        request = register(f"<sip:{number}@h>", call_id=str(number))
        assert answer_of(bindings.handle(request, 0.0)).status == 200
    answer = answer_of(bindings.handle(register("<sip:3@h>", call_id="3"), 0.0))
    assert bindings.snapshot()["bindings"] == 2
    assert (answer.status, answer.headers) == (503, [("Retry-After", "60")])


@pytest.mark.parametrize(
    ("contact", "status"),
    [
        ("<sip:a@10.0.0.1>", 403),
        ("<sip:a@10.0.0.1:5060;transport=tcp>", 403),
        ("<sip:a@10.0.0.1:5070>", 200),
        ("<sip:a@127.0.0.1>", 403),
        ("<sip:a@[::1]>", 403),
        ("<sip:a@[::ffff:127.0.0.1]>", 403),
        ("<sip:a@224.0.0.1>", 403),
        ("<sip:a@255.255.255.255>", 403),
        ("<sip:a@0.0.0.0>", 403),
        ("<sip:a@192.168.1.7>", 200),
        ("<sip:a@h?Route=%3Csip:evil%3E>", 400),
        ("<mailto:a@h>", 400),
        ("<tel:+8610>", 400),
        ("<sip:" + "a" * 600 + "@h>", 400),
        ("sip:a@h?x=y", 400),
    ],
)
def test_addresses_that_are_refused(contact, status):
    bindings = Bindings(RegistrationPolicy(own_addresses=frozenset({("10.0.0.1", 5060)})))
    assert answer_of(bindings.handle(register(contact), 0.0)).status == status
    assert bindings.snapshot()["bindings"] == (status == 200)


def test_contacts_that_lead_to_ourselves_and_bombs_are_refused(row):
    """A thousand REGISTERs, each of a phone whose password is right, and one with a thousand contacts."""
    bindings = Bindings(RegistrationPolicy(own_addresses=frozenset({("10.0.0.1", 5060)})))
    hosts = ("10.0.0.1", "10.0.0.1:5060", "127.0.0.1", "[::1]", "[::ffff:127.0.0.9]")
    hosts += ("224.0.0.1", "239.255.0.1", "255.255.255.255", "0.0.0.0", "127.1.2.3:5080")
    wanted = [[f"<sip:a{number}@{hosts[number % 10]}>"] for number in range(1000)]
    wanted.append([f"<sip:z{number}@192.0.2.{number % 250}>" for number in range(1000)])
    statuses = [
        answer_of(bindings.handle(register(*contacts, call_id=f"{number}"), 0.0)).status
        for number, contacts in enumerate(wanted)
    ]
    taken = bindings.snapshot()["bindings"]
    row(
        18, "contacts that lead to ourselves, and 1,000 at once", registers=len(wanted), taken=taken
    )
    assert set(statuses[:1000]) == {403}
    assert statuses[1000] == 400, "more lines than any message may have"
    assert taken == 0


def test_loopback_is_fine_for_who_came_by_it(bindings):
    local = Flow("udp", ("127.0.0.1", 5060), ("127.0.0.1", 5062))
    request = register("<sip:a@127.0.0.1:5062>", flow=local)
    assert answer_of(bindings.handle(request, 0.0)).status == 200


def test_lost_connection_unbinds_what_came_by_it(bindings):
    first = Flow("tcp", PHONE.local, ("192.168.1.7", 40000), 1)
    second = Flow("tcp", PHONE.local, ("192.168.1.7", 40001), 2)
    bindings.handle(register("<sip:a@h>", "<sip:b@h>", flow=first), 0.0)
    bindings.handle(register("<sip:c@h>", flow=second, call_id="d"), 0.0)
    effects = bindings.handle(FlowLost(first), 1.0)
    assert [effect.binding.contact for effect in effects] == ["sip:a@h", "sip:b@h"]
    assert {effect.because for effect in effects} == {UnboundBecause.FLOW_LOST}
    assert contacts(bindings) == ["sip:c@h"]
    assert bindings.handle(FlowLost(first), 1.0) == []


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3),
            st.sampled_from((None, 0, 30, 60, 100, 9999)),
            st.integers(0, 3),
            st.floats(0, 200),
        ),
        max_size=60,
    )
)
@settings(max_examples=80, deadline=None)
def test_whatever_comes_the_tables_agree_and_empty_themselves(steps):
    bindings = Bindings(RegistrationPolicy(contacts_max=3))
    now_s, timer_s, live = 0.0, None, 0
    for cseq, (user, expires, flow, wait_s) in enumerate(steps):
        now_s += wait_s
        effects = []
        if timer_s is not None and timer_s <= now_s:
            timer_s = None
            effects += bindings.handle(TimerFired("expiry"), now_s)
        path = Flow("tcp", PHONE.local, ("h", flow), flow)
        if expires is None:
            effects += bindings.handle(FlowLost(path), now_s)
        else:
            request = register(f"<sip:{user}@h>", cseq=cseq, expires=expires, flow=path)
            effects += bindings.handle(request, now_s)
        for effect in effects:
            live += isinstance(effect, Bound) - isinstance(effect, Unbound)
            if isinstance(effect, SetTimer):
                timer_s = now_s + effect.after_s
        assert bindings.snapshot()["bindings"] == live <= 3
    while timer_s is not None:
        now_s, timer_s = timer_s, None
        for effect in bindings.handle(TimerFired("expiry"), now_s):
            if isinstance(effect, SetTimer):
                timer_s = now_s + effect.after_s
    assert bindings.snapshot() == {"aors": 0, "bindings": 0}


@pytest.mark.parametrize(
    ("flow", "supported", "reg_id", "kept"),
    [
        ("tcp", "path, outbound", ";reg-id=1", True),
        ("ws", "outbound", ";reg-id=2", True),
        ("udp", "outbound", ";reg-id=1", True),
        ("udp", "outbound", "", False),
        ("tcp", "path", ";reg-id=1", False),
        ("tcp", "outbound", "", False),
    ],
)
def test_a_phone_that_keeps_its_flow_is_told_how_often_to_ping_it(
    bindings, flow, supported, reg_id, kept
):
    """RFC 5626 section 6: Require: outbound in the 200, and Flow-Timer; over UDP the phone's own time."""
    connection = Flow(flow, ("10.0.0.1", 5060), ("192.168.1.7", 6000), 7 if flow != "udp" else 0)
    instance = ';+sip.instance="<urn:uuid:00000000-0000-1000-8000-000A95A0E128>"'
    event = register(f"<sip:1001@192.168.1.7>{reg_id}{instance}", flow=connection)
    event.request.headers.add("Supported", supported)
    headers = dict(answer_of(bindings.handle(event, 0.0)).headers)
    assert (headers.get("Require") == "outbound") is kept
    assert (headers.get("Flow-Timer") == "100") is (kept and flow != "udp")
