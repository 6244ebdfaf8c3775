"""A linphone without a window (linphonec of Debian's linphone-cli), driven by its own commands; it plays a
file into its call and keeps what it hears in another."""

from __future__ import annotations

import contextlib
import subprocess
import time
from pathlib import Path

import pytest

from .audio import Samples, read_wav
from .ports import free_port, free_ports
from .process import WAIT_S, require, wait_until

CONFIG = """\
[sip]
contact=sip:{number}@127.0.0.1
sip_tcp_port={tcp_port}
sip_tls_port=-1
keepalive_period={keep_alive_ms}
default_proxy=0
guess_hostname=1
use_ipv6=0

[rtp]
audio_rtp_port={rtp_port}

[sound]
echocancellation=0
"""


class Linphone:
    """One registered phone process, that takes every call.

    Parameters: `number`/`password` of the extension, `domain` of the office; `server` = "host:port" of the
    switch; `plays` a WAV; `register` False to try without waiting for success; `transport` "udp" or "tcp";
    every `keep_alive_s` it says something that keeps its way in open.
    """

    def __init__(
        self,
        directory: Path,
        *,
        number: str,
        password: str,
        domain: str,
        server: str,
        plays: Path,
        register: bool = True,
        transport: str = "udp",
        keep_alive_s: float = 10.0,
    ) -> None:
        program = require("linphonec", "linphone-cli")
        if not _has_route():
            pytest.skip("linphone sends nothing where no route leads out of the machine")
        for place in (".local/share/linphone", ".config/linphone"):  # else it keeps no account
            (directory / place).mkdir(parents=True, exist_ok=True)
        self.number, self.server = number, server
        self.heard_path = directory / "heard.wav"
        self._log = directory / "linphonec.log"
        config = directory / "linphonerc"
        config.write_text(
            CONFIG.format(
                rtp_port=free_ports(4),
                number=number,
                tcp_port=free_port() if transport == "tcp" else -1,
                keep_alive_ms=round(1000 * keep_alive_s),
            )
        )
        command = [program, "-a", "-c", str(config)]
        with self._log.open("wb") as log:
            self.child = subprocess.Popen(
                command,
                cwd=directory,
                env={"HOME": str(directory), "PATH": "/usr/bin:/bin", "TERM": "dumb"},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        try:
            self.say("soundcard use files")
            self.say(f"record {self.heard_path}")
            self.say(f"play {plays}")
            if transport == "udp":  # it leaves no other transport than UDP
                self.say(f"ports sip {free_port()}")
                self.wait_for("Setting sip port")
            self.say(
                f"register sip:{number}@{domain} sip:{server};transport={transport} {password}"
            )
            if register:
                wait_until(self._registered, lambda: f"linphone to register:\n{self.log()[-1500:]}")
        except BaseException:
            self.close()
            raise

    def say(self, command: str) -> None:
        """Type a command."""
        assert self.child.stdin is not None
        self.child.stdin.write(command + "\n")
        self.child.stdin.flush()

    def _registered(self) -> bool:
        self.say("status register")
        time.sleep(0.2)
        return "registered, identity=" in self.log()

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def wait_for(self, text: str, *, times: int = 1, timeout_s: float = WAIT_S) -> None:
        """Wait until linphone has said `text` so many times."""
        wait_until(
            lambda: self.log().count(text) >= times,
            lambda: f"{text!r} from linphone:\n{self.log()[-1500:]}",
            timeout_s=timeout_s,
        )

    def dial(self, number: str) -> None:
        self.say(f"call sip:{number}@{self.server}")

    def hang_up(self) -> None:
        self.say("terminate all")

    def heard(self) -> Samples:
        """All that it has heard."""
        return read_wav(self.heard_path)[:, 0]

    def leave(self) -> None:
        """Let it end by itself: it takes its registration away."""
        self.say("quit")
        self.child.wait(WAIT_S)

    def close(self) -> None:
        """End it, and its registration with it."""
        if self.child.poll() is None:
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                self.say("quit")
                self.child.wait(2)
        if self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(5)
            except subprocess.TimeoutExpired:
                self.child.kill()
        self.child.wait()
        assert self.child.stdin is not None
        self.child.stdin.close()


def _has_route() -> bool:
    """Whether the machine has a default route (Linux)."""
    rows = [line.split() for line in Path("/proc/net/route").read_text().splitlines()[1:]]
    return any(row[1] == "00000000" for row in rows)
