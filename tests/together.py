"""Tests that share what is dear to start run on one worker of xdist."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from xdist.scheduler import LoadScopeScheduling

if TYPE_CHECKING:
    import pytest

MARK = "xdist_group"


class Together(LoadScopeScheduling):
    """One file, one worker, where the file names the mark `xdist_group`; else each test by itself.

    xdist's own `--dist loadgroup` tells the scheduler of the mark by a name that pytest 9 makes anew: each
    worker started an exchange of its own for a few tests of every such file.
    """

    def _split_scope(self, nodeid: str) -> str:
        name = nodeid.partition("::")[0]
        return name if together(self.config.rootpath / name) else nodeid


@cache
def together(file: Path) -> bool:
    """Whether the tests of this file share something."""
    return MARK in file.read_text()


def first(item: pytest.Item) -> bool:
    """Whether this is begun with: what is begun last and takes long is waited for by all."""
    return item.get_closest_marker("slow") is not None or together(item.path)
