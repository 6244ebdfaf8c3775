"""Every test that the tables of the documentation name exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(("page", "rows_min"), [("security.md", 20), ("sip.md", 60)])
def test_each_row_names_tests_that_exist(page: str, rows_min: int) -> None:
    lines = (ROOT / "docs" / page).read_text().splitlines()
    rows = [line for line in lines if line.startswith("| ") and "`test_" in line]
    assert len(rows) >= rows_min
    files = (ROOT / "tests").rglob("test_*.py")
    there = set(re.findall(r"def (test_\w+)\(", "\n".join(file.read_text() for file in files)))
    named = {name for row in rows for name in re.findall(r"`(test_\w+)`", row)}
    assert named - there == set()
