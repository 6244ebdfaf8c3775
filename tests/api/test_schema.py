"""Requests made up from the OpenAPI document, good and bad: no 500, and no answer that the document does
not describe. Against the real server, over loopback."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import (
    content_type_conformance,
    not_a_server_error,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.generation.hypothesis import builder
from schemathesis.generation.meta import TestPhase
from schemathesis.pytest._test_builder import build_operation_test
from schemathesis.transport.serialization import serialize_binary
from starlette.routing import Route

from softswitch.api.app import routes
from softswitch.ports import free_port
from softswitch.store.attachments import TYPES
from tests.api.documents import whole

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@schemathesis.serializer(
    "application/msword",
    "application/pdf",
    "application/zip",
    *(kind for kind in TYPES if kind.startswith(("application/vnd.", "audio/", "video/"))),
    "message/rfc822",
)
def as_it_is(_: Any, value: Any) -> Any:
    """Files and letters are sent as they are made up."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    return value if isinstance(value, bytes) else serialize_binary(value)


LABELS = [
    f"{method} {route.path}"
    for route in routes()
    if isinstance(route, Route) and route.include_in_schema and "/session" not in route.path
    for method in sorted(route.methods or ())
]
"""The operations that are asked, as the document names them. Those of sessions would log out who asks."""


@cache
def _schema() -> Any:
    return schemathesis.openapi.from_dict(whole()).exclude(path_regex="/session")


@cache
def _operations() -> dict[str, Any]:
    found = [each.ok() for each in _schema().get_all_operations()]
    return {operation.label: operation for operation in found}


UNTESTED = (
    builder.UnsatisfiableExampleMark,
    builder.NonSerializableMark,
    builder.UnserializablePayloadMark,
    builder.InvalidRegexMark,
    builder.InvalidHeadersExampleMark,
    builder.MissingPathParameters,
)
"""What says that requests to an operation could not be made up."""


def made_up(label: str, ask: Callable[[Any], None]) -> Callable[[], None]:
    """Asks with each request to an operation. schemathesis' own `parametrize` makes all of them up while tests
    are collected, in every process: a third of the time that collection took."""
    run = build_operation_test(
        config=_schema().config,
        operation=_operations()[label],
        test_func=settings(max_examples=EXAMPLES or 3, **QUIET)(ask),  # type: ignore[arg-type]
        given_kwargs={},
        feedback=builder.NO_FEEDBACK,
    )
    assert not [mark for mark in UNTESTED if mark.is_set(run)]
    return run


class Server:
    """An exchange with its API in a thread of its own."""

    def __init__(self, running_api: Any, directory: Any) -> None:
        self.url = ""
        self.token = ""
        self._running_api = running_api
        self._directory = directory
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: uvicorn.Server | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(30)

    def stop(self) -> None:
        assert self._server is not None
        self._server.should_exit = True
        self._thread.join(30)

    async def _serve(self) -> None:
        async with self._running_api(self._directory) as api:
            _, self.token = await api.service.accounts.add_token(
                "test", name="fuzz", role="admin", scopes=("*",), expires_at_s=None
            )
            await fill(api)
            with socket.socket() as listener:
                listener.bind(("127.0.0.1", free_port()))
                listener.listen()
                self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
                config = uvicorn.Config(api.app, lifespan="off", log_config=None, ws="none")
                self._server = uvicorn.Server(config)
                self._ready.set()
                await self._server._serve(sockets=[listener])
            await api.service.finish_notes()


async def fill(api: Any) -> None:
    """Something of each kind with the numbers that examples ask for."""
    from softswitch.store.customer_rows import Profile
    from softswitch.store.tickets import Matter

    append = api.store.journal.append
    append("call-started", "c-0f3a", {"number_from": "+861065551000"}, 1_000.0)
    append("acd-queued", "c-0f3a", {"contact": "c-0f3a", "queue": "support"}, 1_001.0)
    append("recording-started", "c-0f3a", {"name": "c-0f3a.wav"}, 1_002.0)
    append("call-ended", "c-0f3a", {}, 1_060.0)
    for number in range(12):
        await api.store.customers.add("test", Profile(name=f"customer {number}"))
        await api.store.tickets.add("test", Matter(subject=f"ticket {number}"))
    await api.store.journal.flush()


@pytest.fixture(scope="module")
def server(running_api_module: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(running_api_module, tmp_path_factory.mktemp("office"))
    server.start()
    yield server
    server.stop()


QUIET = {
    "deadline": None,
    "derandomize": True,
    "phases": [Phase.explicit, Phase.generate],
    "suppress_health_check": list(HealthCheck),
}


EXAMPLES = int(os.environ.get("SOFTSWITCH_SCHEMA_EXAMPLES", "0"))
"""Made-up requests to each operation, and all at the edges of what it takes; 0: a few, and a share of those."""

_edges: Counter[str] = Counter()
_EDGES_FIRST, _EDGES_EVERY = 6, 6


def _is_due(case: Any) -> bool:
    """Each operation has fifty requests at its edges, of which `make test` makes the first and every sixth."""
    if EXAMPLES or case.meta.phase.name != TestPhase.COVERAGE:
        return True
    label = case.operation.label
    _edges[label] += 1
    return _edges[label] <= _EDGES_FIRST or _edges[label] % _EDGES_EVERY == 0


def test_every_operation_of_the_document_is_asked() -> None:
    assert sorted(_operations()) == sorted(LABELS)


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.slow
def test_every_answer_is_described(label: str, server: Server) -> None:
    """`make soak` asks each operation 150 times and more."""
    asked = 0

    def ask(case: Any) -> None:
        nonlocal asked
        if _is_due(case):
            asked += 1
            headers = {"Authorization": f"Bearer {server.token}"}
            response = case.call(base_url=server.url, headers=headers)
            case.validate_response(response, checks=CHECKS)

    made_up(label, ask)()
    assert asked
