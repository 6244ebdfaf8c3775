"""Where a report goes that nobody has named a place for: a folder of this user's for passing things, in which
the last few are kept and older ones make room."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
import time
from pathlib import Path

KEPT = 10
_PREFIX = "softswitch-load-reports"


def place(scenario: str) -> Path:
    """A file for one more report of `scenario`; of those before only `KEPT` - 1 stay."""
    folder = _folder()
    for old in sorted(folder.glob("*.html"), key=_written_at)[: -(KEPT - 1)]:
        with contextlib.suppress(OSError):
            old.unlink()
    name = "".join(c if c.isalnum() else "-" for c in Path(scenario).stem)[:40]
    stamp = time.strftime("%Y%m%d-%H%M%S")
    file = folder / f"{stamp}-{name}.html"
    number = 1
    while file.exists():
        number += 1
        file = folder / f"{stamp}-{name}-{number}.html"
    return file


def _folder() -> Path:
    """One a user, whose it must be: in a folder for everybody somebody else may have been first."""
    folder = Path(tempfile.gettempdir()) / f"{_PREFIX}-{os.getuid()}"
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        state = folder.lstat()
        if (
            stat.S_ISDIR(state.st_mode)
            and state.st_uid == os.getuid()
            and not state.st_mode & 0o022
        ):
            return folder
    return Path(tempfile.mkdtemp(prefix=f"{_PREFIX}-"))


def _written_at(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0
