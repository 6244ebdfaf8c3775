"""Parsers of the call centre and its operators: configuration, uploads, texts of the API, what other programs
answer, and our own files as a crash or a bad disk leaves them."""

from __future__ import annotations

import asyncio
import json
import random
import re
import tomllib
import zlib
from collections.abc import Coroutine
from functools import cache
from pathlib import Path
from typing import Any, get_args
from xml.etree import ElementTree

import msgspec

from media import protocol
from media.errors import BadName, ProtocolViolation
from media.plane.recorder import checked_path
from routing import events
from routing.calendar import Calendar
from routing.engine import AcdEngine
from routing.errors import RoutingError, SnapshotError
from routing.expressions import parse_skill
from routing.journal import event_of, event_record
from routing.model import AcdConfig, AgentConfig, AgentState, QueueConfig
from softswitch.api.access import Identity, same_origin
from softswitch.api.admin import read_request
from softswitch.api.events.hub import Hub
from softswitch.api.events.reader import Reader
from softswitch.api.paging import int_cursor, read_cursor, write_cursor
from softswitch.api.problem import Refused
from softswitch.api.sessions import Sessions
from softswitch.apps.acd_counts import DayCounts
from softswitch.apps.acd_journal import read_event, read_snapshot, write_event
from softswitch.apps.ask import GuardedAsker, RefusedHost
from softswitch.backup import BadBackup, read_manifest
from softswitch.call.lookup import read_answer, read_json
from softswitch.call.numbering import Numbering
from softswitch.config import parse_office
from softswitch.config.overlay import SECTIONS, read_entry
from softswitch.errors import ConfigError
from softswitch.load.distribution import Distribution
from softswitch.load.faults import parse_faults
from softswitch.load.plan import parse_accounts, parse_options
from softswitch.load.settings import check_settings, seconds, whole
from softswitch.load.sipp_xml import Injection, parse_script
from softswitch.load.start import parse_limits
from softswitch.load.threshold import Threshold
from softswitch.saying import Kind, phrase
from softswitch.store.customer_files import read_customers
from softswitch.store.entry import make_entry, read_line
from softswitch.store.letters import read_letter
from softswitch.store.tokens import split_token
from softswitch.store.told import hear, tell_entry
from tests.reliability.parsers.register import parser

ROOT = Path(__file__).parents[3]
OFFICE = (ROOT / "examples" / "office.toml").read_bytes()
TABLES = re.split(rb"(?m)^(?=\[)", OFFICE)
"""One at a time: little is read for each change, and nearly all of it is near the change."""
DEEP = b"[" * 5_000
"""Nested beyond every stack."""


# -- configuration ------------------------------------------------------------------------------------


FLOW = b"""
[[flow]]
name = "orders"
number = "7100"

[[flow.step]]
do = "collect"
prompt = 'text:"Your order, please."'
min_digits = 4
max_digits = 8
into = "order"
failed = "sorry"

[[flow.step]]
do = "look-up"
url = "https://crm.office.example/orders"
query = { number = "{order}", caller = "{caller}" }
answer = { found = "status", price = "total.amount" }
failed = "sorry"

[[flow.step]]
do = "branch"
value = "{found}"
cases = [{ is = "known", go = "queue:support" }]

[[flow.step]]
do = "say"
kind = "amount"
value = "{price} CNY"

[[flow.step]]
name = "sorry"
do = "hang-up"
"""
ADDRESSES = b"""
[sip]
listen = ["udp://127.0.0.1:5060", "tls://[::1]:5061"]
[http]
listen = "127.0.0.1:8080"
[trace]
hep = "udp://192.0.2.1:9060"
"""
WHOLE = OFFICE + FLOW


@parser(
    "configuration files", [*TABLES, FLOW, ADDRESSES], ConfigError, also=[WHOLE, b"a = " + DEEP]
)
def take_office(data: bytes) -> None:
    parse_office(data.decode("utf-8", "replace"), source="fuzz")


