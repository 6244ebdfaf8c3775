"""Limits of SIP, transports and calls at N and at N+1 whose owners have no test of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import dns.rrset
import pytest

from softswitch.call import info
from softswitch.sim.loop import simulated
from softswitch.sip import digest, registration
from softswitch.sip.flow import Flow
from softswitch.sip.message import SipRequest
from softswitch.sip.parser import DEFAULT_LIMITS
from softswitch.sip.registration import Answer, Bindings, RegisterArrived
from softswitch.transport import dns_lookup, resolver
from softswitch.transport.dns_lookup import DnsLookup, LookupFailed
from softswitch.transport.resolver import Resolver
from softswitch.transport.targets import NextHop
from softswitch.transport.ws_framing import (
    HANDSHAKE_OCTETS_MAX,
    OriginList,
    WebSocketFraming,
)

PHONE = Flow("udp", ("10.0.0.1", 5060), ("192.168.1.7", 5060))


@pytest.mark.limit("parameters of credentials")
def test_credentials_of_too_many_parameters_are_none() -> None:
    known = 'username="a",realm="b",nonce="c",uri="sip:d",response="' + "0" * 32 + '"'
    fits = "Digest " + known + "".join(f",x{n}=1" for n in range(digest.PARAMS_MAX - 5))
    assert digest.parse_authorization(fits) is not None
    assert digest.parse_authorization(fits + ",more=1") is None


def registered(bindings: Bindings, contact: str, agent: str = "") -> int:
    request = SipRequest("REGISTER", "sip:office.example")
    for name, value in (
        ("Via", "SIP/2.0/UDP 192.168.1.7;branch=z9hG4bKr"),
        ("To", "<sip:1001@office.example>"),
        ("Call-ID", agent.replace(" ", "") or "c"),
        ("CSeq", "1 REGISTER"),
        ("Contact", contact),
        ("User-Agent", agent),
    ):
        request.headers.add(name, value)
    effects = bindings.handle(RegisterArrived("1001", request, PHONE), 0.0)
    return next(effect.status for effect in effects if isinstance(effect, Answer))


@pytest.mark.limit("address of a contact")
def test_the_address_of_a_contact_is_bounded() -> None:
    longest = "sip:" + "a" * (registration.CONTACT_MAX - len("sip:@h")) + "@h"
    assert len(longest) == registration.CONTACT_MAX
    assert registered(Bindings(), f"<{longest}>") == 200
    assert registered(Bindings(), f"<{longest}h>") == 400


@pytest.mark.limit("names of telephones remembered")
def test_names_of_telephones_are_remembered_so_many_at_a_time() -> None:
    bindings = Bindings()
    for number in range(registration.TEXTS_MAX):
        assert registered(bindings, "<sip:a@h>", f"Phone {number}") == 200
    assert len(bindings._texts) == registration.TEXTS_MAX
    assert registered(bindings, "<sip:a@h>", "one more") == 200
    assert list(bindings._texts) == ["one more"]
    assert bindings.contacts("1001", 1.0)[0].user_agent == "one more"


@pytest.mark.limit("digits to be told by INFO")
@simulated()
async def test_so_many_digits_are_told_by_info() -> None:
    told: list[bytes] = []
    stack = SimpleNamespace(
        call_id_of=lambda session: "c", info=lambda session, kind, body, now_s: told.append(body)
    )
    wiring: Any = SimpleNamespace(stack=stack, now_s=lambda: 0.0, pump=lambda: None)
    keys = info.InfoKeys(wiring)
    keys.press(1, "1")
    keys.press(1, "2" * info.WAITING_MAX)
    keys.press(1, "3")  # one too many
    await asyncio.sleep(60.0 + info.WAITING_MAX)
    assert len(told) == 1 + info.WAITING_MAX
    assert b"Signal=3" not in told[-1]


@pytest.mark.limit("handshake of a WebSocket")
@pytest.mark.parametrize("more", [0, 1])
def test_the_handshake_of_a_websocket_is_bounded(more: int) -> None:
    head = b"GET / HTTP/1.1\r\n"
    lines = -(-HANDSHAKE_OCTETS_MAX // 1000)
    head += (b"X: " + b"x" * 994 + b"\r\n") * lines
    framing = WebSocketFraming(DEFAULT_LIMITS, OriginList())
    assert framing.feed(head[: HANDSHAKE_OCTETS_MAX + more]) == []
    assert framing.over == bool(more)


class Found:
    """What a name server has answered: so many addresses."""

    def __init__(self, count: int) -> None:
        addresses = [f"192.0.2.{number}" for number in range(count)]
        self.rrset = dns.rrset.from_text("h.example.", 60, "IN", "A", *addresses)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.rrset)


@pytest.mark.limit("records of a DNS answer")
async def test_so_many_records_of_an_answer_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(name: str, kind: str, **options: Any) -> Found:
        return Found(int(name))

    lookup = DnsLookup(hosts="/dev/null")
    monkeypatch.setattr(lookup, "_system", lambda: SimpleNamespace(resolve=resolve))
    most = dns_lookup.RECORDS_MAX
    for count in (most, most + 1):
        assert len((await lookup.query(str(count), "A")).records) == most


@pytest.mark.limit("DNS questions")
@simulated()
async def test_so_many_questions_are_asked_at_once() -> None:
    asked, answers = 0, asyncio.Event()

    class Silent:
        async def query(self, name: str, kind: str) -> Any:
            nonlocal asked
            asked += 1
            await answers.wait()
            raise LookupFailed("nobody")

    hops = [
        NextHop(f"h{number}.example", 5060, "udp") for number in range(resolver.QUERIES_MAX + 1)
    ]
    resolving = Resolver(Silent(), asyncio.get_running_loop().time, ("udp",), kinds=("A",))
    waiting = [asyncio.ensure_future(resolving.resolve(hop, private=True)) for hop in hops]
    await asyncio.sleep(0.1)
    assert asked == resolver.QUERIES_MAX
    answers.set()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert asked == resolver.QUERIES_MAX + 1
