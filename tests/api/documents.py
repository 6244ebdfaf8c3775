"""The OpenAPI document, made once: it takes a second."""

from __future__ import annotations

from functools import cache
from typing import Any

from softswitch.api.app import build_app, document


@cache
def whole() -> dict[str, Any]:
    """The same whatever exchange is behind it. Not to be changed."""
    return document(build_app(None))
