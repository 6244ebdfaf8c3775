"""`softswitch why`, `queues` and `agents`: what they say of a call centre."""

from __future__ import annotations

import asyncio
import io
import json

import pytest
from rich.console import Console
from typer.testing import CliRunner

from softswitch.apps.acd_story import tell
from softswitch.cli.main import build
from softswitch.cli.queues import agent_table, duration, queue_table
from softswitch.cli.status import status_tables
from softswitch.errors import SoftswitchError
from softswitch.sim.centre import QUEUE_NUMBER, centre_office
from softswitch.sim.loop import simulated
from softswitch.sim.world import World
from softswitch.store import Store
from tests.apps.people import passed_on

REGIONS = '[[region]]\nname = "north"\nprefixes = ["+8610"]\n'


def text_of(*tables, width=200):
    console = Console(width=width, record=True, file=io.StringIO())
    for table in tables:
        console.print(table)
    return console.export_text()


@simulated()
async def test_the_story_of_a_call_names_every_agent_and_says_why():
    agents = {"lilei": 'regions = ["north"]', "hanmeimei": "", "mary": 'regions = ["north"]'}
    keys = 'route = ["region", "longest-idle"]\nregion = { wait_s = 60 }'
    async with passed_on(agents, keys, more=REGIONS) as world:
        (started,) = world.journal.of_kind("call-started")
        entries = [
            (e.at_s, e.kind, json.loads(json.dumps(e.data, default=str)))
            for e in world.journal.of_call(started.call_id)
        ]
        story = "\n".join(tell(entries))
        for line in (
            "01065550001 called +861065551001.",
            "Waits in support at place 1.",
            "Demanded then: region north.",
            "Free were lilei, mary; longest-idle put lilei first.",
            "Not hanmeimei: not of region north.",
            "lilei did not answer in time.",
            "Not lilei: unavailable.",
            "mary took it after 6.0 s.",
            "Decided again from this record: gives the same agent.",
            "mary is done with it (ended): talk 24.0 s, hold 0.0 s, wrap-up 20.0 s.",
            "support is done with it: answered, caller.",
        ):
            assert line in story, story
        assert "DOES NOT" not in story


@simulated()
async def test_tables_of_queues_and_agents():
    async with World(
        2, office=centre_office("service_level = { within_s = 20, target = 0.9 }")
    ) as world:
        world.switch.agents.log_in("lilei", available=False, reason="meal")
        carrier = await world.trunk("carrier-1")
        call = await carrier.call(QUEUE_NUMBER)
        await call.answered()
        await asyncio.sleep(75)
        shown = text_of(*status_tables({**world.switch.snapshot(), "workers": []}))
        assert "support" in shown
        assert "1:15" in shown
        assert "unavailable (meal), no telephone" in shown
        assert "supervisor" not in shown
        call.hang_up()
        await call.ended()
        await asyncio.sleep(1)
        (row,) = world.switch.snapshot()["queues"]
        assert (row["waiting"], row["abandoned"], row["service_level"]) == (0, 1, 0.0)
        assert "0%/90%" in text_of(queue_table([row]))
        assert "logged-out" in text_of(agent_table(world.switch.snapshot()["agents"]))
        await world.settle()


def test_a_terminal_of_eighty_columns_shows_the_queues_whole():
    row = {
        "queue": "support",
        "number": "5000",
        "open": True,
        "waiting": 112,
        "longest_wait_s": 1500,
        "agents": {"available": 2, "on-contact": 110, "unavailable": 14},
        "answered": 10234,
        "abandoned": 1201,
        "service_level": 0.85,
        "target": 0.8,
        "expected_wait_s": 700,
        "wait_error_s": 45,
        "tickets_waiting": 1234,
        "occupancy_lately": 0.87,
    }
    words = ["support", "25:00", "110", "10234", "1201", "85%/80%", "11:40", "± 45 s", "87%"]
    for shown_row, width in (({**row, "tickets_waiting": 0}, 80), (row, 86)):
        shown = text_of(queue_table([shown_row]), width=width)
        assert "…" not in shown
        assert ("1234" in shown) is (width > 80), "a column of tickets only where there are some"
        for word in words:
            assert word in shown


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59.9, "59 s"), (60, "1:00"), (7400, "2:03:20")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text


async def write_calls(directory):
    store = await Store.open(directory)
    for call_id in ("c1-aaaa", "c2-aaaa", "c3-bbbb"):
        store.journal.append("call-started", call_id, {"number_from": "1", "number_to": "2"}, 1.0)
        store.journal.append(
            "acd-overflowed", call_id, {"queue": "q", "target": "", "reason": "full"}, 3.0
        )
    await store.journal.flush()
    await store.close()


def test_why_finds_a_call_by_its_end(tmp_path):
    directory = tmp_path / "var"
    directory.mkdir()
    (tmp_path / "office.toml").write_text("")
    asyncio.run(write_calls(directory))
    run = CliRunner().invoke
    place = str(tmp_path / "office.toml")
    found = run(build(), ["why", "bbbb", place])
    assert found.output.splitlines() == [
        "      0.0 s  1 called 2.",
        "      2.0 s  q sent it to nowhere: as many wait as may.",
    ]
    exact = run(build(), ["why", "c1-aaaa", place, "--json"])
    assert [e["kind"] for e in json.loads(exact.output)] == ["call-started", "acd-overflowed"]
    for call, words in (("aaaa", "several calls"), ("zzzz", "no call zzzz")):
        refused = run(build(), ["why", call, place])
        assert isinstance(refused.exception, SoftswitchError)
        assert words in str(refused.exception)
