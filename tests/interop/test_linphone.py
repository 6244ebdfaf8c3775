"""linphone: it calls with digest, hears and is heard, and transfers by REFER."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.interop.peers.audio import LATE_S, assert_heard
from tests.interop.peers.baresip import Baresip, settle
from tests.interop.peers.linphone import Linphone
from tests.interop.peers.server import Server, password_of

Serve = Callable[..., Server]
Phone = Callable[..., Baresip]
TALK_S = 6.5


@pytest.fixture
def linphone(tmp_path: Path, voices: dict) -> Iterator[Callable[..., Linphone]]:
    started: list[Linphone] = []

    def start(server: Server, number: str, *, plays: str) -> Linphone:
        phone = Linphone(
            tmp_path / f"linphone-{number}",
            number=number,
            password=password_of(number),
            realm="interop.example",
            server=server.address,
            plays=voices[plays].path,
        )
        started.append(phone)
        return phone

    yield start
    for phone in started:
        phone.close()


def test_linphone_calls(
    serve: Serve, linphone: Callable[..., Linphone], baresip: Phone, voices: dict
) -> None:
    server = serve()
    callee = baresip(server, "1002", plays="callee")
    caller = linphone(server, "1001", plays="caller")
    caller.dial("1002")
    callee.wait_event("CALL_ESTABLISHED")
    settle([callee], TALK_S)
    caller.hang_up()
    callee.wait_event("CALL_CLOSED")
    assert_heard(voices["caller"].samples, callee.heard(), "linphone at baresip", least=0.9)
    # Its jitter buffer stretches and its file is at another rate: it is the same words all the same.
    assert_heard(voices["callee"].samples, caller.heard(), "baresip at linphone", least=0.75)
    server.wait_idle()
    assert [record.status for record in server.records(1)] == ["answered"]


@pytest.mark.slow
def test_linphone_transfers(
    serve: Serve, linphone: Callable[..., Linphone], baresip: Phone, voices: dict
) -> None:
    """linphone calls a phone and sends it on to another (REFER); those two talk."""
    server = serve()
    second = baresip(server, "1002", plays="callee-late")
    third = baresip(server, "1003", plays="caller-late")
    first = linphone(server, "1001", plays="caller")
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
    server.wait_idle()
    assert [leg["endpoint"] for leg in server.records(1)[0].row["legs"]] == [
        "extension:1001",
        "extension:1002",
        "extension:1003",
    ]
