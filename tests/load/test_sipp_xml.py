"""SIPp scenarios without SIPp and without sockets: two scripts wired back to back on made-up time."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from collections import deque
from pathlib import Path

import pytest

from softswitch.errors import ConfigError
from softswitch.load.sipp_action import posix
from softswitch.load.sipp_call import Play, SippCall
from softswitch.load.sipp_xml import Injection, parse_script, read_script

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


def wired(
    loss: float = 0.0, seed: int = 1, scripts: tuple[bytes, bytes] = (UAC, UAS), number: int = 1
) -> tuple[Play, Play, list[str]]:
    """Run both scripts against each other; how both ended and what was said."""
    rng = random.Random(seed)
    now_s, said = 0.0, []
    ends = {
        "caller": call(scripts[0], call_number=str(number)),
        "called": call(scripts[1], call_number=str(number)),
    }
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
        (b'<scenario><recv respons="200"/></scenario>', "recv> of nothing"),
        (b"<scenario><send> </send></scenario>", "send> of nothing"),
        (b"<scenario><nop><action><fly/></action></nop></scenario>", "fly"),
        (b'<scenario><nop><action><ereg regexp="("/></action></nop></scenario>', "regexp"),
        (
            b'<scenario><nop><action><ereg regexp="a{9999999999}"/></action></nop></scenario>',
            "regexp",
        ),
        (b'<scenario><nop><action><ereg regexp="[a--b]"/></action></nop></scenario>', "regexp"),
    ],
)
def test_mistakes_in_scripts_are_named(text: bytes, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        parse_script(text, "bad.xml")


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        (r"[[:alpha:]]+", "ab"),
        (r"[[:alpha:][:digit:]]+", "ab1"),
        (r"[^[]+", "ab1"),
        (r"[[>]+", "[>"),
        (r"\[[]a>]*", "[>]"),
        (r"\[>\]", "[>]"),
    ],
)
def test_sets_mean_what_posix_says(pattern: str, found: str) -> None:
    match = re.search(posix(pattern), "ab1[>]")
    assert match is not None
    assert match[0] == found


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


# -- SIPp's own scripts, as the program tells them ------------------------------------------------------

needs_sipp = pytest.mark.skipif(not shutil.which("sipp"), reason="apt-get install sip-tester")


def own(name: str) -> bytes:
    """A scenario that is built into SIPp (its exit status is never 0 here)."""
    return subprocess.run(["sipp", "-sd", name], capture_output=True, check=False).stdout


@needs_sipp
@pytest.mark.parametrize(
    "name", ["uac", "uas", "regexp", "branchc", "branchs", "uac_pcap", "3pcc-A", "3pcc-B"]
)
def test_sipps_own_scripts_are_read(name: str) -> None:
    assert len(parse_script(own(name), name).steps) >= 4


@needs_sipp
@pytest.mark.parametrize("name", ["3pcc-C-A", "3pcc-C-B"])
def test_scripts_of_two_programs_are_refused_by_name(name: str) -> None:
    with pytest.raises(ConfigError, match=r"<(send|recv)Cmd>"):
        parse_script(own(name), name)


@needs_sipp
@pytest.mark.parametrize("pair", [("uac", "uas"), ("regexp", "uas"), ("uac_pcap", "uas")])
def test_sipps_own_scripts_call_each_other(pair: tuple[str, str]) -> None:
    caller, called, said = wired(scripts=(own(pair[0]), own(pair[1])))
    assert (caller.done, caller.cause) == (True, "")
    assert (called.done, called.cause) == (True, "")
    assert [line.split()[1] for line in said if line.startswith("caller")] == [
        "INVITE",
        "ACK",
        "BYE",
    ]


@needs_sipp
@pytest.mark.parametrize(("number", "refused"), [(2, False), (7, True)])
def test_sipps_branches_are_taken_as_it_means_them(number: int, refused: bool) -> None:
    """Number 2 calls as ua2, whom the server lets in; all others get its 403."""
    caller, _, said = wired(scripts=(own("branchc"), own("branchs")), number=number)
    assert (caller.done, caller.cause) == (True, "")
    assert any("403" in line for line in said) is refused
    assert any(line.startswith("caller: ACK") for line in said) is not refused


@needs_sipp
def test_keys_of_sipps_recordings_are_pressed() -> None:
    """uac_pcap plays speech, then the recording of a 1 by RFC 2833."""
    caller = call(own("uac_pcap"))
    caller.begin(0.0)
    answer = b"SIP/2.0 200 OK\r\nTo: <sip:x>;tag=a\r\nCSeq: 1 INVITE\r\nCall-ID: id-1\r\n\r\n"
    talk = caller.receive(answer, 1.0)
    assert (talk.digits, talk.wait_s) == ("", 8.0)
    assert caller.timer(9.0).digits == "1"


# -- variables --------------------------------------------------------------------------------------------


def end_of(steps: str) -> dict[str, str]:
    made = call(f"<scenario name='x'>{steps}</scenario>".encode())
    play = made.begin(0.0)
    assert (play.done, play.cause) == (True, "")
    return made.variables


def test_a_loop_counts() -> None:
    """The loop of SIPp's documentation, in our words."""
    found = end_of(
        """
        <nop><action><assign assign_to="n" value="0"/></action></nop>
        <label id="again"/>
        <nop><action>
          <add assign_to="n" value="1"/><log message="at [$n]"/>
          <test assign_to="less" variable="n" compare="less_than" value="10"/>
        </action></nop>
        <nop next="again" test="less"/>
        <nop condexec="less"><action><assignstr assign_to="wrong" value="x"/></action></nop>
        <nop condexec="less" condexec_inverse="true"><action>
          <assignstr assign_to="done" value="after [$n]"/></action></nop>
        """
    )
    assert (found["n"], found["done"]) == ("10", "after 10")
    assert "wrong" not in found


