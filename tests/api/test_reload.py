"""Reading the office file again (row 54): a good one is used, a bad one changes nothing and says why."""

from __future__ import annotations

import os
import random
import signal
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from softswitch.apps.ask import RefusedHost
from softswitch.config import InvalidOffice
from softswitch.errors import SoftswitchError
from softswitch.switch import Switch
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
        assert (done.changed, done.restart) == (["queues"], ["office"])
        assert switch.office.office.name == "Example Trading"
        assert switch.queues.states()[1].within_s == 30
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
    import asyncio

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
