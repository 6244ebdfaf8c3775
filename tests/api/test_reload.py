"""Reading the office file again (row 54): a good one is used, a bad one changes nothing and says why."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import ssl
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from softswitch.apps.ask import RefusedHost
from softswitch.call.identity import PhoneIdentity
from softswitch.config import Destination, InvalidOffice
from softswitch.errors import SoftswitchError
from softswitch.store.tickets import Matter
from softswitch.switch import Switch
from softswitch.transport.credential import self_signed
from tests.api.conftest import OFFICE

SEED, MUTATIONS = 54, 100


async def started(tmp_path: Path, machine: Any) -> Switch:
    (tmp_path / "office.toml").write_text(OFFICE)
    switch = Switch.from_toml(tmp_path / "office.toml")
    switch._environment = machine()
    await switch.start()
    return switch


def mutated(text: str, rng: random.Random) -> str:
    """Half a file, swapped lines, doubled tables, lost quotes, other numbers, rubbish."""
    lines = text.split("\n")
    at = rng.randrange(len(lines))
    match rng.randrange(7):
        case 0:
            return text[: rng.randrange(len(text))]
        case 1:
            del lines[at]
        case 2:
            lines.insert(at, rng.choice(lines))
        case 3:
            lines[at] = lines[at].replace('"', "", 1)
        case 4:
            lines[at] = lines[at].replace("100", str(rng.randrange(1000)))
        case 5:
            lines[at] = "".join(rng.sample(lines[at], len(lines[at])))
        case 6:
            position = rng.randrange(len(text))
            return text[:position] + chr(rng.randrange(1, 0x500)) + text[position + 1 :]
    return "\n".join(lines)


async def refusal_of(switch: Switch) -> InvalidOffice | None:
    try:
        await switch.reload()
    except InvalidOffice as error:
        return error
    return None


async def test_a_hundred_mutations_cause_no_outage(
    tmp_path: Path, quiet_machine: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    switch = await started(tmp_path, quiet_machine)
    rng = random.Random(SEED)
    taken = refused = 0
    try:
        for _ in range(MUTATIONS):
            before = switch.office
            (tmp_path / "office.toml").write_text(mutated(OFFICE, rng), encoding="utf-8")
            problem = await refusal_of(switch)
            if problem is None:
                taken += 1
            else:
                refused += 1
                assert switch.office is before
                assert all(each.line for each in problem.problems), str(problem)
                assert "secret" not in str(problem)
            assert switch.is_running
            assert switch.centre.host.broken == 0
            snapshot = switch.snapshot()
            assert len(snapshot["queues"]) == len(switch.office.queues)
            assert len(snapshot["agents"]) == len(switch.office.agents)
        (tmp_path / "office.toml").write_text(OFFICE)
        await switch.reload()
        assert [q.name for q in switch.office.queues] == ["support", "billing"]
    finally:
        await switch.stop()
    with capsys.disabled():
        print(
            f"\nrow 54: seed {SEED}, {MUTATIONS} mutations: {taken} taken, {refused} refused, 0 outages"
        )
    assert refused > MUTATIONS // 4
    assert taken > 5


async def test_what_is_read_at_the_start_waits_and_the_rest_does_not(
    tmp_path: Path, quiet_machine: Any
) -> None:
    switch = await started(tmp_path, quiet_machine)
    try:
        text = OFFICE.replace("Example Trading", "Other").replace("within_s = 60", "within_s = 30")
        (tmp_path / "office.toml").write_text(text)
        done = await switch.reload()
        assert (sorted(done.changed), done.restart) == (["office", "queues"], [])
        assert switch.office.office.name == switch.snapshot()["office"] == "Other"
        assert switch.queues.states()[1].within_s == 30
        domain = 'name = "Other"\ndomain = "other.example"'
        text = text.replace('name = "Other"', domain).replace("127.0.0.1:0", "127.0.0.1:5999")
        text += '[storage]\ndatabase = "postgresql://x@y/z"\n[http]\nlisten = "127.0.0.1:1"\n'
        (tmp_path / "office.toml").write_text(text + "[media]\nworkers = 7\n")
        done = await switch.reload()
        waiting = ["office.domain", "sip.listen", "media.workers", "http.listen"]
        waiting += ["storage.database", "http"]
        assert (done.changed, done.restart) == ([], waiting)
        assert switch.snapshot()["restart"] == waiting
        assert switch.office.office.domain == "office.example"
        (tmp_path / "office.toml").write_text(OFFICE)
        assert (await switch.reload()).restart == []
        assert switch.snapshot()["restart"] == []
    finally:
        await switch.stop()


async def test_names_zone_language_and_codes_are_live(tmp_path: Path, quiet_machine: Any) -> None:
    switch = await started(tmp_path, quiet_machine)
    try:
        before = switch.centre.host._day_ends_s
        text = OFFICE.replace("Asia/Shanghai", "America/New_York").replace(
            'name = "Example Trading"', 'name = "Other"\nlanguage = "zh"\ncountry = "US"'
        )
        text += '[codes]\npark = "*55"\nagent_pause = "*56"\n[routing]\nassignment = "joint"\n'
        text += '[[hours]]\nname = "day"\nopen = { mon-fri = ["09:00-17:00"] }\n'
        text += '[tickets]\nhours = "day"\npromises = { normal = { answer_h = 1, solve_h = 2 } }\n'
        ticket = await switch.store.tickets.add("user:a", Matter(subject="s"))
        (tmp_path / "office.toml").write_text(text)
        done = await switch.reload()
        assert done.restart == []
        assert {"office", "codes", "routing", "hours", "tickets"} == set(done.changed)
        assert abs(switch.centre.host._day_ends_s - before) in (11 * 3600, 12 * 3600, 13 * 3600)
        identity = PhoneIdentity("1001")
        assert switch.dialplan.route("*55", identity) == Destination("code", "park")
        assert switch.dialplan.route("*68", identity) != Destination("code", "park")
        assert switch.centre.written("2125550123") == "+12125550123"
        assert switch.centre.host.engine._floor.config.assignment == "joint"
        assert switch.desk.prompts.find("goodbye").parent.name == "zh"
        assert switch.store.samples.zone.key == "America/New_York"
        fresh = await switch.store.tickets.add("user:a", Matter(subject="t"))
        assert (fresh.life.answer_target_s, fresh.life.solve.target_s) == (3_600.0, 7_200.0)
        # What was promised before stays promised, but counts the hours of now.
        await switch.clerk.work(switch.desk.clock.wall_s())
        again = await switch.store.tickets.get(ticket.id)
        assert again.life.solve.target_s == ticket.life.solve.target_s
        assert again.solve_due_s is not None
        assert again.solve_due_s > ticket.solve_due_s
        assert again.version == ticket.version
    finally:
        await switch.stop()


async def test_a_renewed_certificate_is_shown_after_a_reload(
    tmp_path: Path, quiet_machine: Any
) -> None:
    def lay(name: str) -> bytes:
        pem, key = self_signed(["localhost"])
        (tmp_path / f"{name}.pem").write_bytes(pem)
        (tmp_path / f"{name}.key").write_bytes(key)
        return ssl.PEM_cert_to_DER_cert(pem.decode())

    def shown() -> bytes:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        local = switch.driver.transports[0].local
        with socket.create_connection(local, 5) as plain, context.wrap_socket(plain) as secure:
            found = secure.getpeercert(binary_form=True)
            assert found is not None
            return found

    first, second = lay("first"), lay("second")
    text = OFFICE.replace("udp://127.0.0.1:0", "tls://127.0.0.1:0")
    office = text + '[tls]\ncertificate = "NAME.pem"\nkey = "NAME.key"\n'
    (tmp_path / "office.toml").write_text(office.replace("NAME", "first"))
    switch = Switch.from_toml(tmp_path / "office.toml")
    switch._environment = quiet_machine()
    await switch.start()
    try:
        assert await asyncio.to_thread(shown) == first
        (tmp_path / "office.toml").write_text(office.replace("NAME", "second"))
        assert (await switch.reload()).changed == ["tls"]
        assert await asyncio.to_thread(shown) == second
        third = lay("second")  # the same paths, renewed
        await switch.reload()
        assert await asyncio.to_thread(shown) == third
        (tmp_path / "office.toml").write_text(office.replace("NAME", "none"))
        with pytest.raises(InvalidOffice, match="tls"):
            await switch.reload()
        assert await asyncio.to_thread(shown) == third
    finally:
        await switch.stop()


async def test_mail_and_look_ups_follow_the_file(tmp_path: Path, quiet_machine: Any) -> None:
    """The next mail goes to the server of now, and the next question to the hosts of now."""
    servers: list[str] = []

    class Noting(quiet_machine):  # type: ignore[misc]
        def mail(self, office: Any) -> Any:
            async def send(_: Any) -> None:
                servers.append(str(office.mail.server))

            return send

    switch = await started(tmp_path, Noting)
    try:
        await switch.desk.send_mail(EmailMessage())
        with pytest.raises(RefusedHost):
            await switch.desk.ask.where("http://127.0.0.1/")  # type: ignore[attr-defined]
        more = '[mail]\nserver = "127.0.0.1:2525"\n[look_up]\nhosts = ["127.0.0.1"]\n'
        (tmp_path / "office.toml").write_text(OFFICE + more)
        done = await switch.reload()
        assert (sorted(done.changed), done.restart) == (["look_up", "mail"], [])
        await switch.desk.send_mail(EmailMessage())
        assert servers == ["127.0.0.1:25", "127.0.0.1:2525"]
        assert await switch.desk.ask.where("http://127.0.0.1/") == "127.0.0.1"  # type: ignore[attr-defined]
    finally:
        await switch.stop()


async def test_entries_and_file_meet(tmp_path: Path, quiet_machine: Any) -> None:
    switch = await started(tmp_path, quiet_machine)
    try:
        await switch.book.add("test", "queue", {"name": "sales", "overflow": "queue:billing"})
        (tmp_path / "office.toml").write_text(OFFICE + '[[queue]]\nname = "sales"\n')
        with pytest.raises(SoftswitchError, match="the same"):
            await switch.reload()
        cut = OFFICE[: OFFICE.index('[[queue]]\nname = "billing"')] + OFFICE[
            OFFICE.index("[[agent]]") :
        ].replace('"support", "billing"', '"support"')
        (tmp_path / "office.toml").write_text(cut)
        with pytest.raises(SoftswitchError, match="billing"):
            await switch.reload()
        assert len(switch.office.queues) == 3
    finally:
        await switch.stop()


async def test_a_hang_up_signal_reloads(tmp_path: Path, quiet_machine: Any) -> None:
    (tmp_path / "office.toml").write_text(OFFICE)
    switch = Switch.from_toml(tmp_path / "office.toml")
    switch._environment = quiet_machine()
    ready = asyncio.Event()
    serving = asyncio.create_task(switch.serve(ready.set))
    await asyncio.wait_for(ready.wait(), 20)
    (tmp_path / "office.toml").write_text(OFFICE + '[[queue]]\nname = "sales"\n')
    os.kill(os.getpid(), signal.SIGHUP)
    for _ in range(500):
        await asyncio.sleep(0.02)
        if len(switch.office.queues) == 3:
            break
    assert len(switch.office.queues) == 3
    os.kill(os.getpid(), signal.SIGTERM)
    await serving
