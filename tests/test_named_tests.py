"""Every test that the tables of the documentation name exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(
    ("page", "rows_min"), [("security.md", 20), ("sip.md", 60), ("media.md", 50)]
)
def test_there_are_rows_that_name_tests(page: str, rows_min: int) -> None:
    lines = (ROOT / "docs" / page).read_text().splitlines()
    rows = [line for line in lines if line.startswith("| ") and "`test_" in line]
    assert len(rows) >= rows_min


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


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_test_files_and_what_is_named_in_them_are_there(page: Path) -> None:
    text = page.read_text()
    for name in set(re.findall(r"\b(test_\w+)\.py\b", text)):
        assert list((ROOT / "tests").rglob(f"{name}.py")), name
    for file, name in set(re.findall(r"\b(test_\w+\.py)::(test_\w+)", text)):
        (found,) = (ROOT / "tests").rglob(file)
        assert f"def {name}(" in found.read_text(), name
    named = set(re.findall(r"`(test_\w+)`", text))
    if named:
        texts = "".join(file.read_text() for file in (ROOT / "tests").rglob("test_*.py"))
        assert {name for name in named if f"def {name}(" not in texts} == set()
