"""docs/records.md names files, tests and routes that are there."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path

from softswitch.api.access import ACCESS, PREFIX

ROOT = Path(__file__).parents[1]
DOCUMENT = (ROOT / "docs" / "records.md").read_text()


def test_every_file_that_is_named_is_there() -> None:
    files = [
        p.as_posix()
        for folder in ("softswitch", "routing", "tests")
        for p in (ROOT / folder).rglob("*.py")
    ]
    named = set(re.findall(r"`([a-z_/*]+\.py)`", DOCUMENT))
    assert len(named) > 60
    missing = [n for n in sorted(named) if not any(fnmatch(f, f"*/{n}") for f in files)]
    assert missing == []


def test_every_route_that_is_named_is_there() -> None:
    routes = {name.partition(" ")[2].removeprefix(PREFIX) for name in ACCESS}
    named = set(re.findall(r"`(?:[A-Z]+ )?(/[a-z][a-z/{}_-]*)(?:\?[a-z]+=)?`", DOCUMENT))
    assert len(named) > 25
    known = {re.sub(r"{[a-z_]+}", "{}", route) for route in routes}
    asked = {re.sub(r"{[a-z_]+}", "{}", name) for name in named}
    short = {"/export", "/files", "/links", "/split", "/decision"}  # the end of the route beside it
    assert sorted(asked - known - short) == []
