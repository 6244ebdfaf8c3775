"""Lamps of real telephones: busy lamps by SIPp (RFC 4235), message waiting and presence by baresip (RFC 3842,
RFC 3856, RFC 3903), and MESSAGE between extensions (RFC 3428)."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.interop.peers.audio import RATE_HZ, assert_heard
from tests.interop.peers.baresip import CONSOLE, Baresip, settle
from tests.interop.peers.ports import free_port
from tests.interop.peers.process import wait_until
from tests.interop.peers.script import OFFICE, Script
from tests.interop.peers.server import Server, password_of
from tests.interop.peers.sipp import Sipp, register

Serve = Callable[..., Server]
Phone = Callable[..., Baresip]
Peer = Callable[..., Sipp]


def test_busy_lamps_follow_a_call(serve: Serve, baresip: Phone, sipp: Peer, tmp_path: Path) -> None:
    """One lamp for who is called, one for who calls: each rings, is confirmed and goes out."""
    server = serve()
    port = free_port()
    account = {"number": "1003", "password": password_of("1003")}
    register(tmp_path, server=server.address, port=port, **account)
    lamps = [
        sipp(
            "lamp.xml",
            server=server.address,
            port=free_port(),
            number=number,
            username="1003",
            password=account["password"],
            keys={"caller": "1003"},
        )
        for number in ("1002", "1001")
    ]
    callee = baresip(server, "1002", plays="callee", answer="manual")
    caller = baresip(server, "1001", plays="caller")
    wait_until(lambda: server.status()["apps"]["presence"]["watches"] == 2, "both subscriptions")
    caller.dial("1002")
    callee.wait_event("CALL_INCOMING")
    caller.wait_event("CALL_RINGING")
    settle([caller, callee], 0.3)
    callee.accept()
    caller.wait_event("CALL_ESTABLISHED")
    settle([caller, callee], 0.3)
    caller.hang_up()
    for lamp in lamps:
        counts = lamp.wait(timeout_s=8)
        assert (counts.successful, counts.failed, counts.unexpected) == (1, 0, 0), counts
    assert server.status()["apps"]["presence"]["watches"] == 0


def test_a_ringing_call_is_taken_by_the_key_of_its_lamp(
    serve: Serve, baresip: Phone, sipp: Peer, tmp_path: Path
) -> None:
    """A SIPp watches who is rung, and calls him with what the notification says (Replaces, RFC 3891)."""
    server = serve()
    port, log = free_port(), tmp_path / "notified.log"
    account = {"username": "1003", "password": password_of("1003"), "keys": {"caller": "1003"}}
    register(
        tmp_path, server=server.address, port=port, number="1003", password=account["password"]
    )
    watches = {"number": "1002", "extra": ["-trace_msg", "-message_file", str(log)]}
    lamp = sipp("lamp.xml", server=server.address, port=free_port(), **watches, **account)
    callee = baresip(server, "1002", plays="callee", answer="manual")
    caller = baresip(server, "1001", plays="caller")
    wait_until(lambda: server.status()["apps"]["presence"]["watches"] == 1, "the subscription")
    caller.dial("1002")
    callee.wait_event("CALL_INCOMING")
    shown = re.compile(
        r'call-id="([^"]+)" local-tag="([^"]+)" remote-tag="([^"]+)"[^>]*><state>early'
    )
    wait_until(lambda: shown.search(log.read_text()) is not None, "the lamp to blink")
    call_id, theirs, ours = shown.findall(log.read_text())[-1]
    replaces = f"Replaces: {call_id};to-tag={ours};from-tag={theirs};early-only"
    script = Script("takes", domain=OFFICE).invite(replaces).receive(401, auth=True).refused()
    script.invite("[authentication]", replaces, cseq=2).receive(100, optional=True)
    script.receive(180, optional=True).receive(200, routes=True).within("ACK", 2).leaves(3)
    taker = sipp(script, server=server.address, port=port, number="1002", **account)
    callee.wait_event("CALL_CLOSED")
    caller.wait_event("CALL_ESTABLISHED")
    counts = taker.wait(timeout_s=8)
    assert (counts.successful, counts.failed, counts.unexpected) == (1, 0, 0), counts
    caller.wait_event("CALL_CLOSED")
    lamp.stop()
    server.wait_idle()


def watching(server: Server, baresip: Phone, number: str) -> Baresip:
    """A baresip that is told of its messages. Its module for that goes wrong now and then: it then sends
    SUBSCRIBEs 15 us apart from the moment it is registered, before any is answered, until it is stopped."""
    told = "Messages-Waiting: no"  # in its log, for the event may come before who listens for it
    for _ in range(4):
        phone = baresip(server, number, plays="other", modules=("mwi",), account="mwi=yes")
        read = phone.process.log

        def heard(read: Callable[[], str] = read) -> bool:
            return told in read() or read().count("mwi: subscribing") > 5

        wait_until(heard, f"{number} to be told of its messages")
        if told in read():
            return phone
        phone.process.stop()
    raise AssertionError("baresip asked in a loop each time")


@pytest.mark.slow
def test_the_message_lamp_is_lit_by_a_message_and_put_out_by_hearing_it(
    serve: Serve, baresip: Phone, voices: dict
) -> None:
    box = 'voicemail = { pin = "4711" }\nforward = { always = "voicemail" }'
    server = serve(extension_more={"1001": box})
    owner = watching(server, baresip, "1001")
    caller = baresip(server, "1002", plays="caller")

    caller.dial("1001")
    caller.wait_event("CALL_ESTABLISHED")
    caller.press("1")  # no greeting, the beep
    settle([caller, owner], 5.0)
    caller.hang_up()
    lit = owner.wait_event("MWI_NOTIFY", param="Messages-Waiting: yes")["param"]
    assert "Voice-Message: 1/0" in lit

    before = owner.mark()
    owner.dial("*97")
    owner.wait_event("CALL_ESTABLISHED")
    owner.press("4711#")
    out = owner.wait_event("MWI_NOTIFY", since=before)["param"]
    assert "Messages-Waiting: no" in out
    assert "Voice-Message: 0/1" in out
    settle([owner], 0.5)  # what was played last is on its way
    owner.hang_up()
    owner.wait_event("CALL_CLOSED")
    words = voices["caller"].samples[2 * RATE_HZ : 3 * RATE_HZ]
    assert_heard(words, owner.heard(), "a second of the message at its owner", least=0.9)
    server.wait_idle()


def book(server: Server, **people: str) -> str:
    return "".join(
        f'"{name}" <sip:{number}@{server.address}>;presence=p2p\n'
        for name, number in people.items()
    )


def test_presence_and_messages_between_two_phones(serve: Serve, baresip: Phone) -> None:
    """One sees the other come, say that he is away and back (PUBLISH), and leave; they write to each
    other."""
    server = serve()
    modules = ("contact", "presence", CONSOLE)
    one = baresip(
        server, "1001", plays="caller", modules=modules, contacts=book(server, Two="1002")
    )
    wait_until(lambda: server.status()["apps"]["presence"]["watches"], "the subscription")
    assert not one.sees("Online")
    two = baresip(
        server,
        "1002",
        plays="callee",
        modules=modules,
        contacts=book(server, One="1001"),
        account="pubint=60",
    )
    wait_until(lambda: one.sees("Online"), "the other to be seen")
    wait_until(lambda: two.sees("Online"), "the first to be seen")
    for command, word in (("presence_offline", "Offline"), ("presence_online", "Online")):
        two.command(command)
        wait_until(lambda word=word: one.sees(word), f"{word} at the first")

    one.command("message", "Lunch at 12? 午饭")
    assert "sip:1001@" in two.wait_message("Lunch at 12? 午饭")
    two.command("message", "Yes")
    assert "sip:1002@" in one.wait_message("Yes")

    two.close()
    wait_until(lambda: one.sees("Offline"), "the other to be gone")
