"""Commands and events arrive as they were sent, also from a side that knows less."""

from __future__ import annotations

import msgspec
import pytest

from media.errors import ProtocolViolation
from media.protocol import (
    MESSAGE_OCTETS_MAX,
    PACKED_MAX,
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
    encode,
    pack,
    unpack_commands,
    unpack_events,
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
    assert unpack_commands(pack([encode(command)])[0]) == [command]


def test_events_arrive_as_they_were_sent():
    event = ProgressHeard(3, "busy")
    assert unpack_events(pack([encode(event)])[0]) == [event]


def test_what_is_not_said_has_its_usual_meaning():
    short = msgspec.msgpack.encode(
        {"type": "StartRecording", "recording_id": 1, "left": 2, "right": None, "name": "a.wav"}
    )
    assert unpack_commands(pack([short])[0]) == [StartRecording(1, 2, None, "a.wav")]


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
        unpack_commands(b"\x91" + data)
    with pytest.raises(ProtocolViolation):
        unpack_commands(data)


def test_a_packet_holds_as_many_messages_as_fit_in_their_order():
    small = [encode(StopMonitor(number)) for number in range(PACKED_MAX + 1)]
    data, count = pack(small)
    assert count == PACKED_MAX
    assert unpack_commands(data) == [StopMonitor(number) for number in range(PACKED_MAX)]

    large = [encode(StartRecording(1, 2, None, "x" * 30_000)) for _ in range(3)]
    data, count = pack(large)
    assert count == 2
    assert len(data) <= MESSAGE_OCTETS_MAX


def test_a_packet_without_a_message_is_refused():
    with pytest.raises(ProtocolViolation):
        unpack_commands(b"\x90")
