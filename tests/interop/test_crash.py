"""kill -9 in the middle of a recorded call: what is left must be readable, told and counted."""

from __future__ import annotations

import os
import signal
import time
import wave
from collections.abc import Callable

import pytest

from tests.interop.peers.audio import RATE_HZ, assert_heard, read_wav
from tests.interop.peers.baresip import Baresip, settle
from tests.interop.peers.process import wait_until
from tests.interop.peers.server import Server

Serve = Callable[..., Server]
Phone = Callable[..., Baresip]


def recorded_call(server: Server, baresip: Phone, voices: dict) -> tuple[Baresip, Baresip, float]:
    """A call that lasts until both sentences have passed; the moment it was established."""
    callee = baresip(server, "1002", plays="callee")
    caller = baresip(server, "1001", plays="caller")
    caller.dial("1002")
    caller.wait_event("CALL_ESTABLISHED")
    callee.wait_event("CALL_ESTABLISHED")
    since_s = time.monotonic()
    for phone, other in ((caller, "callee"), (callee, "caller")):
        phone.wait_heard_bytes(2 * (len(voices[other].samples) + 2 * RATE_HZ), timeout_s=60)
    return caller, callee, since_s


def assert_recording(server: Server, voices: dict, lasted_s: float) -> None:
    """The one recording opens, holds both voices and misses at most its last second."""
    (path,) = server.recordings()
    with wave.open(str(path)) as file:  # a strict reader: the header tells the truth
        assert (file.getnchannels(), file.getframerate()) == (2, RATE_HZ)
        frames = file.getnframes()
        assert len(file.readframes(frames)) == frames * 2 * file.getsampwidth()
    recording = read_wav(path)
    assert len(recording) == frames
    assert frames / RATE_HZ >= lasted_s - 1.5, (frames / RATE_HZ, lasted_s)  # 0.5 s for the tests
    assert_heard(voices["caller"].samples, recording[:, 0], "left")
    assert_heard(voices["callee"].samples, recording[:, 1], "right")


def assert_next_call_works(server: Server, baresip: Phone, voices: dict) -> None:
    caller = baresip(server, "1003", plays="caller")
    caller.dial("*43")
    caller.wait_event("CALL_ESTABLISHED")
    caller.wait_heard_bytes(2 * (len(voices["caller"].samples) + 2 * RATE_HZ), timeout_s=60)
    caller.hang_up()
    caller.wait_event("CALL_CLOSED")
    assert_heard(voices["caller"].samples, caller.heard(), "the echo after the crash")


@pytest.mark.slow
def test_kill_of_a_media_worker(serve: Serve, baresip: Phone, voices: dict) -> None:
    server = serve(recording="all")
    caller, callee, since_s = recorded_call(server, baresip, voices)
    (worker,) = server.workers()
    os.kill(worker, signal.SIGKILL)
    lasted_s = time.monotonic() - since_s

    wait_until(lambda: [pid for pid in server.workers() if pid != worker], "another worker")
    settle([caller, callee], 0.2)
    open_calls = [p for p in (caller, callee) if not p.has_event("CALL_CLOSED")]
    if caller in open_calls:
        caller.hang_up()
    for phone in (caller, callee):
        phone.wait_event("CALL_CLOSED")
    server.wait_idle()
    assert_recording(server, voices, lasted_s)
    server.records(1)
    assert_next_call_works(server, baresip, voices)


@pytest.mark.slow
def test_kill_of_the_whole_switch(serve: Serve, baresip: Phone, voices: dict) -> None:
    server = serve(recording="all")
    caller, callee, since_s = recorded_call(server, baresip, voices)
    killed = server.kill()
    lasted_s = time.monotonic() - since_s
    # Row 44: the worker carries the sound on, and its recordings are whole.
    wait_until(lambda: len(killed.members()) == 1, "the spare worker to end")
    heard = [len(phone.heard()) for phone in (caller, callee)]
    for phone, octets in zip((caller, callee), heard, strict=True):
        phone.wait_heard_bytes(2 * (octets + RATE_HZ))
    assert_recording(server, voices, lasted_s)

    server.start()
    (orphan,) = server.status()["media"]["orphans"]
    assert [orphan["pid"]] == killed.members()
    (record,) = server.records(1)
    assert record.status == "lost", record
    assert f"call {record.call_id} from 1001 to 1002 was cut" in server.said(), server.said()
    assert_recording(server, voices, lasted_s)
    for phone in (caller, callee):
        phone.close()
    wait_until(lambda: not killed.members(), "the worker whose calls are over to end")
    assert_next_call_works(server, baresip, voices)
    server.records(2)
