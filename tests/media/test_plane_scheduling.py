"""What a worker asks of the scheduler; a machine may deny it, and then all goes on as ever."""

from __future__ import annotations

import os
import platform
import struct
import subprocess
import sys
from pathlib import Path

import pytest

import media

SAYS = """
import ctypes, os
from media.plane import scheduling
{before}
scheduling.take_precedence()
asked = scheduling.wake_at_once()
wish = ctypes.create_string_buffer(48)
ctypes.CDLL(None).syscall({number}, 0, wish, 48, 0)
print(os.getsid(0) == os.getpid(), os.getpriority(os.PRIO_PROCESS, 0), asked, wish.raw.hex())
"""
GET_ATTRIBUTES = {"x86_64": 315, "aarch64": 275}
NUMBER = GET_ATTRIBUTES.get(platform.machine(), 0)
LINUX = tuple(
    int(part) for part in platform.release().split("-")[0].split(".")[:2] if part.isdigit()
)

pytestmark = pytest.mark.skipif(
    platform.system() != "Linux" or not NUMBER, reason="sched_setattr of this machine is not known"
)


def said(before=""):
    root = Path(str(media.__file__)).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", SAYS.format(before=before, number=NUMBER)],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    leads, nice, asked, wish = done.stdout.split()
    _, policy, _, kept_nice, _, slice_ns, _, _ = struct.unpack("=IIQiIQQQ", bytes.fromhex(wish))
    return leads == "True", int(nice), asked == "True", (policy, kept_nice, slice_ns)


def test_a_worker_leads_a_session_and_is_woken_at_once():
    leads, nice, asked, (policy, kept_nice, slice_ns) = said()
    assert leads
    assert asked
    assert (policy, kept_nice) == (os.SCHED_OTHER, nice), "short slices change no rank"
    assert nice <= os.getpriority(os.PRIO_PROCESS, 0)
    if LINUX >= (6, 12):
        assert slice_ns == 100_000


def test_who_leads_a_session_or_has_no_rights_goes_on_as_ever():
    leads, _, asked, _ = said("os.setsid()")
    assert leads
    assert asked
    denied = (
        "def no(*_): raise PermissionError(1, 'no')\nos.nice = no\nscheduling.Path.write_text = no"
    )
    leads, nice, asked, _ = said(denied)
    assert leads
    assert asked
    assert nice == os.getpriority(os.PRIO_PROCESS, 0)
