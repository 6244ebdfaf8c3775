"""The ladder of a call, its capture file, and what Homer is sent."""

from __future__ import annotations

import asyncio
import shutil
import socket
import struct
import subprocess
from pathlib import Path

import pytest

from softswitch.apps.acd_story import tell
from softswitch.commands import AdminCommands
from softswitch.config import InvalidOffice, parse_office
from softswitch.copies import Copies
from softswitch.hep import HepExporter, Passed, hep3
from softswitch.ladder import decisions, ladder
from softswitch.pcap import pcap
from softswitch.sim.loop import simulated
from softswitch.sim.world import World, small_office
from softswitch.sip.flow import Flow
from softswitch.tokens import Tokens
from softswitch.trace import OTHERS_OCTETS_MAX, Trace, call_id_in
from softswitch.traced_calls import TracedCalls

OPTIONS = (
    b"OPTIONS sip:1001@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\n"
    b"From: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\nCall-ID: x@y\r\nCSeq: 1 OPTIONS\r\n"
    b"Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
)
FOUR = Passed(("192.0.2.1", 5060), ("198.51.100.2", 5080), "udp", 1_700_000_000.25, OPTIONS)
SIX = Passed(("2001:db8::1", 5060), ("2001:db8::2", 5061), "tls", 1_700_000_000.0, OPTIONS)


def chunks(packet):
    """Vendor, type and value of each chunk, by a reader of its own (HEP3 rev 12, section 3)."""
    assert packet[:4] == b"HEP3"
    assert struct.unpack("!H", packet[4:6])[0] == len(packet)
    at, found = 6, {}
    while at < len(packet):
        vendor, kind, length = struct.unpack("!HHH", packet[at : at + 6])
        assert vendor == 0
        assert kind not in found
        found[kind] = packet[at + 6 : at + length]
        at += length
    assert at == len(packet)
    return found


def test_a_hep_packet_octet_by_octet():
    found = chunks(hep3(FOUR, agent=2001, key="secret", correlation="c1"))
    assert found == {
        1: b"\x02",
        2: b"\x11",
        3: bytes([192, 0, 2, 1]),
        4: bytes([198, 51, 100, 2]),
        7: struct.pack("!H", 5060),
        8: struct.pack("!H", 5080),
        9: struct.pack("!I", 1_700_000_000),
        10: struct.pack("!I", 250_000),
        11: b"\x01",
        12: struct.pack("!I", 2001),
        14: b"secret",
        15: OPTIONS,
        17: b"c1",
    }


def test_a_hep_packet_of_ipv6_over_tls():
    found = chunks(hep3(SIX, agent=7))
    assert found[1] == b"\x0a"
    assert found[2] == b"\x06"
    assert found[5] == socket.inet_pton(socket.AF_INET6, "2001:db8::1")
    assert found[6] == socket.inet_pton(socket.AF_INET6, "2001:db8::2")
    assert not found.keys() & {3, 4, 14, 17}


def test_an_exporter_waits_for_nobody():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as collector:
        collector.bind(("127.0.0.1", 0))
        collector.settimeout(5)
        exporter = HepExporter(collector.getsockname(), agent=1)
        exporter.send(FOUR)
        assert chunks(collector.recv(65536))[15] == OPTIONS
        exporter.send(Passed(("nowhere", 1), ("h", 2), "udp", 0.0, b""))
        assert exporter.snapshot() == {"sent": 1, "lost": 1, "left_out": 0}
        exporter.close()


@pytest.mark.parametrize("where", ["192.0.2.9:9060", "tcp://192.0.2.9:9060", "udp://homer"])
def test_a_collector_has_an_address(where):
    with pytest.raises(InvalidOffice, match=r"trace\.hep"):
        parse_office(f'[trace]\nhep = "{where}"\n', "office")


