"""Being woken in time: what a worker asks of the scheduler of Linux. All of it is a wish; nothing is an error.

Sound that waits for another program's turn is late: without these, on a core that others want as well, a
wake-up comes a tick of the scheduler (4 ms) late and more. ADR 0036 has what each was measured to do.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import struct
from pathlib import Path

NICE = -10
"""The rank that a worker asks for."""

_SLICE_NS = 100_000
"""The least there is."""
_SET_ATTRIBUTES = {"x86_64": 314, "aarch64": 274}
"""sched_setattr(2), for which libc has no function, by machine."""
_ATTRIBUTES = struct.Struct("=IIQiIQQQ")
"""Size, policy, flags, nice, priority, runtime, deadline, period."""


def take_precedence() -> None:
    """Rank this process above others: signalling can wait a moment, sound cannot. It becomes the leader of a
    session of its own: where the kernel gives each session a fair share (sched(7), autogroup), a process's
    rank counts within its session only, and the session's must be raised as well."""
    with contextlib.suppress(OSError):  # it leads one already
        os.setsid()
    with contextlib.suppress(OSError):  # no such thing here, or no right to it
        Path("/proc/self/autogroup").write_text(str(NICE))
    with contextlib.suppress(OSError):
        os.nice(NICE)


def wake_at_once() -> bool:
    """Let the calling thread take the core from whoever has it as soon as it wakes up: by asking for short
    slices (Linux 6.12 and newer), which takes no right and no share from anybody. False if it cannot be."""
    number = _SET_ATTRIBUTES.get(platform.machine())
    if platform.system() != "Linux" or number is None:
        return False
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    wish = _ATTRIBUTES.pack(_ATTRIBUTES.size, os.SCHED_OTHER, 0, nice, 0, _SLICE_NS, 0, 0)
    return int(ctypes.CDLL(None).syscall(number, 0, ctypes.c_char_p(wish), 0)) == 0
