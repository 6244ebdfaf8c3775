"""Who a request comes from, once proven: the only thing call control trusts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class PhoneIdentity:
    """A phone that has answered our digest challenge as this extension."""

    extension: str


@dataclass(frozen=True, slots=True)
class TrunkIdentity:
    """A peer known by its exact address, never by a header."""

    trunk: str


@dataclass(frozen=True, slots=True)
class OfficeIdentity:
    """The office itself, which calls somebody on behalf of one of its queues."""

    queue: str


Identity: TypeAlias = PhoneIdentity | TrunkIdentity | OfficeIdentity
