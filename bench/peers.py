"""Other people's servers as targets of the load lab, started by us on loopback and stopped by their id."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

import msgspec

from softswitch.load.demo import DemoSwitch
from softswitch.load.plan import Plan
from softswitch.ports import free_port

HOST = "127.0.0.1"
_READY_S = 20.0
_END_S = 3.0

KAMAILIO = """\
#!KAMAILIO
debug=1
log_stderror=yes
fork=yes
children={children}
auto_aliases=no
listen={transport}:{host}:{port}
{streams}
mpath="{modules}"
loadmodule "tm.so"
loadmodule "tmx.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "kex.so"
loadmodule "ctl.so"
{tls}
modparam("ctl", "binrpc", "unix:{folder}/ctl")
request_route {{
    if (is_method("CANCEL")) {{ if (t_check_trans()) {{ t_relay(); }} exit; }}
    if (has_totag()) {{
        if (loose_route()) {{ t_relay(); exit; }}
        # SIPp's answering side returns no Record-Route: its calls go where their target says.
        if (!(uri == myself)) {{ t_relay(); exit; }}
        if (is_method("ACK")) {{ if (t_check_trans()) {{ t_relay(); }} exit; }}
        sl_send_reply("481", "Call Does Not Exist");
        exit;
    }}
    if (is_method("OPTIONS")) {{ sl_send_reply("200", "OK"); exit; }}
    if (!is_method("INVITE")) {{ sl_send_reply("405", "Method Not Allowed"); exit; }}
    record_route();
{routes}
    t_relay();
}}
"""


class Pem(Protocol):
    """Files of a certificate and its key."""

    @property
    def certificate(self) -> Path:
        """PEM, with its chain."""

    @property
    def key(self) -> Path:
        """PEM."""


def missing(*programs: str) -> str:
    """The first of `programs` that is not installed, "" if all are."""
    return next((name for name in programs if shutil.which(name) is None), "")


def family(pid: int) -> list[int]:
    """A process and its descendants."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [pid]
    for one in found:
        found += parents.get(one, [])
    return found


def _modules(one: str) -> Path:
    """Where a program's modules are, by one of them."""
    return next(Path("/usr/lib").glob(f"**/{one}")).parent


class _Server:
    """A program on a port of its own, with a folder, on `core` alone if one is given; it is ended by its
    id."""

    def __init__(self, core: int | None = None) -> None:
        self.port = free_port()
        self._pinned = () if core is None else ("taskset", "-c", str(core))
        self._folder = Path(tempfile.mkdtemp(prefix="load-peer-"))
        self._process: asyncio.subprocess.Process | None = None

    async def _start(self, *command: str) -> None:
        with (self._folder / "log").open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._pinned,
                *command,
                cwd=self._folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )

    async def __aexit__(self, *_exc: object) -> None:
        process = self._process
        if process is not None and process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(_END_S):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def pids(self) -> list[int]:
        """The program and what it has started."""
        assert self._process is not None
        return family(self._process.pid)


