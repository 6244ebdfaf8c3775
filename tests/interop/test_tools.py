"""Further peers, each where it is installed: sipsak, linphone's console phone."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

from tests.interop.peers.ports import free_port
from tests.interop.peers.process import Process, require, wait_until
from tests.interop.peers.server import Server, password_of

Serve = Callable[..., Server]


def sipsak(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = require("sipsak", "sipsak")
    return subprocess.run(
        [program, "-vvv", "--local-ip=127.0.0.1", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_sipsak_options(serve: Serve) -> None:
    require("sipsak", "sipsak")
    server = serve()
    done = sipsak("-s", f"sip:{server.address}")
    assert "SIP/2.0 " in done.stdout, done.stdout + done.stderr
    assert done.returncode in (0, 1), done.stdout  # 1: an answer other than 200


def test_sipsak_registers(serve: Serve) -> None:
    require("sipsak", "sipsak")
    server = serve()
    arguments = ("-U", "-n", "-x", "60", "-s", f"sip:1001@{server.address}")
    contact = ("-C", f"sip:1001@127.0.0.1:{free_port()}")
    wrong = sipsak(*arguments, *contact, "-u", "1001", "-a", "guess")
    assert wrong.returncode != 0, wrong.stdout
    assert server.registrations() == 0
    right = sipsak(*arguments, *contact, "-u", "1001", "-a", password_of("1001"))
    assert right.returncode == 0, right.stdout + right.stderr
    assert server.registrations() == 1


def test_linphone_registers(
    serve: Serve, process: Callable[..., Process], tmp_path: object
) -> None:
    require("linphone-daemon", "linphone-cli")
    server = serve()
    pipe = f"{tmp_path}/daemon"
    daemon = process("linphone", ["linphone-daemon", "--pipe", pipe, "--config", "/dev/null"])
    require("linphone-daemon-pipetest", "linphone-cli")
    command = (
        f"register sip:1001@{server.address} sip:{server.address} {password_of('1001')} 1001\n"
    )

    def registered() -> bool:
        assert daemon.running(), daemon.tail()
        subprocess.run(
            ["linphone-daemon-pipetest", pipe],
            input=command,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        return server.registrations() == 1

    wait_until(registered, "linphone to register")
