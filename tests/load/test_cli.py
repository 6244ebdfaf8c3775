"""`softswitch load` as somebody types it, against a switch that it starts itself."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner

from softswitch.cli.main import build
from softswitch.errors import SoftswitchError
from softswitch.load import kept_reports
from softswitch.load.scenarios import BUILT_IN

SOFTSWITCH = Path(sys.executable).with_name("softswitch")


def test_the_scenarios_are_listed() -> None:
    said = CliRunner().invoke(build(), ["load", "list"])
    assert said.exit_code == 0
    names = [line.split()[0] for line in said.output.splitlines() if not line.startswith(" ")]
    assert names == list(BUILT_IN)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--target", "http://x"], "target"),
        (["--hold", "soon", "--target", "self"], "hold"),
        (["--codec", "G729", "--target", "self"], "G729"),
        (["--fail-if", "setup > 1"], "did you mean"),
        (["--fault", "up:loss=150%", "--target", "self"], "fault"),
        (["--limit", "x=1", "--target", "self"], "limit"),
        (["--set", "x", "--target", "self"], "set"),
        (["--demo", "--target", "self"], "demo"),
        (["nothing.py"], "no such file"),
        (["flood", "--target", "sip:192.0.2.1"], "i-own-this"),
        (["--target", "sip:127.0.0.1"], "--dial NUMBER"),
        (["--target", "self", "--trust", "nothing.pem"], "trust: .*nothing.pem: No such file"),
        (["--target", "self", "--trust", __file__], "no certificate in it"),
        (["queue", "--no-media"], "goes by what is heard"),
        (["ivr", "--set", "digts=1"], "did you mean digits"),
        (["ivr", "--set", "by=voice"], "by=voice; allowed: rfc4733, info, inband"),
        (["uac", "--set", "kind=invite"], "uac has no setting kind; allowed: none"),
        (["flood", "--set", "kind=all"], "kind=all"),
        (["mixed", "--set", "mix=flood:1"], "mix: 'flood:1'"),
        (["mixed", "--set", "mix=uac:0"], "all weights are 0"),
        (["mixed", "--set", "turns=2"], "did you mean turn"),
        (["--json", "/nowhere/report.json"], "json: /nowhere/report.json cannot be written"),
        (["--html", "/"], "html: / cannot be written"),
        (["--callees", "1001-1003:x", "--register", "4"], "register: 4 of 3 --callees"),
        (["--concurrent", "1", "--processes", "2"], "concurrent: 1 calls"),
        (["--target", "sips:127.0.0.1;transport=udp"], "sips is TLS"),
        (["mixed", "--no-media", "--set", "mix=uac-uas:1,ivr:1"], "ivr goes by what is heard"),
    ],
)
def test_mistakes_are_named_before_a_packet_is_sent(options: list[str], problem: str) -> None:
    with pytest.raises(SoftswitchError, match=problem):
        CliRunner().invoke(build(), ["load", *options], catch_exceptions=False)


def test_a_mistake_is_one_line() -> None:
    done = subprocess.run(
        [SOFTSWITCH, "load", "nothing.py"], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr


@pytest.mark.realtime
@pytest.mark.parametrize("page", ["docs/load.md", "README.md"])
def test_the_scenario_of_the_documentation_runs_as_it_stands(page: str, tmp_path: Path) -> None:
    """And without any option there is a page to look at all the same."""
    text = (Path(__file__).parents[2] / page).read_text()
    codes = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (code,) = [code for code in codes if "async def scenario" in code]
    assert len([line for line in code.splitlines() if line.strip()]) <= 12
    (tmp_path / "menu.py").write_text(code)
    command = [SOFTSWITCH, "load", "menu.py", "--calls", "3", "--rate", "3", "--hold", "1"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=100,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert re.search(r"3 \S +3 \S +3 \S +0 ", done.stdout), done.stdout
    assert "No fault found." in done.stdout, done.stdout
    (report,) = tmp_path.glob("softswitch-load-reports-*/*-menu.html")
    assert report.as_uri() in done.stdout.replace("\n", "")
    assert "menu.py" in report.read_text()


def test_only_the_last_reports_are_kept_where_no_place_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_reports.tempfile, "tempdir", str(tmp_path))
    made = []
    for number in range(kept_reports.KEPT + 5):
        made.append(kept_reports.place("some where/uac uas.xml"))
        made[-1].write_text(str(number))
        os.utime(made[-1], (number, number))
    (folder,) = tmp_path.iterdir()
    assert sorted(folder.iterdir()) == sorted(made[-kept_reports.KEPT :])
    assert folder.stat().st_mode & 0o077 == 0
    folder.chmod(0o777)  # somebody else could put something there
    assert kept_reports.place("uac").parent != folder


def test_a_target_that_is_not_there_is_said_to_be_not_there() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
    command = ["load", "--target", f"sip:127.0.0.1:{port}", "--dial", "1", "--calls", "2"]
    done = CliRunner().invoke(build(), command)
    assert f"nothing came back from 127.0.0.1:{port}" in done.output.replace("\n", "")
    assert "Not one of 2 calls came about" in done.output
    assert "No fault found" not in done.output


@pytest.mark.realtime
@pytest.mark.parametrize("encoding", ["gb18030", "latin-1"])
def test_names_in_chinese_are_no_problem_on_any_terminal(encoding: str, tmp_path: Path) -> None:
    text = "async def scenario(caller):\n    await caller.dial().answered()"
    (tmp_path / "菜单.py").write_text(text, encoding="utf-8")
    command = [SOFTSWITCH, "load", "菜单.py", "--target", "self", "--calls", "2", "--no-media"]
    done = subprocess.run(
        [*command, "--html", tmp_path / "报告.html"],
        cwd=tmp_path, capture_output=True, check=False, timeout=60,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert ("菜单.py against" in done.stdout.decode(encoding)) is (encoding == "gb18030")
    assert "菜单.py against" in (tmp_path / "报告.html").read_text(encoding="utf-8")


@pytest.mark.realtime
def test_a_first_report_with_everything(tmp_path: Path) -> None:
    """One command: a switch of its own, a bad network, all reports, and a threshold that is crossed."""
    own = tmp_path / "own.py"
    own.write_text(
        "from softswitch.load import Caller\n\n"
        "async def scenario(caller: Caller) -> None:\n"
        "    call = caller.dial()\n"
        "    await call.answered()\n"
        "    if not await call.hears():\n"
        "        caller.fail('nobody was heard')\n"
        "    await call.talk(caller.hold_s())\n"
        "    call.hang_up()\n"
    )
    files = {kind: tmp_path / f"report.{kind}" for kind in ("json", "html", "xml")}
    done = subprocess.run(
        [
            SOFTSWITCH, "load", own, "--calls", "12", "--rate", "12", "--hold", "2",
            "--processes", "2", "--fault", "down:loss=10%", "--fail-if", "loss > 1%",
            "--fail-if", "answered < 12", "--json", files["json"], "--html", files["html"],
            "--junit", files["xml"],
        ],
        capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "CROSSED: loss > 1%" in done.stdout
    assert "not crossed: answered < 12" in done.stdout
    result = json.loads(files["json"].read_text())
    assert result["figures"]["answered"] == result["figures"]["completed"] == 12
    assert 0.05 < result["figures"]["loss"] < 0.16
    assert "loss" in {entry["code"] for entry in result["findings"]}
    assert "<svg" in files["html"].read_text()
    assert ET.parse(files["xml"]).getroot().get("name") == f"softswitch load {own}"
    assert result["plan"]["faults"] == ["down:loss=10%"]
