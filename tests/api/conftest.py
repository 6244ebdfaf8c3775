"""An exchange without sound, on real time and a real database, and clients of its API.

What reads and writes much (`ON_BOTH`) is tested on SQLite and on PostgreSQL; of the rest each test is run on
one of them, always the same. With `SOFTSWITCH_DATABASES=both`, as `make soak` has it, all are run on both.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from zlib import crc32

import httpx
import pytest
import uvicorn
from argon2 import PasswordHasher

from media.protocol import MediaEvent
from softswitch.api.accounts import Accounts
from softswitch.api.app import build_app
from softswitch.api.server import server_options
from softswitch.api.service import Service
from softswitch.api.sessions import CSRF_HEADER, Sessions
from softswitch.config import Office, parse_office
from softswitch.environment import Machine
from softswitch.ports import free_port
from softswitch.sim.media import SimMediaPlane
from softswitch.switch import Switch
from tests.conftest import programs
from tests.databases import lay_database

# Agents are told nothing before they have a caller: it takes four seconds of real time, and is heard in `apps`.
OFFICE = """
[office]
name = "Example Trading"
timezone = "Asia/Shanghai"

[sip]
listen = ["udp://127.0.0.1:0"]

[[extension]]
number = "1001"
name = "Li Lei"
password = "a-long-secret-1001"
permissions = ["internal", "local", "national"]
voicemail = { pin = "4711" }

[[extension]]
number = "1002"
password = "a-long-secret-1002"

[[extension]]
number = "1003"
password = "a-long-secret-1003"

[[trunk]]
name = "carrier"
uri = "sip:127.0.0.1:5990"
username = "office"
password = "trunk-secret"
from_addresses = ["127.0.0.1:5990"]

[[region]]
name = "north"
prefixes = ["+8610"]

[[queue]]
name = "support"
number = "5000"
service_level = { within_s = 20, target = 0.8 }
tell_agent = []

[[queue]]
name = "billing"
number = "5001"
service_level = { within_s = 60, target = 0.8 }
tell_agent = []

[[customer]]
phone = ["+8613800000009"]
name = "Li of the file"

[[agent]]
id = "lilei"
name = "Li Lei"
extension = "1001"
password = "console-secret-lilei"
queues = ["support", "billing"]

[[agent]]
id = "mary"
name = "Mary Smith"
extension = "1003"
password = "console-secret-mary"
role = "supervisor"
queues = ["support"]
"""


class QuietMachine(Machine):
    """This machine, but for the sound and the sockets of the command line."""

    def plane(
        self, office: Office, directory: Path, on_event: Callable[[MediaEvent], None]
    ) -> SimMediaPlane:
        return SimMediaPlane(on_event=on_event, recordings_dir=directory / "recordings")

    def admin(self) -> bool:
        return False

    def http(self) -> bool:
        return False


class Client:
    """One program or browser. Answers are compared to what was expected at once."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def ask(self, method: str, path: str, expect: int = 200, **options: Any) -> Any:
        answer = await self.http.request(method, f"/api/v1{path}", **options)
        assert answer.status_code == expect, (method, path, answer.status_code, answer.text)
        kind = answer.headers.get("content-type", "")
        if answer.status_code >= 400:
            assert kind == "application/problem+json"
        return answer.json() if answer.content and "json" in kind else answer

    async def get(self, path: str, expect: int = 200, **options: Any) -> Any:
        return await self.ask("GET", path, expect, **options)

    async def post(self, path: str, json: Any = None, expect: int = 201, **options: Any) -> Any:
        return await self.ask("POST", path, expect, json=json, **options)

    async def patch(self, path: str, json: Any, expect: int = 200, **options: Any) -> Any:
        return await self.ask("PATCH", path, expect, json=json, **options)

    async def delete(self, path: str, expect: int = 204, **options: Any) -> Any:
        return await self.ask("DELETE", path, expect, **options)

    async def log_in(self, name: str, password: str, expect: int = 201) -> Any:
        """As a browser does it: the cookie is kept, the token against forgeries is sent from now on."""
        found = await self.post("/session", {"name": name, "password": password}, expect)
        if expect == 201:
            self.http.headers[CSRF_HEADER] = found["csrf_token"]
        return found


