"""What the runs by marker load: files that do not name theirs are passed over."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.conftest import pytest_ignore_collect

ROOT = Path(__file__).parent
DEMO, PORTS, PEERS = "test_demo.py", "test_ports.py", "interop/test_peers.py"
DAYS = "routing/test_simulation.py"


@pytest.mark.parametrize(
    ("expression", "passed_over"),
    [
        ("", set()),
        ("realtime and not soak", {PORTS, PEERS, DAYS}),
        ("interop and not soak", {DEMO, PORTS, DAYS}),
        ("unhurried and not soak", {DEMO, PORTS, PEERS}),
        ("not interop and not soak", set()),
        ("interop or realtime", set()),
        ("(realtime)", set()),
    ],
)
def test_files_are_passed_over_only_where_every_test_must_have_a_marker(
    expression: str, passed_over: set[str]
) -> None:
    config: Any = SimpleNamespace(option=SimpleNamespace(markexpr=expression))
    found = {
        name for name in (DEMO, PORTS, PEERS, DAYS) if pytest_ignore_collect(ROOT / name, config)
    }
    assert found == passed_over
    assert pytest_ignore_collect(ROOT / "sip", config) is None
