"""`softswitch doctor`, and the packages whose names are taken elsewhere."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from softswitch.api.admin import SOCKET_NAME
from softswitch.cli.doctor import Finding, examine
from softswitch.cli.packages import require_ours, strangers
from softswitch.config import Office, parse_office

ROOT = Path(__file__).parents[2]


def office_on(directory: Path, sip: int, http: int, media: int) -> Office:
    return parse_office(
        f'[sip]\nlisten = ["udp://127.0.0.1:{sip}"]\n[http]\nlisten = "127.0.0.1:{http}"\n'
        f'[media]\nports = "{media}-{media + 3}"\n[storage]\ndirectory = "{directory}"'
    )


def finding(findings: list[Finding], what: str) -> Finding:
    return next(found for found in findings if found.what.startswith(what))


def test_a_good_place_is_found_good(tmp_path: Path) -> None:
    findings = list(examine(None))
    for what in ("python", "packages", "clock", "time zones"):
        assert finding(findings, what).good is True
    assert all(found.good is not False for found in findings if found.what in ("sipp", "baresip"))


@pytest.mark.parametrize(
    ("limit", "good"), [(29, None), (30, True), (resource.RLIM_INFINITY, True)]
)
def test_whether_sound_may_go_before_others_is_told(limit, good, monkeypatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(resource, "getrlimit", lambda of: (limit, limit))
    found = finding(list(examine(None)), "rank of sound")
    assert found.good is good
    assert "nice -10" in found.says or "LimitNICE=-10" in found.says


def test_ports_in_use_and_directories_out_of_reach_are_named(tmp_path: Path) -> None:
    with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        for taken in (tcp, udp):
            taken.bind(("127.0.0.1", 0))
        tcp.listen()
        (tmp_path / "file").write_text("")
        sip, http = udp.getsockname()[1], tcp.getsockname()[1]
        findings = list(examine(office_on(tmp_path / "file", sip, http, 39_990)))
        for what in ("sip", "http"):
            assert finding(findings, what).good is False
            assert "in use" in finding(findings, what).says
        assert finding(findings, "directory").good is False
    findings = list(examine(office_on(tmp_path / "var", sip, http, 39_990)))
    assert finding(findings, "sip").good is True
    assert finding(findings, "directory").says.startswith(str(tmp_path / "var"))


def test_the_ports_of_an_office_whose_server_runs_are_not_tried(tmp_path: Path) -> None:
    office = office_on(tmp_path, 39_991, 39_992, 39_994)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / SOCKET_NAME))
        server.listen()
        findings = list(examine(office))
    assert "the server of this office runs" in finding(findings, "ports").says
    assert not [found for found in findings if found.what.startswith(("sip ", "http ", "media "))]
    findings = list(examine(office))  # it is gone, its socket still lies there
    assert finding(findings, "media ports").good is True


def test_our_packages_are_ours() -> None:
    assert strangers() == []
    require_ours()


@pytest.mark.parametrize("shape", ["module", "package", "namespace"])
def test_a_package_of_the_same_name_is_named(tmp_path: Path, shape: str) -> None:
    if shape == "module":
        (tmp_path / "routing.py").write_text("")
    else:
        (tmp_path / "routing").mkdir()
    if shape == "package":
        (tmp_path / "routing" / "__init__.py").write_text("")
    code = (
        "import softswitch.cli.packages as p; print(p.strangers())\n"
        "from softswitch.errors import SoftswitchError\n"
        "try:\n    p.require_ours()\nexcept SoftswitchError as e:\n    print('refused', e)\n"
    )
    # As it comes about: a file in the directory where Python was started, before all else.
    paths = [str(tmp_path), str(ROOT)]
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    if shape == "namespace":
        # A directory without __init__.py never comes before a real package.
        assert done.stdout == "[]\n"
        return
    assert str(tmp_path / "routing") in done.stdout
    assert "refused the package routing comes from" in done.stdout
