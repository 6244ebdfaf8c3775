"""Row 19, cell by cell: each of 23 strings, in each of five places of a SIP message, in each of eight sinks.

A sink that carries what this place says has it word for word, after the sink's own decoding; a sink that does
not has nothing of it. What SIP's grammar has no way to carry is refused, and then no sink may have it.
"""

from __future__ import annotations

import ast
import asyncio
import csv
import io
import json
import logging
import re
import shutil
import socket
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import sqlalchemy as sa

from softswitch.store.sheet import armed
from tests.api.test_injection import (
    SOURCES,
    STRANGER,
    answered,
    exchange_of,
    invite,
    listening,
    names_under,
    page,
    pages,
    scripts_run,
    stranger,
)
from tests.injection import STRINGS
from tests.journaled import ENTRIES, entries_in

SINKS = ("database", "CSV", "HTML", "JSON", "log", "file name", "webhook", "syslog")
AUTH = "authentication user"

NOT_CARRIED = {
    ("name", "file name"): "files are named by the exchange: ids, numbers and times",
    ("user", "file name"): "files are named by the exchange: ids, numbers and times",
    ("user agent", "file name"): "files are named by the exchange: ids, numbers and times",
    ("call id", "file name"): "files are named by the exchange: ids, numbers and times",
    (AUTH, "file name"): "files are named by the exchange: ids, numbers and times",
    (AUTH, "CSV"): "refused attempts are events, of which no table is made",
}
"""Why a sink has nothing of what a place says. All other pairs carry it."""

_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f]")


def reading(source: str, text: str) -> str | None:
    """What a reader of SIP finds in that place, None where the message is refused (RFC 3261 25.1)."""
    if source == "user":
        return text  # the only place where everything can be escaped
    if "\r\n" in text and source in ("user agent", "call id"):
        return text.partition("\r\n")[
            0
        ]  # what follows is a header of its own, which means nothing here
    if _CONTROL.search(text) is not None:
        return None
    if source == "call id" and " " in text:
        return None  # a Call-ID is one word, or two about an at sign
    return text.strip(" \t") if source in ("user agent", "call id") else text


@dataclass
class Seen:
    """What each sink has of one string in one place: the values that it has where such a thing belongs."""

    wire: str = ""
    status: int = 0
    values: dict[str, set[str]] = field(default_factory=dict)


def register(number: int, port: int, more: str = "", *, seq: int = 1) -> bytes:
    return (
        "REGISTER sip:office.example SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bKr{number}-{seq}\r\nMax-Forwards: 70\r\n"
        f"From: <sip:1001@office.example>;tag=r{number}\r\nTo: <sip:1001@office.example>\r\n"
        f"Call-ID: register-{number}\r\nCSeq: {seq} REGISTER\r\nExpires: 60\r\n"
        f"Contact: <sip:1001@127.0.0.1:{port}>\r\n{more}Content-Length: 0\r\n\r\n"
    ).encode()


async def guess(number: int, user: str, exchange: tuple[str, int]) -> tuple[str, int]:
    """A telephone that answers its challenge with a wrong password; what it sends, and what it gets."""
    loop = asyncio.get_running_loop()
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as phone:
        phone.bind((f"127.0.3.{number + 1}", 0))  # ten wrong passwords of one address are a ban
        phone.setblocking(False)
        port = phone.getsockname()[1]
        async with asyncio.timeout(5):
            await loop.sock_sendto(phone, register(number, port), exchange)
            challenge = (await loop.sock_recv(phone, 65_535)).decode()
            found = re.search(r'realm="([^"]+)".*?nonce="([^"]+)".*algorithm=MD5', challenge)
            assert found is not None, challenge
            quoted = user.replace("\\", "\\\\").replace('"', '\\"')
            answer = (
                f'Authorization: Digest username="{quoted}", realm="{found[1]}", nonce="{found[2]}", '
                f'uri="sip:office.example", algorithm=MD5, qop=auth, nc=00000001, cnonce="c", '
                f'response="{"0" * 32}"\r\n'
            )
            wire = register(number, port, answer, seq=2)
            await loop.sock_sendto(phone, wire, exchange)
            return wire.decode(), int((await loop.sock_recv(phone, 65_535)).split(b" ")[1])


