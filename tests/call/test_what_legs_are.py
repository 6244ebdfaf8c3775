"""What a support engineer finds a call by: the Call-IDs of its legs, and what the telephones say they are."""

from __future__ import annotations

from typing import Any

import pytest

from softswitch.call.guard import Guard
from softswitch.sim.behaviour import answer, busy, ring
from softswitch.sim.loop import simulated
from softswitch.sim.world import World
from softswitch.sip.flow import Flow
from softswitch.sip.gate import Refuse
from softswitch.sip.message import SipRequest, SipResponse
from softswitch.sip.parser import parse_message
from softswitch.sip.software import TEXT_MAX, software_of
from softswitch.store.entry import make_entry
from softswitch.store.record import CallRecord, apply

PHONE = "Yealink SIP-T46S 66.84.0.15"


def says(phone: Any, name: str, text: str) -> None:
    """Have a telephone name its software in whatever it answers."""
    stack = phone.stack
    for command in ("progress", "answer", "reject"):
        plain = getattr(stack, command)

        def named(*args: Any, plain: Any = plain, **more: Any) -> None:
            more["headers"] = (*more.get("headers", ()), (name, text))
            plain(*args, **more)

        setattr(stack, command, named)


def record_of(world: World) -> CallRecord:
    record = None
    (end,) = world.journal.of_kind("call-ended")
    for seq, entry in enumerate(world.journal.of_call(end.call_id), 1):
        record = apply(record, make_entry(seq, entry.at_s, entry.kind, entry.call_id, entry.data))
    assert record is not None
    return record


@simulated()
@pytest.mark.parametrize("header", ["User-Agent", "Server"])
async def test_both_legs_of_a_call_have_their_call_id_and_their_telephone(header):
    async with World(1) as world:
        caller = await world.phone("1001")
        callee = await world.phone("1002", behaviour=answer(after_s=2.0))
        says(callee, header, PHONE)
        call = await caller.call("1002")
        await call.answered()
        sip_call_id = caller.stack.call_id_of(call.session)
        other = await callee.incoming()
        call.hang_up()
        await world.settle()
        ours, theirs = record_of(world).legs
        assert ours["sip_call_id"] == sip_call_id
        assert theirs["sip_call_id"] == other.invite.request.headers.get("Call-ID")
        assert ours["sip_call_id"] != theirs["sip_call_id"]
        assert (ours["user_agent"], theirs["user_agent"]) == ("sim/1001", PHONE)
        told = [e.data for e in world.journal.entries if "user_agent" in e.data]
        assert len(told) == 2, "once for each"
        name = world.journal.of_kind("call-ended")[0].call_id
        for leg in (ours, theirs):
            assert world.switch.traced_calls.named(leg["sip_call_id"]) == [name]


@simulated()
@pytest.mark.parametrize(("behaviour", "kind"), [(busy(), "leg-ended"), (ring(), "leg-ringing")])
async def test_a_telephone_that_does_not_answer_is_named_too(behaviour, kind):
    async with World(2) as world:
        caller = await world.phone("1001")
        callee = await world.phone("1002", behaviour=behaviour)
        says(callee, "User-Agent", PHONE)
        await (await caller.call("1002")).ended()
        await world.settle()
        assert record_of(world).legs[1]["user_agent"] == PHONE
        (entry,) = [e for e in world.journal.entries if e.data.get("user_agent") == PHONE]
        assert entry.kind == kind


@simulated()
@pytest.mark.limit("Call-ID, name of a telephone or wrong user in records")
@pytest.mark.parametrize("more", [0, 1])
async def test_what_strangers_choose_is_cut(more):
    long = "x" * (TEXT_MAX + more)
    async with World(3) as world:
        caller = await world.phone("1001")
        callee = await world.phone("1002")
        says(callee, "User-Agent", long)
        call = await caller.call("1002")
        await call.answered()
        call.hang_up()
        await world.settle()
        assert record_of(world).legs[1]["user_agent"] == long[:TEXT_MAX]
        told: list[tuple[str, dict[str, Any]]] = []
        gate, now_s = world.switch.gatekeeper, 1_000.0
        gate.guard = Guard(report=lambda *event: told.append(event))
        flow = Flow("udp", ("10.0.0.1", 5060), ("10.9.9.9", 5060))
        challenge = gate.admit(register(long), flow, now_s)
        assert isinstance(challenge, Refuse)
        nonce = dict(challenge.headers)["WWW-Authenticate"].split('nonce="')[1].split('"')[0]
        gate.admit(register(long, nonce), flow, now_s)
        ((kind, data),) = told
        assert kind == "security-wrong-password"
        for name in ("username", "sip_call_id", "user_agent"):
            assert data[name] == long[:TEXT_MAX], name


def register(long: str, nonce: str = "") -> SipRequest:
    authorised = (
        f'Authorization: Digest username="{long}", realm="office.example", nonce="{nonce}", '
        f'uri="sip:x", response="{"0" * 32}", algorithm=MD5\r\n'
    )
    request = parse_message(
        (
            "REGISTER sip:office.example SIP/2.0\r\nVia: SIP/2.0/UDP 10.9.9.9;branch=z9hG4bK1\r\n"
            "From: <sip:1001@office.example>;tag=1\r\nTo: <sip:1001@office.example>\r\n"
            f"Call-ID: {long}\r\nUser-Agent: {long}\r\nCSeq: 1 REGISTER\r\nMax-Forwards: 70\r\n"
            f"{authorised if nonce else ''}Content-Length: 0\r\n\r\n"
        ).encode()
    )
    assert isinstance(request, SipRequest)
    return request


def test_user_agent_comes_before_server_and_neither_is_nothing():
    def response(*lines: tuple[str, str]) -> SipResponse:
        said = "".join(f"{name}: {value}\r\n" for name, value in lines)
        parsed = parse_message(
            "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\n"
            f"To: <sip:b@h>;tag=2\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\n{said}\r\n".encode()
        )
        assert isinstance(parsed, SipResponse)
        return parsed

    assert software_of(response(("Server", "b"), ("User-Agent", "a"))) == "a"
    assert software_of(response(("Server", "b"))) == "b"
    assert software_of(response()) == ""
