"""What is shipped: exactly three packages with their data, and nothing of tests or benches."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    code = f"from hatchling.build import build_wheel; print(build_wheel({str(folder)!r}))"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
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


def test_nothing_else_comes_along(names):
    foreign = [n for n in names if "/tests/" in n or "/bench/" in n or n.endswith(".pyc")]
    assert foreign == []
    shipped = {n.rsplit(".", 1)[1] for n in names if n.startswith("softswitch/_data/prompts/")}
    assert shipped == {"flac", "toml"}
