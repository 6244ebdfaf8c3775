"""linphone: registered with digest, it calls and is called, hears and is heard, and transfers by REFER."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.interop.peers.audio import assert_heard
from tests.interop.peers.baresip import Baresip, settle
from tests.interop.peers.linphone import Linphone
from tests.interop.peers.server import Server, password_of

Serve = Callable[..., Server]
Phone = Callable[..., Baresip]
TALK_S = 6.5


@pytest.fixture
def linphone(tmp_path: Path, voices: dict) -> Iterator[Callable[..., Linphone]]:
    started: list[Linphone] = []

    def start(server: Server, number: str, *, plays: str, **options: bool) -> Linphone:
        phone = Linphone(
            tmp_path / f"linphone-{number}",
            number=number,
            password=password_of(number),
            realm="interop.example",
            server=server.address,
            plays=voices[plays].path,
            **options,
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
    assert_heard(voices["callee"].samples, caller.heard(), "baresip at linphone", least=0.9)
    server.wait_idle()
    assert [record.status for record in server.records(1)] == ["answered"]


def test_linphone_is_called_and_transfers(
    serve: Serve, linphone: Callable[..., Linphone], baresip: Phone, voices: dict
) -> None:
    """baresip calls linphone, linphone sends it on to a third phone (REFER), and those two talk."""
    server = serve()
    caller = baresip(server, "1001", plays="caller-late")
    third = baresip(server, "1003", plays="callee")
    linphone_1002 = linphone(server, "1002", plays="callee", answers=True)
    caller.dial("1002")
    caller.wait_event("CALL_ESTABLISHED")
    linphone_1002.wait_for("answered", timeout_s=10)
    settle([caller, third], 1.0)
    linphone_1002.say("transfer 1 sip:1003@interop.example")
    third.wait_event("CALL_ESTABLISHED")
    settle([caller, third], TALK_S + 4)
    third.hang_up()
    caller.wait_event("CALL_CLOSED")
    third.wait_event("CALL_CLOSED")
    assert_heard(voices["caller-late"].samples, third.heard(), "the caller at the third", least=0.9)
    server.wait_idle()
