"""SIPp scenarios without SIPp and without sockets: two scripts wired back to back on made-up time."""

from __future__ import annotations

import random
from collections import deque
from pathlib import Path

import pytest

from softswitch.errors import ConfigError
from softswitch.load.sipp_xml import Injection, Play, SippCall, parse_script, read_script

UAC = b"""<?xml version="1.0"?><scenario name="caller">
<send retrans="500"><![CDATA[
  INVITE sip:[service]@[remote_ip]:[remote_port] SIP/2.0
  Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
  From: <sip:[field0]@[local_ip]>;tag=[call_number]
  To: <sip:[service]@[remote_ip]>
  Call-ID: [call_id]
  CSeq: [cseq] INVITE
  Contact: <sip:[field0]@[local_ip]:[local_port]>
  Content-Type: application/sdp
  Content-Length: [len]

  v=0
  m=audio [media_port] RTP/AVP 0
]]></send>
<recv response="100" optional="true"/>
<recv response="180" optional="true"/>
<recv response="200" rrs="true"><action>
  <ereg regexp="tag=([[:alnum:]]+)" search_in="hdr" header="To:" check_it="true" assign_to="whole,tag"/>
</action></recv>
<send><![CDATA[
  ACK [next_url] SIP/2.0
  Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
  [routes]
  From: <sip:[field0]@[local_ip]>;tag=[call_number]
  To: <sip:[service]@[remote_ip]>[peer_tag_param]
  Call-ID: [call_id]
  CSeq: [cseq] ACK
  X-Tag: [$tag]
  Content-Length: 0
]]></send>
<pause milliseconds="200"/>
<send retrans="500"><![CDATA[
  BYE [next_url] SIP/2.0
  Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
  From: <sip:[field0]@[local_ip]>;tag=[call_number]
  To: <sip:[service]@[remote_ip]>[peer_tag_param]
  Call-ID: [call_id]
  CSeq: [cseq] BYE
  Content-Length: 0
]]></send>
<recv response="200" crlf="true"/>
</scenario>"""
UAS = b"""<scenario name="called">
<recv request="INVITE"/>
<nop next="busy" chance="0.0"/>
<send><![CDATA[
  SIP/2.0 180 Ringing
  [last_Via:]
  [last_From:]
  [last_To:];tag=t[call_number]
  [last_Call-ID:]
  [last_CSeq:]
  Content-Length: 0
]]></send>
<send retrans="500"><![CDATA[
  SIP/2.0 200 OK
  [last_Via:]
  [last_From:]
  [last_To:];tag=t[call_number]
  [last_Call-ID:]
  [last_CSeq:]
  Record-Route: <sip:one;lr>, <sip:two;lr>
  Contact: <sip:[local_ip]:[local_port]>
  Content-Length: 0
]]></send>
<recv request="ACK"/>
<recv request="BYE"/>
<send><![CDATA[
  SIP/2.0 200 OK
  [last_Via:]
  [last_From:]
  [last_To:]
  [last_Call-ID:]
  [last_CSeq:]
  Content-Length: 0
]]></send>
<label id="busy"/>
</scenario>"""


def call(script: bytes, **more: str) -> SippCall:
    keywords = {
        "service": "100", "remote_ip": "192.0.2.2", "remote_port": "5060", "transport": "UDP",
        "local_ip": "192.0.2.1", "local_port": "5070", "call_id": "id-1", "call_number": "1",
        "media_port": "6000", **more,
    }  # fmt: skip
    return SippCall(parse_script(script, "made up"), keywords, ["alice"], random.Random(1))


def wired(loss: float = 0.0, seed: int = 1) -> tuple[Play, Play, list[str]]:
    """Run both scripts against each other; how both ended and what was said."""
    rng = random.Random(seed)
    now_s, said = 0.0, []
    ends = {"caller": call(UAC), "called": call(UAS)}
    plays = {name: end.begin(0.0) for name, end in ends.items()}
    due = {name: (now_s + p.wait_s if p.wait_s is not None else None) for name, p in plays.items()}
    wire: deque[tuple[str, bytes]] = deque()

    def took(name: str, play: Play) -> None:
        plays[name] = play if not plays[name].done else plays[name]
        other = "called" if name == "caller" else "caller"
        for data in play.send:
            said.append(f"{name}: {data.split(chr(13).encode())[0].decode()}")
            # A lost ACK ends SIPp's own uas too, when the BYE comes in its place.
            if rng.random() >= loss or data.startswith(b"ACK"):
                wire.append((other, data))
        due[name] = now_s + play.wait_s if play.wait_s is not None else None

    took("caller", plays["caller"])
    for _ in range(500):
        while wire:
            name, data = wire.popleft()
            took(name, ends[name].receive(data, now_s))
        waits = [at for name, at in due.items() if at is not None and not plays[name].done]
        if not waits:
            break
        now_s = max(now_s, min(waits))
        for name in ends:
            at = due[name]
            if at is not None and at <= now_s and not plays[name].done:
                took(name, ends[name].timer(now_s))
    return plays["caller"], plays["called"], said


