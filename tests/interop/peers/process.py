"""Processes of the interop tests: started with a log, awaited by condition, ended by their id."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import pytest

T = TypeVar("T")

WAIT_S = 30.0  # generous: the machine may be loaded; a wait ends as soon as its condition holds
_FAMILY = "SOFTSWITCH_TEST_FAMILY"
"""The variable by which a process and all that it starts are known."""


def wait_until(
    condition: Callable[[], T], what: str | Callable[[], str], *, timeout_s: float = WAIT_S
) -> T:
    """Poll `condition` until it gives something true, and return that.

    Parameters: `what` names the awaited thing in the failure, or is called to describe it then.
    Raises AssertionError after `timeout_s` seconds.
    """
    deadline_s = time.monotonic() + timeout_s
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline_s:
            text = what() if callable(what) else what
            raise AssertionError(f"waited {timeout_s:.0f} s for {text}")
        time.sleep(0.02)


def require(command: str, package: str) -> str:
    """The path of an outside tool, or a skip that names it and the Debian package to install."""
    path = shutil.which(command)
    if path is None:
        pytest.skip(f"{command} is missing: apt-get install {package}")
    return path


class Process:
    """One child process in a session of its own, its output in a log file.

    Parameters: `command` as for exec; `directory` is its working directory and gets `NAME.log`.
    """

    def __init__(self, name: str, command: Sequence[str | Path], directory: Path) -> None:
        self.name = name
        self.command = [str(part) for part in command]
        self.directory = directory
        self.log_path = directory / f"{name}.log"
        self.family = uuid.uuid4().hex
        directory.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            self.child = subprocess.Popen(
                self.command,
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, _FAMILY: self.family},
            )

    @property
    def pid(self) -> int:
        return self.child.pid

    def running(self) -> bool:
        return self.child.poll() is None

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def wait_for_log(self, text: str, *, timeout_s: float = WAIT_S) -> None:
        """Wait until the log holds `text`; fails at once when the process ends before."""

        def seen() -> bool:
            if text in self.log():
                return True
            assert self.running(), f"{self.name} ended ({self.child.returncode}):\n{self.tail()}"
            return False

        wait_until(seen, lambda: f"{text!r} from {self.name}:\n{self.tail()}", timeout_s=timeout_s)

    def wait(self, *, timeout_s: float = WAIT_S) -> int:
        """Wait for the process to end by itself; its exit code."""
        try:
            return self.child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"{self.name} still runs after {timeout_s:.0f} s:\n{self.tail()}"
            ) from None

    def tail(self, lines: int = 25) -> str:
        return "\n".join(self.log().splitlines()[-lines:])

    def kill(self) -> None:
        """SIGKILL to this process alone, as the tests of crashes need it."""
        self.child.kill()
        self.child.wait()

    def stop(self, *, timeout_s: float = 10.0) -> int:
        """SIGTERM, then SIGKILL; then the same for whatever it left behind."""
        if self.running():
            self.child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.child.wait(timeout_s)
            if self.running():
                self.child.kill()
        code = self.child.wait()
        for pid in self.members():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return code

    def members(self) -> list[int]:
        """Ids of the living processes that it has started (Linux), itself included: those too that have
        outlived it, or lead a session of their own. They are known by their environment."""
        mark = f"{_FAMILY}={self.family}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
        return found


def resident_kib(pid: int) -> int:
    """Resident memory of a process in KiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0
