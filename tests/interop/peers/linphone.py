"""A linphone without a window (linphonec of Debian's linphone-cli), driven by its own commands; it plays a
file into its call and keeps what it hears in another."""

from __future__ import annotations

import subprocess
from pathlib import Path

from .audio import Samples, read_wav
from .ports import HOST, free_port, free_ports
from .process import WAIT_S, require, wait_until

CONFIG = """\
[sip]
sip_port={sip_port}
sip_tcp_port=0
sip_tls_port=0
default_proxy=0
guess_hostname=0
use_ipv6=0

[rtp]
audio_rtp_port={rtp_port}

[net]
nat_policy_ref=

[proxy_0]
reg_proxy=<sip:{server}>
reg_identity=sip:{number}@interop.example
reg_expires=60
reg_sendregister=1
publish=0

[auth_info_0]
username={number}
userid={number}
passwd={password}
realm={realm}

[sound]
echocancellation=0
"""


class Linphone:
    """One phone process, registered before it is to be used.

    Parameters: `number`/`password` of the extension, `realm` of the challenge; `server` = "host:port" of
    the switch; `plays` a WAV; with `answers` it takes every call.
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
        answers: bool = False,
    ) -> None:
        program = require("linphonec", "linphone-cli")
        directory.mkdir(parents=True, exist_ok=True)
        self.number, self.server = number, server
        self.heard_path = directory / "heard.wav"
        self._log = directory / "linphonec.log"
        config = directory / "linphonerc"
        config.write_text(
            CONFIG.format(
                host=HOST,
                sip_port=free_port(),
                rtp_port=free_ports(4),
                number=number,
                password=password,
                realm=realm,
                server=server,
            )
        )
        command = [program, "-c", str(config), *(["-a"] if answers else [])]
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
            self.wait_for("Registration on <sip:")
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
