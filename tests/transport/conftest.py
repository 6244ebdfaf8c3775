"""An authority for certificates, an inbox for transports, and waiting for a condition, as fixtures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import waiting
from tests.certificates import Authority
from tests.transport import inbox as inboxes


@pytest.fixture
def inbox() -> inboxes.Inbox:
    return inboxes.Inbox()


@pytest.fixture
def until() -> Callable[..., Any]:
    return waiting.until


@pytest.fixture
def authority(tmp_path: Path) -> Callable[..., Authority]:
    """Make an authority: `authority("ours")`, `authority("issuing", parent=...)`."""

    def make(name: str, parent: Authority | None = None) -> Authority:
        return Authority(tmp_path, name, parent)

    return make
