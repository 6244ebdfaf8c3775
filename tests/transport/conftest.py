"""An authority for certificates, an inbox for transports, and waiting for a condition."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from softswitch.sip.flow import Flow
from tests.certificates import Authority


class Inbox:
    """Collects what a transport reports."""

    def __init__(self) -> None:
        self.messages: list[tuple[bytes, Flow]] = []
        self.gone: list[Flow] = []

    def receive(self, data: bytes, flow: Flow) -> None:
        self.messages.append((data, flow))

    def unreachable(self, flow: Flow) -> None:
        self.gone.append(flow)


async def wait_until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(8):
        for _ in iter(condition, True):
            await asyncio.sleep(0.001)


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def until() -> Callable[..., Any]:
    return wait_until


@pytest.fixture
def authority(tmp_path: Path) -> Callable[..., Authority]:
    """Make an authority: `authority("ours")`, `authority("issuing", parent=...)`."""

    def make(name: str, parent: Authority | None = None) -> Authority:
        return Authority(tmp_path, name, parent)

    return make