def test_two_scripts_talk_to_each_other() -> None:
    caller, called, said = wired()
    assert (caller.done, caller.cause) == (True, "")
    assert (called.done, called.cause) == (True, "")
    assert said == [
        "caller: INVITE sip:100@192.0.2.2:5060 SIP/2.0",
        "called: SIP/2.0 180 Ringing",
        "called: SIP/2.0 200 OK",
        "caller: ACK sip:192.0.2.1:5070 SIP/2.0",
        "caller: BYE sip:192.0.2.1:5070 SIP/2.0",
        "called: SIP/2.0 200 OK",
    ]


@pytest.mark.parametrize("seed", range(6))
def test_what_is_lost_is_said_again(seed: int) -> None:
    caller, _, said = wired(0.2, seed)
    assert (caller.done, caller.cause) == (True, "")
    assert len(said) >= 6


def test_variables_routes_fields_and_lengths_are_filled_in() -> None:
    caller = call(UAC)
    (invite,) = caller.begin(0.0).send
    head, _, body = invite.partition(b"\r\n\r\n")
    assert b"Content-Length: %d\r\n" % len(body) in head + b"\r\n"
    assert b"<sip:alice@192.0.2.1>" in head
    assert b"m=audio 6000" in body
    answer = (
        b"SIP/2.0 200 OK\r\nTo: <sip:100@x>;tag=abc9\r\nCSeq: 1 INVITE\r\nCall-ID: id-1\r\n"
        b"Record-Route: <sip:one;lr>\r\nRecord-Route: <sip:two;lr>\r\nContact: <sip:there>\r\n\r\n"
    )
    (ack,) = caller.receive(answer, 1.0).send
    assert b"X-Tag: abc9" in ack
    assert b"Route: <sip:two;lr>, <sip:one;lr>" in ack
    assert ack.startswith(b"ACK sip:there ")
    assert caller.answered
    assert caller.receive(answer, 1.1).send == (ack,)  # a retransmission


def test_what_was_not_expected_and_what_does_not_come_ends_the_call() -> None:
    caller = call(UAC)
    caller.begin(0.0)
    busy = b"SIP/2.0 486 Busy Here\r\nCSeq: 1 INVITE\r\n\r\n"
    assert caller.receive(busy, 0.1).cause == "unexpected 486 instead of 200"
    alone = call(UAC)
    play, now_s = alone.begin(0.0), 0.0
    while not play.done:
        assert play.wait_s is not None
        now_s += play.wait_s
        play = alone.timer(now_s)
    assert play.cause == "no 200 within 32 s"
    assert now_s == pytest.approx(32.0)


def test_labels_and_timeouts_lead_elsewhere() -> None:
    script = b"""<scenario><label id="1"/><send><![CDATA[
    OPTIONS sip:x SIP/2.0
    Call-ID: [call_id]
    CSeq: [cseq] OPTIONS
    ]]></send><recv response="200" timeout="700" ontimeout="1"/></scenario>"""
    one = call(script)
    assert len(one.begin(0.0).send) == 1
    again = one.timer(0.7)
    assert b"CSeq: 2 OPTIONS" in again.send[0]
    assert one.receive(b"SIP/2.0 200 OK\r\nCSeq: 2 OPTIONS\r\n\r\n", 0.8).done


def test_circles_end() -> None:
    script = b'<scenario><label id="a"/><nop next="a"/></scenario>'
    assert "circles" in call(script).begin(0.0).cause


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"<scenario>", "no element|unclosed"),
        (b"<scenario></scenario>", "no steps"),
        (b"<scenario><dance/></scenario>", "dance"),
        (b'<scenario><nop next="x"/></scenario>', "no label"),
        (b"<scenario><nop><action><fly/></action></nop></scenario>", "fly"),
        (b'<scenario><nop><action><ereg regexp="("/></action></nop></scenario>', "regexp"),
    ],
)
def test_mistakes_in_scripts_are_named(text: bytes, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        parse_script(text, "bad.xml")


def test_entities_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "bomb.xml"
    file.write_bytes(b'<!DOCTYPE x [<!ENTITY a "aaaa">]><scenario/>')
    with pytest.raises(ConfigError, match="entities"):
        read_script(file)


def test_injected_lines_come_in_turn_or_at_random() -> None:
    rng = random.Random(2)
    turn = Injection.parse("SEQUENTIAL\n1001;a\n1002;b\n")
    assert [turn.row(n, rng)[0] for n in range(3)] == ["1001", "1002", "1001"]
    assert Injection.parse("RANDOM\n1;x\n").row(5, rng) == ["1", "x"]
    with pytest.raises(ConfigError, match="inf"):
        Injection.parse("1001;a\n")


def test_any_datagram_is_borne() -> None:
    rng = random.Random(4)
    for _ in range(300):
        caller = call(UAC)
        caller.begin(0.0)
        caller.receive(rng.randbytes(rng.randint(0, 200)), 0.1)
        caller.receive(b"SIP/2.0 200 OK\r\n" + rng.randbytes(50), 0.1)
