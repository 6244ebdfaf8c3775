"""Row 4: several messages for each class of attack on signalling, and the outcome its class promises.

Classes that have a file of their own are not repeated: enumeration, replay, toll fraud by strangers and
amplification in `tests/sip/test_strangers.py`, brute force in `tests/call/test_guard.py`, malformed messages in
`test_protos_sweep.py` and `test_fuzz.py`, floods in the overload tests.
"""

from __future__ import annotations

import pytest

from softswitch.sim.loop import simulated
from softswitch.sim.world import EXCHANGE
from softswitch.sip.parser import parse_message
from tests.reliability.anomalies import SDP, essential, message
from tests.reliability.conftest import STRANGER, Attacked, attacked
from tests.rows import Row

Lines = list[tuple[bytes, bytes]]

METHODS = (
    b"REGISTER", b"INVITE", b"OPTIONS", b"SUBSCRIBE", b"NOTIFY", b"PUBLISH", b"MESSAGE", b"REFER", b"INFO",
    b"UPDATE", b"PRACK", b"BYE", b"CANCEL", b"ACK", b"FOO",
)  # fmt: skip


def lines(method: bytes = b"INVITE", *more: tuple[bytes, bytes], **changed: bytes) -> Lines:
    wanted = [(name.encode(), changed.get(name, value)) for name, value in essential(method)]
    return [*wanted, *more]


def statuses(found: list[bytes]) -> set[int]:
    return {int(each[8:11]) for each in found if each.startswith(b"SIP/2.0 ")}


def streams(victim: Attacked) -> int:
    return sum(size for name, size in victim.world._tables().items() if "streams" in name)


@simulated(limit_s=1e6)
async def test_no_method_is_open_to_strangers(row: Row) -> None:
    """One table says who may ask what: without credentials nothing succeeds, ACK and CANCEL are void."""
    async with attacked(41) as victim:
        for number, method in enumerate(METHODS, 1):
            extra = [
                (b"Event", b"presence"),
                (b"Refer-To", b"<sip:900@office.example>"),
                (b"RAck", b"1 1 INVITE"),
            ]
            for uri in (b"sip:1001@office.example", b"sip:office.example", b"sip:9001234@10.0.0.1"):
                data = message(
                    number * 10 + len(uri), method=method, uri=uri, body=SDP if method == b"INVITE" else b"",
                    lines=lines(method, *extra),
                )  # fmt: skip
                found = statuses(await victim.after(data))
                assert not {code for code in found if code < 300}, (method, uri, found)
                if method == b"ACK":
                    assert found == set()
        assert victim.outbound() == []
        row(4, "methods without credentials", messages=3 * len(METHODS), taken=0)


@simulated(limit_s=1e6)
async def test_bombs_of_sdp_cost_no_ports(row: Row) -> None:
    head = SDP[: SDP.index(b"m=")]
    bombs = [
        head + b"m=audio 40000 RTP/AVP 0\r\n" * 17,
        head + b"m=audio 40000 RTP/AVP 0\r\n" * 2000,
        head + b"m=audio 40000 RTP/AVP " + b" ".join(b"%d" % n for n in range(65)) + b"\r\n",
        head + b"m=audio 40000 RTP/AVP 0\r\n" + b"a=rtpmap:0 PCMU/8000\r\n" * 3000,
        head + b"m=" * 3000 + b"\r\n",
    ]
    async with attacked(42) as victim:
        before = streams(victim)
        for number, body in enumerate(bombs, 1):
            for source in ("stranger", "carrier"):
                found = statuses(await victim.after(message(number * 2, body=body), source))
                assert found <= {100, 400, 401, 413, 488}, (number, source, found)
                assert streams(victim) == before, (number, source)
        row(4, "SDP bombs", messages=2 * len(bombs), ports_taken=0)


@simulated(limit_s=1e6)
@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.8.9.10", EXCHANGE[0], "255.255.255.255", "224.0.0.1", "239.1.2.3"],
)
async def test_sound_is_never_sent_where_it_would_come_back(address: str, row: Row) -> None:
    """c= of our own, loopback, broadcast and multicast addresses is refused, whoever asks."""
    body = SDP.replace(b"c=IN IP4 10.0.1.1", b"c=IN IP4 " + address.encode())
    async with attacked(43) as victim:
        before = streams(victim)
        found = statuses(await victim.after(message(1, body=body), "carrier", wait_s=0.5))
        assert found - {100} == {488}, found
        assert streams(victim) == before
        row(4, f"media reflected by c={address}", answered=488)


