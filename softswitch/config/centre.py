"""Tables of the call centre: regions, agents and customers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from softswitch.config.queues import Level, SkillName
from softswitch.config.values import Many, Name, Number, Outside, Password, Section


class Region(Section):
    """``[[region]]``: callers' numbers by longest prefix."""

    name: Name
    prefixes: Annotated[Many[Outside], Field(min_length=1, max_length=10_000)]


class Membership(Section):
    """An agent's place in one queue: `level` (tier or penalty, low ones are asked first), `position` for
    orders by position, `weight` for a weighted lottery, `at_once` the most that he has of it at hand."""

    level: Level = 0
    position: int = Field(default=0, ge=0, le=1_000_000)
    weight: float = Field(default=1.0, gt=0, le=1_000_000)
    at_once: int | None = Field(default=None, ge=1, le=1_000)


class Capacities(Section):
    """How much an agent has at hand at once: calls (`voice`), tickets and chats together (`text`), and of
    these each kind."""

    voice: int = Field(default=1, ge=0, le=100)
    text: int = Field(default=3, ge=0, le=1_000)
    ticket: int | None = Field(default=None, ge=0, le=1_000)
    chat: int | None = Field(default=None, ge=0, le=1_000)


class Agent(Section):
    """``[[agent]]``: a person who serves queues."""

    id: Name
    name: str = Field(default="", max_length=128)
    extension: Number
    password: Password
    role: Literal["agent", "supervisor", "admin"] = "agent"
    queues: Many[Name] = ()
    skills: dict[SkillName, Annotated[int, Field(ge=0, le=100)]] = Field(default_factory=dict)
    regions: Many[Name] = ()
    membership: dict[Name, Membership] = Field(default_factory=dict)
    capacities: Capacities = Capacities()
    wrap_up_s: float | None = Field(default=None, ge=0, le=86_400)


class Customer(Section):
    """``[[customer]]``: a caller who is known."""

    phone: Annotated[Many[Outside], Field(min_length=1, max_length=32)]
    name: str = Field(default="", max_length=128)
    priority: int = Field(default=0, ge=0, le=100)
    tags: Annotated[
        Many[Annotated[str, Field(min_length=1, max_length=64)]], Field(max_length=64)
    ] = ()
