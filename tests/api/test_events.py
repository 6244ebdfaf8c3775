"""Events: what is heard, by whom, after a break, and when somebody does not listen."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

import softswitch
from routing.events import ContactArrived
from softswitch.api.access import Identity
from softswitch.api.events.hub import PLAIN, Filter, Hub, TooOld
from softswitch.api.events.reader import (
    FORBIDDEN,
    MALFORMED,
    SLOW,
    SUBSCRIPTIONS_MAX,
    TOO_OLD,
    Reader,
)
from softswitch.api.events.topics import topic_of

ADMIN = Identity("root", "admin", "user")
AGENT = Identity("lilei", "agent", "agent", agent_id="lilei")


def reader_of(hub: Hub, identity: Identity = ADMIN, **options: Any) -> Reader:
    return Reader(
        hub, identity, lambda wanted: {"topics": sorted(wanted.topics)}, _nothing, **options
    )


def _nothing() -> None:
    pass


def say(reader: Reader, **command: Any) -> list[dict[str, Any]]:
    reader.take_text(json.dumps(command))
    return heard(reader)


def heard(reader: Reader) -> list[dict[str, Any]]:
    found = []
    while (text := reader.next_text()) is not None:
        found.append(json.loads(text))
    return found


def test_snapshot_then_changes() -> None:
    hub = Hub("r")
    reader = reader_of(hub)
    hub.note("call-started", "c1", {}, 1.0)
    subscribed, snapshot = say(reader, type="subscribe", id="a", topics=["calls"])
    assert subscribed == {"type": "subscribed", "id": "a", "position": "r.1"}
    assert snapshot["data"] == {"topics": ["calls"]}
    hub.note("call-ended", "c1", {"by": "caller"}, 2.0)
    hub.note("acd-agent-state", None, {"agent": "lilei"}, 2.0)
    (event,) = heard(reader)
    assert event["ids"] == ["a"]
    assert (event["kind"], event["position"], event["data"]) == (
        "call-ended",
        "r.2",
        {"by": "caller"},
    )


def test_a_call_is_found_by_every_queue_and_agent_it_has_met() -> None:
    hub = Hub("r", {"1001": "lilei"}.get)
    reader = reader_of(hub)
    say(reader, type="subscribe", id="q", topics=["calls", "queues"], queue="support")
    say(reader, type="subscribe", id="a", topics=["calls"], agent="lilei")
    hub.note("call-started", "c1", {}, 1.0)
    assert heard(reader) == []
    hub.note("acd-queued", "c1", {"queue": "support"}, 1.0)
    hub.note("leg-started", "c1", {"endpoint": "extension:1001"}, 2.0)
    hub.note("call-ended", "c1", {}, 3.0)
    assert [(e["kind"], e["ids"]) for e in heard(reader)] == [
        ("acd-queued", ["q"]),
        ("leg-started", ["q", "a"]),
        ("call-ended", ["q", "a"]),
    ]
    assert hub.snapshot()["calls"] == 0


@pytest.mark.parametrize("kind", sorted(PLAIN))
def test_what_is_plain_of_calls_is_told_as_if_it_had_been_looked_at(kind: str) -> None:
    hub = Hub("r")
    assert topic_of(kind, "c1", "") == "calls"
    hub.note(kind, "c1", {"leg": 1}, 1.0)
    hub.note("acd-queued", "c2", {"queue": "support"}, 2.0)
    hub.note(kind, "c2", {"leg": 2}, 3.0)
    told = list(hub.since("r.0"))
    assert [(e.number, e.topic, e.kind, e.call_id) for e in told] == [
        (1, "calls", kind, "c1"),
        (2, "queues", "acd-queued", "c2"),
        (3, "calls", kind, "c2"),
    ]
    assert [e.queues for e in told] == [frozenset(), {"support"}, {"support"}]


@pytest.mark.parametrize(
    ("kind", "data", "agents"),
    [
        ("leg-started", {"endpoint": "trunk:carrier"}, []),
        ("leg-started", {"endpoint": "extension:1001"}, ["li"]),
        ("leg-started", {}, []),
        ("call-started", {"trunk": "carrier"}, []),
        ("call-started", {"extension": "1001"}, []),
        ("call-started", {"queue": "support"}, []),
    ],
)
def test_whom_a_call_meets_is_told_whatever_its_other_end_is(
    kind: str, data: dict[str, Any], agents: list[str]
) -> None:
    hub = Hub("r", {"1001": "li"}.get)
    hub.note(kind, "c1", data, 1.0)
    hub.note("call-answered", "c1", {}, 2.0)
    queues = [data["queue"]] if "queue" in data else []
    for event in hub.since("r.0"):
        assert (event.topic, sorted(event.queues), sorted(event.agents)) == (
            "calls",
            queues,
            agents,
        )


@given(
    st.lists(st.sampled_from(["call-started", "acd-queued", "acd-agent-state"]), max_size=30),
    st.integers(0, 30),
    st.integers(1, 8),
)
@pytest.mark.limit("events kept for who resumes")
def test_whoever_resumes_misses_nothing_or_is_told_so(kinds: list[str], at: int, kept: int) -> None:
    hub = Hub("r", kept_max=kept)
    steady = reader_of(hub)
    say(steady, type="subscribe", id="s", topics=["calls", "queues", "agents"], snapshot=False)
    position = hub.position()
    for number, kind in enumerate(kinds):
        if number == at:
            position = hub.position()
        hub.note(kind, None if kind == "acd-agent-state" else "c1", {"n": number}, 0.0)
    everything = [e for e in heard(steady) if e["type"] == "event"]
    late = reader_of(hub)
    missed = say(
        late, type="subscribe", id="s", topics=["calls", "queues", "agents"], position=position
    )
    after = int(position.rpartition(".")[2])
    if len(kinds) - after > kept:
        assert late.closed == TOO_OLD
    else:
        assert missed[1:] == everything[after:]


@pytest.mark.parametrize("position", ["", "r.", "r.-1", "r.9", "x.0", "r.٣", "r.0.0"])
def test_a_position_of_another_run_or_none_is_too_old(position: str) -> None:
    hub = Hub("r")
    with pytest.raises(TooOld):
        hub.since(position)
    reader = reader_of(hub)
    say(reader, type="subscribe", topics=["calls"], position=position)
    assert reader.closed == TOO_OLD


@pytest.mark.limit("messages that wait for an event reader")
def test_a_slow_reader_is_dropped_at_the_limit_and_costs_nothing_more() -> None:
    hub = Hub("r")
    reader = reader_of(hub, waiting_max=10)
    say(reader, type="subscribe", topics=["calls"])
    for number in range(10):
        hub.note("call-started", f"c{number}", {}, 0.0)
    assert reader.closed is None
    hub.note("call-started", "c11", {}, 0.0)
    assert reader.closed == SLOW
    assert reader.dropped == 11
    assert (reader.waiting, hub.listeners) == (0, 0)


def test_roles_are_asked_for_every_topic() -> None:
    for topic, agent, closed in (
        ("agents", "", False),
        ("calls", "", True),
        ("calls", "mary", True),
        ("calls", "lilei", False),
        ("users", "lilei", True),
        ("security", "", True),
    ):
        reader = reader_of(Hub("r"), AGENT)
        say(reader, type="subscribe", topics=[topic], agent=agent)
        assert (reader.closed is not None) == closed, topic
        if closed:
            assert reader.closed is not None
            assert reader.closed[0] == FORBIDDEN[0]
    program = Identity("t", "admin", "token", frozenset({"agents:read"}))
    reader = reader_of(Hub("r"), program)
    say(reader, type="subscribe", topics=["tickets"])
    assert reader.closed is not None


@pytest.mark.limit("subscriptions of an event connection")
def test_subscriptions_are_bounded_and_end() -> None:
    hub = Hub("r")
    reader = reader_of(hub)
    for number in range(SUBSCRIPTIONS_MAX):
        assert say(reader, type="subscribe", id=str(number), topics=["calls"])[0]["type"] == (
            "subscribed"
        )
    assert say(reader, type="subscribe", id="more", topics=["calls"])[0]["type"] == "refused"
    assert say(reader, type="subscribe", id="0", topics=["queues"])[0]["type"] == "subscribed"
    assert say(reader, type="subscribe", id="0", topics=["nothing"])[0]["type"] == "refused"
    for number in range(SUBSCRIPTIONS_MAX):
        assert say(reader, type="unsubscribe", id=str(number))[0]["type"] == "unsubscribed"
    assert hub.listeners == 0


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"type":"x"}', '{"type":"ping","y":1}', "x" * 20_000, "\ud800"]
)
def test_what_is_no_command_ends_the_connection(text: str) -> None:
    reader = reader_of(Hub("r"))
    reader.take_text(text)
    assert reader.closed is not None
    assert reader.closed[0] == MALFORMED[0]
    assert len(reader.closed[1].encode()) <= 123


@given(st.text(max_size=200))
def test_no_text_breaks_a_reader(text: str) -> None:
    reader_of(Hub("r")).take_text(text)


def test_filters() -> None:
    hub = Hub("r")
    hub.note("call-started", "c1", {"queue": "a", "agent": "b"}, 0.0)
    (event,) = hub.since("r.0")
    assert Filter(frozenset({"calls"}), call="c1", queue="a", agent="b").fits(event)
    assert not Filter(frozenset({"calls"}), call="c2").fits(event)


# -- over the wire -------------------------------------------------------------------------------


@asynccontextmanager
async def listening(served: Any, token: str = "", **options: Any) -> AsyncIterator[Any]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with connect(
        served.url.replace("http", "ws") + "/api/v1/events",
        additional_headers=headers,
        **options,
    ) as socket:
        yield socket


async def token_of(api: Any, role: str, *scopes: str) -> str:
    _, text = await api.service.accounts.add_token(
        "test", name=role, role=role, scopes=scopes or ("*",), expires_at_s=None
    )
    return str(text)


async def test_over_a_real_socket(served: Any) -> None:
    api = served.api
    token = await token_of(api, "supervisor")
    async with listening(served, token) as socket:
        topics = ["queues", "agents", "calls"]
        await socket.send(json.dumps({"type": "subscribe", "id": "wall", "topics": topics}))
        assert json.loads(await socket.recv())["type"] == "subscribed"
        snapshot = json.loads(await socket.recv())["data"]
        assert [q["queue"] for q in snapshot["queues"]] == ["support", "billing"]
        assert snapshot["calls"] == snapshot["regions"] == []
        assert [row["name"] for row in snapshot["skills"]] == [""]
        api.switch.agents.log_in("lilei")
        found: dict[str, Any] = {}
        while "queue-state" not in found:
            event = json.loads(await asyncio.wait_for(socket.recv(), 5))
            found[event["kind"]] = event["data"]
        assert found["acd-agent-state"]["agent"] == "lilei"
        assert found["agent-state"]["state"] == "available"
        assert found["queue-state"]["agents"]["available"] == 1
        came = ContactArrived(contact_id="c7", queue_id="support", caller="+861065551000")
        api.switch.centre.host.do(came)
        while found.get("skill-state", {}).get("entered") != 1:
            event = json.loads(await asyncio.wait_for(socket.recv(), 5))
            found[event["kind"]] = event["data"]
        assert (found["region-state"]["name"], found["region-state"]["entered"]) == ("north", 1)
        assert found["skill-state"]["per"] == "skill"
        # A screen that was filled by lists goes on with events: they are the same rows.
        reader = api.client(token)
        agent = await reader.get("/agents/lilei")
        assert agent.keys() == found["agent-state"].keys() - {"agent"}
        assert agent["id"] == found["agent-state"]["id"] == "lilei"
        queue = await reader.get("/queues/support")
        assert queue.keys() <= found["queue-state"].keys()
        assert queue.keys() <= snapshot["queues"][0].keys()
        assert agent.keys() <= snapshot["agents"][0].keys()
        position = event["position"]
    api.store.journal.append("call-started", "c1", {"number_from": "1"}, 1.0)
    async with listening(served, token) as socket:
        command = {"type": "subscribe", "topics": ["calls"], "position": position}
        await socket.send(json.dumps(command))
        assert json.loads(await socket.recv())["type"] == "subscribed"
        assert json.loads(await socket.recv())["kind"] == "call-started"
    async with listening(served, token) as socket:
        command = {"type": "subscribe", "topics": ["calls"], "position": "gone.1"}
        await socket.send(json.dumps(command))
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == TOO_OLD[0]


async def test_who_may_connect(served: Any) -> None:
    api = served.api
    good = await token_of(api, "agent", "events:read")
    other = await token_of(api, "agent", "agents:read")
    for token, origin, status in (
        ("", None, 401),
        ("sst_nothing_nothing", None, 401),
        (other, None, 403),
        (good, "https://evil.example", 403),
        (good, "null", 403),
    ):
        with pytest.raises(InvalidStatus) as refused:
            async with listening(served, token, origin=origin):
                pass
        assert refused.value.response.status_code == status
        assert refused.value.response.headers["content-type"] == "application/problem+json"
    for origin in (None, served.url, "https://wallboard.example"):
        async with listening(served, good, origin=origin) as socket:
            await socket.send('{"type":"ping"}')
            assert json.loads(await socket.recv())["type"] == "pong"


async def test_the_exchange_stops_and_says_so(served: Any) -> None:
    token = await token_of(served.api, "agent")
    async with listening(served, token) as socket:
        await socket.send('{"type":"ping"}')
        await socket.recv()
        served.api.service.events.stop()
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001


async def test_one_who_stops_reading_is_told_why(served: Any) -> None:
    api = served.api
    token = await token_of(api, "supervisor")
    async with listening(served, token, max_queue=1) as socket:
        await socket.send('{"type":"subscribe","topics":["calls"],"snapshot":false}')
        await socket.recv()
        (reader,) = api.service.events.readers
        while reader.closed is None:
            for number in range(500):
                data = {"number_from": "x" * 2_000, "n": number}
                api.service.events.hub.note("call-started", "c1", data, 1.0)
            await asyncio.sleep(0.01)
        with contextlib.suppress(ConnectionClosed):
            while True:
                await asyncio.wait_for(socket.recv(), 10)
        assert socket.close_code == SLOW[0]


def test_what_somebody_did_is_told_under_another_name_than_what_came_of_it() -> None:
    """An act is told from the audit log, what the exchange made of it from the journal: under one name whoever
    counts would count twice."""
    acts: set[str] = set()
    kinds: set[str] = set()
    folder = Path(softswitch.__file__).parent
    trees = [ast.parse(path.read_text()) for path in folder.rglob("*.py")]
    named = {
        node.targets[0].id: node.value
        for tree in trees
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    for tree in trees:
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            args = [named.get(a.id, a) if isinstance(a, ast.Name) else a for a in node.args]
            whose = ast.unparse(node.func.value)
            if node.func.attr == "noted" or (node.func.attr, whose) == ("note", "change"):
                acts.update(word for arg in args[:2] for word in words_of(arg))
            elif node.func.attr == "_note" and ast.unparse(args[0]) == "request":
                acts.update(words_of(args[1]))
            elif node.func.attr in ("append", "note", "_note", "_append", "_write") and args:
                kinds.update(words_of(args[0]))
    assert {"call-put-on-hold", "customer-merged", "office-reloaded", "logged-in"} <= acts
    assert {"call-started", "call-held", "line-changed", "voicemail-heard"} <= kinds
    assert acts & kinds == set()


def words_of(argument: ast.expr) -> list[str]:
    """Texts that an argument may be."""
    if isinstance(argument, ast.IfExp):
        return [*words_of(argument.body), *words_of(argument.orelse)]
    found = argument.value if isinstance(argument, ast.Constant) else None
    return [found] if isinstance(found, str) and "-" in found else []
