"""linphone: it registers and calls with digest, is called, hears and is heard, and transfers by REFER.

Without a sound card it has no clock but its own: what it keeps of what it hears has gaps, and is judged piece
by piece.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.interop.peers.audio import (
    LATE_S,
    TALK_S,
    assert_heard,
    assert_heard_in_pieces,
    read_wav,
)
from tests.interop.peers.baresip import CONSOLE, Baresip, settle
from tests.interop.peers.linphone import Linphone
from tests.interop.peers.process import wait_until
from tests.interop.peers.server import Server, password_of
from tests.interop.peers.stage import Stage

Phone = Callable[..., Baresip]

pytestmark = pytest.mark.xdist_group("linphone")


@pytest.fixture(scope="module")
def the_office(shared: Stage) -> Server:
    return shared.serve(recording="all")


@pytest.fixture
def linphone(tmp_path: Path, voices: dict) -> Iterator[Callable[..., Linphone]]:
    started: list[Linphone] = []

    def start(office: Server, number: str, *, plays: str, **options: Any) -> Linphone:
        phone = Linphone(
            tmp_path / f"linphone-{number}",
            number=number,
            password=options.pop("password", password_of(number)),
            domain="interop.example",
            server=office.address,
            plays=voices[plays].path,
            **options,
        )
        started.append(phone)
        return phone

    yield start
    for phone in started:
        phone.close()


def test_linphone_calls(
    office: Server, linphone: Callable[..., Linphone], baresip: Phone, voices: dict
) -> None:
    callee = baresip(office, "1002", plays="callee")
    caller = linphone(office, "1001", plays="caller")
    caller.dial("1002")
    callee.wait_event("CALL_ESTABLISHED")
    settle([callee], TALK_S)
    caller.hang_up()
    callee.wait_event("CALL_CLOSED")
    assert_heard(voices["caller"].samples, callee.heard(), "linphone at baresip", least=0.9)
    assert_heard_in_pieces(voices["callee"].samples, caller.heard(), "baresip at linphone")
    office.wait_idle()
    assert [record.status for record in office.records(1)] == ["answered"]


@pytest.mark.slow
def test_linphone_is_called(
    office: Server, linphone: Callable[..., Linphone], baresip: Phone, voices: dict
) -> None:
    caller = baresip(office, "1002", plays="caller")
    callee = linphone(office, "1001", plays="callee")
    caller.dial("1001")
    caller.wait_event("CALL_ESTABLISHED")
    settle([caller], TALK_S)
    caller.hang_up()
    callee.wait_for("Call 1 with", times=2)
    office.wait_idle()
    assert_heard_in_pieces(voices["caller"].samples, callee.heard(), "baresip at linphone")
    assert_heard(voices["callee"].samples, caller.heard(), "linphone at baresip", least=0.9)
    (record,) = office.records(1)
    assert (record.status, record.row["number_to"]) == ("answered", "1001")


def test_two_linphones_talk(
    office: Server, linphone: Callable[..., Linphone], voices: dict
) -> None:
    """What passes through the exchange tells: with no sound card on either side the two have no common
    clock, and what the second keeps of the first has gaps whenever the machine has other things to do."""
    callee = linphone(office, "1002", plays="callee")
    caller = linphone(office, "1001", plays="caller")
    caller.dial("1002")
    caller.wait_for("Media streams established")
    settle([], TALK_S)
    caller.hang_up()
    office.wait_idle()
    recording = read_wav(office.wait_recording())
    for channel, voice in enumerate(("caller", "callee")):
        assert_heard(voices[voice].samples, recording[:, channel], f"the {voice}", least=0.9)
    for listener in (caller, callee):
        assert np.abs(listener.heard()).max() > 0.1, f"{listener.number} heard nothing"
    assert [record.status for record in office.records(1)] == ["answered"]


def test_linphone_registers_with_its_password_only_and_leaves(
    office: Server, linphone: Callable[..., Linphone]
) -> None:
    phone = linphone(office, "1001", plays="caller")
    (row,) = office.status()["registrations"]
    assert (row["extension"], row["user_agent"].partition("/")[0]) == ("1001", "Linphonec")
    guessing = linphone(office, "1002", plays="callee", password="guess", register=False)
    wait_until(
        lambda: office.status()["gate"]["wrong_password"], "the wrong password to be refused"
    )
    guessing.wait_for("Password for 1002")  # it asks whoever sits before it
    assert office.registrations() == 1
    phone.leave()
    wait_until(lambda: office.registrations() == 0, "the binding to go")


@pytest.mark.slow
def test_linphone_transfers(
    office: Server, linphone: Callable[..., Linphone], baresip: Phone, voices: dict
) -> None:
    """linphone calls a phone and sends it on to another (REFER); those two talk."""
    second = baresip(office, "1002", plays="callee-late")
    third = baresip(office, "1003", plays="caller-late")
    first = linphone(office, "1001", plays="caller")
    first.dial("1002")
    second.wait_event("CALL_ESTABLISHED")
    first.wait_for("Media streams established")
    first.say("transfer 1 sip:1003@interop.example")
    third.wait_event("CALL_ESTABLISHED")
    settle([second, third], LATE_S + TALK_S)
    third.hang_up()
    for phone in (second, third):
        phone.wait_event("CALL_CLOSED")
    assert_heard(voices["callee-late"].samples, third.heard(), "the second at the third")
    office.wait_idle()
    assert [leg["endpoint"] for leg in office.records(1)[0].row["legs"]] == [
        "extension:1001",
        "extension:1002",
        "extension:1003",
    ]


def test_linphone_keeps_its_connection_open(
    office: Server, linphone: Callable[..., Linphone], baresip: Phone
) -> None:
    """Over TCP it pings by CRLF (RFC 5626 4.4.1) and is answered; calls both ways use the one connection."""
    phone = linphone(office, "1001", plays="caller", transport="tcp", keep_alive_s=0.5)

    def tcp() -> dict[str, Any]:
        return next(row for row in office.status()["transports"] if row["name"] == "tcp")

    wait_until(lambda: tcp()["pings"] >= 3, lambda: f"three pings: {tcp()}")
    other = baresip(office, "1002", plays="callee")
    other.dial("1001")
    other.wait_event("CALL_ESTABLISHED")
    other.hang_up()
    other.wait_event("CALL_CLOSED")
    since = other.mark()
    phone.dial("1002")
    other.wait_event("CALL_ESTABLISHED", since=since)
    phone.hang_up()
    other.wait_event("CALL_CLOSED", since=since)
    office.wait_idle()
    assert (tcp()["accepted"], tcp()["connections"], tcp()["opened"]) == (1, 1, 0)


def test_linphone_sees_who_is_there_and_writes_to_him(
    office: Server, linphone: Callable[..., Linphone], baresip: Phone
) -> None:
    """It subscribes to the presence of a friend (RFC 3856), who comes, says that he is away, and goes."""
    phone = linphone(office, "1001", plays="caller")
    friend = f"sip:1002@{office.address}"
    phone.say(f"friend add Two {friend}")
    wait_until(lambda: office.status()["apps"]["presence"]["watches"] == 1, "the subscription")
    modules = ("contact", "presence", CONSOLE)
    other = baresip(office, "1002", plays="callee", modules=modules, account="pubint=60")
    for times, words in ((1, "is Online"), (2, "is Online")):
        phone.wait_for(f'Friend "Two" <{friend}> {words}', times=times)
        if times == 1:
            seen = phone.log().count("is Offline")
            other.command("presence_offline")
            phone.wait_for("is Offline", times=seen + 1)
            other.command("presence_online")
    phone.say(f"chat {friend} Lunch at 12? 午饭")
    assert "sip:1001@" in other.wait_message("Lunch at 12? 午饭")
