"""Commands that use the API of a running server, on its machine and from another one, and what they say where
they cannot."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from routing.events import ContactArrived
from softswitch.api.admin import ask
from softswitch.backup import BadBackup, check_database, make_backup, restore, verify
from softswitch.cli.main import build
from softswitch.cli.remote import Remote
from softswitch.cli.report import report_table
from softswitch.errors import SoftswitchError
from softswitch.store import Store
from softswitch.store.database import FILE_NAME
from softswitch.switch import Switch
from tests.api.conftest import OFFICE, QuietMachine
from tests.databases import lay_database

SERVED = OFFICE + '[http]\nlisten = "127.0.0.1:0"\n'


class Served(QuietMachine):
    def admin(self) -> bool:
        return True

    def http(self) -> bool:
        return True


class Running:
    """A server in a thread of its own, as commands find one."""

    def __init__(self, directory: Path, office: str = SERVED) -> None:
        self.file = directory / "office.toml"
        self.file.write_text(office)
        (directory / "var").mkdir(mode=0o700)
        lay_database(directory / "var")
        self.loop = asyncio.new_event_loop()
        self.switch = Switch.from_toml(self.file)
        self.switch._environment = Served()
        self.switch.notice = lambda _: None
        self._ready = threading.Event()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self.loop.run_until_complete, args=(self._run(),))

    async def _run(self) -> None:
        await self.switch.start()
        if self.switch.http is not None:
            await self.switch.http.ready.wait()
        self._ready.set()
        await self._stop.wait()
        await self.switch.stop()

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(30)

    def stop(self) -> None:
        if self.loop.is_closed():
            return
        self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)
        self.loop.close()

    def append(self, *entry: Any) -> None:
        self.loop.call_soon_threadsafe(self.switch.store.journal.append, *entry)  # type: ignore[union-attr]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    server = Running(tmp_path)
    server.start()
    yield server
    server.stop()


def run(*arguments: str, code: int = 0, text: str | None = None) -> str:
    result = CliRunner().invoke(build(), arguments, input=text)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture
def from_elsewhere(running: Running, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """As on another machine: no office file at hand, but the address and a token."""
    asked = next(ask(running.switch.directory, "api"))
    monkeypatch.chdir("/")

    def use(role: str = "admin", scope: str = "*", **settings: str) -> None:
        arguments = ("token", "add", role, "--role", role, "--scope", scope)
        monkeypatch.delenv("SOFTSWITCH_URL", raising=False)
        token = run(*arguments, str(running.file)).strip()
        named = {"SOFTSWITCH_URL": asked["url"], "SOFTSWITCH_TOKEN": token, **settings}
        for name, value in named.items():
            monkeypatch.setenv(name, value)

    return use


def test_users_and_tokens(running: Running) -> None:
    office = (str(running.file),)
    assert run("user", "add", "zhao", "--role", "supervisor", *office, text="long-enough-1\n") == (
        "zhao is supervisor\n"
    )
    rows = json.loads(run("user", "list", "--json", *office))
    assert [(r["name"], r["role"]) for r in rows] == [("admin", "admin"), ("zhao", "supervisor")]
    assert "zhao" in run("user", "list", *office)
    run("user", "password", "zhao", *office, text="long-enough-2\n")
    with pytest.raises(SoftswitchError, match="/password"):
        run("user", "password", "zhao", *office, text="short\n")
    with pytest.raises(SoftswitchError, match="there is no user wu"):
        run("user", "remove", "wu", *office)
    changed = run("user", "change", "zhao", "--role", "agent", "--inactive", *office)
    assert changed == "zhao is agent, inactive\n"
    run("user", "remove", "zhao", *office)
    token = run("token", "add", "CRM", "--scope", "calls:read", *office).strip()
    assert token.startswith("sst_")
    (row,) = json.loads(run("token", "list", "--json", *office))
    assert row["scopes"] == ["calls:read"]
    assert row["expires_at_s"] is None
    run("token", "revoke", row["id"], *office)
    run("token", "add", "CRM", "--scope", "calls:read", "--days", "2", *office)
    (row,) = json.loads(run("token", "list", "--json", *office))
    assert row["expires_at_s"] - row["created_at_s"] == pytest.approx(2 * 86_400, abs=60)
    run("token", "revoke", row["id"], *office)
    with pytest.raises(SoftswitchError, match=r'did you mean "calls:read"'):
        run("token", "add", "CRM", "--scope", "cals:read", *office)
    assert json.loads(run("token", "list", "--json", *office)) == []


def test_webhooks(running: Running) -> None:
    office = (str(running.file),)
    with pytest.raises(SoftswitchError, match=r"look_up\.hosts"):
        run("webhook", "add", "x", "http://127.0.0.1:9/", "--topic", "calls", *office)
    secret = run("webhook", "add", "CRM", "https://crm.example/", "--topic", "calls", *office)
    assert len(secret.strip()) == 48
    running.append("call-started", "c1", {}, 1.0)
    for _ in range(200):  # there is no such host
        (row,) = json.loads(run("webhook", "list", "--json", *office))
        if row["trouble"]:
            break
        time.sleep(0.02)
    assert (row["waiting"], row["attempts"]) == (1, 1)
    shown = run("webhook", "list", *office)
    assert all(word in shown for word in row["trouble"].split())  # a narrow table breaks its lines
    assert run("webhook", "again", "1", *office) == "0 of 0 delivered\n"
    assert json.loads(run("webhook", "log", "1", "--status", "failed", "--json", *office)) == []
    with pytest.raises(SoftswitchError, match="no delivery 7"):
        run("webhook", "again", "1", "--delivery", "7", *office)


def test_reload_says_what_waits_for_a_restart_and_status_keeps_saying_it(running: Running) -> None:
    place = str(running.file)
    text = SERVED.replace('"Example Trading"', '"Other"').replace(":0", ":5999", 1)
    running.file.write_text(text)
    assert run("reload", place).splitlines() == [
        "changed: office",
        "restart needed for sip.listen: it is only read at a start",
    ]
    shown = run("status", place)
    assert "Other" in shown
    assert "restart needed for sip.listen" in shown
    running.file.write_text(SERVED)
    assert run("reload", place) == "changed: office\n"
    assert "restart needed" not in run("status", place)


def test_what_the_command_line_changes_is_in_the_audit_log(running: Running) -> None:
    place = str(running.file)
    run("reload", place)
    run("line", "1001", place, "--do-not-disturb", "on")
    assert "was not banned" in run("unban", "192.0.2.1", place)
    lines = list(Remote.of(running.file).pages("/audit", 100))
    told = [(line["action"], line["object"], line["details"]) for line in lines]
    assert ("office-reloaded", "office:file", {"changed": []}) in told
    assert ("extension-line-changed", "extension:1001", {"do_not_disturb": True}) in told
    assert not any(action == "ban-lifted" for action, _, _ in told)
    assert all("by command line" in line["actor"] for line in lines if line["action"][:4] == "line")


def test_every_report_is_printed(running: Running) -> None:
    place = str(running.file)
    for what in ("queues", "agents", "outcomes", "tickets", "adherence"):
        found = json.loads(run("report", what, place, "--json"))
        assert found["name"] == what
    found = json.loads(run("report", "tickets", place, "--per", "queue", "--json"))
    assert "queue" in found["columns"]
    found = json.loads(run("report", "queues", place, "--formula", "all", "--json"))
    assert "service_level_short-abandons-out" in found["columns"]


def test_what_goes_on_by_region_skill_and_hour(running: Running) -> None:
    place = str(running.file)
    assert "none" in run("queues", place, "--per", "region")
    centre = running.switch.centre
    came = ContactArrived(contact_id="c1", queue_id="support", caller="+861065551000")
    running.loop.call_soon_threadsafe(centre.host.do, came)
    (row,) = json.loads(run("queues", place, "--per", "region", "--json"))
    assert (row["name"], row["entered"], row["waiting"]) == ("north", 1, 1)
    assert "north" in run("queues", place, "--per", "region")
    for per in ("skill", "hour", "half-hour"):
        (row,) = json.loads(run("queues", place, "--per", per, "--json"))
        assert row["entered"] == 1
    found = json.loads(run("report", "--live", place, "--by", "half-hour", "--json"))
    assert (found["name"], found["rows"][0]["entered"]) == ("live", 1)
    with pytest.raises(SoftswitchError, match="--live"):
        run("report", "tickets", "--live", place)


def test_lines(running: Running) -> None:
    place = (str(running.file),)
    assert "off" in run("line", "1001", *place)
    set_to = ("--do-not-disturb", "on", "--forward-busy", "voicemail")
    changed = json.loads(run("line", "1001", *place, *set_to, "--json"))
    assert (changed["do_not_disturb"], changed["forward_busy"]) == (True, "voicemail:1001")
    assert "voicemail:1001" in run("line", "1001", *place)
    back = ("--do-not-disturb", "office", "--forward-busy", "off", "--json")
    changed = json.loads(run("line", "1001", *place, *back))
    assert (changed["do_not_disturb"], changed["forward_busy"]) == (False, "")
    with pytest.raises(SoftswitchError, match="there is no extension 1999"):
        run("line", "1999", *place)
    with pytest.raises(SoftswitchError, match="nowhere to forward to"):
        run("line", "1001", "--forward-busy", "1999", *place)
    wrong = ("--call-waiting", "x")
    assert "neither on, off nor office" in run("line", "1001", *place, *wrong, code=2)


def test_reports(running: Running, tmp_path: Path) -> None:
    answer = json.loads(run("report", "queues", str(running.file), "--json"))
    assert answer["name"] == "queues"
    assert "nothing happened" in run("report", "agents", str(running.file))
    assert "nothing happened" in run("report", str(running.file.parent))
    with pytest.raises(SoftswitchError, match="allowed: queues, agents"):
        run("report", "skills", str(running.file))
    entered = {"contact": "c1", "queue": "support", "media": "call"}
    running.append("acd-queued", "c1", entered, 1_000.0)
    running.append(
        "acd-closed", "c1", {**entered, "outcome": "abandoned", "waited_s": 9.0}, 1_009.0
    )
    run("backup", str(tmp_path / "b"), str(running.file))  # flushes
    shown = run(
        "report", "queues", str(running.file), "--since", "1970-01-01", "--until", "1970-01-03"
    )
    assert "Report: queues" in shown
    assert "support" in shown
    some = ("report", "queues", str(running.file), "--since", "1970-01-01", "--until", "1970-01-03")
    two = {
        "rows": [{"region": "", "entered": 1}, {"region": "north", "entered": 2}],
        "name": "queues",
    }
    heads = [
        column.header for column in report_table({**two, "columns": ["region", "entered"]}).columns
    ]
    assert heads == ["", "(none)", "north"], "not that nobody is told apart"
    (row,) = json.loads(run(*some, "--within", "8", "--queue", "support", "--json"))["rows"]
    assert (row["abandoned"], row["abandoned_in_time"]) == (1, 0)
    assert "nothing happened" in run(*some, "--queue", "billing")
    for name, start in (("r.csv", b""), ("r.xlsx", b"PK"), ("r.json", b"{")):
        run("report", "queues", str(running.file), "--out", str(tmp_path / name))
        assert (tmp_path / name).read_bytes().startswith(start)
    with pytest.raises(SoftswitchError, match="no format"):
        run("report", "queues", str(running.file), "--out", "r.doc")
    with pytest.raises(SoftswitchError, match="by"):
        run("report", "queues", str(running.file), "--by", "fortnight")


def test_calls_and_why_of_the_server_and_of_the_database(running: Running, tmp_path: Path) -> None:
    place = str(running.file)
    numbers = {"number_from": "1001", "number_to": "5000"}
    for call_id in ("c1-aaaa", "c2-aaaa", "c3-bbbb"):
        running.append("call-started", call_id, numbers, 1.0)
        running.append(
            "acd-overflowed", call_id, {"queue": "q", "target": "", "reason": "full"}, 3.0
        )
        running.append("call-ended", call_id, {"outcome": "answered"}, 4.0)
    run("backup", str(tmp_path / "b"), place)  # flushes
    told = [json.loads(run("calls", place, "--json")), run("why", "bbbb", place)]
    assert [row["call_id"] for row in told[0]] == ["c3-bbbb", "c2-aaaa", "c1-aaaa"]
    assert len(json.loads(run("calls", place, "--json", "--limit", "2"))) == 2
    assert "1001 called 5000" in told[1]
    kinds = [e["kind"] for e in json.loads(run("why", "c1-aaaa", place, "--json"))]
    assert kinds == ["call-started", "acd-overflowed", "call-ended"]
    assert json.loads(run("calls", place, "--live", "--json")) == []
    for chosen, count in (
        (("--number", "1001"), 3),
        (("--number", "1009"), 0),
        (("--recorded",), 0),
    ):
        assert len(json.loads(run("calls", place, "--json", *chosen))) == count
    with pytest.raises(SoftswitchError, match="without a choice"):
        run("calls", place, "--live", "--number", "1001")
    assert "c3-bbbb" in run("calls", place)
    for call, words in (("aaaa", "several calls"), ("zzzz", "no call zzzz")):
        with pytest.raises(SoftswitchError, match=words):
            run("why", call, place)
    running.stop()
    stored = json.loads(run("calls", place, "--json"))
    shared = stored[0].keys() & told[0][0].keys()
    assert {"call_id", "number_from", "status", "duration_s", "recording"} <= shared
    assert [{k: row[k] for k in shared} for row in stored] == [
        {k: row[k] for k in shared} for row in told[0]
    ]
    assert run("why", "bbbb", place) == told[1]


def test_every_command_from_another_machine(
    running: Running, from_elsewhere: Callable[..., None], tmp_path: Path
) -> None:
    from_elsewhere()
    assert [q["queue"] for q in json.loads(run("queues", "--json"))] == ["support", "billing"]
    assert [a["agent"] for a in json.loads(run("agents", "--json"))] == ["lilei", "mary"]
    assert "support" in run("queues")
    assert json.loads(run("calls", "--json")) == json.loads(run("calls", "--live", "--json")) == []
    assert json.loads(run("report", "--json"))["name"] == "queues"
    assert json.loads(run("status", "--json"))["office"] == "Example Trading"
    made = json.loads(run("user", "add", "zhao", "--json", text="long-enough-1\n"))
    assert (made["name"], made["role"]) == ("zhao", "agent")
    changed = json.loads(run("user", "password", "zhao", "--json", text="long-enough-2\n"))
    assert changed["id"] == made["id"]
    assert json.loads(run("user", "remove", "zhao", "--json"))["name"] == "zhao"
    (tmp_path / "in.csv").write_text("name,phone\nWang Wei,+8613800000001\n")
    assert json.loads(run("customers", "import", str(tmp_path / "in.csv"), "--json"))["added"] == 1
    out = tmp_path / "out.csv"
    assert json.loads(run("customers", "export", str(out), "--json"))["customers"] == 1
    (tmp_path / "in.csv").write_text("name,phone\n" + '"WEI, Wang",+8613800000002\n')
    run("customers", "import", str(tmp_path / "in.csv"))
    (both,) = json.loads(run("customers", "duplicates", "--by", "name", "--json"))
    assert (both["value"], both["count"]) == ("wang wei", 2)
    assert "wang wei" in run("customers", "duplicates", "--by", "name")
    assert json.loads(run("customers", "duplicates", "--json")) == []
    token = json.loads(run("token", "add", "x", "--scope", "calls:read", "--json"))
    assert json.loads(run("token", "revoke", token["id"], "--json")) == {"id": token["id"]}


def test_who_may_not_is_told_what_it_takes(
    from_elsewhere: Callable[..., None], tmp_path: Path
) -> None:
    from_elsewhere("agent")
    for command in (("report",), ("calls",), ("queues",), ("why", "c1"), ("calls", "--live")):
        with pytest.raises(SoftswitchError, match="takes the role supervisor"):
            run(*command)
    with pytest.raises(SoftswitchError, match="takes the role admin"):
        run("user", "list")
    from_elsewhere("admin", "calls:read")
    with pytest.raises(SoftswitchError, match="the scope users:read"):
        run("token", "list")
    for settings, words in (
        ({"SOFTSWITCH_TOKEN": ""}, "SOFTSWITCH_TOKEN is not"),
        ({"SOFTSWITCH_TOKEN": "sst_nothing_nothing"}, "mistyped, revoked or too old"),
        (
            {"SOFTSWITCH_URL": "http://127.0.0.1:9"},
            r"does not answer: \[Errno 111\] Connection refused$",
        ),
        ({"SOFTSWITCH_URL": "nonsense"}, "is no address"),
    ):
        from_elsewhere(**settings)
        with pytest.raises(SoftswitchError, match=words):
            run("calls")
    idle = tmp_path / "idle"
    idle.mkdir()
    (idle / "office.toml").write_text(OFFICE)
    with pytest.raises(SoftswitchError, match="not that of SOFTSWITCH_URL"):
        run("drain", "1", str(idle / "office.toml"))


def test_an_exchange_without_the_api_says_what_is_missing(tmp_path: Path) -> None:
    server = Running(tmp_path, OFFICE)
    server.start()
    try:
        for command in ("report queues", "user list", "customers export x"):
            with pytest.raises(SoftswitchError, match=r"add a table \[http\]"):
                run(*command.split(), str(server.file))
        assert json.loads(run("calls", str(server.file), "--json")) == []
        assert len(json.loads(run("queues", str(server.file), "--json"))) == 2
    finally:
        server.stop()


def test_customers(running: Running, tmp_path: Path) -> None:
    office = (str(running.file),)
    good, bad = tmp_path / "good.csv", tmp_path / "bad.csv"
    good.write_text("name,phone\nWang Wei,+8613800000001\n")
    bad.write_text("name,phone\nWang Wei,nonsense\n")
    assert "would be: 1 rows" in run("customers", "import", str(good), "--dry-run", *office)
    assert "1 added" in run("customers", "import", str(good), *office)
    assert "bad.csv:2: phone" in run("customers", "import", str(bad), *office, code=1)
    bad.write_text("name,telephone\nWang Wei,+8613800000001\n")
    assert "bad.csv:1: telephone: is no column" in run(
        "customers", "import", str(bad), *office, code=1
    )
    run("customers", "export", str(tmp_path / "out.csv"), *office)
    assert "Wang Wei" in (tmp_path / "out.csv").read_text()


def test_a_backup_of_a_running_server_is_whole_and_comes_back(
    running: Running, tmp_path: Path
) -> None:
    for number in range(500):
        running.append("call-started", f"c{number}", {"number_from": "1"}, 1_000.0 + number)
    saved = tmp_path / "office.tar.gz"
    (running.switch.directory / "tls").mkdir()
    (running.switch.directory / "tls" / "key.pem").write_text("ours")
    found = json.loads(run("backup", str(saved), str(running.file), "--json"))
    assert found["rows"]["calls"] == 500
    assert saved.stat().st_mode & 0o777 == 0o600
    assert b"a-long-secret" not in saved.read_bytes()
    assert "good" in run("restore", str(saved), "--check")
    with pytest.raises(SoftswitchError, match="stop it first"):
        run("restore", str(saved), str(running.file))
    target = tmp_path / "elsewhere"
    (target / "tls").mkdir(parents=True)
    (target / "tls" / "key.pem").write_text("of a new office")
    restore(saved, target)
    assert (target / "tls" / "key.pem").read_text() == "ours"
    assert (target / "tls" / "key.pem").stat().st_mode & 0o777 == 0o600
    assert (target / "before-restore-1" / "tls" / "key.pem").read_text() == "of a new office"

    async def after() -> int:
        store = await Store.open(target)
        number = store.journal.append("call-ended", "c1", {}, 2_000.0)
        await store.journal.flush()
        record = await store.calls.get("c1")
        await store.close()
        assert record is not None
        assert record.status != "open"
        return number

    assert asyncio.run(after()) > 500, "no number of an entry is given twice"
    with pytest.raises(BadBackup, match="--force"):
        restore(saved, target)
    restore(saved, target, force=True)
    assert (target / "before-restore-2" / FILE_NAME).is_file()
    assert check_database(target / FILE_NAME)["calls"] == 500


def test_a_damaged_backup_changes_nothing(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()

    async def fill() -> None:
        store = await Store.open(source)
        store.journal.append("call-started", "c1", {}, 1.0)
        await store.close()

    asyncio.run(fill())
    saved = tmp_path / "b.tar.gz"
    make_backup(source, saved)
    data = saved.read_bytes()
    for broken in (
        data[: len(data) // 2],
        data[:-200],
        b"",
        b"x" * 100,
        flipped(data),
        ending(data),
    ):
        saved.write_bytes(broken)
        with pytest.raises(BadBackup):
            restore(saved, target)
        assert not (target / FILE_NAME).exists()


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0xFF]) + data[middle + 1 :]


def ending(data: bytes) -> bytes:
    """One bit of the sum at the end: every file in it is whole."""
    return data[:-6] + bytes([data[-6] ^ 1]) + data[-5:]


def test_a_backup_that_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    import io
    import tarfile

    for name, kind in (("../x", tarfile.REGTYPE), ("/x", tarfile.REGTYPE), ("x", tarfile.SYMTYPE)):
        saved = tmp_path / "evil.tar.gz"
        with tarfile.open(saved, "w:gz") as archive:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size = kind, "/etc/passwd", 0
            archive.addfile(info, io.BytesIO(b""))
        with pytest.raises(BadBackup, match="no file of a backup"):
            verify(saved)


def test_a_damaged_database_is_not_saved(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / FILE_NAME)
    connection.execute("CREATE TABLE x (y)")
    connection.executemany("INSERT INTO x VALUES (?)", [("z" * 500,)] * 1000)
    connection.commit()
    connection.close()
    data = bytearray((tmp_path / FILE_NAME).read_bytes())
    data[8_192:40_960] = b"\xff" * 32_768
    (tmp_path / FILE_NAME).write_bytes(data)
    with pytest.raises(BadBackup, match="damaged"):
        make_backup(tmp_path, tmp_path / "b.tar.gz")
    assert not (tmp_path / "b.tar.gz").exists()


def test_without_a_server_the_error_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "office.toml").write_text(OFFICE)
    with pytest.raises(SoftswitchError, match="softswitch serve"):
        run("report", "queues", str(tmp_path / "office.toml"))
    monkeypatch.setattr(sys, "stdin", sys.__stdin__)