@pytest.mark.parametrize(
    ("action", "result"),
    [
        ('<subtract assign_to="a" value="2"/>', "5"),
        ('<multiply assign_to="a" variable="b"/>', "21"),
        ('<divide assign_to="a" value="2"/>', "3.500000"),
        ('<divide assign_to="a" value="0"/>', "0"),
        ('<todouble assign_to="a" variable="text"/>', "12"),
        ('<test assign_to="a" variable="a" variable2="b" compare="greater_than"/>', "1"),
        ('<test assign_to="a" variable="a" compare="not_equal" value="7"/>', ""),
        ('<strcmp assign_to="a" variable="text" value="12 or so"/>', ""),
        ('<strcmp assign_to="a" variable="text" value="13"/>', "1"),
    ],
)
def test_what_is_reckoned(action: str, result: str) -> None:
    start = (
        '<assign assign_to="a" value="7"/><assign assign_to="b" value="3"/>'
        '<assignstr assign_to="text" value="12 or so"/>'
    )
    assert end_of(f"<nop><action>{start}{action}</action></nop>")["a"] == result


def test_a_request_may_be_wanted_by_an_expression() -> None:
    script = (
        b"""<scenario name="x"><recv request="(OPTIONS|INFO)" regexp_match="true"/></scenario>"""
    )
    head = b" sip:x SIP/2.0\r\nCall-ID: id-1\r\nCSeq: 1 X\r\n\r\n"
    for method, cause in ((b"INFO", ""), (b"MESSAGE", "unexpected MESSAGE")):
        made = call(script)
        made.begin(0.0)
        play = made.receive(method + head, 1.0)
        assert play.done
        assert play.cause.startswith(cause)
        assert bool(play.cause) is bool(cause)


TIMED = b"""<scenario name="timed">
<send start_rtd="invite,true"><![CDATA[
  INVITE sip:x SIP/2.0
  Call-ID: [call_id]
  CSeq: [cseq] INVITE
]]></send>
<recv response="180" optional="true" rtd="ringing"/>
<recv response="200" rtd="invite"/>
<pause milliseconds="500"/>
<nop rtd="true"/>
</scenario>"""


def test_a_scripts_own_timers_are_told() -> None:
    """`ringing` is not started by anything: it runs from the beginning of the call."""
    call = SippCall(parse_script(TIMED, "timed"), dict.fromkeys(("call_id",), "c"))
    plays = [call.begin(10.0)]
    for at_s, status in ((10.25, "180 Ringing"), (11.0, "200 OK")):
        text = f"SIP/2.0 {status}\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
        plays.append(call.receive(text.encode(), at_s))
    plays.append(call.timer(11.5))
    assert plays[-1].done
    told = [one for play in plays for one in play.timed]
    assert told == [("ringing", 0.25), ("invite", 1.0), ("1", 1.5)]


@pytest.mark.parametrize("what", ['command="rm x"', 'int_cmd="stop_now"', ""])
def test_programs_are_not_started_and_nobody_believes_they_were(what: str) -> None:
    script = f"<scenario><nop><action><exec {what}/></action></nop></scenario>"
    with pytest.raises(ConfigError, match=r"<exec .*play_dtmf, play_pcap_audio, rtp_stream"):
        parse_script(script.encode(), "x")
