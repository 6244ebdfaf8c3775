"""A baresip (Debian's baresip-core) that plays a file into its call, keeps what it hears and is
driven over ctrl_tcp: netstrings of JSON, commands one way, responses and events the other."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import tempfile
import time
import weakref
from pathlib import Path
from typing import Any

from .audio import RATE_HZ, Samples, assert_heard, read_wav
from .ports import HOST, free_port, free_ports
from .process import WAIT_S, Process, require, wait_until

MODULES = "/usr/lib/baresip/modules"
CONSOLE = "cons"  # the module by which it shows the messages that it receives

CONFIG = """\
poll_method epoll
sip_listen {sip_host}:{sip_port}
audio_source aufile,{plays}
audio_srate 8000
audio_channels 1
ausrc_srate 8000
auplay_srate 8000
ausrc_channels 1
auplay_channels 1
audio_buffer 20-160
rtp_ports {rtp_port}-{rtp_last}
rtcp_mux no
jitter_buffer_delay 0-0
call_local_timeout 120
module_path {modules}
module g711.so
{codec_modules}module aufile.so
module sndfile.so
module_tmp account.so
{app_modules}module_app ctrl_tcp.so
module_app menu.so
ctrl_tcp_listen {host}:{control_port}
snd_path {heard}
{interface}"""


def _modules(codecs: str, srtp: bool) -> list[str]:
    names = [name for name in ("g722", "opus", "l16") if name in codecs.lower()]
    return [*names, "srtp"] if srtp else names


class Baresip:
    """One phone process with one account.

    Parameters: `number`/`password` of the extension, `server` = "host:port" of the switch,
    `plays` a 16-bit 8 kHz WAV, `answer` "auto" or "manual", `codecs` in order of preference,
    `register` None to try without waiting for success, False not at all: with `sip_port`, that of a trunk, it
    is a subscriber `number` of that carrier; with `srtp` it speaks nothing but SRTP with
    keys in SDP; with `loopback` its SDP names the address that it sends from, else that of the machine, as
    behind a NAT; a carrier's does with `behind_nat`. `host` is its own address, of either
    family. `modules` are further ones of baresip's ("mwi"), `account` further
    parameters of its account ("mwi=yes"), `contacts` the lines of its address book.
    """

    def __init__(
        self,
        directory: Path,
        *,
        number: str,
        password: str,
        server: str,
        plays: Path,
        answer: str = "auto",
        codecs: str = "PCMU/8000/1,PCMA/8000/1",
        register: bool | None = True,
        transport: str = "udp",
        srtp: bool = False,
        sip_port: int | None = None,
        loopback: bool = False,
        behind_nat: bool = False,
        host: str = HOST,
        modules: tuple[str, ...] = (),
        account: str = "",
        contacts: str = "",
    ) -> None:
        program = require("baresip", "baresip-core")
        self.number, self.server = number, server
        self.sip_port = free_port() if sip_port is None else sip_port
        self.control_port, self.rtp_port = free_port(), free_ports(20)
        self.console_port = free_port() if CONSOLE in modules else 0
        at = f"[{host}]" if ":" in host else host
        # It dumps at its first codec's rate: Opus at 48 kHz stereo, G.722 at 16 kHz.
        self.heard_scale = (
            12 if codecs.startswith("opus") else 2 if codecs.startswith("G722") else 1
        )
        # baresip cuts the names of its dumps at 128 octets, and a path of pytest's is long: a short one.
        self.heard_directory = Path(tempfile.mkdtemp(prefix="heard-"))
        weakref.finalize(self, shutil.rmtree, self.heard_directory, ignore_errors=True)
        directory.mkdir(parents=True, exist_ok=True)
        config = CONFIG.format(
            host=HOST,
            sip_host=at,
            sip_port=self.sip_port,
            plays=plays,
            rtp_port=self.rtp_port,
            rtp_last=self.rtp_port + 19,
            modules=MODULES,
            control_port=self.control_port,
            heard=self.heard_directory,
            interface="net_interface 127.0.0.1\n" if loopback else "",
            codec_modules="".join(f"module {name}.so\n" for name in _modules(codecs, srtp))
            + ("module uuid.so\n" if "outbound" in account else ""),
            app_modules="".join(f"module_app {name}.so\n" for name in modules),
        )
        interval_s = 0 if register is False else 60
        line = (
            f"<sip:{number}@{server};transport={transport}>;auth_user={number};auth_pass={password};"
            f"answermode={answer};audio_codecs={codecs};regint={interval_s};ptime=20"
            f"{';mediaenc=srtp-mand' if srtp else ''}{f';{account}' if account else ''}\n"
        )
        if CONSOLE in modules:
            config += f"cons_listen {HOST}:{self.console_port}\n"
        if at != host:
            config += f"net_interface {host}\n"
        elif sip_port is not None and not behind_nat:
            # A carrier is believed where its SDP says that its media is: here, and nowhere else.
            config += f"net_interface {HOST}\n"
        (directory / "config").write_text(config)
        (directory / "accounts").write_text(line)
        (directory / "contacts").write_text(contacts)
        self._console: socket.socket | None = None
        self._shown = b""
        self.events: list[dict[str, Any]] = []
        self._responses: list[dict[str, Any]] = []
        self._received = b""
        self._tokens = 0
        self.process = Process(
            f"baresip-{number}",
            [program, *(["-6"] if at != host else []), "-f", directory],
            directory,
        )
        try:
            self._control = wait_until(self._connect, lambda: f"ctrl_tcp:\n{self.process.tail()}")
            if CONSOLE in modules:
                self._console = socket.create_connection((HOST, self.console_port), timeout=5.0)
            if register:
                # by the log: the event may have come before the control connection did
                wait_until(
                    lambda: " 200 OK " in self.process.log(),
                    lambda: f"{number} to register:\n{self.process.tail()}",
                )
        except BaseException:
            self.close()
            raise

    def _connect(self) -> socket.socket | None:
        assert self.process.running(), f"baresip ended:\n{self.process.tail()}"
        try:
            return socket.create_connection((HOST, self.control_port), timeout=1.0)
        except OSError:
            return None

    def close(self) -> None:
        if hasattr(self, "_control"):
            self._control.close()
        if self._console is not None:
            self._console.close()
        self.process.stop()

    # -- control --------------------------------------------------------------------------------

    def _read(self) -> None:
        """Take in what has arrived, for at most 50 ms."""
        self._control.settimeout(0.05)
        try:
            data = self._control.recv(65536)
        except TimeoutError:
            return
        assert data, f"baresip closed its control connection:\n{self.process.tail()}"
        self._received += data
        while b":" in self._received:
            size, _, rest = self._received.partition(b":")
            if len(rest) < int(size) + 1:
                return
            message = json.loads(rest[: int(size)])
            self._received = rest[int(size) + 1 :]
            if message.get("event"):
                self.events.append(message)
            else:
                self._responses.append(message)

    def command(self, name: str, params: str = "") -> str:
        """Give a command of baresip's menu and return what it printed."""
        self._tokens += 1
        token = f"t{self._tokens}"
        body = json.dumps({"command": name, "params": params, "token": token}).encode()
        self._control.sendall(b"%d:%s," % (len(body), body))

        def response() -> dict[str, Any] | None:
            self._read()
            return next((r for r in self._responses if r.get("token") == token), None)

        answer = wait_until(response, f"the response of {self.number} to {name}")
        assert answer["ok"], f"{name}: {answer}"
        return str(answer["data"])

    def mark(self) -> int:
        """A position in the event list; pass it to `wait_event` to ignore what happened before. What happened
        and has not been read yet comes before the answer to a command."""
        self.command("listcalls")
        return len(self.events)

    def wait_event(
        self, kind: str, *, since: int = 0, timeout_s: float = WAIT_S, param: str = ""
    ) -> dict[str, Any]:
        """Wait for an event of baresip, e.g. REGISTER_OK, CALL_INCOMING, CALL_ESTABLISHED,
        CALL_CLOSED, whose parameter contains `param`."""

        def seen() -> dict[str, Any] | None:
            self._read()
            for event in self.events[since:]:
                if event["type"] == kind and param in str(event.get("param", "")):
                    return event
            return None

        return wait_until(
            seen,
            lambda: (
                f"{kind} at {self.number}; events {[e['type'] for e in self.events[since:]]}\n"
                + self.process.tail()
            ),
            timeout_s=timeout_s,
        )

    def has_event(self, kind: str, *, since: int = 0) -> bool:
        """Whether such an event has arrived by now."""
        return self.count_events(kind, since=since) > 0

    def count_events(self, kind: str, *, since: int = 0) -> int:
        """How many have."""
        self._read()
        return sum(event["type"] == kind for event in self.events[since:])

    def dial(self, target: str) -> None:
        uri = target if target.startswith("sip:") else f"sip:{target}@{self.server}"
        self.command("dial", uri)

    def accept(self) -> None:
        self.command("accept")

    def hang_up(self) -> None:
        self.command("hangup")

    def press(self, keys: str) -> None:
        """Press keys as telephone events, each for long enough to be one."""
        for key in keys:
            self.command("sndcode", key)
            settle([self], 0.25)

    def sees(self, text: str) -> bool:
        """Whether the address book, with the presence of those in it, says so by now."""
        return text in self.command("contacts")

    def wait_message(self, text: str) -> str:
        """Wait until it has shown a MESSAGE with this text on its console; the whole line."""
        assert self._console is not None, "with modules=(..., CONSOLE)"
        console = self._console
        console.settimeout(0.05)

        def shown() -> str | None:
            with contextlib.suppress(TimeoutError):
                self._shown += console.recv(65536)
            lines = self._shown.decode(errors="replace").splitlines()
            return next((line for line in lines if text in line), None)

        return wait_until(shown, lambda: f"{text!r} at {self.number}: {self._shown!r}")

    # -- what it hears --------------------------------------------------------------------------

    def heard(self, which: int = -1) -> Samples:
        """All that this phone decoded in its latest call (-2: the one before); call it after its end."""
        files = sorted(self.heard_directory.glob("*-dec.wav"))
        assert files, f"{self.number} kept no audio:\n{self.process.tail()}"
        return read_wav(files[which])[:, 0]

    def wait_heard_bytes(self, count: int, *, timeout_s: float = WAIT_S) -> None:
        """Wait until so many bytes of received audio are on the disk (16,000 a second)."""

        def enough() -> bool:
            self._read()
            files = sorted(self.heard_directory.glob("*-dec.wav"))
            return bool(files) and files[-1].stat().st_size >= count

        wait_until(enough, f"{count} bytes of audio at {self.number}", timeout_s=timeout_s)


