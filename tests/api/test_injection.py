"""Row 19: 23 strings from five places of a SIP message, through the exchange, into eight sinks.

Whatever is executed, forged or written elsewhere in any sink is counted; the figure of the row is that count.
Each detector is shown to detect first.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
import logging
import re
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from softswitch.load.html import report
from softswitch.load.result import Result
from softswitch.logs import set_up
from softswitch.store.sheet import Sheet, to_csv
from tests.injection import STRINGS

SOURCES = ("name", "user", "user agent", "call id", "authentication user")
_LINE = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z (DEBUG|INFO|WARNING|ERROR|CRITICAL) [\w.]+: ")
_SYSLOG = re.compile(r"<\d+>1 \d{4}-\d\d-\d\dT[\d:.]+Z \S+ softswitch \d+ - - [\w.]+: ")


def invite(source: str, text: str, number: int, port: int) -> bytes:
    """A call of the carrier's that carries `text`, quoted or escaped where the grammar has a way."""
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    name = f'"{quoted}" ' if source == "name" else ""
    user = quote(text, safe="") if source == "user" else f"+861390000{number:04}"
    lines = [
        "INVITE sip:1001@127.0.0.1 SIP/2.0",
        f"Via: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK{number}",
        "Max-Forwards: 70",
        f"From: {name}<sip:{user}@carrier.example>;tag=t{number}",
        "To: <sip:1001@127.0.0.1>",
        f"Call-ID: {text if source == 'call id' else f'plain-{number}'}",
        "CSeq: 1 INVITE",
        f"Contact: <sip:c@127.0.0.1:{port}>",
    ]
    if source == "user agent":
        lines.append(f"User-Agent: {text}")
    if source == "authentication user":
        digest = f'realm="x", nonce="n", uri="sip:x", response="{"0" * 32}"'
        lines.append(f'Authorization: Digest username="{quoted}", {digest}')
    return "\r\n".join([*lines, "Content-Length: 0", "", ""]).encode()


async def answered(carrier: socket.socket, number: int) -> int:
    """The final answer to an INVITE; it is acknowledged."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(5):
        while True:
            data, address = await loop.sock_recvfrom(carrier, 65_535)
            found = re.match(rb"SIP/2.0 ([2-6]\d\d)", data)
            if found is None or f"z9hG4bK{number}\r".encode() not in data.replace(b";", b"\r"):
                continue
            dialog = (
                line.replace(b"INVITE", b"ACK")
                for line in data.split(b"\r\n")
                if line.startswith((b"Via", b"From", b"To:", b"Call-ID", b"CSeq"))
            )
            ack = [b"ACK sip:1001@127.0.0.1 SIP/2.0", *dialog, b"Content-Length: 0", b"", b""]
            await loop.sock_sendto(carrier, b"\r\n".join(ack), address)
            return int(found[1])


class Heard:
    """What the sinks outside have received."""

    def __init__(self) -> None:
        self.posted: list[bytes] = []
        self.syslog: list[bytes] = []
        self.log = io.StringIO()
        self.hook = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        assert length is not None
        self.posted.append(await reader.readexactly(int(length[1])))
        writer.write(b"HTTP/1.1 204 x\r\nContent-Length: 0\r\n\r\n")
        writer.close()


class _Collector(asyncio.DatagramProtocol):
    def __init__(self, heard: Heard) -> None:
        self._heard = heard

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._heard.syslog.append(data)


@asynccontextmanager
async def listening() -> AsyncIterator[Heard]:
    """A webhook's receiver, a syslog collector and the log."""
    heard = Heard()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: _Collector(heard), local_addr=("127.0.0.1", 0)
    )
    server = await asyncio.start_server(heard.serve, "127.0.0.1", 0)
    heard.hook = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    address = transport.get_extra_info("sockname")
    set_up(json_lines=False, verbose=True, stream=heard.log, syslog=address)
    try:
        async with server:
            yield heard
    finally:
        transport.close()


def page(messages: dict[str, list[dict[str, Any]]], words: list[str]) -> str:
    """The only page that Softswitch makes, a report of the load lab, with what came from the wire."""
    findings = [{"code": w, "count": 1, "words": w, "examples": [w]} for w in words]
    return report(
        Result(
            scenario=words[10],
            target=words[11],
            began=0.0,
            figures={"seconds": 1.0},
            findings=findings,
            saturated=words[10],
            causes=dict.fromkeys(words, 1),
            ladders=messages,
            seconds=[],
            notes=words,
            plan=dict.fromkeys(words, words[10]),
            failed_if=[],
        )
    )


def scripts_run(html: str, folder: Path) -> int:
    """How often a browser, of which every script has a canary to call, executes something of a page."""
    canary = (
        "<script>let ran = 0; window.alert = () => {"
        " document.documentElement.dataset.ran = ++ran; };</script>"
    )
    file = folder / "page.html"
    file.write_text(canary + html, "utf-8", "surrogatepass")
    done = subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/c",
         "--virtual-time-budget=2000", "--dump-dom", file.as_uri()],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert "<html" in done.stdout
    found = re.search(r'data-ran="(\d+)"', done.stdout)
    return int(found[1]) if found else 0


def formulas(data: bytes) -> int:
    """Cells of a CSV file that a spreadsheet would compute."""
    rows = csv.reader(io.StringIO(data.decode("utf-8-sig")))
    return sum(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for row in rows for cell in row)


def forged(lines: list[str], whole: re.Pattern[str]) -> int:
    """Lines that nobody wrote, or that hold what a terminal obeys."""
    return sum(not whole.match(line) or not line.isprintable() for line in lines)


