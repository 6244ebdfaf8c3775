"""What waits for a webhook when the exchange is killed or stopped is told after the next start, in order, from
the journal."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from softswitch.api.events import missed, webhooks
from softswitch.api.events.delivery import WAITING_MAX
from softswitch.errors import StoreError
from softswitch.store.webhooks import Webhooks
from tests.api.test_webhooks import TRUSTED, Hook, hooked

ROOT = Path(__file__).parents[2]

KILLED = """
import asyncio, sys
from pathlib import Path
from tests.api.conftest import running
from softswitch.store.webhooks import Webhooks
from tests.api.test_webhooks import TRUSTED

async def main(directory, everything, queue):
    async with running(Path(directory), TRUSTED) as api:
        admin = await api.as_role("admin")
        for url, more in ((everything, {}), (queue, {"queue": "support"})):
            await admin.post("/webhooks", {"name": "x", "url": url, "topics": ["calls"], **more})
        append = api.store.journal.append
        append("call-started", "c1", {"n": 1}, 1.0)
        append("acd-queued", "c1", {"queue": "support", "contact": "c1"}, 2.0)
        append("call-started", "c2", {"n": 2}, 3.0)
        append("call-ended", "c1", {"n": 3}, 4.0)
        append("call-ended", "c2", {"n": 4}, 5.0)
        print("written", flush=True)
        while await asyncio.to_thread(sys.stdin.readline) == "note\\n":
            assert await api.store.journal.flush()
            await api.service.webhooks.written()
            print("noted", flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


def told(hook: Hook) -> list[tuple[str, str]]:
    """Kind and call of each event that has come."""
    found = [json.loads(body) for _, body in hook.heard]
    return [(one["kind"], one["call_id"]) for one in found]


async def heard(hook: Hook, count: int) -> None:
    async with asyncio.timeout(20):
        while len(hook.heard) < count:
            hook.came.clear()
            await hook.came.wait()


async def test_kill_9_while_events_wait(tmp_path: Path, running_api_module: Any) -> None:
    """A process of its own, killed while the receivers answer 500; then another is started on what it left."""
    pipe = asyncio.subprocess.PIPE
    async with hooked() as everything, hooked() as queue:
        everything.statuses = [204, *[500] * 9]
        queue.statuses = [500] * 9
        command = [sys.executable, "-c", KILLED, str(tmp_path), everything.url, queue.url]
        exchange = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, cwd=ROOT)
        assert exchange.stdin is not None
        assert exchange.stdout is not None
        try:
            assert await exchange.stdout.readline() == b"written\n"
            await heard(everything, 2)
            await heard(queue, 1)
            exchange.stdin.write(b"note\n")
            assert await exchange.stdout.readline() == b"noted\n"
        finally:
            exchange.kill()
            await exchange.wait()
        before = [json.loads(body)["entry"] for _, body in everything.heard]
        for hook in (everything, queue):
            hook.statuses.clear()
            hook.heard.clear()
        async with running_api_module(tmp_path, TRUSTED) as api:
            api.store.journal.append("call-started", "c3", {}, 9.0)
            await heard(everything, 4)
            await heard(queue, 1)
            lines = await lines_of(api)
    assert told(everything) == [
        ("call-started", "c2"),
        ("call-ended", "c1"),
        ("call-ended", "c2"),
        ("call-started", "c3"),
    ]
    assert told(queue) == [("call-ended", "c1")], "what the call met before is known"
    first, second = (json.loads(body) for _, body in everything.heard[:2])
    assert first["entry"] == before[1], "who has heard it knows it"
    assert (first["position"], first["data"]) == (f"journal.{first['entry']}", {"n": 2})
    assert second["queues"] == ["support"]
    assert [len(each) for each in lines] == [5, 1]
    assert {line.status for each in lines for line in each} == {"delivered"}


async def lines_of(api: Any) -> list[Any]:
    """The logs of all webhooks, once nothing waits for any."""
    numbers = [webhook.id for webhook in api.service.webhooks.all()]
    async with asyncio.timeout(20):
        while any(api.service.webhooks.under_way(number).waiting for number in numbers):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await api.service.webhooks.written()
    return [await api.store.webhooks.lines(number, 9) for number in numbers]