class Api:
    """A running exchange, its application, and clients for it."""

    def __init__(self, switch: Switch, service: Service, directory: Path) -> None:
        self.switch = switch
        self.service = service
        self.store = service.store
        self.directory = directory
        self.app = build_app(service)
        self._clients: list[httpx.AsyncClient] = []

    def client(self, token: str = "", **options: Any) -> Client:
        """A new one; with `token`, a program."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        headers |= options.pop("headers", {})
        http = httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app, raise_app_exceptions=True, **options),
            base_url="http://pbx.example",
            headers=headers,
        )
        self._clients.append(http)
        return Client(http)

    async def as_role(self, role: str, *scopes: str) -> Client:
        """A program of this role, with these scopes or all."""
        _, token = await self.service.accounts.add_token(
            "test", name=f"{role} test", role=role, scopes=scopes or ("*",), expires_at_s=None
        )
        return self.client(token)

    async def close(self) -> None:
        for client in self._clients:
            await client.aclose()


ON_BOTH = {"callers", "calls", "config", "customers", "quality", "reports", "resources", "tickets"}
"""Modules, without their `test_`."""

DATABASES = ("sqlite", "postgresql")
FindDatabase = Callable[[Path], str]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "database" not in metafunc.fixturenames:
        return
    module = metafunc.module.__name__.rpartition("test_")[2]
    kinds: tuple[str, ...] = DATABASES
    if module not in ON_BOTH and os.environ.get("SOFTSWITCH_DATABASES") != "both":
        name = f"{module}.{metafunc.function.__name__}"
        kinds = ("sqlite",) if programs() is None else (DATABASES[crc32(name.encode()) % 2],)
    metafunc.parametrize("database", kinds, indirect=True)


@pytest.fixture
def database(request: pytest.FixtureRequest) -> FindDatabase:
    """Where the records of an exchange in a directory are: there, or in a PostgreSQL database of its own."""
    if request.param == "sqlite":
        return lambda _: "sqlite"
    postgres = request.getfixturevalue("postgres")
    made: dict[Path, str] = {}

    def find(directory: Path) -> str:
        if directory not in made:
            made[directory] = postgres.new_database()
        return made[directory]

    return find


@asynccontextmanager
async def running(
    directory: Path, more: str = "", machine: Machine | None = None, database: str = "sqlite"
) -> AsyncIterator[Api]:
    office = parse_office(OFFICE + more)
    storage = office.storage.model_copy(update={"directory": directory, "database": database})
    office = office.model_copy(update={"storage": storage})
    machine = machine or QuietMachine()
    if database == "sqlite":
        lay_database(directory)
    switch = Switch(office, environment=machine)
    await switch.start()
    executor = ThreadPoolExecutor(2, thread_name_prefix="api")
    sessions = Sessions(b"k" * 32)
    hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    accounts = Accounts(switch, switch.store, machine.clock, sessions, executor, hasher)
    await accounts.load()
    service = Service(
        store=switch.store,
        clock=machine.clock,
        switch=switch,
        sessions=sessions,
        accounts=accounts,
        executor=executor,
    )
    await service.start()
    api = Api(switch, service, directory)
    try:
        yield api
    finally:
        await api.close()
        await service.stop()
        await switch.stop()
        executor.shutdown()


@pytest.fixture
async def api(tmp_path: Path, database: FindDatabase) -> AsyncIterator[Api]:
    """An office with two agents and nobody in the database."""
    async with running(tmp_path, database=database(tmp_path)) as api:
        yield api


class Served:
    """An exchange whose API is served over loopback."""

    def __init__(self, api: Api, url: str, server: uvicorn.Server) -> None:
        self.api = api
        self.url = url
        self._server = server

    def connections(self) -> list[Any]:
        """Those there are now."""
        return list(self._server.server_state.connections)


@pytest.fixture
async def served(tmp_path: Path, database: FindDatabase) -> AsyncIterator[Served]:
    """As `api`, with a real server in the same loop."""
    more = '[http]\norigins = ["https://wallboard.example"]\n'
    async with running(tmp_path, more, database=database(tmp_path)) as api:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", free_port()))
            listener.listen()
            config = server_options(api.app)
            server = uvicorn.Server(config)
            task = asyncio.create_task(server._serve(sockets=[listener]))
            yield Served(api, f"http://127.0.0.1:{listener.getsockname()[1]}", server)
            server.should_exit = True
            await task


@pytest.fixture
def running_api(database: FindDatabase) -> Any:
    """`running(directory, more)`, for tests that start an exchange themselves."""

    def start(directory: Path, more: str = "", machine: Machine | None = None) -> Any:
        return running(directory, more, machine, database(directory))

    return start


@pytest.fixture
def quiet_machine() -> type[Machine]:
    """This machine without sound."""
    return QuietMachine


@pytest.fixture(scope="module")
def running_api_module() -> Any:
    """As `running_api`, for what many tests share."""
    return running