def test_the_detectors_detect(tmp_path: Path) -> None:
    assert formulas(b"name\r\n=1+1\r\nplain\r\n") == 1
    assert forged(["level=ERROR forged", "2026-01-01T00:00:00Z INFO a.b: \x1b[31m"], _LINE) == 2
    if shutil.which("chromium"):
        assert scripts_run("<p>&lt;script&gt;</p><script>alert(1)</script>", tmp_path) == 1


STRANGER = """
[look_up]
hosts = ["127.0.0.1"]
[[trunk]]
name = "stranger"
uri = "sip:127.0.0.1:{port}"
from_addresses = ["127.0.0.1:{port}"]
max_calls_per_s = 1000
"""
"""More of an office: a carrier of which nobody knows what it sends."""


@contextmanager
def stranger() -> Iterator[tuple[socket.socket, int]]:
    """The socket of that carrier, which never blocks, and its port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as carrier:
        carrier.bind(("127.0.0.1", 0))
        carrier.setblocking(False)
        yield carrier, carrier.getsockname()[1]


def exchange_of(api: Any) -> tuple[str, int]:
    """Where an exchange takes SIP by UDP."""
    found = re.search(r"udp://127.0.0.1:(\d+)", " ".join(api.switch.ready_lines()))
    assert found is not None
    return "127.0.0.1", int(found[1])


async def test_row_19_strings_of_strangers(tmp_path: Path, running_api: Any, row: Any) -> None:
    refused: list[tuple[str, str]] = []
    taken: list[tuple[str, str]] = []
    with stranger() as (carrier, port):
        async with (
            listening() as heard,
            running_api(tmp_path / "office", STRANGER.format(port=port)) as api,
        ):
            admin = await api.as_role("admin")
            hook = {"name": "CRM", "url": heard.hook, "topics": ["calls"]}
            await admin.post("/webhooks", hook)
            exchange = exchange_of(api)
            loop = asyncio.get_running_loop()
            for number, (source, text) in enumerate(_all()):
                await loop.sock_sendto(carrier, invite(source, text, number, port), exchange)
                status = await answered(carrier, number)
                assert status in (400, 404), (source, text, status)
                (refused if status == 400 else taken).append((source, text))
                # A kind of its own, so that none is thinned out.
                logging.getLogger("softswitch.test").warning(f"{number} {source}: %s", text)
            assert await api.store.journal.flush()
            calls = [c async for c in pages(admin, "/calls")]
            async with asyncio.timeout(10):
                while len(_started(heard)) < len(calls):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            started = await api.store.entries.page(10_000, kind="call-started")
            kept = [json.loads(entry.text) for entry in started]
            for name in {c["caller_name"] for c in calls if c["caller_name"]}:
                await admin.post("/customers", {"name": name})
            table = (await admin.get("/customers/export")).content
            assert (await admin.get("/calls", params={"limit": 1}))["items"], "the tables are there"
    # Verbatim: what was taken of names and users is what the other side meant, in each sink.
    said = {
        "name": {_trimmed(text) for source, text in taken if source == "name"},
        "user": {text for source, text in taken if source == "user"},
    }
    plain = re.compile(r"\+861390000\d{4}")
    for told in (kept, calls, _started(heard)):
        assert {_trimmed(one["caller_name"]) for one in told} - {""} == said["name"]
        users = {one["number_from"] for one in told if not plain.fullmatch(one["number_from"])}
        assert users == said["user"]
        assert len(told) == len(taken)
    lines, sent = heard.log.getvalue().splitlines(), [d.decode() for d in heard.syslog]
    mine = [line for line in lines if "softswitch.test" in line]
    assert len(mine) == len(SOURCES) * len(STRINGS)
    assert len([line for line in sent if "softswitch.test" in line]) == len(mine)
    names = await asyncio.to_thread(names_under, tmp_path)
    wire = [invite(source, text, n, port) for n, (source, text) in enumerate(_all())]
    counted = {
        "csv formulas": formulas(table)
        + formulas(to_csv(Sheet("s", ["x"], [[s] for s in STRINGS]))),
        "log lines forged": forged(lines, _LINE),
        "syslog lines forged": forged(sent, _SYSLOG),
        "files elsewhere": sum(not re.fullmatch(r"[\w./-]+", name) for name in names),
    }
    if shutil.which("chromium"):
        rungs = [
            {"at_ms": 1.0, "way": "in", "line": line}
            for data in wire
            for line in data.decode().split("\r\n")
        ]
        html = page(
            {text: [{"call_id": text, "messages": rungs}] for text in STRINGS}, list(STRINGS)
        )
        assert escape(STRINGS[10]) in html
        counted["scripts run"] = await asyncio.to_thread(scripts_run, html, tmp_path)
    row(
        19,
        f"{len(STRINGS)} strings from {len(SOURCES)} places of a message into 8 sinks",
        taken=len(taken),
        refused=len(refused),
        executions=sum(counted.values()),
        **{key.replace(" ", "_"): value for key, value in counted.items()},
    )
    assert sum(counted.values()) == 0, counted


def _all() -> Iterator[tuple[str, str]]:
    return ((source, text) for source in SOURCES for text in STRINGS)


def names_under(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*")]


def _trimmed(text: str) -> str:
    """White space about a folded line is one space (RFC 3261 7.3.1)."""
    return " ".join(text.split())


def _started(heard: Heard) -> list[dict[str, Any]]:
    told = [json.loads(body) for body in heard.posted]
    return [one["data"] for one in told if one.get("kind", one.get("event")) == "call-started"]


async def pages(client: Any, path: str, **query: str) -> AsyncIterator[dict[str, Any]]:
    cursor: dict[str, str] = {}
    while True:
        page = await client.get(path, params={"limit": 100, **query, **cursor})
        for item in page["items"]:
            yield item
        if not page.get("next"):
            return
        cursor = {"cursor": page["next"]}
