"""Commands and events arrive as they were sent, also from a side that knows less."""

from __future__ import annotations

import msgspec
import pytest

from media.errors import ProtocolViolation
from media.protocol import (
    ConfigureStream,
    File,
    HearProgress,
    Monitor,
    PauseRecording,
    ProgressHeard,
    Prompts,
    ResumeRecording,
    StartPlay,
    StartRecording,
    StopMonitor,
    StreamParams,
    Tone,
    decode_command,
    decode_event,
    encode,
)


@pytest.mark.parametrize(
    "command",
    [
        Monitor(1, 2, "whisper"),
        StopMonitor(1),
        StartPlay(1, 7, Prompts((Tone("busy", "gb"), File("/a.wav"))), True, 20, True),
        StartRecording(4, 1, None, "a.wav", 10, True, True),
        PauseRecording(4),
        ResumeRecording(4),
        HearProgress(1, "de", True),
        HearProgress(1, None),
        ConfigureStream(1, StreamParams(("10.0.0.1", 4000), receive_payload_type=97)),
    ],
)
def test_commands_arrive_as_they_were_sent(command):
    assert decode_command(encode(command)) == command


def test_events_arrive_as_they_were_sent():
    event = ProgressHeard(3, "busy")
    assert decode_event(encode(event)) == event


def test_what_is_not_said_has_its_usual_meaning():
    short = msgspec.msgpack.encode(
        {"type": "StartRecording", "recording_id": 1, "left": 2, "right": None, "name": "a.wav"}
    )
    assert decode_command(short) == StartRecording(1, 2, None, "a.wav")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        msgspec.msgpack.encode({"type": "Monitor", "stream_id": 1}),
        msgspec.msgpack.encode({"type": "Explode"}),
        msgspec.msgpack.encode(
            {
                "type": "StartPlay",
                "stream_id": 1,
                "play_id": 2,
                "source": {"type": "prompts", "parts": [{"type": "prompts", "parts": []}]},
            }
        ),
    ],
)
def test_anything_else_is_refused(data):
    with pytest.raises(ProtocolViolation):
        decode_command(data)
