"""``[[queue]]`` and the tables within it: how callers wait, and how agents are chosen for them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from softswitch.config.values import (
    HANG_UP,
    Greeting,
    Key,
    Many,
    Name,
    Number,
    Seconds,
    Section,
    To,
    text_like,
)

Criterion = Annotated[str, text_like("[a-z][a-z0-9.-]{0,63}", 'a name such as "longest-idle"')]
SkillName = Annotated[
    str, text_like("[A-Za-z][A-Za-z0-9_.-]{0,63}", 'a name such as "billing" or "lang.zh"')
]
Skill = Annotated[str, Field(max_length=512)]
Level = Annotated[int, Field(ge=0, le=1_000_000)]
_Rest = Annotated[float, Field(ge=0, le=86_400)]
_PenaltyChange = Annotated[
    str,
    text_like(
        r"[0-9]{1,6}(,([+-]?[0-9]{1,6})?){1,2}(,(r?[+-]?[0-9]{1,6})?)?",
        'seconds and changes as in "60,+2" or "90,,1,r2"',
    ),
]


class Aging(Section):
    """How waiting counts beside points of priority."""

    aging_s: float = Field(default=60.0, ge=0, le=86_400)


class LastAgent(Section):
    """How long a caller waits for the agent who served him last."""

    within_h: float = Field(default=72.0, gt=0, le=87_600)
    wait_s: float = Field(default=20.0, ge=0, le=86_400)
    wait_for_absent: bool = False


class RegionWait(Section):
    """How long a caller waits for an agent of his region."""

    wait_s: float = Field(default=15.0, ge=0, le=86_400)
    skip_absent: bool = False


class Relax(Section):
    """After `after_s` of waiting: `skill` is asked for instead, demands on the skills of `drop` are left out,
    `also` is another way, `require` one more demand. A step that says only when asks nothing any more."""

    after_s: Seconds
    skill: Skill | None = None
    drop: Annotated[Many[SkillName], Field(max_length=64)] = ()
    also: Skill = ""
    require: Skill = ""


class LevelStep(Section):
    """From `after_s` on only agents of levels `minimum` to `maximum` are asked; those below `raise_to` count
    as of that level, with `raise_inside` only if they are asked anyway."""

    after_s: float = Field(default=0.0, ge=0, le=86_400)
    maximum: Level | None = None
    minimum: Level | None = None
    raise_to: Level | None = None
    raise_inside: bool = False


class Levels(Section):
    """Which levels of membership are asked when."""

    steps: Annotated[Many[LevelStep], Field(max_length=32)] = ()
    skip_absent: bool = False
    ignore_up_to: int = Field(default=0, ge=0, le=100_000)


class Tiers(Section):
    """Tier rules in the manner of mod_callcenter."""

    wait_s: float = Field(default=0.0, ge=0, le=86_400)
    multiply: bool = False
    no_agent_no_wait: bool = True


class Penalties(Section):
    """Penalty rules in the manner of Asterisk's queuerules.conf."""

    changes: Annotated[Many[_PenaltyChange], Field(max_length=32)] = ()
    maximum: Level | None = None
    minimum: Level | None = None
    raise_to: Level | None = None
    members_limit: int = Field(default=0, ge=0, le=100_000)


class Rona(Section):
    """Redirect on no answer."""

    after: int = Field(default=1, ge=0, le=1_000)
    no_answer_rest_s: _Rest = 0.0
    reject_rest_s: _Rest = 0.0
    busy_rest_s: _Rest = 5.0
    again_s: _Rest = 10.0


class Expect(Section):
    """What is assumed of a queue until enough has been seen."""

    handle_s: Seconds = 240.0
    patience_s: Seconds = 300.0


class Announce(Section):
    """What a waiting caller is told."""

    position: bool = True
    wait: bool = True
    every_s: Seconds = 45.0
    first_s: float = Field(default=1.0, ge=0, le=86_400)
    messages: Annotated[Many[Greeting], Field(max_length=16)] = ()
    messages_every_s: Seconds = 60.0


class Callback(Section):
    """A waiting caller may ask to be called back and keeps his place."""

    offer_after_s: float = Field(default=60.0, ge=0, le=86_400)
    key: Key = "1"
    first: Literal["agent", "customer"] = "agent"
    attempts: int = Field(default=3, ge=1, le=20)
    retry_after_s: Seconds = 300.0
    dial_s: Seconds = 45.0
    agent_wait_s: Seconds = 600.0


class ServiceLevel(Section):
    """The share of calls, `target`, to be answered within `within_s`."""

    within_s: Seconds = 20.0
    target: float = Field(default=0.8, gt=0, le=1)


class Queue(Section):
    """``[[queue]]``: callers who wait for agents."""

    name: Name
    number: Number | None = None
    hours: Name | None = None
    route: Annotated[Many[Criterion], Field(min_length=1, max_length=32)] = (
        "priority",
        "skill",
        "longest-idle",
    )
    skill: Skill = ""
    priority: Aging = Aging()
    weight: float = Field(default=0.0, ge=-1_000_000, le=1_000_000)
    last_agent: LastAgent = LastAgent()
    region: RegionWait = RegionWait()
    relax: Annotated[Many[Relax], Field(max_length=32)] = ()
    prefer: Annotated[Many[Criterion], Field(max_length=32)] = ()
    levels: Levels = Levels()
    tiers: Tiers | None = None
    penalties: Penalties | None = None
    options: dict[Name, str | int | float | bool] = Field(default_factory=dict)
    ring_s: Seconds = 15.0
    ring_max: int = Field(default=20, ge=1, le=1_000)
    progressive_s: Seconds = 10.0
    rona: Rona = Rona()
    wrap_up_s: float = Field(default=20.0, ge=0, le=86_400)
    answer: bool = True
    music: Name = "default"
    announce: Announce = Announce()
    callback: Callback | None = None
    max_waiting: int = Field(default=50, ge=0, le=100_000)
    max_wait_s: Seconds = 600.0
    overflow: To = HANG_UP
    keys: dict[Key, To] = Field(default_factory=dict)
    join_when: Literal["always", "present", "free"] = "always"
    stay_when: Literal["always", "present"] = "always"
    leave_after_s: Seconds = 5.0
    place_held_s: float = Field(default=0.0, ge=0, le=3_600)
    place_from_call: bool = False
    tell_agent: Annotated[Many[Literal["queue", "wait", "customer"]], Field(max_length=3)] = (
        "queue",
        "wait",
        "customer",
    )
    record: bool | None = None
    expect: Expect = Expect()
    service_level: ServiceLevel = ServiceLevel()
    survey: Name | None = None
