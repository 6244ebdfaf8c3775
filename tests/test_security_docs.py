"""Every test that docs/security.md names exists."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_each_attack_names_tests_that_exist():
    rows = [
        line
        for line in (ROOT / "docs" / "security.md").read_text().splitlines()
        if line.startswith("| ") and "`test_" in line
    ]
    assert len(rows) >= 20
    files = (ROOT / "tests").rglob("test_*.py")
    there = set(re.findall(r"def (test_\w+)\(", "\n".join(file.read_text() for file in files)))
    named = {name for row in rows for name in re.findall(r"`(test_\w+)`", row)}
    assert named - there == set()
