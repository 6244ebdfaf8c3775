"""For how long a thread was ready to run and had no core: what a delay owes to other programs."""

from __future__ import annotations

import os
import threading


def waited_s(thread: int | None = None) -> float:
    """Of the kernel's thread `thread` (a process id is its first thread; None: this one) since it began; 0
    where the system does not tell (not Linux)."""
    process = "self" if thread is None else thread
    try:
        with open(f"/proc/{process}/task/{thread or threading.get_native_id()}/schedstat") as file:
            return int(file.read().split()[1]) / 1e9
    except OSError:
        return 0.0


def stolen_s() -> float:
    """For how long the machine's cores were taken away by whatever it runs on, since it began; 0 where that is
    not told."""
    try:
        with open("/proc/stat") as file:
            return int(file.readline().split()[8]) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError):
        return 0.0