class Kamailio(_Server):
    """Kamailio as a stateful proxy without media: calls to `9PP...` go to the callees of process PP; with
    `certificate` (and its key) over TLS both ways."""

    name = "Kamailio (proxy, sound goes past it)"

    def __init__(
        self,
        processes: int,
        core: int | None = None,
        children: int = 2,
        certificate: Pem | None = None,
    ) -> None:
        # Two children may overtake each other: a BYE at once after its ACK may then come before it.
        super().__init__(core)
        self._certificate = certificate
        self._transport = "udp" if certificate is None else "tls"
        self._children = children
        self.callee_ports = [free_port() for _ in range(processes)]

    async def __aenter__(self) -> Kamailio:
        modules = _modules("kamailio/modules/tm.so")
        routes = "\n".join(
            f'    if ($rU =~ "^9{index:02d}") {{ $du = "sip:{HOST}:{port};transport={self._transport}"; }}'
            for index, port in enumerate(self.callee_ports)
        )
        file = self._folder / "kamailio.cfg"
        file.write_text(
            KAMAILIO.format(
                host=HOST,
                port=self.port,
                modules=modules,
                folder=self._folder,
                routes=routes,
                children=self._children,
                transport=self._transport,
                streams=self._streams(),
                tls=self._tls(),
            )
        )
        folder = str(self._folder)
        await self._start("kamailio", "-DD", "-f", str(file), "-Y", folder, "-m", "128", "-M", "16")
        for _ in range(int(_READY_S * 10)):
            if (self._folder / "ctl").exists():
                await asyncio.sleep(0.5)
                return self
            await asyncio.sleep(0.1)
        raise RuntimeError((self._folder / "log").read_text()[-400:])

    def _streams(self) -> str:
        return "disable_tcp=yes" if self._certificate is None else "enable_tls=yes\ntcp_children=1"

    def _tls(self) -> str:
        files = self._certificate
        if files is None:
            return ""
        settings = {
            "tls_method": "TLSv1.2+",
            "certificate": files.certificate,
            "private_key": files.key,
        }
        lines = [f'modparam("tls", "{name}", "{value}")' for name, value in settings.items()]
        return "\n".join(['loadmodule "tls.so"', *lines])

    def adapt(self, plan: Plan) -> Plan:
        return msgspec.structs.replace(
            plan,
            target=(HOST, self.port),
            transport=self._transport,
            callee_ports=self.callee_ports,
            dial="9{process2}{call}",
            pids=self.pids,
        )

    async def statistics(self) -> dict[str, int]:
        """What Kamailio has counted (kex: stats.get_statistics all)."""
        process = await asyncio.create_subprocess_exec(
            "kamcmd", "-s", f"unix:{self._folder}/ctl", "stats.get_statistics", "all",
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        said, _ = await process.communicate()
        found = re.findall(r"(\w+:\w+) = ([0-9]+)", said.decode())
        return {key: int(value) for key, value in found}


class SippUas(_Server):
    """SIPp's own answering side."""

    name = "SIPp UAS"

    async def __aenter__(self) -> SippUas:
        await self._start(
            "sipp", "-sn", "uas", "-i", HOST, "-p", str(self.port), "-nostdin", "-trace_stat",
            "-fd", "1", "-rtp_echo", "-mi", HOST, "-mp", str(free_port(count=4)),
        )  # fmt: skip
        await asyncio.sleep(1.0)
        return self

    def adapt(self, plan: Plan, *, media: bool = False) -> Plan:
        """`plan` against it; with `media` it echoes what it hears."""
        return msgspec.structs.replace(
            plan,
            scenario="uac",
            target=(HOST, self.port),
            dial="service",
            media=media,
            pids=self.pids,
        )

    async def statistics(self) -> dict[str, int]:
        """The last line of SIPp's statistics file: its counters by their names, when all of its calls are
        over: it waits for four seconds after each BYE."""
        for _ in range(10):
            await asyncio.sleep(1.0)
            found = self._counters()
            if found["SuccessfulCall(C)"] + found["FailedCall(C)"] == found["IncomingCall(C)"]:
                break
        return found

    def _counters(self) -> dict[str, int]:
        (file,) = self._folder.glob("*_.csv")
        head, *_, last = [line.split(";") for line in file.read_text().splitlines() if line]
        return {
            name: int(value)
            for name, value in zip(head, last, strict=False)
            if name.endswith("(C)") and value.isdecimal()
        }


BARESIP = """\
poll_method epoll
sip_listen {host}:{port}
net_interface {host}
call_max_calls 1000
audio_source aufile,{folder}/tone.wav
audio_player aubridge,nil
audio_srate 8000
audio_channels 1
ausrc_srate 8000
ausrc_channels 1
auplay_srate 8000
auplay_channels 1
rtp_ports 20000-29999
module_path {modules}
module g711.so
module aufile.so
module aubridge.so
module_app account.so
module_app menu.so
"""


class Baresip(_Server):
    """baresip as an answering machine for as many calls as come: `answermode=auto` answers, but only
    `call_max_calls` at once (4 by default, then 486), and only where there is a player; `aubridge` is one
    that needs no sound card. It plays a tone; what is not ours is not looked at."""

    name = "baresip, answering by itself"

    async def __aenter__(self) -> Baresip:
        modules = _modules("baresip/modules/menu.so")
        tone = self._folder / "tone.wav"
        sine = ("-n", "-r", "8000", "-c", "1", "-b", "16", str(tone), "synth", "120", "sine", "440")
        sox = await asyncio.create_subprocess_exec("sox", *sine)
        await sox.wait()
        where = {"host": HOST, "port": self.port, "folder": self._folder, "modules": modules}
        (self._folder / "config").write_text(BARESIP.format(**where))
        account = f"<sip:100@{HOST}:{self.port}>;regint=0;answermode=auto;audio_codecs=PCMA/8000/1;ptime=20"
        (self._folder / "accounts").write_text(account + "\n")
        (self._folder / "contacts").write_text("")
        await self._start("baresip", "-f", str(self._folder))
        await asyncio.sleep(1.5)
        return self

    def adapt(self, plan: Plan) -> Plan:
        return msgspec.structs.replace(
            plan,
            scenario="uac",
            target=(HOST, self.port),
            dial="100",
            codecs=("PCMA",),
            pids=self.pids,
        )


class Ours:
    """This project, as `softswitch load` starts it."""

    name = "Softswitch"

    def __init__(self, processes: int, extensions: int = 60) -> None:
        self._switch = DemoSwitch(processes, extensions)

    async def __aenter__(self) -> Ours:
        await self._switch.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._switch.__aexit__(*exc)

    def adapt(self, plan: Plan) -> Plan:
        return self._switch.adapt(plan)


Peer = Kamailio | SippUas | Baresip | Ours


@asynccontextmanager
async def peer(name: str, processes: int) -> AsyncIterator[Peer]:
    """A target by its name: softswitch, kamailio, baresip or sipp."""
    made: Peer
    match name:
        case "kamailio":
            made = Kamailio(processes)
        case "sipp":
            made = SippUas()
        case "baresip":
            made = Baresip()
        case _:
            made = Ours(processes, extensions=200)
    async with made as running:
        yield running
