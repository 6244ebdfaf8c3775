"""Rows 21 and 22 of the reliability programme: the web door, and what a fresh install gives away."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import re
import stat
import struct
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from softswitch.api.access import ACCESS, PREFIX, RANK
from softswitch.api.app import document
from softswitch.api.events.reader import FORBIDDEN
from softswitch.api.events.topics import TOPICS
from softswitch.api.sessions import COOKIE
from softswitch.backup import make_backup
from softswitch.config import load_office
from softswitch.switch import Switch

KINDS = ("nobody", "agent", "supervisor", "admin", "token without scope")


async def test_the_role_matrix_on_every_route(api: Any, row: Any) -> None:
    """Row 21: each route, asked by everybody; who has not the rank is refused before anything is read."""
    api.app.openapi_schema = None
    paths = document(api.app)["paths"]
    clients = {role: await api.as_role(role) for role in ("agent", "supervisor", "admin")}
    clients["nobody"] = api.client()
    clients["token without scope"] = await api.as_role("admin", "nothing:read")
    asked = refused = routes = 0
    for path, operations in paths.items():
        url = re.sub(r"\{[^}]*\}", "zz", path)
        for method, operation in operations.items():
            routes += 1
            role = operation["x-role"]
            for kind in KINDS:
                rank = RANK.get(kind, 0 if kind == "nobody" else -1)
                if role == "public" or rank >= RANK[role]:
                    continue
                answer = await clients[kind].http.request(method.upper(), url, content=b"{")
                asked += 1
                refused += answer.status_code in (401, 403)
                wanted = 401 if kind == "nobody" else 403
                assert answer.status_code == wanted, (method, path, kind)
                if wanted == 401:
                    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert routes == len([key for key in ACCESS if not key.startswith("WS ")])
    # What is served without being in the document has a role too, or is the document itself.
    served = {f"{method} {url}" for url, methods in _all_routes(api.app) for method in methods}
    known = set(ACCESS)
    known |= {
        f"{method.upper()} {path}"
        for path, operations in paths.items()
        for method, found in operations.items()
        if found["x-role"]
    }
    without = served - known - OPEN
    row(
        21,
        "role matrix",
        routes=routes,
        served=len(served),
        without_a_role=len(without),
        asked=asked,
        let_in=asked - refused,
    )
    assert without == set()


OPEN = {"GET /", f"GET {PREFIX}/openapi.json"}
"""Served to everybody: what there is, in words and as a document."""


def _all_routes(app: Any) -> list[tuple[str, set[str]]]:
    """Path and methods ("WS" for a socket) of everything that the application answers to."""
    found, todo = [], list(app.routes)
    while todo:
        route = todo.pop()
        included = getattr(route, "original_router", None)
        if included is not None:
            todo += included.routes
            continue
        methods = set(getattr(route, "methods", None) or {"WS"}) - {"HEAD", "OPTIONS"}
        found.append((route.path, methods))
    return found


async def test_forged_requests_from_a_browser(api: Any, row: Any) -> None:
    """Row 21: with the cookie of somebody who is logged in, from another page or without the token."""
    browser = api.client()
    await browser.log_in("mary", "console-secret-mary")
    token = browser.http.headers.pop("x-csrf-token")
    let_in = tried = 0
    changing = [key.split(" ", 1) for key in ACCESS if key.split()[0] not in ("GET", "WS")]
    for method, path in changing:
        url = re.sub(r"\{[^}]*\}", "zz", path)
        for headers in (
            {},
            {"X-CSRF-Token": "0" * 32},
            {"X-CSRF-Token": token, "Origin": "https://evil.example"},
        ):
            if path.endswith("/session") and method == "POST" and "Origin" not in headers:
                continue
            answer = await browser.http.request(method, url, headers=headers, json={})
            tried += 1
            let_in += answer.status_code != 403
    assert let_in == 0
    row(21, "forged requests", tried=tried, let_in=let_in)


async def test_the_role_matrix_on_every_command_of_the_socket(served: Any, row: Any) -> None:
    """Row 21: each command about each topic, by everybody, over a real socket. Whoever may not is put out with
    4403; a state or an event of such a topic he has not seen."""
    api = served.api
    own = "lilei"
    people = {
        role: (await api.as_role(role)).http.headers["authorization"]
        for role in ("agent", "supervisor", "admin")
    }
    people["token without scope"] = (await api.as_role("admin", "events:read")).http.headers[
        "authorization"
    ]
    browser = api.client()
    await browser.log_in(own, "console-secret-lilei")
    cookie = "; ".join(f"{name}={value}" for name, value in browser.http.cookies.items())
    url = served.url.replace("http", "ws") + "/api/v1/events"
    asked = refused = let_in = 0
    for topic, access in TOPICS.items():
        for kind, headers in (
            *((kind, {"Authorization": found}) for kind, found in people.items()),
            ("own", {"Cookie": cookie}),
        ):
            may = RANK.get(kind, -1) >= RANK[access.role]
            if kind == "own":
                may = access.role == "agent"
            for filters in ({}, {"agent": own}, {"agent": "mary"}, {"call": "c1"}, {"queue": "x"}):
                allowed = may or (kind == "own" and topic == "calls" and filters == {"agent": own})
                async with connect(url, additional_headers=headers) as socket:
                    await socket.send(
                        '{"type":"ping"}'
                    )  # a command that takes no more than being here
                    assert json.loads(await socket.recv())["type"] == "pong"
                    command = {"type": "subscribe", "id": "a", "topics": [topic], **filters}
                    await socket.send(json.dumps(command))
                    asked += 1
                    if allowed:
                        assert json.loads(await socket.recv())["type"] == "subscribed"
                        await socket.send('{"type":"unsubscribe","id":"a"}')
                        continue
                    with pytest.raises(ConnectionClosed):
                        let_in += bool(await asyncio.wait_for(socket.recv(), 10))
                    assert socket.close_code == FORBIDDEN[0], (topic, kind, filters)
                    refused += 1
    assert refused > 100
    assert let_in == 0
    row(21, "commands of the socket", asked=asked, refused=refused, let_in=let_in)


async def test_pages_of_others_open_no_socket(
    served: Any, row: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Row 21: no token, a bad one, and the cookie of somebody who is logged in from a page that is not ours."""
    api = served.api
    browser = api.client()
    await browser.log_in("mary", "console-secret-mary")
    cookie = f"{COOKIE}={browser.http.cookies[COOKIE]}"
    token = (await api.as_role("agent", "agents:read")).http.headers["authorization"]
    url = served.url.replace("http", "ws") + "/api/v1/events"
    host = served.url.partition("//")[2]
    statuses = []
    for headers, origin, status in (
        ({}, None, 401),
        ({"Authorization": "Bearer sst_x_y"}, None, 401),
        ({"Authorization": token}, None, 403),
        ({"Cookie": cookie}, "https://evil.example", 403),
        ({"Cookie": cookie}, "null", 403),
        ({"Cookie": cookie}, f"http://{host}.evil.example", 403),
        ({"Cookie": cookie}, f"http://{host.partition(':')[0]}.evil.example", 403),
        ({"Cookie": cookie}, f"http://{host.partition(':')[0]}:1", 403),
        ({"Cookie": cookie}, f"http://evil.example/{host}", 403),
        ({"Cookie": cookie[:-1]}, None, 401),
    ):
        with pytest.raises(InvalidStatus) as answer:
            async with connect(url, additional_headers=headers, origin=origin):
                pytest.fail(f"{headers} from {origin} was let in")
        statuses.append(answer.value.response.status_code)
        assert statuses[-1] == status, (headers, origin)
    async with connect(url, additional_headers={"Cookie": cookie}, origin=served.url):
        pass
    assert "handshake" not in caplog.text, "strangers do not fill the log"
    row(21, "sockets of strangers", tried=len(statuses), let_in=0)


