"""A switch of our own to try the lab on: `softswitch serve` on a made-up office, on loopback."""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
import sys
import tempfile
from pathlib import Path
from typing import Self, get_args

import msgspec

from softswitch.errors import SoftswitchError
from softswitch.load.plan import Plan
from softswitch.ports import free_port
from softswitch.sim.real_network import SipOver

_READY_S = 60.0
_STARTS = 3
_TAKEN = os.strerror(errno.EADDRINUSE)
_SETTLE_S = 8.0
_SETTLE_STEP_S = 0.5
_DOMAIN = "load.example"
_DIAL = {
    "uac": "*43",
    "uac-uas": "9{process2}{call}",
    "conference": "8000",
    "ivr": "7000",
    "queue": "5000",
    "transfer": "",
}
_SERVER, _CALLER, _CALLED = "127.0.0.1", "127.0.0.2", "127.0.0.3"
FIRST_EXTENSION, FIRST_AGENT = 1001, 2001
_PARTIES, AGENTS = 1, 10

_OFFICE = """\
[office]
name = "Load lab"
domain = "load.example"

[sip]
listen = [{listen}]

[media]
address = "{server}"
ports = "{low}-{high}"
workers = 1

[http]
listen = "{server}:{http}"

[storage]
directory = "var"

[recording]
calls = "none"

[[trunk]]
name = "gen"
uri = "sip:{caller}:5999"
from_addresses = ["{caller}"]
max_calls = 10000
max_calls_per_s = 10000
health_check_s = 0

[[conference]]
number = "8000"
max_participants = 1000

[[ivr]]
name = "main"
number = "7000"
options = {{ "1" = "extension:{party}" }}
otherwise = "hangup"

[[queue]]
name = "support"
number = "5000"
route = ["priority", "longest-idle"]
ring_s = 10
wrap_up_s = 1
max_waiting = 1000

[[outbound]]
prefix = "9"
permission = "internal"
trunks = ["sink00"]

[[inbound]]
from = "sink00"
number = "{first}"
to = "extension:{first}"

[[inbound]]
from = "gen"
number = "8000"
to = "conference:8000"

[[inbound]]
from = "gen"
number = "7000"
to = "ivr:main"

[[inbound]]
from = "gen"
number = "5000"
to = "queue:support"
"""
_SINK = """
[[trunk]]
name = "sink{index:02d}"
uri = "sip:{called}:{port}"
from_addresses = ["{called}:{port}"]
max_calls = 10000
max_calls_per_s = 10000
health_check_s = 0

[[inbound]]
from = "gen"
number = "9{index:02d}*"
to = "trunk:sink{index:02d}"
"""
_AGENT = """
[[agent]]
id = "agent{number}"
extension = "{number}"
password = "{password}"
queues = ["support"]
"""
_EXTENSION = """
[[extension]]
number = "{number}"
password = "{password}"
"""