@asynccontextmanager
async def stopped_while(
    directory: Path, running: Any, hook: Hook, count: int
) -> AsyncIterator[None]:
    """An orderly stop while `count` events wait."""
    hook.statuses = [500] * 9
    async with running(directory, TRUSTED) as api:
        admin = await api.as_role("admin")
        body = {"name": "x", "url": hook.url, "topics": ["calls"]}
        await admin.post("/webhooks", body)
        for number in range(count):
            api.store.journal.append("call-started", f"c{number}", {}, 1.0)
        await heard(hook, 1)
        yield
    hook.statuses.clear()
    hook.heard.clear()


async def test_an_orderly_stop_and_what_happens_between_two_starts(
    tmp_path: Path, running_api_module: Any
) -> None:
    """Stopping ends calls; nobody listens then, nor while the exchange begins."""
    async with hooked() as hook:
        async with stopped_while(tmp_path, running_api_module, hook, 2):
            pass
        async with running_api_module(tmp_path, TRUSTED) as api:
            # The records of the two calls are closed by this start.
            await heard(hook, 4)
            (lines,) = await lines_of(api)
            (webhook,) = await api.store.webhooks.all()
            assert webhook.told_to == api.store.journal.last_seq
        started = [("call-started", "c0"), ("call-started", "c1")]
        assert told(hook)[:2] == started
        assert sorted(told(hook)[2:]) == [("call-ended", "c0"), ("call-ended", "c1")]
        assert {line.status for line in lines} == {"delivered"}, "none was dropped"
        count = len(hook.heard)
        async with running_api_module(tmp_path, TRUSTED) as api:
            api.store.journal.append("call-started", "last", {}, 9.0)
            await heard(hook, count + 1)
        assert told(hook)[count:] == [("call-started", "last")], "nothing is told twice"


async def test_so_many_wait_and_no_more(
    tmp_path: Path, running_api_module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than may wait have been missed: the newest are told, of the others the log says that they are not.
    What happens while the journal is read comes behind them."""
    monkeypatch.setattr(missed, "_PAGE", 300)
    read = missed.missed

    async def reading(*arguments: Any) -> AsyncIterator[Any]:
        number = 0
        async for found in read(*arguments):
            if number == 5:
                arguments[0].journal.append("call-started", "while it is read", {}, 1.0)
            number += 1
            yield found

    monkeypatch.setattr(webhooks, "missed", reading)
    async with hooked() as hook:
        async with stopped_while(tmp_path, running_api_module, hook, 600):
            pass
        hook.statuses = [500] * 9
        async with running_api_module(tmp_path, TRUSTED) as api:
            post = api.service.webhooks
            await post._missed
            assert post.under_way(1).waiting == WAITING_MAX
            (_, *left) = post._told[1].delivery._waiting
            last = json.loads(left[-1].body)
            assert (last["call_id"], last["entry"]) == ("while it is read", left[-1].entry)
            assert [each.entry for each in left] == sorted(each.entry for each in left)
            await post.written()
            dropped = await api.store.webhooks.lines(1, 2_000, status="dropped")
            last_before = dropped[0].event.removeprefix("journal.")
        # 600 calls began; their records are closed by the start.
        assert len(dropped) + WAITING_MAX == 2 * 600 + 1
        assert int(last_before) < left[0].entry


async def test_a_database_that_cannot_be_read_at_the_start(
    tmp_path: Path, running_api_module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are told as soon as it can be; they were not until the next start."""
    monkeypatch.setattr(webhooks, "_LOAD_AGAIN_S", 0.01)
    async with hooked() as hook:
        async with stopped_while(tmp_path, running_api_module, hook, 1):
            pass
        read, tried = Webhooks.all, 0

        async def failing(self: Any) -> Any:
            nonlocal tried
            tried += 1
            if tried < 3:
                raise StoreError("the database is locked")
            return await read(self)

        monkeypatch.setattr(Webhooks, "all", failing)
        async with running_api_module(tmp_path, TRUSTED):
            await heard(hook, 1)
        assert told(hook)[0] == ("call-started", "c0")
        assert tried == 3