def settle(phones: list[Baresip], seconds: float) -> None:
    """Let a call last while the phones' control connections are being read."""
    deadline_s = time.monotonic() + seconds
    while time.monotonic() < deadline_s:
        for phone in phones:
            phone._read()


def talk_until_heard(caller: Baresip, callee: Baresip, voices: dict) -> None:
    """Let both sentences pass, with a second to spare."""
    for phone, other in ((caller, "callee"), (callee, "caller")):
        spoken = len(voices[other].samples) + int(1.5 * RATE_HZ)
        phone.wait_heard_bytes(2 * spoken * phone.heard_scale, timeout_s=60)


def assert_both_heard(caller: Baresip, callee: Baresip, voices: dict) -> None:
    for voice, listener in (("caller", callee), ("callee", caller)):
        what = f"the {voice}'s voice at the other end"
        assert_heard(voices[voice].samples, listener.heard(), what)


def talk(caller: Baresip, callee: Baresip, voices: dict) -> None:
    """A call from one to the other, who takes it by himself, until all should have been heard."""
    caller.dial(callee.number)
    caller.wait_event("CALL_ESTABLISHED")
    talk_until_heard(caller, callee, voices)
    callee.hang_up()
    caller.wait_event("CALL_CLOSED")


def talk_and_hear(caller: Baresip, callee: Baresip, voices: dict) -> None:
    """The same; each has heard the other when it is over."""
    talk(caller, callee, voices)
    assert_both_heard(caller, callee, voices)


def call_back(caller: Baresip, callee: Baresip) -> None:
    """A further call, the other way, that is answered and hung up."""
    since = caller.mark()
    caller.dial(callee.number)
    caller.wait_event("CALL_ESTABLISHED", since=since)
    caller.hang_up()
    caller.wait_event("CALL_CLOSED", since=since)
