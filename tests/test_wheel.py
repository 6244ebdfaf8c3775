"""What is shipped: exactly three packages with their data, and nothing of tests or benches."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    code = f"from hatchling.build import build_wheel; print(build_wheel({str(folder)!r}))"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def names(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_the_wheel_ships_exactly_three_packages(names):
    tops = {name.split("/")[0] for name in names}
    info = {top for top in tops if top.endswith(".dist-info")}
    assert len(info) == 1
    assert tops - info == {"softswitch", "media", "routing"}


@pytest.mark.parametrize(
    "wanted",
    [
        "softswitch/_data/prompts/manifest.toml",
        "softswitch/_data/prompts/en/main-menu",
        "softswitch/_data/prompts/zh/main-menu",
        "softswitch/store/migrations/env.py",
        "softswitch/store/migrations/versions/v0001",
        "softswitch/py.typed",
        "media/py.typed",
        "media/plane/worker.py",
        "routing/py.typed",
        "routing/engine.py",
    ],
)
def test_data_comes_along(names, wanted):
    assert any(name.startswith(wanted) for name in names)


def test_every_module_and_the_licence_come_along(names):
    modules = {
        file.relative_to(ROOT).as_posix()
        for package in ("softswitch", "media", "routing")
        for file in (ROOT / package).rglob("*.py")
    }
    assert modules - set(names) == set()
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_nothing_else_comes_along(names):
    foreign = [n for n in names if "/tests/" in n or "/bench/" in n or n.endswith(".pyc")]
    assert foreign == []
    shipped = {n.rsplit(".", 1)[1] for n in names if n.startswith("softswitch/_data/prompts/")}
    assert shipped == {"flac", "toml"}


@pytest.mark.realtime
def test_a_first_report_needs_nothing_but_what_is_shipped(wheel, tmp_path):
    """`softswitch load` alone, as somebody types it who has installed the wheel and has no repository."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    (tmp_path / "home").mkdir()
    code = (
        "import softswitch; print(softswitch.__file__)\nfrom softswitch.cli.main import run\nrun()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "load"],
        cwd=tmp_path / "home",
        env={
            "PYTHONPATH": str(tmp_path / "installed"),
            "HOME": str(tmp_path / "home"),
            "TMPDIR": str(tmp_path),
            "PATH": "/usr/bin:/bin",
            "LANG": "zh_CN.UTF-8",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    first, *_ = done.stdout.splitlines()
    assert first.startswith(str(tmp_path / "installed"))
    assert "Starting a switch of our own and the generator" in done.stdout
    assert "No fault found." in done.stdout or "GENERATOR SATURATED" in done.stdout, done.stdout
    (page,) = tmp_path.glob("softswitch-load-reports-*/*-uac-uas.html")
    assert page.as_uri() in done.stdout.replace("\n", "")
