"""Calls over a bad network: loss, duplicates, reordering; then random commands at random times."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from softswitch.errors import LocalProtocolError
from softswitch.sip.events import (
    Answered,
    Cancelled,
    Ended,
    Failed,
    InviteReceived,
    ReofferReceived,
    RequestReceived,
)

CLOSING = (Ended, Failed, Cancelled)


def ring_and_answer(world, station, sdp):
    def on_event(event):
        if isinstance(event, InviteReceived):
            station.stack.progress(event.session, 180, now_s=world.now_s)
            station.stack.answer(event.session, sdp[1], world.now_s)
        elif isinstance(event, ReofferReceived):
            station.stack.answer_reoffer(event.session, sdp[1], world.now_s)

    return on_event


def run_calls(make_world, sdp, *, seed, calls, loss, duplicate):
    """Calls of ten seconds, one started every 50 ms; returns what became of them."""
    world = make_world(seed)
    world.loss, world.duplicate, world.delay_s = loss, duplicate, (0.005, 0.06)
    alice, bob = world.station("alice", "10.0.0.1"), world.station("bob", "10.0.0.2")
    bob.on_event = ring_and_answer(world, bob, sdp)
    hang_ups: list[tuple[float, int]] = []

    def on_event(event):
        if isinstance(event, Answered):
            hang_ups.append((world.now_s + 10.0, event.session))

    alice.on_event = on_event
    for _ in range(calls):
        alice.call(bob)
        world.run(0.05)
        while hang_ups and hang_ups[0][0] <= world.now_s:
            alice.do("hang_up", hang_ups.pop(0)[1])
    while hang_ups or alice.stack.snapshot()["sessions"]:
        world.run(0.5)
        while hang_ups and hang_ups[0][0] <= world.now_s:
            alice.do("hang_up", hang_ups.pop(0)[1])
    world.run()
    world.assert_empty()
    return world, alice, bob


@pytest.mark.unhurried
def test_a_thousand_calls_complete_with_a_fifth_of_all_messages_lost(make_world, sdp):
    _, alice, bob = run_calls(make_world, sdp, seed=20, calls=1000, loss=0.2, duplicate=0.0)
    names = alice.names()
    assert names.count("Answered") == 1000
    assert names.count("Ended") == 1000
    assert "Failed" not in names
    # A few are hung up before any of their ACKs got through (0.36^5 of all); they end all the same.
    assert bob.names().count("Confirmed") >= 990
    assert [event.by for event in bob.events if isinstance(event, Ended)] == ["remote"] * 1000


def test_duplicates_and_reordering_make_no_ghosts(make_world, sdp):
    _, alice, bob = run_calls(make_world, sdp, seed=3, calls=150, loss=0.05, duplicate=0.3)
    assert alice.names().count("Answered") == 150
    assert bob.names().count("InviteReceived") == 150
    for station in (alice, bob):
        closed = [event.session for event in station.events if isinstance(event, CLOSING)]
        assert len(closed) == len(set(closed)) == 150


COMMANDS = (
    "call",
    "call_late_offer",
    "progress",
    "answer",
    "reject",
    "hang_up",
    "hang_up",
    "reinvite",
    "reinvite_empty",
    "answer_reoffer",
    "reject_reoffer",
    "ack_with",
    "info",
    "refer",
    "options",
    "wait",
    "wait",
)


def random_walk(make_world, sdp, seed, steps, tamper=None):
    """Both ends do whatever comes into their heads, over a network that does the same."""
    world = make_world(seed)
    dice = random.Random(seed)
    if tamper is not None:
        world.tamper = lambda data: tamper(dice, data)
    world.loss = dice.choice((0.0, 0.1, 0.3))
    world.duplicate = dice.choice((0.0, 0.2))
    world.delay_s = dice.choice(((0.0, 0.0), (0.0, 0.8)))
    stations = [world.station("alice", "10.0.0.1"), world.station("bob", "10.0.0.2")]

    def answer_requests(station):
        def on_event(event):
            if isinstance(event, RequestReceived) and dice.random() < 0.8:
                station.stack.respond(event.handle, 200, now_s=world.now_s)

        return on_event

    for station in stations:
        station.on_event = answer_requests(station)
    sessions = {station.name: [] for station in stations}
    for _ in range(steps):
        station, other = dice.sample(stations, 2)
        known = {
            event.session for event in station.events if isinstance(event, InviteReceived)
        } | set(sessions[station.name])
        step(dice, world, station, other, sdp, sessions, sorted(known))
    for station in stations:
        known = [event.session for event in station.events if isinstance(event, InviteReceived)]
        for session in known + sessions[station.name]:
            station.do("hang_up", session)
    for _ in range(3):  # a call still on the wire may come in yet
        world.run(40.0)
        for station in stations:
            for event in list(station.events):
                if isinstance(event, InviteReceived):
                    station.do("hang_up", event.session)
    world.run()
    return world, stations, sessions


def step(dice, world, station, other, sdp, sessions, known):
    command = dice.choice(COMMANDS)
    if command in ("call", "call_late_offer"):
        offer = sdp[0] if command == "call" else None
        timeout_s = dice.choice((5.0, 60.0))
        session = station.call(other, sdp=offer, timeout_s=timeout_s)
        sessions[station.name].append(session)
        return
    if command == "wait":
        world.run(dice.choice((0.0, 0.1, 0.7, 5.0, 40.0)))
        return
    if command == "options":
        address = station.world.stations[other.address]
        station.stack.request(
            "OPTIONS",
            f"sip:{address.name}@{address.address[0]}",
            station.flow_to(other),
            from_=_party(station),
            to=_party(other),
            now_s=world.now_s,
        )
        world.settle()
        return
    if not known:
        return
    session = dice.choice(known)
    arguments = {
        "progress": ("progress", session, dice.choice((180, 183))),
        "answer": ("answer", session, sdp[1]),
        "reject": ("reject", session, dice.choice((302, 404, 486, 603))),
        "hang_up": ("hang_up", session),
        "reinvite": ("reinvite", session, sdp[0]),
        "reinvite_empty": ("reinvite", session, None),
        "answer_reoffer": ("answer_reoffer", session, sdp[1]),
        "reject_reoffer": ("reject_reoffer", session, 488),
        "ack_with": ("ack_with", session, sdp[1]),
        "info": ("info", session, "application/dtmf-relay", b"Signal=1"),
        "refer": ("request_in_dialog", session, "REFER"),
    }[command]
    try:
        station.do(*arguments)
    except LocalProtocolError:
        world.settle()  # the state forbids it; what was said before still goes out


def _party(station):
    from softswitch.sip.uri import NameAddr

    return NameAddr(f"sip:{station.name}@{station.address[0]}")


def check_walk(world, stations, sessions):
    world.assert_empty()
    for station in stations:
        closed = [event.session for event in station.events if isinstance(event, CLOSING)]
        opened = [event.session for event in station.events if isinstance(event, InviteReceived)]
        assert sorted(closed) == sorted(opened + sessions[station.name])
        last = {}
        for event in station.events:
            session = getattr(event, "session", None)
            if session is not None:
                assert not isinstance(last.get(session), CLOSING), (last[session], event)
                last[session] = event


@given(st.integers(0, 10**9))
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_random_walks_end_with_nothing_left(make_world, sdp, seed):
    check_walk(*random_walk(make_world, sdp, seed, 40))


@pytest.mark.unhurried
def test_many_random_walks(make_world, sdp):
    for seed in range(400):
        check_walk(*random_walk(make_world, sdp, seed, 60))


CHANGES = (
    (b"\r\nContact: ", b"\r\nX-Contact: "),
    (b"\r\nContact: <sip:", b"\r\nContact: <tel:"),
    (b"\r\nContact: ", b"\r\nContact: <sip:nowhere@0.0.0.0>, "),
    (b"\r\nContact: ", b"\r\nContact: ;;;"),
    (b"\r\nContact: ", b"\r\nRecord-Route: <sip:192.0.2.9;lr>, <oops\r\nContact: "),
    (b"\r\nContact: ", b"\r\nRecord-Route: <sip:192.0.2.9>\r\nContact: "),
    (b";tag=", b";gat="),
    (b";tag=", b";tag=x"),
    (b"z9hG4bK", b"z9hG4bL"),
    (b"CSeq: 1 ", b"CSeq: 2147483647 "),
    (b"CSeq: 2 ", b"CSeq: 1 "),
    (b"Session-Expires: 1800", b"Session-Expires: 0"),
    (b"Session-Expires: 1800", b"Session-Expires: ;;refresher"),
    (b"Session-Expires: 1800", b"Session-Expires: 95;refresher=uas"),
    (b"Supported: ", b"Require: 100rel\r\nSupported: "),
    (b"application/sdp", b"multipart/mixed"),
    (b"SIP/2.0 200 OK", b"SIP/2.0 401 Unauthorized"),
    (b"SIP/2.0 200 OK", b"SIP/2.0 491 Request Pending"),
    (b"SIP/2.0 200 OK", b"SIP/2.0 422 Session Interval Too Small\r\nMin-SE: 99999999999"),
    (b"SIP/2.0 200 OK", b"SIP/2.0 699 Whatever"),
    (b"SIP/2.0 180 Ringing", b"SIP/2.0 200 Early"),
    (b"SIP/2.0 100 Trying", b"SIP/2.0 481 No"),
    (b"SIP/2.0 481", b"SIP/2.0 200"),
    (b"Reason: ", b"Reason: Q.850;cause=99999999999999999999, "),
    (b"Content-Length: ", b"Content-Length: 9"),
    (b"BYE sip:", b"INFO sip:"),
    (b"ACK sip:", b"BYE sip:"),
    (b"Max-Forwards: 70", b"Max-Forwards: 0"),
)


def change_something(dice, data):
    """A peer, or something between, that gets a fifth of its messages wrong."""
    if dice.random() < 0.8:
        return data
    if dice.random() < 0.3:
        wrong = bytearray(data)
        for _ in range(dice.randrange(1, 5)):
            wrong[dice.randrange(len(wrong))] = dice.randrange(256)
        return bytes(wrong)
    old, new = dice.choice([change for change in CHANGES if change[0] in data])
    return data.replace(old, new, 1)


@pytest.mark.unhurried
def test_wrong_messages_inside_calls_do_no_lasting_harm(make_world, sdp):
    for seed in range(400):
        check_walk(*random_walk(make_world, sdp, seed, 50, change_something))
