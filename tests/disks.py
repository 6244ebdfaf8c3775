"""File systems that are soon full."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(directory: Path) -> Iterator[Callable[[str], None]]:
    """A file system of 1 MiB, and how to give it another size."""
    directory.mkdir()

    def mount(*options: str) -> int:
        command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "none", str(directory)]
        return subprocess.run(command, capture_output=True, check=False).returncode

    if mount("size=1m") != 0:
        pytest.skip("a file system cannot be mounted here; run as root")
    try:
        yield lambda size: (mount("remount", f"size={size}"), None)[1]
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True, capture_output=True)
