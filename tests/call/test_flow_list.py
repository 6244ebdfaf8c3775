"""That every message flow of RFC 3665 and RFC 5359 has its test, by the number of its section."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from types import ModuleType

import pytest

from tests.call import test_flows_rfc3665, test_flows_rfc5359

DOCUMENT = Path(__file__).parents[2] / "docs" / "sip.md"
RFC_3665 = {(2, flow) for flow in range(1, 6)} | {(3, flow) for flow in range(1, 12)}
RFC_5359 = {(2, flow) for flow in range(1, 19)}


@pytest.mark.parametrize(
    ("module", "sections"), [(test_flows_rfc3665, RFC_3665), (test_flows_rfc5359, RFC_5359)]
)
def test_every_flow_has_a_test_of_its_number_that_the_document_names(
    module: ModuleType, sections: set[tuple[int, int]]
) -> None:
    names = dict(inspect.getmembers(module, inspect.isfunction))
    numbered = {
        name: (int(match[1]), int(match[2]))
        for name in names
        if (match := re.match(r"test_([0-9]+)_([0-9]+)_", name))
    }
    assert set(numbered.values()) == sections
    document = DOCUMENT.read_text()
    for name, (chapter, flow) in numbered.items():
        assert f"{chapter}.{flow} | `{name}`" in document, name