async def frames(served: Any, token: str, *parts: bytes) -> int:
    """Send raw frames after the handshake; the close code, 0 for none."""
    port = int(served.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    key = base64.b64encode(os.urandom(16)).decode()
    writer.write(
        (
            f"GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
            f"Authorization: Bearer {token}\r\n\r\n"
        ).encode()
    )
    assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
    for part in parts:
        writer.write(part)
    data = await asyncio.wait_for(reader.read(4096), 10)
    writer.close()
    return struct.unpack(">H", data[2:4])[0] if len(data) >= 4 and data[0] & 15 == 8 else 0


async def test_frames_that_are_none(served: Any, row: Any) -> None:
    """Row 21: a length of 63 bits, no mask, and a message above the limit."""
    _, token = await served.api.service.accounts.add_token(
        "test", name="x", role="agent", scopes=("*",), expires_at_s=None
    )
    mask = b"\0\0\0\0"
    endless = await frames(served, token, b"\x81\xff" + struct.pack(">Q", (1 << 63) - 1) + mask)
    unmasked = await frames(served, token, b"\x81\x02{}")
    large = await frames(
        served, token, b"\x81\xff" + struct.pack(">Q", 65_537) + mask + b" " * 65_537
    )
    assert (endless, unmasked, large) == (1009, 1002, 1009)
    row(21, "frames", length_of_63_bits=endless, unmasked=unmasked, too_large=large)


async def test_a_fresh_install_gives_nothing_away(
    tmp_path: Path, quiet_machine: Any, row: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Row 22: no default password, loopback only, files that are the owner's, and no secret in a log or a
    backup."""
    from softswitch.cli.init import new_password, office_text, write_office

    class Served(quiet_machine):  # type: ignore[misc]
        def http(self) -> bool:
            return True

    accounts = [{str(1001 + n): new_password() for n in range(3)} for _ in range(2)]
    defaults = set(accounts[0].values()) & set(accounts[1].values())
    file = write_office(tmp_path / "office", office_text("127.0.0.1", 0, "x.example", accounts[0]))
    text = file.read_text() if "[http]" in file.read_text() else file.read_text() + "\n[http]\n"
    text = re.sub(r"^listen = \[.*$", 'listen = ["udp://127.0.0.1:0"]', text, flags=re.M)
    text = re.sub(r"\[http\]\n(?:listen.*\n)?", '[http]\nlisten = "127.0.0.1:0"\n', text)
    file.write_text(text)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert load_office(file).http.listen.host == "127.0.0.1"
    notices: list[str] = []
    switch = Switch.from_toml(file)
    switch._environment = Served()
    switch.notice = notices.append
    with caplog.at_level(logging.DEBUG):
        await switch.start()
        assert switch.http is not None
        await switch.http.ready.wait()
        service = switch.http.service
        assert service is not None
        password = notices[0].split(" with ")[1].split(" ")[0]
        _, token = await service.accounts.add_token(
            "test", name="x", role="admin", scopes=("*",), expires_at_s=None
        )
        await switch.book.add(
            "test", "extension", {"number": "1999", "password": "canary-secret-1999"}
        )
        trunk = {"name": "carrier", "uri": "sip:192.0.2.1", "username": "office"}
        await switch.book.add("test", "trunk", {**trunk, "password": "canary-secret-trunk"})
        hook = {"name": "x", "url": "https://crm.example/", "topics": ["calls"]}
        values = {**hook, "queue": "", "agent": ""}
        await service.webhooks.add("test", values, "canary-secret-webhook")
        await switch.store.journal.flush()  # type: ignore[union-attr]
        make_backup(switch.directory, tmp_path / "backup.tar.gz")
        with __import__("tarfile").open(tmp_path / "backup.tar.gz") as archive:
            saved = b"".join(archive.extractfile(m).read() for m in archive if m.isreg())  # type: ignore[union-attr]
        directory = switch.directory
        await switch.stop()
    canaries = [*accounts[0].values(), password, token.rpartition("_")[2]]
    canaries += [f"canary-secret-{of}" for of in ("1999", "trunk", "webhook")]
    found = sum(c in caplog.text for c in canaries) + sum(c.encode() in saved for c in canaries)
    files = [path for path in directory.rglob("*") if path.is_file() and not path.is_socket()]
    kept = sum(c.encode() in path.read_bytes() for path in files for c in canaries)
    open_to_others = [p.name for p in files if stat.S_IMODE(p.stat().st_mode) & 0o077]
    outside = stat.S_IMODE(directory.stat().st_mode) & 0o077
    row(
        22,
        "fresh install",
        default_passwords=len(defaults),
        canaries=len(canaries),
        found_in_logs_and_backups=found,
        found_in_files=kept,
        files_open_to_others=len(open_to_others),
    )
    assert not defaults
    assert (found, kept, outside) == (0, 0, 0)
    assert open_to_others == []
