"""The examples of docs/media.md do what they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "media.md"
EXAMPLES = re.findall(r"## ([^\n]+)\n|```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


def examples():
    heading = ""
    for title, code in EXAMPLES:
        if title:
            heading = title
        else:
            yield pytest.param(code, id=heading)


@pytest.mark.parametrize("code", list(examples()))
def test_an_example_runs(code):
    exec(compile(code, str(PAGE), "exec"), {})


def test_there_are_examples():
    assert len(list(examples())) >= 7