class DemoSwitch:
    """The switch of a demonstration, as an async context manager; `adapt` fits a plan to it."""

    def __init__(self, processes: int, extensions: int = 60) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="softswitch-load-")
        self._password = secrets.token_hex(8)
        self._extensions = extensions
        self._processes = processes
        self._process: asyncio.subprocess.Process | None = None
        self._file = Path(self._folder.name) / "office.toml"
        self.ports: dict[str, int] = {}
        """Where it listens, by transport, once it has started."""

    def _write_office(self) -> None:
        """An office on ports that are free now."""
        self.ports = {transport: free_port(_SERVER) for transport in get_args(SipOver)}
        self._sinks = [free_port(_CALLED) for _ in range(self._processes)]
        low = 20_000 + 2 * secrets.randbelow(4_000)  # below the ports that systems give out
        text = _OFFICE.format(
            server=_SERVER,
            caller=_CALLER,
            listen=", ".join(f'"{name}://{_SERVER}:{port}"' for name, port in self.ports.items()),
            http=free_port(_SERVER),
            low=low,
            high=low + 3999,
            party=FIRST_AGENT,
            first=FIRST_EXTENSION,
        )
        for index, port in enumerate(self._sinks):
            text += _SINK.format(index=index, called=_CALLED, port=port)
        for number in range(self._extensions):
            text += _EXTENSION.format(number=FIRST_EXTENSION + number, password=self._password)
        for number in range(_PARTIES + AGENTS):
            text += _EXTENSION.format(number=FIRST_AGENT + number, password=self._password)
        for number in range(_PARTIES, _PARTIES + AGENTS):
            text += _AGENT.format(number=FIRST_AGENT + number, password=self._password)
        self._file.write_text(text)

    async def __aenter__(self) -> Self:
        """Start it. Raises `SoftswitchError` with its last words when it does not come up."""
        for attempt in range(1, _STARTS + 1):
            self._write_office()
            words = await self._start()
            if words is None:
                break
            # A port that was free is a media stream's of somebody else by now: others are tried.
            if _TAKEN not in words or attempt == _STARTS:
                await self.__aexit__()
                raise SoftswitchError(f"the switch does not start: {words}")
            await self._stop()
        await self._settled()
        return self

    async def _start(self) -> str | None:
        """Start the process; its last words when it is not ready in time."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,  # the command itself may be elsewhere (pip install --user)
            "-c",
            "from softswitch.cli.main import run; run()",
            "serve",
            str(self._file),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=self._folder.name,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        said = b""
        try:
            async with asyncio.timeout(_READY_S):
                while b"ready on" not in said:
                    line = await self._process.stdout.readline()
                    said += line
                    if not line:
                        break
        except TimeoutError:
            pass
        if b"ready on" not in said:
            words = said.decode(errors="replace").strip().splitlines()
            return (words or ["no word"])[-1]
        self._drain = asyncio.create_task(self._process.stdout.read())
        return None

    async def _settled(self) -> None:
        """Wait until what it loads in the background is loaded, so that this is not measured."""
        before = cpu_ticks(self.pids)
        for _ in range(int(_SETTLE_S / _SETTLE_STEP_S)):
            await asyncio.sleep(_SETTLE_STEP_S)
            now = cpu_ticks(self.pids)
            if now - before <= _SETTLE_STEP_S * 10:  # a tenth of a core, at 100 ticks a second
                return
            before = now

    async def __aexit__(self, *_exc: object) -> None:
        await self._stop()
        self._folder.cleanup()

    async def _stop(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(20.0):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens for UDP."""
        return (_SERVER, self.ports["udp"])

    @property
    def certificate(self) -> Path:
        """What it shows over TLS, to be trusted."""
        return Path(self._folder.name) / "var" / "tls" / "certificate.pem"

    @property
    def carrier(self) -> tuple[str, int]:
        """Where the switch believes a carrier to be: calls to 9... go there, calls to the first extension
        may come from there."""
        return (_CALLED, self._sinks[0])

    @property
    def domain(self) -> str:
        """The domain of its telephones."""
        return _DOMAIN

    @property
    def password(self) -> str:
        """Of all its telephones."""
        return self._password

    @property
    def pids(self) -> list[int]:
        """The switch and its media workers, as far as the system tells."""
        assert self._process is not None
        return [self._process.pid, *_children(self._process.pid)]

    def adapt(self, plan: Plan) -> Plan:
        """`plan` against this switch."""
        accounts = [(str(FIRST_EXTENSION + n), self._password) for n in range(self._extensions)]
        phones = [(str(FIRST_AGENT + n), self._password) for n in range(_PARTIES + AGENTS)]
        changes: dict[str, object] = {
            "target": self.address,
            "domain": _DOMAIN,
            "pids": self.pids,
        }
        through = {
            "host": _CALLER,
            "callee_host": _CALLED,
            "phone_host": _SERVER,
            "callee_ports": self._sinks,
            "callers": plan.callers or [("load", None)],
        }
        half = len(accounts) // 2
        dial = _DIAL.get(plan.scenario, _DIAL["uac-uas"])
        match plan.scenario:
            case "uac" | "register":
                changes |= {"callers": accounts}
            case "transfer":
                changes |= {
                    "callers": accounts[:half],
                    "callees": accounts[half:],
                    "register": True,
                }
            case "queue":
                changes |= {**through, "callees": phones[_PARTIES:], "register": True}
            case "mixed":
                dials = {f"dial_{name.replace('-', '_')}": text for name, text in _DIAL.items()}
                options = {**dials, "login": "*22", **plan.options}
                changes |= {**through, "callees": phones, "register": True, "options": options}
            case "uac-uas" | "conference" | "flood":
                changes |= through
            case _:  # a menu, or a scenario of somebody's own, who may want to press 1 in it
                changes |= {**through, "callees": phones[:_PARTIES], "register": True}
        changes["dial"] = plan.dial or dial
        return msgspec.structs.replace(plan, **changes)


def cpu_ticks(pids: list[int]) -> int:
    """CPU time of processes so far, in the system's ticks (proc_pid_stat(5)); 0 where there is no /proc."""
    total = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += int(fields[11]) + int(fields[12])
    return total


def _children(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.append(int(entry.name))
    return found