class Texts(HTMLParser):
    """The texts of a page, as a reader sees them."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.found.append(data)


def plain(line: str) -> str:
    """A line of a log as it was meant: the inverse of `logs.inert`."""
    return re.sub(r"\\u([0-9a-f]{4})", lambda found: chr(int(found[1], 16)), line)


def header(message: str, source: str) -> str:
    """What a place of a message says, by SIP's own decoding; "" where it is not there."""
    pattern = {
        "name": r'\r\nFrom: "((?:[^"\\]|\\.)*)"',
        "user": r"\r\nFrom: [^\r]*?<sip:([^@>\r]*)@",
        "user agent": r"\r\nUser-Agent: ([^\r]*)",
        "call id": r"\r\nCall-ID: ([^\r]*)",
        AUTH: r'\r\nAuthorization: Digest username="((?:[^"\\]|\\.)*)"',
    }[source]
    found = re.search(pattern, message, re.DOTALL)
    if found is None:
        return ""
    if source in ("name", AUTH):
        return re.sub(r"\\(.)", r"\1", found[1])
    return unquote(found[1]) if source == "user" else found[1].strip(" \t")


async def test_row_19_cell_by_cell(tmp_path: Path, running_api: Any, row: Any) -> None:
    # Marked by its place, so that no place's string is taken for another's.
    marked = {source: [f"{text}#{n}" for text in STRINGS] for n, source in enumerate(SOURCES)}
    cells = {(source, text): Seen() for source in SOURCES for text in marked[source]}
    with stranger() as (carrier, port):
        async with (
            listening() as heard,
            running_api(tmp_path / "office", STRANGER.format(port=port)) as api,
        ):
            admin = await api.as_role("admin")
            hook = {"name": "CRM", "url": heard.hook, "topics": ["calls", "security"]}
            await admin.post("/webhooks", hook)
            exchange = exchange_of(api)
            api.switch.gatekeeper.guard._events = Unlimited()
            loop = asyncio.get_running_loop()
            for number, ((source, text), seen) in enumerate(cells.items()):
                if source == AUTH:
                    seen.wire, seen.status = await guess(number, text, exchange)
                else:
                    message = invite(source, text, number, port)
                    seen.wire = message.decode()
                    await loop.sock_sendto(carrier, message, exchange)
                    seen.status = await answered(carrier, number)
                logging.getLogger("softswitch.test").warning(f"{number}: %s", text)
            taken = {cell for cell, seen in cells.items() if seen.status != 400}
            assert await api.store.journal.flush()
            shown = [one async for one in pages(admin, "/calls")]
            refused = [
                one async for one in pages(admin, "/journal", kind="security-wrong-password")
            ]
            export = (await admin.get("/calls", params={"format": "csv"})).content
            await _searched(admin, taken)
            async with asyncio.timeout(20):
                while len(_told(heard, "leg-started")) < len(shown) or len(  # noqa: ASYNC110
                    _told(heard, "security-wrong-password")
                ) < len(refused):
                    await asyncio.sleep(0.02)
            async with api.store._database.connect() as connection:
                rows = (await connection.execute(sa.text(ENTRIES))).all()
                legs = (await connection.execute(sa.text("SELECT legs FROM calls"))).all()
            trace = [m.data.decode("utf-8", "replace") for m in api.switch.trace.messages()]
    entries = entries_in([tuple(row) for row in rows])
    journal = [(kind, json.loads(data)) for _, _, kind, _, data in entries]
    assert len(legs) == len(shown)
    names = await asyncio.to_thread(names_under, tmp_path)
    html = page({"all": [_ladder(message) for message in trace]}, list(STRINGS))
    texts = Texts()
    texts.feed(html)
    assert not texts.tags & {"script", "img", "iframe", "object", "svg:script"}
    messages = {text.partition("◀──  ")[2] for text in texts.found if "◀──  " in text}
    lines = [line for line in heard.log.getvalue().splitlines() if "softswitch" in line]
    sent = [datagram.decode() for datagram in heard.syslog]
    in_csv = list(csv.DictReader(io.StringIO(export.decode("utf-8-sig"), newline="")))
    assert len(in_csv) == len(shown)
    for source in SOURCES:
        has = {
            "database": _of_entries(journal, source),
            "JSON": _of_json(shown, refused, source),
            "CSV": {armed(one) for one in _of_csv(in_csv, source)},
            "webhook": _of_entries(_all_told(heard), source),
            "HTML": messages,
            "log": set(lines),
            "syslog": set(sent),
            "file name": set(names),
        }
        for text in marked[source]:
            cells[source, text].values = has
    verdicts = {
        (text, source, sink): _verdict(source, text, sink, seen, number)
        for number, ((source, text), seen) in enumerate(cells.items())
        for sink in SINKS
    }
    assert len(verdicts) == 23 * 5 * 8
    wrong = {cell: words for cell, words in verdicts.items() if words.startswith("wrong")}
    counted = Counter(verdicts.values())
    ran = await asyncio.to_thread(scripts_run, html, tmp_path) if shutil.which("chromium") else None
    row(
        19,
        f"{len(STRINGS)} strings x {len(SOURCES)} sources x {len(SINKS)} sinks, each cell",
        cells=len(verdicts),
        passed=len(verdicts) - len(wrong),
        word_for_word=counted["word for word"],
        refused_and_nowhere=counted["refused"],
        not_carried=counted["not carried"],
        scripts_run=ran,
    )
    assert not ran
    assert wrong == {}


