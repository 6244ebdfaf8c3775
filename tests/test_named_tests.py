"""Every test that the tables of the documentation name exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(
    ("page", "rows_min"), [("security.md", 20), ("sip.md", 60), ("media.md", 50)]
)
def test_each_row_names_tests_that_exist(page: str, rows_min: int) -> None:
    lines = (ROOT / "docs" / page).read_text().splitlines()
    rows = [line for line in lines if line.startswith("| ") and "`test_" in line]
    assert len(rows) >= rows_min
    files = (ROOT / "tests").rglob("test_*.py")
    there = set(re.findall(r"def (test_\w+)\(", "\n".join(file.read_text() for file in files)))
    named = {name for row in rows for name in re.findall(r"`(test_\w+)`", row)}
    assert named - there == set()


def test_each_file_of_the_media_plane_that_is_named_is_there() -> None:
    rows = [
        line.split("|")[2]
        for line in (ROOT / "docs" / "media.md").read_text().splitlines()
        if line.startswith("| ") and "`test_" in line
    ]
    named = {name for cell in rows for name in re.findall(r"`([a-z_0-9/]+\.py)`", cell)}
    assert len(named) > 30
    assert [
        n for n in sorted(named) if not any((ROOT / f / n).is_file() for f in ("media", "."))
    ] == []
