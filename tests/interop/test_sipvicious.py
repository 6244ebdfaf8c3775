"""The scanners of sipvicious: they see a SIP server, learn none of its extensions and passwords, and are
kept out; a telephone at another address does not notice."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.interop.peers.ports import free_port
from tests.interop.peers.process import require, wait_until
from tests.interop.peers.server import Server, password_of
from tests.interop.peers.sipp import register
from tests.rows import Row

Serve = Callable[..., Server]
SCANNER, PHONE = "127.0.0.1", "127.0.0.7"

FAST = ("-t", "0.02", "--maximumtime=2")


def scan(program: str, server: Server, *arguments: str) -> str:
    """What a scanner says after at most fifty seconds."""
    command = [require(program, "sipvicious"), *arguments]
    host, _, port = server.address.partition(":")
    try:
        done = subprocess.run(
            [*command, "-p", port, host],
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        return "".join((part or b"").decode() for part in (late.stdout, late.stderr))
    return done.stdout + done.stderr


def banned(server: Server) -> list[str]:
    return [row["source"] for row in server.status()["bans"]]


def registers(server: Server, directory: Path, port: int) -> None:
    """The telephone registers, from its own address."""
    register(
        directory,
        server=server.address,
        number="1001",
        password=password_of("1001"),
        host=PHONE,
        port=port,
    )


def test_svmap_sees_no_name_and_no_version(serve: Serve) -> None:
    server = serve()
    said = scan("svmap", server)
    assert "softswitch" not in said.lower(), said


@pytest.mark.slow
@pytest.mark.parametrize("last", [1020, pytest.param(1999, marks=pytest.mark.soak)])
def test_svwar_tells_no_extension_from_another(
    serve: Serve, tmp_path: Path, row: Row, last: int
) -> None:
    server, told = serve(), 0
    for method in ("REGISTER", "INVITE", "OPTIONS"):
        # It gives up when a number that nobody has is answered as all others are.
        said = scan("svwar", server, "-m", method, "-e", f"1000-{last}", "--force", *FAST)
        assert "found nothing" in said, said
        told += sum(line.startswith("| 1") for line in said.splitlines())
    assert told == 0
    assert server.status()["gate"]["refused"] >= 3, "asked who it is"
    assert server.noted("security-") == [], "it has tried no password"
    registers(server, tmp_path, free_port())
    row(12, "svwar, 3 methods", extensions=last - 999, told_apart=told)


@pytest.mark.slow
def test_svcrack_guesses_nothing_and_is_banned(serve: Serve, tmp_path: Path, row: Row) -> None:
    server, port = serve(), free_port()
    registers(server, tmp_path, port)
    said = scan("svcrack", server, "-u", "1001", "-r", "100000-100400", *FAST)
    assert "password" not in said.lower() or "found" not in said.lower(), said
    assert banned(server) == [SCANNER], said
    who = {"source": SCANNER, "account": "1001"}
    told = wait_until(
        lambda: len(server.noted("security-")) == 2 and server.noted("security-"), "both"
    )
    assert [kind for kind, _data in told] == ["security-wrong-password", "security-ban"]
    for _kind, data in told:
        assert data | who == data
        assert data["user_agent"] == "friendly-scanner"
        assert data["sip_call_id"]
    registers(server, tmp_path, port)
    assert server.registrations() == 1
    row(13, "svcrack", banned=len(banned(server)), telephones_registered=server.registrations())
