"""Installed strategies are found by their entry points."""

from __future__ import annotations

import sys

import pytest

from softswitch.errors import ConfigError
from softswitch.strategy import load_registry

MODULE = """
class NightShift:
    name = "night-shift"

    def demand(self, contact, waited_s):
        return None, float("inf")


NOTHING = 3
"""


def install(tmp_path, monkeypatch, target: str) -> None:
    """A distribution as pip would leave it."""
    name = f"night_{target.lower()}"
    (tmp_path / f"{name}.py").write_text(MODULE, encoding="utf-8")
    info = tmp_path / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[softswitch.routing]\nnight = {name}:{target}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, name, raising=False)


def test_an_installed_strategy_is_found(tmp_path, monkeypatch):
    assert "night-shift" not in load_registry().criteria_names
    install(tmp_path, monkeypatch, "NightShift")
    assert "night-shift" in load_registry().criteria_names


@pytest.mark.parametrize("target", ["NOTHING", "Missing"])
def test_one_that_cannot_be_used_is_named(tmp_path, monkeypatch, target: str):
    install(tmp_path, monkeypatch, target)
    with pytest.raises(ConfigError, match=r"softswitch\.routing:night"):
        load_registry()