class Unlimited:
    """In place of the few security events a second that are told."""

    def take(self, now_s: float, spare: float = 0.0) -> bool:
        return True


def _verdict(source: str, text: str, sink: str, seen: Seen, number: int) -> str:
    """What is to be said of one cell."""
    value, has = reading(source, text), seen.values[sink]
    if sink in ("log", "syslog"):
        # Whatever a line is about: the exchange's own lines tell of users and of who is refused only.
        mine = [line for line in has if f"softswitch.test: {number}: " in line]
        if len(mine) != 1 or not plain(mine[0]).endswith(f"{number}: {text}"):
            return f"wrong: {mine}"
        if source == AUTH and value is not None:
            told = {_user_of(line) for line in has if "security-wrong-password: " in line}
            return "word for word" if value in told else f"wrong: no line of {value!r}"
        return "word for word"
    if (source, sink) in NOT_CARRIED:
        # A name is told by any of its words, whatever was made of the rest.
        words = re.findall("[a-z]{4,}", text.lower()) if sink == "file name" else [text]
        there = [one for one in has if any(word in one.lower() for word in [text, *words])]
        return f"wrong: {there}" if there else "not carried"
    if sink == "HTML":  # the ladder shows what was on the wire, whatever became of it
        if seen.wire not in has or value not in (None, header(seen.wire, source)):
            return f"wrong: {seen.wire!r} is not there"
        return "word for word"
    if value is None:
        if seen.status < 400:
            return "wrong: taken"
        there = [one for one in has if text in one]
        return f"wrong: {there}" if there else "refused"
    if seen.status != (401 if source == AUTH else 404):
        return f"wrong: refused {value!r}"
    return "word for word" if value in has else f"wrong: {value!r} is not there"


_KIND = {
    "name": ("call-started", "caller_name"),
    "user": ("call-started", "number_from"),
    "user agent": ("leg-started", "user_agent"),
    "call id": ("leg-started", "sip_call_id"),
    AUTH: ("security-wrong-password", "username"),
}


def _of_entries(entries: list[tuple[str, dict[str, Any]]], source: str) -> set[str]:
    wanted, name = _KIND[source]
    return {str(data.get(name, "")) for kind, data in entries if kind == wanted}


def _of_json(shown: list[Any], refused: list[Any], source: str) -> set[str]:
    _, name = _KIND[source]
    if source == AUTH:
        return {one["data"][name] for one in refused}
    if source in ("name", "user"):
        return {one[name] for one in shown}
    return {leg.get(name, "") for one in shown for leg in one["legs"]}


def _of_csv(rows: list[dict[str, str]], source: str) -> set[str]:
    if source == AUTH:
        return {cell for row in rows for cell in row.values()}
    _, name = _KIND[source]
    return {row[name if source in ("name", "user") else f"caller_{name}"] for row in rows}


def _user_of(line: str) -> str:
    return str(ast.literal_eval(line[line.index("{") :])["username"])


def _ladder(message: str) -> dict[str, Any]:
    return {"call_id": "x", "messages": [{"at_ms": 1.0, "way": "in", "line": message}]}


def _told(heard: Any, kind: str) -> list[dict[str, Any]]:
    return [data for one, data in _all_told(heard) if one == kind]


def _all_told(heard: Any) -> list[tuple[str, dict[str, Any]]]:
    told = [json.loads(body) for body in heard.posted]
    return [(one.get("kind", one.get("event")), one["data"]) for one in told]


async def _searched(admin: Any, taken: set[tuple[str, str]]) -> None:
    """A call is found by what a support engineer has of it: the carrier's Call-ID, the telephone's model."""
    for source, text in taken:
        value = reading(source, text)
        if source not in ("call id", "user agent") or value is None:
            continue
        _, name = _KIND[source]
        found = (await admin.get("/calls", params={name: value}))["items"]
        assert [one["legs"][0][name] for one in found] == [value], (source, text)
