"""The command line: help, versions, and errors of one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from softswitch.cli import main

COMMAND = [sys.executable, "-m", "softswitch"]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name != "SOFTSWITCH_DEBUG"}
    env = {**kept, "NO_COLOR": "1", "COLUMNS": "200", **environment}
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, env=env, timeout=60, check=False
    )


def test_help_names_every_command_and_loads_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from softswitch.cli.main import build\n"
        "from typer.testing import CliRunner\n"
        "print(CliRunner().invoke(build(), ['--help']).output)\n"
        "heavy = {'numpy', 'sqlalchemy', 'alembic', 'softswitch.switch', 'asyncio'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)))\n"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    for command in ("init", "check", "serve", "status", "calls", "trace", "demo", "doctor"):
        assert f" {command} " in output
    assert "HEAVY []" in output


def test_version() -> None:
    from softswitch import __version__

    assert run("--version").stdout == f"softswitch {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("check", "nothing-here.toml"), "nothing-here.toml: cannot be read: No such file"),
        (("serve", "nothing-here.toml"), "nothing-here.toml: cannot be read: No such file"),
        (("init", "/dev/null/office"), "/dev/null/office/office.toml cannot be written"),
        (("init", "x", "--domain", 'a"b'), "cannot be a name or an address"),
    ],
)
def test_an_error_is_one_line_on_standard_error(
    arguments: tuple[str, ...],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["softswitch", *arguments])
    monkeypatch.delenv("SOFTSWITCH_DEBUG", raising=False)
    with pytest.raises(SystemExit) as ended:
        main.run()
    said = capsys.readouterr()
    assert ended.value.code == 1
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert words in said.err


def test_what_is_written_is_not_for_others(tmp_path: Path) -> None:
    program = (
        "from pathlib import Path; from softswitch.cli.place import keep_from_others;"
        "keep_from_others(); Path('a').write_text(''); Path('b').mkdir();"
        "print(*(oct(Path(name).stat().st_mode & 0o777) for name in 'ab'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True,
        umask=0o022,
    )  # fmt: skip
    assert done.stdout.split() == ["0o640", "0o750"]


def test_wrong_usage_is_told_apart() -> None:
    done = run("no-such-command")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_whoever_debugs_gets_the_traceback() -> None:
    done = run("check", "nothing-here.toml", SOFTSWITCH_DEBUG="1")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_a_reader_that_has_gone_is_no_error(tmp_path: Path) -> None:
    office = tmp_path / "office.toml"
    office.write_text("")
    with subprocess.Popen(
        [*COMMAND, "check", str(office)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()
