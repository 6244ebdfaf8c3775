"""The media plane without sound keeps the contract of the real one."""

from __future__ import annotations

import asyncio
import inspect

import pytest

from media.client import MediaClient
from media.errors import BadName, NoCapacity, NotSupported, UnknownStream
from media.protocol import (
    DigitReceived,
    File,
    MediaEvent,
    MediaTimedOut,
    PlayFinished,
    ProgressHeard,
    Prompts,
    RecordingStopped,
    StreamClosed,
    StreamLatched,
    StreamParams,
    Tone,
    WorkerDied,
    WorkerReplaced,
)
from softswitch.sim.loop import simulated
from softswitch.sim.media import SimMediaPlane


def make(**options: object) -> tuple[SimMediaPlane, list[MediaEvent]]:
    events: list[MediaEvent] = []
    return SimMediaPlane(on_event=events.append, **options), events  # type: ignore[arg-type]


def test_it_has_the_methods_of_the_real_client() -> None:
    for name, method in inspect.getmembers(MediaClient, inspect.isfunction):
        if name.startswith("_"):
            continue
        ours = getattr(SimMediaPlane, name)
        wanted, have = inspect.signature(method).parameters, inspect.signature(ours).parameters
        assert list(wanted) == list(have), name
        assert [p.kind for p in wanted.values()] == [p.kind for p in have.values()], name


@simulated()
async def test_streams_and_ports_come_and_go() -> None:
    plane, events = make(ports=(20_000, 20_005))
    streams = [plane.reserve(group=1, signalled_host=None) for _ in range(3)]
    assert [stream.port for stream in streams] == [20_000, 20_002, 20_004]
    with pytest.raises(NoCapacity):
        plane.reserve(group=1, signalled_host=None)
    plane.release(streams[1].stream_id)
    plane.release(streams[1].stream_id)
    assert plane.reserve(group=1, signalled_host=None).port == 20_002
    await asyncio.sleep(0)
    assert [type(event) for event in events] == [StreamClosed]
    await plane.stop()
    assert plane.snapshot() == {
        "workers": 1,
        "streams": 0,
        "bridges": 0,
        "recordings": 0,
        "plays": 0,
        "ports_used": 0,
    }


@simulated()
async def test_commands_for_a_stream_that_is_gone_are_mistakes() -> None:
    plane, _ = make()
    stream = plane.reserve(group=1, signalled_host=None).stream_id
    plane.configure(stream, StreamParams(None))
    plane.release(stream)
    for command in (
        lambda: plane.configure(stream, StreamParams(None)),
        lambda: plane.connect(stream, stream),
        lambda: plane.echo(stream, True),
        lambda: plane.play(stream, Tone("busy"), play_id=1),
        lambda: plane.send_digits(stream, "1"),
        lambda: plane.start_recording(1, left=stream, right=None, name="a.wav"),
    ):
        with pytest.raises(UnknownStream):
            command()
    assert len(plane.violations) == 6
    plane.stop_play(stream)
    plane.disconnect(stream, stream)
    plane.stop_recording(1)
    plane.leave_room(stream)
    assert len(plane.violations) == 6


@simulated()
async def test_bridges_have_two_ends() -> None:
    plane, _ = make(workers=2)
    a, b, c = (plane.reserve(group=7, signalled_host=None).stream_id for _ in range(3))
    plane.connect(a, b)
    plane.connect(b, c)
    assert plane.streams[a].bridged_to is None
    assert plane.streams[c].bridged_to == b
    assert plane.snapshot()["bridges"] == 1
    plane.disconnect(a, b)
    assert plane.snapshot()["bridges"] == 1
    plane.disconnect(b, c)
    assert plane.snapshot()["bridges"] == 0
    other = plane.reserve(group=8, signalled_host=None).stream_id
    plane.connect(a, other)
    assert len(plane.violations) == 1


