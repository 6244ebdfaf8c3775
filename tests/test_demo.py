"""The demonstration is a test of its own: real sockets, a real media worker, audio judged by content."""

from __future__ import annotations

import asyncio
import json

import pytest

from softswitch.api.admin import AdminServer, ServerNotRunning, ask
from softswitch.cli.status import records_table, status_tables
from softswitch.cli.trace import messages
from softswitch.demo import Demo
from softswitch.errors import SoftswitchError

pytestmark = pytest.mark.realtime


@pytest.mark.slow
async def test_demo_call_is_heard_recorded_and_shown(tmp_path):
    demo = Demo(tmp_path)
    await demo.start()
    snapshots = []
    traced: list[dict] = []
    try:
        async with asyncio.timeout(60):
            result = await demo.run(snapshots.append)
            asked = await asyncio.to_thread(lambda: next(ask(demo.switch.directory, "status")))
            traced = await asyncio.to_thread(
                lambda: list(ask(demo.switch.directory, "trace", follow=False))
            )
        at_rest = demo.switch.control.snapshot()
    finally:
        await demo.stop()
    assert result.good, result.hearings
    assert result.recording.is_file()
    assert result.record["status"] == "answered"
    assert result.record["duration_s"] > 3
    states = {call["state"] for snapshot in snapshots for call in snapshot["calls"]}
    assert states >= {"ringing", "talking"}
    assert asked["tables"]["total"] == 1
    assert {row["extension"] for row in snapshots[-1]["registrations"]} == {"1001", "1002"}
    assert not any(at_rest[name] for name in ("calls", "legs", "sessions", "streams", "recordings"))
    lines = list(messages(iter(traced)))
    shown = "\n".join(lines)
    for what in ("REGISTER", "INVITE", "180 Ringing", "200 OK", "ACK", "BYE"):
        assert what in shown
    assert status_tables(snapshots[-1])[0].row_count == 1
    assert records_table([result.record]).row_count == 1
    json.dumps(asked)


async def test_admin_socket_answers_refuses_and_outlives_a_stale_file(tmp_path):
    async def hello(request):
        return {"hello": request.get("name")}

    async def count(request):
        for number in range(3):
            yield {"number": number}

    async def fail(request):
        raise SoftswitchError("no such call")

    directory = tmp_path / ("long" * 30)
    directory.mkdir()
    (directory / "control.sock").touch()
    server = AdminServer(directory, {"hello": hello, "count": count, "fail": fail})
    await server.start()
    try:
        assert (directory / "control.sock").stat().st_mode & 0o777 == 0o600
        answers = await asyncio.to_thread(lambda: list(ask(directory, "hello", name="x")))
        assert answers == [{"hello": "x"}]
        answers = await asyncio.to_thread(lambda: list(ask(directory, "count")))
        assert [a["number"] for a in answers] == [0, 1, 2]
        for command, words in (("fail", "no such call"), ("nonsense", "unknown command")):
            with pytest.raises(SoftswitchError, match=words):
                await asyncio.to_thread(lambda name=command: list(ask(directory, name)))
        with pytest.raises(SoftswitchError, match="another server"):
            await AdminServer(directory, {}).start()
    finally:
        await server.stop()
    with pytest.raises(ServerNotRunning):
        await asyncio.to_thread(lambda: list(ask(directory, "hello")))