def _tables() -> list[bytes]:
    heads = [b"[[" + name.encode() + b"]]" for name in SECTIONS]
    parts = [b"[[" + part.partition(b"\n# --")[0] for part in OFFICE.split(b"\n[[")[1:]]
    found = [*(part for part in parts if part.startswith(tuple(heads))), FLOW]
    assert len({part.partition(b"]]")[0] for part in found}) > 7
    return found


@parser("tables of the office file", _tables, ConfigError)
def take_table(data: bytes) -> None:
    """Each table by the model of its section: nothing else of the file hides its mistakes."""
    try:
        tables = tomllib.loads(data.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return
    for section, found in tables.items():
        if section in SECTIONS and isinstance(found, list):
            for values in found:
                if isinstance(values, dict):
                    read_entry(section, values)


@parser("skills", [b"english>=3 & (billing | !vip) & region:north", b"a=1|b!=2&c<9"], RoutingError)
def take_skills(data: bytes) -> None:
    text = str(parse_skill(data.decode("utf-8", "replace")))
    assert str(parse_skill(text)) == text


@parser(
    "opening hours",
    [b'{"mon-fri": ["09:00-12:00", "22:00-02:00"], "holidays": ["2026-10-01..2026-10-07"]}'],
    RoutingError,
)
def take_hours(data: bytes) -> None:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return
    if isinstance(found, dict) and all(
        isinstance(key, str) and isinstance(value, list) and all(isinstance(v, str) for v in value)
        for key, value in found.items()
    ):
        days = {key: value for key, value in found.items() if key != "holidays"}
        Calendar.of(days, found.get("holidays", ())).is_open(0.0)


# -- load runs ----------------------------------------------------------------------------------------


SCENARIOS = [path.read_bytes() for path in sorted((ROOT / "tests/interop/sipp").glob("*.xml"))]


def _scenes() -> list[bytes]:
    """Steps of the scenarios, three at a time, with the labels that they may name."""
    found = []
    for scenario in SCENARIOS:
        steps = list(ElementTree.fromstring(scenario))
        labels = [step for step in steps if step.tag == "label"]
        steps = [step for step in steps if step.tag != "label"]
        for at in range(0, len(steps), 3):
            root = ElementTree.Element("scenario", name="x")
            root.extend([*steps[at : at + 3], *labels])
            found.append(ElementTree.tostring(root))
    return found


@parser("SIPp scenarios", _scenes, ConfigError, also=SCENARIOS)
def take_script(data: bytes) -> None:
    assert parse_script(data, "fuzz").steps


@parser(
    "options of load runs",
    [b"setup_p99_ms > 200 | !(loss > 0.5%) & mos_p5 < 3.5", b"normal(3,1)", b"loss=0.1,jitter=20ms",
     b"SEQUENTIAL\n1001;secret\n#x\n1002;[authentication]\n", b"hold=2,3", b"exponential:90",
     b"delay_ms=50", b"1001-1003:secret-{},2000:x"],
    ConfigError,
)  # fmt: skip
def take_options(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    for read in (
        Threshold.parse,
        Distribution.parse,
        Injection.parse,
        lambda text: parse_faults([text]),
        lambda text: parse_options([text]),
        lambda text: parse_limits([text]),
        lambda text: parse_accounts(text.replace(".csv", ""), "accounts"),
        lambda text: check_settings("x", {"hold": seconds("3"), "n": whole("1")}, {"hold": text}),
    ):
        try:
            read(text)
        except ConfigError:
            continue


# -- uploads ------------------------------------------------------------------------------------------

CSV = (
    b"name,phone,address,region,priority,tags,field:Plate\r\n"
    b'"Li, Lei",+8613800000001;010 6555 1234,lilei@office.example,north,5,vip;old,A-1\r\n'
    b"'=Han,,h@office.example,,,,\r\n"
)


@cache
def _numbering() -> Numbering:
    return Numbering("CN")


@parser(
    "customers as CSV",
    [
        CSV,
        b"\xef\xbb\xbf" + CSV,
        CSV.decode().encode("utf-16"),
        CSV.replace(b"Li, Lei", b"\xc0\xee"),
    ],
)
def take_customers(data: bytes) -> None:
    found = read_customers(data, _numbering().e164)
    assert found.rows == found.bad + len(found.profiles) or found.mistakes


LETTERS = [
    b"From: =?utf-8?q?Li_Lei?= <lilei@office.example>\r\nTo: help@office.example\r\n"
    b"Subject: Re: [#17] =?gb2312?B?xOO6ww==?=\r\nMessage-ID: <a@b>\r\nIn-Reply-To: <c@d>\r\n"
    b"References: <e@f> <g@h>\r\nAuto-Submitted: no\r\nContent-Type: text/plain; charset=iso-8859-1\r\n"
    b"Content-Transfer-Encoding: quoted-printable\r\n\r\nHello=20there\r\n",
    b"From: a@b.example\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n"
    b"Content-Type: multipart/alternative; boundary=y\r\n\r\n--y\r\nContent-Type: text/html\r\n\r\n"
    b"<p>One<script>no</script></p>\r\n--y--\r\n--x\r\nContent-Type: image/png; name*=utf-8''a%20b.png\r\n"
    b"Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment\r\n\r\nQUJD\r\n--x\r\n"
    b"Content-Type: message/rfc822\r\n\r\nFrom: c@d\r\n\r\nx\r\n--x--\r\n",
]
SHORT_LETTERS = [
    b'From: "Li, Lei" (x) <@r:lilei@[192.0.2.1]>, b@c\nSubject: [#17] a\n\nx',
    b"From: a@b\nSubject: =?gb2312?B?xOO6ww==?= =?utf-8*en?q?_=C3=A4?=\n\nx",
    b"From: a@b\nMessage-ID: <a@b>\nReferences: <e@f>\n <g@h>\n\nx",
    b"From: a@b\nAuto-Submitted: auto-replied; x=y\nX-Auto-Response-Suppress: All\n\nx",
    b"From: a@b\nList-Id: x <y.z>\nPrecedence: bulk\nReturn-Path: <>\n\nx",
    b'From: a@b\nContent-Type: text/plain; charset="gb18030"\n\n\xc4\xe3\xba\xc3\n\n\n\nx',
    b"From: a@b\nContent-Transfer-Encoding: base64\n\nSGVsbG8=",
    b"From: a@b\nContent-Transfer-Encoding: quoted-printable\n\na=20=\nb",
    b"From: a@b\nContent-Transfer-Encoding: x-uuencode\n\nbegin 6 a\n#86)C\n \nend",
    b"From: a@b\nContent-Type: text/html\n\n<p>a&amp;&#x4f60;<br/><style>p</style></p>",
    b"From: a@b\nContent-Type: image/png\nContent-Disposition: attachment; filename*0*=utf-8''a%20; "
    b"filename*1=b\n\nx",
    b"From: a@b\nContent-Type: multipart/mixed; boundary=x\n\n--x\n\na\n--x\n\nb\n--x--",
    b"From: a@b\nContent-Type: multipart/digest; boundary=x\n\n--x\n\nFrom: c@d\n\nx\n--x--",
    b"From: a@b\nContent-Type: message/rfc822\n\nFrom: c@d\n\nx",
    b"From: a@b\nContent-Type: message/delivery-status\n\nReporting-MTA: x\n\nAction: failed\n",
]
"""Little is read for each change: whole letters take four times as long, nearly all in the standard library."""


@parser("e-mail", SHORT_LETTERS, ValueError, also=LETTERS)
def take_letter(data: bytes) -> None:
    letter = read_letter(data)
    assert "@" in letter.sender
    assert letter.subject.isprintable()


# -- the API and its commands -------------------------------------------------------------------------

_SESSIONS = Sessions(b"k" * 32)


@parser(
    "cursors, cookies and tokens",
    lambda: [
        write_cursor(17, 1.5, "a").encode(),
        write_cursor(17).encode(),
        _SESSIONS.begin("root", "e", 1000.0)[1].encode(),
        _SESSIONS.sign("oidc", {"state": "s"}).encode(),
        b"sst_0123456789ab_" + b"0" * 48,
        b"https://office.example:8080",
    ],
    Refused,
)
def take_token(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    split_token(text)
    same_origin(text, "office.example:8080")
    _SESSIONS.read(text, 1010.0)
    _SESSIONS.open_signed("oidc", text)
    for read in (read_cursor, int_cursor):
        try:
            read(text)
        except Refused:
            continue


@cache
def _hub() -> Hub:
    hub = Hub("run")
    for number in range(8):
        hub.note("call-started", f"c{number}", {"from": "1001"}, float(number))
    return hub


@parser(
    "commands of the API's socket",
    [
        b'{"type": "subscribe", "id": "a", "topics": ["calls", "queues"], "position": "run.3"}',
        b'{"type": "subscribe", "id": "b", "topics": ["agents"], "agent": "lilei", "snapshot": false}',
        b'{"type": "unsubscribe", "id": "a"}',
        b'{"type": "ping", "id": "\\u00e4"}',
    ],
    also=[DEEP],
)
def take_command(data: bytes) -> None:
    identity = Identity("root", "admin", "user")
    reader = Reader(_hub(), identity, lambda wanted: {}, lambda: None)
    reader.take_text(data.decode("utf-8", "replace"))
    while (said := reader.next_text()) is not None:
        assert said.startswith("{")
    reader.close((1000, "over"))


@parser(
    "the admin socket",
    [b'{"command": "status", "who": "root"}', b"[]", b'{"command": 1}'],
    also=[DEEP],
)
def take_admin(data: bytes) -> None:
    assert isinstance(read_request(data), dict)


# -- what others answer ---------------------------------------------------------------------------------

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"


def at_once(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The result of what needs to wait for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    coroutine.close()
    raise AssertionError("it waits")


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


@parser(
    "HTTP answers of look-ups and webhooks",
    lambda: [
        ANSWER % (24, b'{"name": "x", "n": [1.5]}'[:24]),
        b"HTTP/1.0 204 No\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n[1, null]",
        b"HTTP/1.1 302 Found\r\nLocation: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
    ],
    ValueError,
    asyncio.IncompleteReadError,
    asyncio.LimitOverrunError,
    also=[b"HTTP/1.1 200 OK\r\n\r\n" + DEEP],
)
def take_answer(data: bytes) -> None:
    reader = asyncio.StreamReader(limit=16_384, loop=_loop())
    reader.feed_data(data)
    reader.feed_eof()
    status, body = at_once(read_answer(reader))
    assert 0 <= status <= 999
    read_json(body)


@cache
def _asker() -> GuardedAsker:
    async def nobody(name: str) -> list[str]:
        return []

    return GuardedAsker(["crm.office.example"], nobody)


@parser(
    "URLs to be asked",
    [b"https://crm.office.example:8443/x?y=z#f", b"http://[::1]/", b"https://u:p@127.0.0.1"],
    RefusedHost,
)
def take_url(data: bytes) -> None:
    _asker().check(data.decode("utf-8", "replace"))


KINDS = get_args(Kind)


@parser(
    "values that are said",
    [b"1234.5", b"-7", b"2026-02-28", b"13:05", b"+8613800000001", b"90"],
    ValueError,
    also=[b"1e999999999", b"1e-99999999", b"NaN", b"0e999999"],
)
def take_value(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    kind = KINDS[sum(data) % len(KINDS)]
    for language in ("en", "zh"):
        assert len(phrase(kind, (text, "EUR") if kind == "amount" else text, language)) < 200


# -- our own files, as a crash leaves them ------------------------------------------------------------


def _whole_lines() -> list[bytes]:
    entry = make_entry(7, 1.5, "call-ended", "c1", {"from": "1001", "talk_s": 2.5, "tags": ["a"]})
    return [entry.line()[:-1]]


@parser("lines of the journal", _whole_lines, also=[b"%08x %b" % (zlib.crc32(DEEP), DEEP)])
def take_line(data: bytes) -> None:
    """As it is, and with a sum that is right: what else may stand there is asked for too."""
    for line in (data, b"%08x %b" % (zlib.crc32(data[9:]), data[9:])):
        entry = read_line(line)
        if entry is not None:
            found = hear([entry], {entry.kind})
            heard = [each for of_call in found.values() for each in of_call.heard]
            assert heard == ([] if entry.call_id is None else [(entry, tell_entry(entry))])


EVENTS = [
    events.ContactArrived(
        contact_id="c1", queue_id="q", caller="+8613800000001", started_s=3.0, attributes={"a": [1]}
    ),
    events.AgentStateSet("a", AgentState.UNAVAILABLE, "lunch"),
    events.CallbackRequested(contact_id="c1", number="+861000", not_before_s=9.0),
]


@parser(
    "events of queues",
    lambda: [
        *(msgspec.json.encode(write_event(event, 5.0, 1000.0)) for event in EVENTS),
        *(msgspec.json.encode(event_record(event)) for event in EVENTS),
    ],
)
def take_event(data: bytes) -> None:
    try:
        found = msgspec.json.decode(data)
    except (ValueError, RecursionError):
        return
    if isinstance(found, dict):
        read_event(found, 1000.0)
        try:
            event_of(found)
        except RoutingError:
            return


@cache
def _configured() -> AcdConfig:
    queue = QueueConfig(id="q", max_wait_s=600.0)
    return AcdConfig(
        queues=(queue,), agents=tuple(AgentConfig(id=name, queues=("q",)) for name in "abc")
    )


def _snapshots() -> list[bytes]:
    engine = AcdEngine(_configured(), random.Random(1))
    for event in (events.AgentLoggedIn("a"), events.AgentLoggedIn("b"), *EVENTS):
        engine.handle(event, 5.0)
    engine.handle(events.ContactArrived(contact_id="c2", queue_id="q"), 6.0)
    counts = DayCounts({"q": 20.0})
    counts.restore(
        {
            "day": "2026-11-27",
            "queues": {"q": {"offered": 3}},
            "waits": {"q": [1.5, 2.0, 1]},
            "states": {"a": [60.0, 5.0]},
        }
    )
    written = {"version": 1, "seq": 3, "unix_s": 9.0, "engine": engine.snapshot()}
    whole = msgspec.json.encode({**written, "counts": counts.snapshot()})
    # The state of the chance is 625 numbers: without it most changes meet what matters.
    seeded = msgspec.json.decode(whole)
    seeded["engine"]["rng"] = [3, [1] * 4, None]
    return [whole, msgspec.json.encode(seeded)]


@parser("snapshots of queues", _snapshots, ValueError, SnapshotError)
def take_snapshot(data: bytes) -> None:
    found = read_snapshot(data)
    DayCounts({"q": 20.0}).restore(found.counts)
    AcdEngine(_configured(), random.Random(1)).restore(found.engine, 10.0)


@parser("names of files", [b"c1-a.wav", b"../x", b"7-0.part", b"1001"], BadName)
def take_name(data: bytes) -> None:
    name = data.decode("utf-8", "surrogateescape")
    assert checked_path("/var/empty", name) == f"/var/empty/{name}"


@parser(
    "manifests of backups",
    [b'{"version": 1, "files": {"a.db": ["00ff", 12]}, "rows": {"calls": 3}}'],
    BadBackup,
    also=[DEEP],
)
def take_manifest(data: bytes) -> None:
    assert read_manifest(data).octets is not None


@parser(
    "what media workers say",
    lambda: [
        protocol.pack([protocol.encode(protocol.WorkerDied(1, [2], []))])[0],
        protocol.pack([protocol.encode(protocol.ReleaseStream(7))])[0],
    ],
    ProtocolViolation,
)
def take_packet(data: bytes) -> None:
    for read in (protocol.unpack_events, protocol.unpack_commands):
        try:
            read(data)
        except ProtocolViolation:
            continue
