"""The pytest plugin: fixtures `sip_lab`, `sip_phone`, `sip_trunk`, `sip_switch`, `assert_heard`.

They are async fixtures: use pytest-asyncio (`asyncio_mode = "auto"`).
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    from softswitch.sim.phone import VirtualPhone
    from softswitch.sim.trunk import VirtualTrunk
    from softswitch.testing.laboratory import Laboratory, TestSwitch

_Made = TypeVar("_Made")


def async_fixture(function: _Made) -> _Made:
    """A fixture that is awaited; without pytest-asyncio nobody does, and nothing else breaks by it."""
    maker: Any = pytest
    with contextlib.suppress(ImportError):
        maker = import_module("pytest_asyncio")
    made: _Made = maker.fixture(function)
    return made


@async_fixture
async def sip_lab() -> AsyncIterator[Laboratory]:
    """A `Laboratory`; everything it has made is closed after the test."""
    from softswitch.testing.laboratory import Laboratory

    async with Laboratory() as lab:
        yield lab


@pytest.fixture
def sip_phone(sip_lab: Laboratory) -> Callable[..., Awaitable[VirtualPhone]]:
    """`await sip_phone("sip:host:port", "1001", "secret")`: a registered telephone."""
    return sip_lab.phone


@pytest.fixture
def sip_trunk(sip_lab: Laboratory) -> Callable[..., Awaitable[VirtualTrunk]]:
    """`await sip_trunk("sip:host:port", host=..., port=...)`: a carrier that answers."""
    return sip_lab.trunk


@async_fixture
async def sip_switch() -> AsyncIterator[TestSwitch]:
    """A switch of our own, started for this test."""
    from softswitch.testing.laboratory import switch

    async with switch() as running:
        yield running


@pytest.fixture
def assert_heard() -> Callable[..., Awaitable[Any]]:
    """`await assert_heard(call)`: our voice comes back; `await assert_heard(call, other)`: both ways."""
    from softswitch.testing.laboratory import assert_heard as found

    return found