@simulated()
async def test_supervisors_come_and_go() -> None:
    plane, _ = make(workers=2)
    agent, boss = (plane.reserve(group=7, signalled_host=None).stream_id for _ in range(2))
    plane.monitor(boss, agent, mode="whisper")
    assert plane.streams[boss].monitor == (agent, "whisper")
    plane.connect(boss, agent)
    assert plane.streams[boss].monitor is None
    plane.monitor(boss, agent)
    plane.stop_monitor(boss)
    plane.stop_monitor(boss)
    assert plane.streams[boss].monitor is None
    plane.monitor(boss, agent)
    plane.release(agent)
    assert plane.streams[boss].monitor is None
    with pytest.raises(NotSupported):
        plane.monitor(boss, boss, mode="shout")
    other = plane.reserve(group=8, signalled_host=None).stream_id
    plane.monitor(boss, other)
    assert len(plane.violations) == 1


@simulated()
async def test_prompts_in_a_row_take_the_time_of_all() -> None:
    plane, events = make(file_s=3.0)
    stream = plane.reserve(group=1, signalled_host=None).stream_id
    plane.play(stream, Prompts((File("a.wav"), File("b.wav"))), play_id=1, mix=True)
    await asyncio.sleep(5.9)
    assert events == []
    await asyncio.sleep(0.2)
    assert events == [PlayFinished(stream, 1, "end")]


@simulated()
async def test_files_end_and_tones_go_on() -> None:
    plane, events = make(file_s=3.0)
    stream = plane.reserve(group=1, signalled_host=None).stream_id
    plane.play(stream, File("hello.wav"), play_id=1)
    await asyncio.sleep(2.9)
    assert events == []
    await asyncio.sleep(0.2)
    assert events == [PlayFinished(stream, 1, "end")]
    plane.play(stream, Tone("ringback"), play_id=2, repeat=True)
    await asyncio.sleep(100)
    plane.play(stream, Tone("busy"), play_id=3)
    plane.stop_play(stream)
    plane.stop_play(stream)
    await asyncio.sleep(1)
    assert events[1:] == [PlayFinished(stream, 2, "replaced"), PlayFinished(stream, 3, "stopped")]


@simulated()
async def test_recordings_last_until_stopped_or_both_have_gone() -> None:
    plane, events = make()
    a, b = (plane.reserve(group=1, signalled_host=None).stream_id for _ in range(2))
    with pytest.raises(BadName):
        plane.start_recording(1, left=a, right=b, name="../a.wav")
    plane.start_recording(1, left=a, right=b, name="a.wav")
    plane.pause_recording(1)
    assert plane.recordings[1].paused
    plane.resume_recording(1)
    plane.resume_recording(2)
    assert not plane.recordings[1].paused
    await asyncio.sleep(10)
    plane.release(a)
    assert plane.snapshot()["recordings"] == 1
    plane.release(b)
    await asyncio.sleep(0)
    stopped = [event for event in events if isinstance(event, RecordingStopped)]
    assert stopped == [RecordingStopped(1, "recordings/a.wav", 80_000, "released")]


@simulated()
async def test_scenarios_make_things_happen() -> None:
    plane, events = make(workers=2)
    local = plane.reserve(group=3, signalled_host="10.0.0.9")
    assert plane.stream_at(local.port).local is local
    plane.press(local.stream_id, "1#")
    plane.hear(local.stream_id, "busy")
    plane.hear_progress(local.stream_id, "us")
    plane.hear(local.stream_id, "beep")
    plane.latch(local.stream_id, ("10.0.0.9", 4000))
    plane.fall_silent(local.stream_id)
    plane.kill_worker(local.worker, replaced_after_s=0.5)
    assert events == []  # never from inside a command
    await asyncio.sleep(1)
    assert events == [
        DigitReceived(local.stream_id, "1", 100),
        DigitReceived(local.stream_id, "#", 100),
        ProgressHeard(local.stream_id, "beep"),
        StreamLatched(local.stream_id, ("10.0.0.9", 4000)),
        MediaTimedOut(local.stream_id),
        WorkerDied(1, [local.stream_id], []),
        WorkerReplaced(1),
    ]
