"""Codes that a telephone without telephone events presses during a call: they arrive as sound."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import soundfile

from media.dsp.tones import dtmf
from tests.interop.peers.audio import LATE_S, RATE_HZ, TALK_S, assert_heard
from tests.interop.peers.baresip import Baresip, settle
from tests.interop.peers.server import Server
from tests.interop.peers.stage import Voice

Serve = Callable[..., Server]
Phone = Callable[..., Baresip]


@pytest.fixture
def keys(voices: dict, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a voice that says nothing but "##", and "1003#" when it has been asked for the number."""
    pauses = [np.zeros(int(seconds * RATE_HZ), np.int16) for seconds in (1.5, 3.0, 60.0)]
    pressed = [dtmf(digits, rate_hz=RATE_HZ) for digits in ("##", "1003#")]
    sound = np.concatenate([pauses[0], pressed[0], pauses[1], pressed[1], pauses[2]])
    path = tmp_path_factory.mktemp("keys") / "keys.wav"
    soundfile.write(path, sound, RATE_HZ, subtype="PCM_16")
    voices["keys"] = Voice(path, sound / 32768.0)
    return "keys"


@pytest.mark.slow
@pytest.mark.parametrize("dtmf_key", ["inband", "auto"])
def test_transfer_by_keys_that_are_sound(
    serve: Serve, baresip: Phone, voices: dict, keys: str, dtmf_key: str
) -> None:
    server = serve(extension_more={"1001": f'dtmf = "{dtmf_key}"'})
    second = baresip(server, "1002", plays="callee-late")
    third = baresip(server, "1003", plays="caller-late")
    first = baresip(server, "1001", plays=keys)
    first.dial("1002")
    second.wait_event("CALL_ESTABLISHED")
    if dtmf_key == "auto":
        settle([first, second, third], TALK_S)
        assert not third.has_event("CALL_INCOMING"), "nobody listens for keys"
        first.hang_up()
        second.wait_event("CALL_CLOSED")
        server.wait_idle()
        return
    third.wait_event("CALL_ESTABLISHED")
    first.wait_event("CALL_CLOSED")
    settle([second, third], LATE_S + TALK_S)
    third.hang_up()
    second.wait_event("CALL_CLOSED")
    assert_heard(voices["callee-late"].samples, third.heard(), "the second at the third")
    assert_heard(voices["caller-late"].samples, second.heard(), "the third at the second")
    server.wait_idle()
    (record,) = server.records(1)
    legs = [leg["endpoint"] for leg in record.row["legs"]]
    assert legs == ["extension:1001", "extension:1002", "extension:1003"]