@simulated(limit_s=1e6)
async def test_answers_go_to_where_a_packet_came_from(row: Row) -> None:
    """Via, maddr, received, Route and Record-Route name others; nothing of ours is ever sent there."""
    elsewhere = ("198.51.100.66", 5060)
    host = b"198.51.100.66"
    tricks = [
        lines(Via=b"SIP/2.0/UDP " + host + b":5060;branch=z9hG4bK-~"),
        lines(Via=b"SIP/2.0/UDP 10.0.1.1;maddr=" + host + b";branch=z9hG4bK-~"),
        lines(Via=b"SIP/2.0/UDP 10.0.1.1;received=" + host + b";branch=z9hG4bK-~"),
        lines(Via=b"SIP/2.0/UDP 10.0.1.1;received=" + host + b";rport=5060;branch=z9hG4bK-~"),
        lines(b"INVITE", (b"Route", b"<sip:" + host + b";lr>")),
        lines(b"INVITE", (b"Route", b"<sip:127.0.0.1;lr>"), (b"Route", b"<sip:" + host + b";lr>")),
        lines(b"INVITE", (b"Record-Route", b"<sip:" + host + b";lr>")),
        lines(Contact=b"<sip:x@" + host + b":5060>"),
        lines(Contact=b"<sip:x@10.0.1.1;maddr=" + host + b">"),
    ]
    async with attacked(44) as victim:
        heard: list[bytes] = []
        socket = victim.world.network.bind(*elsewhere)
        socket.start(lambda data, _: heard.append(data))
        for number, wanted in enumerate(tricks, 1):
            for method, uri in (
                (b"INVITE", b"sip:+861000@10.0.0.1"),
                (b"OPTIONS", b"sip:x@" + host),
            ):
                changed = [(n, b"1 " + method if n == b"CSeq" else v) for n, v in wanted]
                data = message(number, method=method, uri=uri, lines=changed)
                for source in ("stranger", "carrier"):
                    before_dialog = len(heard)
                    await victim.after(data, source, wait_s=0.05)
                    if (
                        b"Contact" in data
                        and host in data.partition(b"Contact")[2].split(b"\r\n")[0]
                    ):
                        continue  # a trunk's Contact is where its dialog lives, as RFC 3261 12.1.1 has it
                    if b"Record-Route" in data:
                        continue  # and so is its route set
                    assert len(heard) == before_dialog, (number, method, source, heard[-1][:90])
            if number in (7, 8, 9):
                continue
        from_strangers = [each for each in heard if str(STRANGER[0]).encode() in each]
        assert from_strangers == []
        row(4, "packets sent to addresses that a message names", strangers=0)


@simulated(limit_s=1e6)
async def test_a_phone_shows_its_own_number_whatever_it_claims(row: Row) -> None:
    claims = [
        ("From", None),
        ("P-Asserted-Identity", "<sip:+861012345678@office.example>"),
        ("P-Preferred-Identity", "<tel:+861012345678>"),
        ("Remote-Party-ID", "<sip:+861012345678@office.example>;party=calling"),
        ("Diversion", "<sip:+861012345678@office.example>;reason=unconditional"),
        ("Identity", "forged"),
    ]
    async with attacked(45) as victim:
        phone = victim.world.phones["1001"]
        for name, value in claims:
            victim.answers["carrier"].clear()
            headers = () if value is None else ((name, value),)
            call = await phone.call(
                "9001065559999", headers=headers, from_user="1002" if value is None else None
            )
            await call_over(call)
            for invite in victim.outbound():
                seen = parse_message(invite)
                assert b"12345678" not in invite, name
                assert seen.from_.uri.user in ("+861000", "861000", "1001"), (name, seen.from_)
        row(4, "identities claimed by a phone", claims=len(claims), shown=0)


async def call_over(call: object) -> None:
    """The carrier does not answer: give up after half a second."""
    import asyncio

    await asyncio.sleep(0.5)
    call.hang_up()  # type: ignore[attr-defined]
    await asyncio.sleep(0.5)