def test_tshark_reads_the_capture_file(tmp_path: Path):
    tshark = shutil.which("tshark")
    if tshark is None:
        pytest.skip("tshark is missing: apt-get install tshark")
    path = tmp_path / "call.pcap"
    path.write_bytes(pcap([FOUR, SIX]))
    fields = ("ip.src", "ipv6.dst", "udp.dstport", "sip.Method", "sip.Call-ID", "_ws.expert")
    done = subprocess.run(
        [
            *(tshark, "-r", path, "-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE"),
            *("-T", "fields", *(part for field in fields for part in ("-e", field))),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [
        "192.0.2.1\t\t5080\tOPTIONS\tx@y\t",
        "\t2001:db8::2\t5061\tOPTIONS\tx@y\t",
    ]


@simulated()
async def test_the_ladder_of_a_call_and_what_was_decided():
    async with World(1, office=small_office()) as world:
        caller, _ = await world.phone("1001"), await world.phone("1002")
        call = await caller.call("1002")
        await call.answered()
        call.hang_up()
        await asyncio.sleep(1)
        (name,) = {entry.call_id for entry in world.journal.entries if entry.call_id}
        rows = [row async for row in AdminCommands(world.switch).trace({"call": name[-6:]})]
        assert {row["leg"] for row in rows} == {"extension:1001", "extension:1002"}
        ahead_s = world.clock.wall_s() - world.clock.monotonic_s()
        told = [
            {"at_s": at_s - ahead_s, "decided": words}
            for at_s, words in decisions(
                (e.at_s, e.kind, e.data) for e in world.journal.of_call(name)
            )
        ]
        lines = list(ladder(sorted([*rows, *told], key=lambda row: row["at_s"])))
        text = "\n".join(lines)
        assert lines[0].split() == ["extension:1001", "softswitch", "extension:1002"]
        assert lines[1].split() == ["udp", "10.0.2.1:5060", "udp", "10.0.2.2:5060"]
        for words in (
            "* call from 1001 to 1002",
            "* goes to extension 1002",
            "* extension:1001 is over: by caller, 200",
            "* ended by caller",
        ):
            assert words in text
        into = next(line for line in lines if "INVITE -" in line)
        onward = [line for line in lines if "INVITE -" in line][-1]
        assert into.index(">") < onward.index("INVITE")
        assert any("<" in line and "200 OK (INVITE)" in line for line in lines)
        await world.settle()


@simulated()
async def test_two_telephones_of_an_extension_have_names_of_their_own():
    async with World(5, office=small_office()) as world:
        caller, *_ = [await world.phone(number) for number in ("1001", "1002", "1002")]
        call = await caller.call("1002")
        await call.answered()
        call.hang_up()
        await asyncio.sleep(1)
        (name,) = {entry.call_id for entry in world.journal.entries if entry.call_id}
        rows = [row async for row in AdminCommands(world.switch).trace({"call": name})]
        second = "extension:1002 (2)"
        names = {row["leg"] for row in rows if "leg" in row}
        assert names == {"extension:1001", "extension:1002", second}
        entries = [(e.at_s, e.kind, e.data) for e in world.journal.of_call(name)]
        told = [words for _, words in decisions(entries)]
        ends = sorted(words.partition(" is over")[0] for words in told if " is over" in words)
        assert ends == ["extension:1001", "extension:1002", second]
        # What is decided about a leg bears the name at the head of the lane in which it is drawn.
        cancelled = {row["leg"] for row in rows if row.get("first_line", "").startswith("CANCEL ")}
        assert len(cancelled) == 1
        (left_out,) = cancelled
        assert any(words.startswith(f"{left_out} is over: by switch, 487") for words in told), told
        await world.settle()


def test_a_long_reason_is_cut_and_its_arrow_stays_whole():
    row = {
        "at_s": 0,
        "received": False,
        "peer": "10.0.2.1:5060",
        "cseq": "1 INVITE",
        "call_id": "a",
    }
    *_, drawn = ladder([{**row, "first_line": "SIP/2.0 181 Call Is Being Forwarded"}])
    assert drawn.endswith("|< 181 Call Is Being… (INVITE) -|")
    *_, drawn = ladder(
        [{**row, "received": True, "first_line": "SIP/2.0 200 OK", "cseq": "1 " + 60 * "Y"}]
    )
    assert drawn.endswith("Y >|")


@simulated()
async def test_a_call_that_is_not_known_is_said():
    async with World(2) as world:
        with pytest.raises(Exception, match="not among the last"):
            [row async for row in AdminCommands(world.switch).trace({"call": "nobody"})]


def test_of_a_long_address_the_end_is_shown():
    peer = "[2001:db8:85a3:8d3:1319:8a2e:370:7348]:50601"
    row = {"at_s": 0, "received": True, "peer": peer, "transport": "tls", "leg": "extension:1001"}
    names, places, _ = ladder(
        [{**row, "first_line": "INVITE x", "cseq": "1 INVITE", "call_id": "a"}]
    )
    assert names.split() == ["extension:1001", "softswitch"]
    assert places.split() == ["…8d3:1319:8a2e:370:7348]:50601"]


@simulated()
async def test_a_part_of_several_ids_is_said():
    async with World(3) as world:
        caller = await world.phone("1001")
        for _ in range(2):
            await (await caller.call("1099")).ended()
        calls = list(dict.fromkeys(e.call_id for e in world.journal.entries if e.call_id))
        traced = world.switch.traced_calls
        assert traced.named(calls[0]) == [calls[0]]
        assert traced.named(calls[0][:-4]) == traced.named(calls[0][4:]) == [calls[0]]
        with pytest.raises(Exception, match="is part of several calls' ids: "):
            [row async for row in AdminCommands(world.switch).trace({"call": calls[0][0]})]


@simulated()
async def test_why_a_call_was_refused_is_drawn_and_told():
    rights = 'permissions = ["internal", "local", "national"]'
    office = small_office().replace(rights, "permissions = []", 1)
    async with World(4, office=office) as world:
        caller = await world.phone("1001")
        for number, why in (
            ("1002", "no permission: internal (403)"),
            ("1099", "unknown number (404)"),
        ):
            call = await caller.call(number)
            await call.ended()
            name = world.journal.entries[-1].call_id
            entries = [(e.at_s, e.kind, e.data) for e in world.journal.of_call(name)]
            assert f"refused: {why}" in [words for _, words in decisions(entries)]
            assert any(line.endswith(f"It was refused: {why}.") for line in tell(entries))


FLOW = Flow("udp", ("10.0.0.1", 5060), ("10.0.0.2", 5060))


def message_of(call_id: str, octets: int = 0) -> bytes:
    return f"OPTIONS sip:h SIP/2.0\r\nCall-ID: {call_id}\r\n\r\n".encode() + b"x" * octets


def of_a_call(call_id: bytes) -> bool:
    return call_id.startswith(b"call")


def kept_of(trace: Trace) -> list[str]:
    return [message.call_id for message in trace.messages()]


def test_what_is_forgotten_is_known():
    kept = Trace(3, of_a_call)
    for at_s in (1.0, 2.0):
        kept.tap((at_s, True, FLOW, message_of("call")))
    assert kept.kept_since_s == float("-inf")
    for at_s in (3.0, 4.0):
        kept.tap((at_s, True, FLOW, message_of("call")))
    assert kept.kept_since_s == 2.0
    kept.keep(2)
    assert [message.at_s for message in kept.messages()] == [3.0, 4.0]
    kept.keep(5)
    kept.tap((5.0, False, FLOW, message_of("call")))
    assert [message.at_s for message in kept.messages()] == [3.0, 4.0, 5.0]


@pytest.mark.limit("messages kept for the trace")
def test_a_flood_pushes_out_no_message_of_a_call():
    kept = Trace(8, of_a_call)  # two of them the newest
    for number in range(6):
        kept.tap((float(number), True, FLOW, message_of(f"call{number}")))
    for number in range(1000):
        kept.tap((10.0, True, FLOW, message_of(f"flood{number}")))
    assert kept_of(kept) == [*(f"call{n}" for n in range(6)), "flood998", "flood999"]
    assert kept.kept_since_s == float("-inf")
    kept.tap((11.0, True, FLOW, message_of("call6")))
    kept.tap((11.0, True, FLOW, message_of("flood")))  # call6 is still among the newest
    assert kept_of(kept) == [*(f"call{n}" for n in range(7)), "flood"]
    kept.tap((11.0, True, FLOW, message_of("flood")))  # the seventh of six: now one of them goes
    assert kept_of(kept) == [*(f"call{n}" for n in range(1, 7)), "flood", "flood"]
    assert kept.kept_since_s == 1.0
    assert kept.snapshot() == {"messages": 8, "of_calls": 6, "followers": 0}


@pytest.mark.limit("of those of no call, each")
def test_where_there_are_no_calls_all_the_room_is_for_the_others():
    kept = Trace(8, of_a_call)
    for number in range(9):
        kept.tap((float(number), True, FLOW, message_of(f"x{number}", 5000)))
    assert kept_of(kept) == [f"x{number}" for number in range(1, 9)]
    octets = [len(message.data) for message in kept.messages()]
    assert octets == [OTHERS_OCTETS_MAX] * 6 + [len(message_of("x8", 5000))] * 2
    just = OTHERS_OCTETS_MAX - len(message_of("x"))
    for more in (0, 1):
        kept = Trace(8, of_a_call)
        for _ in range(3):
            kept.tap((0.0, True, FLOW, message_of("x", just + more)))
        oldest, _, newest = (len(message.data) for message in kept.messages())
        assert (oldest, newest) == (OTHERS_OCTETS_MAX, OTHERS_OCTETS_MAX + more)


@pytest.mark.parametrize(
    ("head", "call_id"),
    [
        (b"Call-ID: a@b \r\n", "a@b"),
        (b"call-id\t:  a\r\n", "a"),
        (b"i:a\r\n", "a"),
        (b"I : a\r\nX: y\r\n", "a"),
        (b"Call-ID: a", "a"),
        (b"X-Call-ID: a\r\n", ""),
        (b"", ""),
    ],
)
def test_the_call_id_is_found_however_it_is_written(head: bytes, call_id: str):
    assert call_id_in(b"BYE sip:h SIP/2.0\r\n" + head + b"\r\n").decode() == call_id


async def test_who_follows_one_call_misses_nothing_of_it_in_a_flood():
    kept = Trace(100)
    following = kept.follow(lambda call_id: call_id == "call1")
    first = asyncio.ensure_future(anext(following))
    await asyncio.sleep(0)
    for number in range(2000):
        kept.tap((float(number), True, FLOW, message_of("flood")))
    kept.tap((3000.0, False, FLOW, message_of("call1")))
    assert (await first).call_id == "call1"
    await following.aclose()
    assert kept.snapshot()["followers"] == 0


@simulated()
async def test_the_ladder_of_a_call_is_whole_in_the_minute_of_an_attack():
    office = small_office() + "[trace]\nmessages = 100\n"
    async with World(2, office=office) as world:
        caller, _ = await world.phone("1001"), await world.phone("1002")
        call = await caller.call("1002")
        await call.answered()
        (name,) = {entry.call_id for entry in world.journal.entries if entry.call_id}
        commands = AdminCommands(world.switch)

        async def drawn() -> list[str]:
            return [
                row["first_line"] async for row in commands.trace({"call": name}) if "raw" in row
            ]

        before = await drawn()
        for number in range(300):
            world.switch.driver.feed(OPTIONS.replace(b"x@y", b"x%d" % number), FLOW)
        assert await drawn() == before
        call.hang_up()
        await asyncio.sleep(1)
        after = await drawn()
        assert after[: len(before)] == before
        assert sum(line.startswith("BYE ") for line in after) == 2
        assert 90 < len(world.switch.trace.messages()) <= 100
        await world.settle()


def test_of_strangers_only_so_many_are_copied():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as collector:
        collector.bind(("127.0.0.1", 0))
        exporter = HepExporter(collector.getsockname(), agent=1)
        calls = TracedCalls(lambda session: "")
        known = Flow("udp", ("10.0.0.1", 5060), ("10.0.0.9", 5060))
        copies = Copies(
            exporter, Trace(), calls, lambda at_s: at_s,
            knows=lambda flow, now_s: flow is known, strangers_per_s=5,
        )  # fmt: skip
        for _ in range(5):
            copies.tap((1.0, True, FLOW, message_of("x")))
        assert exporter.snapshot() == {"sent": 5, "lost": 0, "left_out": 0}
        copies.tap((1.0, True, FLOW, message_of("x")))
        copies.tap((1.0, True, known, message_of("x")))
        assert exporter.snapshot() == {"sent": 6, "lost": 0, "left_out": 1}
        copies.tap((1.25, True, FLOW, message_of("x")))
        assert exporter.snapshot() == {"sent": 7, "lost": 0, "left_out": 1}
        exporter.close()


@pytest.mark.parametrize(("per_s", "at_once"), [(0.0, 0), (0.5, 1), (3.0, 3)])
def test_tokens_come_back(per_s: float, at_once: int):
    tokens = Tokens(per_s)
    assert [tokens.take(10.0) for _ in range(at_once + 1)] == [True] * at_once + [False]
    if per_s:
        assert not tokens.take(10.0 + 0.9 / per_s)
        assert tokens.take(10.0 + 1.0 / per_s)
        assert not tokens.take(20.0, spare=at_once)
