"""A linphone without a window (linphonec of Debian's linphone-cli), driven by its own commands; it plays a
file into its call and keeps what it hears in another."""

from __future__ import annotations

import subprocess
from pathlib import Path

from .audio import Samples, read_wav
from .ports import free_port, free_ports
from .process import WAIT_S, require, wait_until

CONFIG = """\
[sip]
contact=sip:{number}@127.0.0.1
sip_tcp_port=-1
sip_tls_port=-1
default_proxy=0
guess_hostname=1
use_ipv6=0
auto_net_state_mon=0

[rtp]
audio_rtp_port={rtp_port}


[auth_info_0]
username={number}
userid={number}
passwd={password}
realm={realm}

[sound]
echocancellation=0
"""


class Linphone:
    """One phone process. It does not register: without a sound card and a default route this build never
    does; its calls answer the challenge all the same.

    Parameters: `number`/`password` of the extension, `realm` of the challenge; `server` = "host:port" of
    the switch; `plays` a WAV.
    """

    def __init__(
        self,
        directory: Path,
        *,
        number: str,
        password: str,
        realm: str,
        server: str,
        plays: Path,
    ) -> None:
        program = require("linphonec", "linphone-cli")
        directory.mkdir(parents=True, exist_ok=True)
        self.number, self.server = number, server
        self.heard_path = directory / "heard.wav"
        self._log = directory / "linphonec.log"
        config = directory / "linphonerc"
        config.write_text(
            CONFIG.format(
                rtp_port=free_ports(4),
                number=number,
                password=password,
                realm=realm,
            )
        )
        command = [program, "-c", str(config)]
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
            self.say(f"ports sip {free_port()}")  # what the file says of it is not listened to
            self.wait_for("Setting sip port")
        except BaseException:
            self.close()
            raise

    def say(self, command: str) -> None:
        """Type a command."""
        assert self.child.stdin is not None
        self.child.stdin.write(command + "\n")
        self.child.stdin.flush()

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

    def close(self) -> None:
        if self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(5)
            except subprocess.TimeoutExpired:
                self.child.kill()
        self.child.wait()
        assert self.child.stdin is not None
        self.child.stdin.close()
