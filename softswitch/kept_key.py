"""Keys of the exchange's own, made at the first start and kept beside what they belong to."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

OCTETS = 32


def kept_key(path: Path) -> bytes:
    """The key in this file, 32 octets that only their owner may read; a new one where there is none or the file
    is damaged, for what may be asked for again: a cookie, a nonce. Raises `OSError`."""
    try:
        key = path.read_bytes()
        if len(key) == OCTETS:
            return key
    except FileNotFoundError:
        pass
    key = secrets.token_bytes(OCTETS)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(key)
    return key
