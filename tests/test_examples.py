"""The examples of README and documents: all are Python whose imports exist, and whole ones do what they say."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from softswitch import Call
from softswitch.errors import SoftswitchError
from softswitch.ports import free_port
from softswitch.sim.audio import match, speech
from softswitch.sim.behaviour import answer
from softswitch.testing import Laboratory
from softswitch.testing.laboratory import assert_heard, switch

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def examples(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)


ALL = [
    pytest.param(code, id=f"{page.stem}-{number}")
    for page in PAGES
    for number, code in enumerate(examples(page), 1)
]


def the(page: str, word: str) -> str:
    """The one example of a page with this word in it."""
    (code,) = [code for code in examples(ROOT / page) if word in code]
    return code


@pytest.mark.parametrize("code", ALL)
def test_an_example_is_python_and_what_it_imports_exists(code: str) -> None:
    tree = compile(code, "example", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    imports = [one for one in ast.walk(tree) if isinstance(one, ast.Import | ast.ImportFrom)]
    exec(compile(ast.Module(imports, []), "example", "exec"), {})


def test_the_distributor_alone_in_a_few_lines(capsys: pytest.CaptureFixture[str]) -> None:
    code = the("docs/routing.md", "AcdEngine")
    assert len(code.splitlines()) <= 20
    exec(compile(code, "routing.md", "exec"), {})
    said = capsys.readouterr().out
    assert "offered to ann" in said
    assert "Not bob" in said


def test_the_test_kits_first_example() -> None:
    found: dict[str, Any] = {}
    exec(compile(the("docs/testkit.md", "@simulated"), "testkit.md", "exec"), found)
    found["test_a_call_through_a_lossy_network"]()


@pytest.mark.realtime
async def test_the_test_kits_telephone_on_real_sockets() -> None:
    code = the("docs/testkit.md", "RealNetwork")
    async with switch() as running:
        port = running.target.rpartition(":")[2]
        code = code.replace('"..."', f'"{running.password}", domain="{running.domain}"')
        code = code.replace("5060", port)
        work = eval(
            compile(code, "testkit.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT),
            {"speech": speech, "match": match},
        )
        assert inspect.iscoroutine(work)
        async with asyncio.timeout(20):
            await work


@pytest.mark.realtime
def test_the_three_lines_of_a_test(tmp_path: Path) -> None:
    """As somebody has them who has nothing else: in a folder of his own."""
    (tmp_path / "test_mine.py").write_text(the("docs/load.md", "assert_heard"))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    options = ["-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function"]
    done = subprocess.run(
        [*command, *options], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=100
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr


OFFICE = """\
[office]
name = "Ten lines"
domain = "ten.example"
[sip]
listen = ["udp://127.0.0.1:{sip}"]
[media]
address = "127.0.0.1"
ports = "{rtp}-{rtp_last}"
workers = 1
[http]
listen = "127.0.0.1:{http}"
[storage]
directory = "var"
[[extension]]
number = "1001"
password = "secret-1001"
[[extension]]
number = "1002"
password = "secret-1002"
[[ring_group]]
number = "1100"
members = ["1001", "1002"]
"""


async def is_there(lab: Laboratory, target: str) -> bool:
    try:
        await lab.phone(target, "1001", "secret-1001", domain="ten.example")
    except SoftswitchError:
        return False
    return True


@pytest.mark.realtime
async def test_an_exchange_of_ones_own_in_ten_lines(tmp_path: Path) -> None:
    """The first example of the README as it stands: a menu whose key 2 leads to a telephone."""
    sip, http, rtp = free_port(), free_port(), free_port(count=40)
    text = OFFICE.format(sip=sip, http=http, rtp=rtp, rtp_last=rtp + 39)
    (tmp_path / "office.toml").write_text(text)
    (tmp_path / "mine.py").write_text(the("README.md", "Switch.from_toml"))
    target = f"sip:127.0.0.1:{sip}"
    with (tmp_path / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "mine.py", cwd=tmp_path, stdout=log, stderr=log
        )
    try:
        async with asyncio.timeout(60), Laboratory() as lab:
            while not await is_there(lab, target):
                assert process.returncode is None, (tmp_path / "log").read_text()
                await asyncio.sleep(0.2)
            one, two = [
                await lab.phone(target, number, f"secret-{number}", domain="ten.example")
                for number in ("1001", "1002")
            ]
            two.behaviour = answer()
            call = await one.call("7000")
            await call.answered()
            await call.listen(1.0)  # the menu speaks
            assert abs(call.heard()).max() > 500
            call.press("2")
            taken = await two.incoming()
            await asyncio.sleep(0.5)
            await assert_heard(call, taken, seconds=1.0)
            call.hang_up()
            await call.ended()
    finally:
        process.terminate()
        assert await process.wait() == 0, (tmp_path / "log").read_text()
    said = (tmp_path / "log").read_text()
    assert f"Ten lines: ready on udp://127.0.0.1:{sip}" in said
    assert "Traceback" not in said


def verbs() -> list[tuple[str, list[str]]]:
    """Name and parameters of each verb in the table of docs/embedding.md."""
    page = (ROOT / "docs" / "embedding.md").read_text()
    cells = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    found = [code for cell in cells for code in re.findall(r"`([^`]+)`", cell)]
    split = [re.fullmatch(r"(\w+)(?:\((.*)\))?", code) for code in found]
    return [(m[1], re.findall(r"(\w+)(?:=\w+)?", m[2] or "")) for m in split if m is not None]


@pytest.mark.parametrize(("name", "parameters"), verbs(), ids=[name for name, _ in verbs()])
def test_a_verb_of_the_documentation_is_one_of_a_call(name: str, parameters: list[str]) -> None:
    if not parameters and not callable(getattr(Call, name, None)):
        assert hasattr(Call, name) or f"self.{name}" in inspect.getsource(Call)
        return
    known = inspect.signature(getattr(Call, name)).parameters
    keywords = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in known.values())
    assert keywords or set(parameters) <= set(known)
