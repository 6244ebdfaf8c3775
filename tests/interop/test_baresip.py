"""Two baresip phones through the switch: what one says the other hears, and is recorded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile

from tests.interop.peers.audio import (
    LATE_S,
    RATE_HZ,
    assert_heard,
    assert_not_heard,
    read_wav,
)
from tests.interop.peers.baresip import Baresip, settle
from tests.interop.peers.ports import HOST, free_port
from tests.interop.peers.process import wait_until
from tests.interop.peers.server import Server

Serve = Callable[..., Server]
Phone = Callable[..., Baresip]


def talk_until_heard(caller: Baresip, callee: Baresip, voices: dict) -> None:
    """Let both sentences pass, with a second to spare."""
    for phone, other in ((caller, "callee"), (callee, "caller")):
        spoken = len(voices[other].samples) + int(1.5 * RATE_HZ)
        phone.wait_heard_bytes(2 * spoken * phone.heard_scale, timeout_s=60)


def assert_both_heard(
    caller: Baresip, callee: Baresip, voices: dict, *, least: float = 0.95
) -> None:
    for voice, listener in (("caller", callee), ("callee", caller)):
        what = f"the {voice}'s voice at the other end"
        assert_heard(voices[voice].samples, listener.heard(), what, least=least)


def assert_recorded(
    server: Server, voices: dict, *, least: float = 0.95, rate_hz: int = 8_000
) -> None:
    """The one recording holds each voice on its own side, at the rate of the better phone."""
    (path,) = server.recordings()
    assert soundfile.info(path).samplerate == rate_hz
    recording = read_wav(path)
    assert recording.shape[1] == 2
    for side, own, other in ((0, "caller", "callee"), (1, "callee", "caller")):
        assert_heard(voices[own].samples, recording[:, side], f"the {own} on his side", least=least)
        assert_not_heard(voices[other].samples, recording[:, side], f"the {other} there")


def test_two_phones_talk_and_are_recorded(serve: Serve, baresip: Phone, voices: dict) -> None:
    server = serve(recording="all")
    callee = baresip(server, "1002", plays="callee", answer="manual")
    caller = baresip(server, "1001", plays="caller")

    caller.dial("1002")
    callee.wait_event("CALL_INCOMING")
    caller.wait_event("CALL_RINGING")
    callee.accept()
    caller.wait_event("CALL_ESTABLISHED")
    callee.wait_event("CALL_ESTABLISHED")
    talk_until_heard(caller, callee, voices)
    caller.hang_up()
    callee.wait_event("CALL_CLOSED")

    assert_both_heard(caller, callee, voices)
    server.wait_idle()
    (record,) = server.records(1)
    assert record.status == "answered", record
    assert_recorded(server, voices)


def test_a_law_and_mu_law_phones_understand_each_other(
    serve: Serve, baresip: Phone, voices: dict
) -> None:
    server = serve()
    callee = baresip(server, "1002", plays="callee", codecs="PCMA/8000/1")
    caller = baresip(server, "1001", plays="caller", codecs="PCMU/8000/1")
    caller.dial("1002")
    caller.wait_event("CALL_ESTABLISHED")
    talk_until_heard(caller, callee, voices)
    callee.hang_up()
    caller.wait_event("CALL_CLOSED")
    assert_both_heard(caller, callee, voices)
    server.wait_idle()


@pytest.mark.parametrize(
    ("callee_codecs", "caller_codecs", "least"),
    [
        # baresip makes 16 kHz of what it is given in a way that leaves 0.91: in its packets already, for
        # a recording of them has the same.
        ("G722/16000/1", "PCMA/8000/1", 0.8),
        ("G722/16000/1", "G722/16000/1", 0.8),
        # Opus keeps what is heard, not the waveform: coded twice, 0.92 was measured.
        ("opus/48000/2", "PCMU/8000/1", 0.85),
        ("opus/48000/2", "opus/48000/2", 0.85),
    ],
)
def test_wideband_and_narrowband_phones_understand_each_other(
    serve: Serve,
    baresip: Phone,
    voices: dict,
    callee_codecs: str,
    caller_codecs: str,
    least: float,
) -> None:
    server = serve(recording="all")
    callee = baresip(server, "1002", plays="callee", codecs=callee_codecs)
    caller = baresip(server, "1001", plays="caller", codecs=caller_codecs)
    caller.dial("1002")
    caller.wait_event("CALL_ESTABLISHED")
    talk_until_heard(caller, callee, voices)
    callee.hang_up()
    caller.wait_event("CALL_CLOSED")
    assert_both_heard(caller, callee, voices, least=least)
    server.wait_idle()
    assert_recorded(server, voices, least=least, rate_hz=16_000)


@pytest.mark.parametrize("both", [True, False], ids=["two SRTP phones", "SRTP and plain"])
def test_an_srtp_phone_speaks_with_any_other(
    serve: Serve, baresip: Phone, voices: dict, both: bool
) -> None:
    more = {"1002": 'srtp = "require"'} if both else {}
    server = serve(recording="all", extension_more=more)
    callee = baresip(server, "1002", plays="callee", srtp=both)
    caller = baresip(server, "1001", plays="caller", srtp=True)
    caller.dial("1002")
    caller.wait_event("CALL_ESTABLISHED")
    talk_until_heard(caller, callee, voices)
    callee.hang_up()
    caller.wait_event("CALL_CLOSED")
    assert_both_heard(caller, callee, voices)
    server.wait_idle()
    assert_recorded(server, voices)


def test_a_phone_on_tcp_and_a_phone_on_udp(serve: Serve, baresip: Phone, voices: dict) -> None:
    server = serve()
    callee = baresip(server, "1002", plays="callee", transport="tcp")
    caller = baresip(server, "1001", plays="caller")
    caller.dial("1002")
    caller.wait_event("CALL_ESTABLISHED")
    talk_until_heard(caller, callee, voices)
    callee.hang_up()
    caller.wait_event("CALL_CLOSED")
    assert_both_heard(caller, callee, voices)
    server.wait_idle()
    back = callee.mark()
    callee.dial("1001")
    callee.wait_event("CALL_ESTABLISHED", since=back)
    callee.hang_up()
    callee.wait_event("CALL_CLOSED", since=back)
    server.wait_idle()


def test_a_phone_on_tls_and_a_phone_on_tcp(serve: Serve, baresip: Phone, voices: dict) -> None:
    server = serve(tls_port=(port := free_port()))
    callee = baresip(f"{HOST}:{port}", "1002", plays="callee", transport="tls")
    caller = baresip(server, "1001", plays="caller", transport="tcp")
    transports = {row["extension"]: row["transport"] for row in server.status()["registrations"]}
    assert transports == {"1001": "tcp", "1002": "tls"}
    caller.dial("1002")
    caller.wait_event("CALL_ESTABLISHED")
    talk_until_heard(caller, callee, voices)
    caller.hang_up()
    callee.wait_event("CALL_CLOSED")
    assert_both_heard(caller, callee, voices)
    server.wait_idle()
    back = callee.mark()
    callee.dial("1001")
    callee.wait_event("CALL_ESTABLISHED", since=back)
    callee.hang_up()
    callee.wait_event("CALL_CLOSED", since=back)
    server.wait_idle()


def test_echo_test_returns_the_voice(serve: Serve, baresip: Phone, voices: dict) -> None:
    server = serve()
    caller = baresip(server, "1001", plays="caller")
    caller.dial("*43")
    caller.wait_event("CALL_ESTABLISHED")
    caller.wait_heard_bytes(2 * (len(voices["caller"].samples) + 2 * RATE_HZ), timeout_s=60)
    caller.hang_up()
    caller.wait_event("CALL_CLOSED")
    assert_heard(voices["caller"].samples, caller.heard(), "the echo")
    server.wait_idle()


@pytest.mark.slow
def test_hold_and_resume(serve: Serve, baresip: Phone, voices: dict) -> None:
    """After hold and resume both directions speak again. The recording tells: this baresip keeps no
    more of what it hears once its call has been changed."""
    server = serve(recording="all")
    callee = baresip(server, "1002", plays="callee-late")
    caller = baresip(server, "1001", plays="caller-late")
    caller.dial("1002")
    caller.wait_event("CALL_ESTABLISHED")
    callee.wait_event("CALL_ESTABLISHED")
    for phone in (caller, callee):
        for command in ("hold", "resume"):
            since = phone.mark()
            phone.command(command)
            phone.wait_event("CALL_REMOTE_SDP", since=since, param="answer")
    spoken_s = max(len(voices[who].samples) for who in ("caller", "callee")) / RATE_HZ
    settle([caller, callee], LATE_S + spoken_s + 1.0)
    assert not [p.number for p in (caller, callee) if p.has_event("CALL_CLOSED")]
    caller.hang_up()
    callee.wait_event("CALL_CLOSED")
    server.wait_idle()
    (path,) = server.recordings()
    recording = read_wav(path)
    assert_heard(voices["caller"].samples, recording[:, 0], "the caller after the hold")
    assert_heard(voices["callee"].samples, recording[:, 1], "the callee after the hold")


@pytest.mark.parametrize(
    ("number", "status"), [("1003", "480"), ("4999", "404")], ids=["unregistered", "unknown"]
)
def test_a_number_that_cannot_be_reached(
    serve: Serve, baresip: Phone, number: str, status: str
) -> None:
    server = serve()
    caller = baresip(server, "1001", plays="caller")
    caller.dial(number)
    assert status in caller.wait_event("CALL_CLOSED")["param"]
    server.wait_idle()


def test_a_caller_who_gives_up_stops_the_ringing(serve: Serve, baresip: Phone) -> None:
    server = serve()
    callee = baresip(server, "1002", plays="callee", answer="manual")
    caller = baresip(server, "1001", plays="caller")
    caller.dial("1002")
    callee.wait_event("CALL_INCOMING")
    caller.wait_event("CALL_RINGING")
    caller.hang_up()
    callee.wait_event("CALL_CLOSED")
    server.wait_idle()
    (record,) = server.records(1)
    assert record.status != "answered", record


def test_a_callee_who_declines(serve: Serve, baresip: Phone) -> None:
    server = serve()
    callee = baresip(server, "1002", plays="callee", answer="manual")
    caller = baresip(server, "1001", plays="caller")
    caller.dial("1002")
    callee.wait_event("CALL_INCOMING")
    callee.hang_up()
    closed = caller.wait_event("CALL_CLOSED")
    assert closed["param"][:3] in ("486", "603"), closed
    server.wait_idle()


def test_a_phone_with_a_wrong_password_is_not_registered(serve: Serve, baresip: Phone) -> None:
    server = serve()
    phone = baresip(server, "1001", plays="caller", password="guess", register=None)
    # It guesses again with every nonce it is given, until the exchange stops listening to it.
    wait_until(lambda: server.status()["bans"], "the guessing phone to be banned")
    assert server.status()["gate"]["wrong_password"] >= 10
    assert server.registrations() == 0
    assert " 200 OK " not in phone.process.log()
    (ban,) = server.status()["bans"]
    assert ban["source"] == HOST
    assert 0 < ban["left_s"] <= 3600
    assert HOST in server.run("status", str(server.file))
    server.run("unban", HOST, str(server.file))
    assert server.status()["bans"] == []


def test_a_phone_unregisters_when_it_leaves(serve: Serve, baresip: Phone) -> None:
    server = serve()
    phone = baresip(server, "1001", plays="caller")
    assert server.registrations() == 1
    phone.close()
    wait_until(lambda: server.registrations() == 0, "the binding to go")


def connections_to(port: int) -> int:
    """TCP connections to this port that are up (Linux)."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[2].endswith(f":{port:04X}") and row[3] == "01" for row in rows)


def test_a_phone_that_keeps_its_flow_is_called_on_it(serve: Serve, baresip: Phone) -> None:
    """RFC 5626 over TCP: it registers with instance and reg-id, is told how often to ping, and one connection
    carries everything; when it is cut off, its registration goes with it."""
    server = serve()
    at = f'sipnat=outbound;outbound="sip:{server.address};transport=tcp"'
    phone = baresip(server, "1002", plays="callee", transport="tcp", account=at)
    caller = baresip(server, "1001", plays="caller")
    said = server.run("trace", str(server.file), "--no-follow", "--raw")
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
    server.wait_idle()
    assert connections_to(server.office.sip_port) == 1
    phone.process.kill()
    wait_until(lambda: server.registrations() == 1, "the lost flow to be noticed")
