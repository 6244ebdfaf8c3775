"""Tables of the call centre: regions, queues, agents and customers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from softswitch.config.values import (
    HANG_UP,
    Key,
    Many,
    Name,
    Number,
    Outside,
    Password,
    Seconds,
    Section,
    To,
    text_like,
)

_Criterion = Annotated[str, text_like("[a-z][a-z0-9.-]{0,63}", 'a name such as "longest-idle"')]
_SkillName = Annotated[
    str, text_like("[A-Za-z][A-Za-z0-9_.-]{0,63}", 'a name such as "billing" or "lang.zh"')
]
_Skill = Annotated[str, Field(max_length=512)]


class Region(Section):
    """``[[region]]``: callers' numbers by longest prefix."""

    name: Name
    prefixes: Annotated[Many[Outside], Field(min_length=1, max_length=10_000)]


class LastAgent(Section):
    """How long a caller waits for the agent who served him last."""

    within_h: float = Field(default=72.0, gt=0, le=87_600)
    wait_s: float = Field(default=20.0, ge=0, le=86_400)


class RegionWait(Section):
    """How long a caller waits for an agent of his region."""

    wait_s: float = Field(default=15.0, ge=0, le=86_400)


class Relax(Section):
    """After `after_s` of waiting the queue asks for `skill` instead."""

    after_s: Seconds
    skill: _Skill = ""


class Announce(Section):
    """What a waiting caller is told."""

    position: bool = True
    wait: bool = True
    every_s: Seconds = 45.0


class Callback(Section):
    """A waiting caller may ask to be called back and keeps his place."""

    offer_after_s: float = Field(default=60.0, ge=0, le=86_400)
    key: Key = "1"
    first: Literal["agent", "customer"] = "agent"
    attempts: int = Field(default=3, ge=1, le=20)
    retry_after_s: Seconds = 300.0


class ServiceLevel(Section):
    """The share of calls, `target`, to be answered within `within_s`."""

    within_s: Seconds = 20.0
    target: float = Field(default=0.8, gt=0, le=1)


class Queue(Section):
    """``[[queue]]``: callers who wait for agents."""

    name: Name
    number: Number | None = None
    hours: Name | None = None
    route: Annotated[Many[_Criterion], Field(min_length=1, max_length=32)] = (
        "priority",
        "skill",
        "longest-idle",
    )
    skill: _Skill = ""
    last_agent: LastAgent = LastAgent()
    region: RegionWait = RegionWait()
    relax: Annotated[Many[Relax], Field(max_length=32)] = ()
    ring_s: Seconds = 15.0
    wrap_up_s: float = Field(default=20.0, ge=0, le=86_400)
    music: Name = "default"
    announce: Announce = Announce()
    callback: Callback | None = None
    max_waiting: int = Field(default=50, ge=0, le=100_000)
    max_wait_s: Seconds = 600.0
    overflow: To = HANG_UP
    keys: dict[Key, To] = Field(default_factory=dict)
    join_when: Literal["always", "present", "free"] = "always"
    stay_when: Literal["always", "present"] = "always"
    place_held_s: float = Field(default=0.0, ge=0, le=3_600)
    service_level: ServiceLevel = ServiceLevel()
    survey: Name | None = None


class Agent(Section):
    """``[[agent]]``: a person who serves queues."""

    id: Name
    name: str = Field(default="", max_length=128)
    extension: Number
    password: Password
    role: Literal["agent", "supervisor", "admin"] = "agent"
    queues: Many[Name] = ()
    skills: dict[_SkillName, Annotated[int, Field(ge=0, le=100)]] = Field(default_factory=dict)
    regions: Many[Name] = ()


class Customer(Section):
    """``[[customer]]``: a caller who is known."""

    phone: Annotated[Many[Outside], Field(min_length=1, max_length=32)]
    name: str = Field(default="", max_length=128)
    priority: int = Field(default=0, ge=0, le=100)
    tags: Annotated[
        Many[Annotated[str, Field(min_length=1, max_length=64)]], Field(max_length=64)
    ] = ()
