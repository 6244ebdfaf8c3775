"""pyVoIP (GPL-3, so only as a process of its own) against the switch."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.interop.peers.audio import RATE_HZ, assert_heard, read_wav
from tests.interop.peers.baresip import Baresip
from tests.interop.peers.ports import free_port, free_ports
from tests.interop.peers.process import Process
from tests.interop.peers.server import Server, password_of

PEER = Path(__file__).parent / "peers" / "pyvoip_peer.py"
LEAST = 0.9  # pyVoIP computes in 8 bits, which costs some per cent by itself


@pytest.fixture
def pyvoip(
    process: Callable[..., Process], voices: dict, tmp_path: Path
) -> Callable[..., tuple[Process, Path]]:
    if importlib.util.find_spec("pyVoIP") is None:
        pytest.skip("pyVoIP is missing: pip install pyVoIP")
    if importlib.util.find_spec("audioop") is None:
        pytest.skip(
            "pyVoIP needs the module audioop, which Python 3.13 dropped: pip install audioop-lts"
        )

    def start(
        server: Server, number: str, *, plays: str, hear_s: float, dial: str = ""
    ) -> tuple[Process, Path]:
        heard = tmp_path / f"pyvoip-{number}.wav"
        settings = {
            "server": "127.0.0.1",
            "port": server.office.sip_port,
            "number": number,
            "password": password_of(number),
            "sip_port": free_port(),
            "rtp_port": free_ports(10),
            "plays": str(voices[plays].path),
            "heard": str(heard),
            "hear_s": hear_s,
            "dial": dial,
        }
        command = [sys.executable, str(PEER), json.dumps(settings)]
        phone = process(f"pyvoip-{number}", command)
        phone.wait_for_log("registered")
        return phone, heard

    return start


def test_pyvoip_hears_itself_at_the_echo_test(
    serve: Callable[..., Server], pyvoip: Callable[..., tuple[Process, Path]], voices: dict
) -> None:
    server = serve()
    own = voices["caller"].samples
    phone, heard = pyvoip(server, "1001", plays="caller", hear_s=len(own) / RATE_HZ + 2, dial="*43")
    assert phone.wait() == 0, phone.tail()
    assert_heard(own, read_wav(heard)[:, 0], "its own voice", least=LEAST)


def test_pyvoip_is_called_by_baresip(
    serve: Callable[..., Server],
    pyvoip: Callable[..., tuple[Process, Path]],
    baresip: Callable[..., Baresip],
    voices: dict,
) -> None:
    server = serve()
    hear_s = len(voices["caller"].samples) / RATE_HZ + 3
    phone, heard = pyvoip(server, "1002", plays="callee", hear_s=hear_s)
    caller = baresip(server, "1001", plays="caller")
    caller.dial("1002")
    caller.wait_event("CALL_ESTABLISHED")
    phone.wait_for_log("heard", timeout_s=60)
    caller.wait_heard_bytes(int(2 * (len(voices["callee"].samples) + 2 * RATE_HZ)))
    caller.hang_up()
    caller.wait_event("CALL_CLOSED")
    assert phone.wait() == 0, phone.tail()
    assert_heard(voices["caller"].samples, read_wav(heard)[:, 0], "at pyVoIP", least=LEAST)
    assert_heard(voices["callee"].samples, caller.heard(), "at baresip", least=LEAST)
