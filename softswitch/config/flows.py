"""``[[flow]]``: what happens to a caller, step by step, and ``[look_up]``, what steps may ask."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from softswitch.config.problems import refusal
from softswitch.config.values import (
    Destination,
    Greeting,
    Key,
    Many,
    Name,
    Number,
    Seconds,
    Section,
    To,
    one_text,
    parse_destination,
    text_like,
)

Doing = Literal[
    "play",
    "say",
    "menu",
    "collect",
    "hours",
    "branch",
    "set",
    "look-up",
    "enqueue",
    "dial",
    "voicemail",
    "record",
    "survey",
    "hear",
    "transfer",
    "hang-up",
    "go",
]
Sound = Literal[
    "cng",
    "ced",
    "person",
    "machine",
    "unsure",
    "beep",
    "dial",
    "ringback",
    "busy",
    "congestion",
    "call-waiting",
    "unobtainable",
    "sit",
]
"""What a line may say (`Call.hear_line`)."""
STEP = "step"
"""The kind of a `Destination` that is a step of the same flow."""

BUILT_IN_VARIABLES = (
    "caller",
    "called",
    "caller_name",
    "customer",
    "customer_priority",
    "customer_tags",
    "digits",
    "language",
    "outcome",
)
"""What every flow can read: the number that calls, the one that was called, the name that came with the call,
the customer's name, priority and tags (as ``a,b``), the last key of a menu, the call's language, and how
the last `enqueue` or `dial` ended."""

_VARIABLE = re.compile(r"\{([a-z][a-z0-9_]{0,31})\}")
_TARGET = 'a step\'s name, "hangup" or a destination such as queue:support'


def _parse_target(text: str) -> Destination:
    if text == "hangup" or ":" in text:
        return parse_destination(text)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", text):
        raise refusal("leads nowhere", _TARGET)
    return Destination(STEP, text)


def _one_or_many(value: Any) -> Any:
    return (
        (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value
    )


def _check_template(value: Any) -> Any:
    if not isinstance(value, str):
        raise refusal("is not a text", 'a text, with variables as in "{caller}"')
    if "{" in _VARIABLE.sub("", value) or "}" in _VARIABLE.sub("", value):
        raise refusal("holds a brace that is no variable", 'a text with variables as in "{caller}"')
    return value


def variables_in(template: str) -> list[str]:
    """The names of the variables that a text holds."""
    return _VARIABLE.findall(template)


def filled(template: str, variables: dict[str, str]) -> str:
    """`template` with its variables put in; unknown ones are empty."""
    return _VARIABLE.sub(lambda found: variables.get(found[1], ""), template)


Target = Annotated[Destination, one_text(_TARGET, _parse_target)]
Variable = Annotated[str, text_like("[a-z][a-z0-9_]{0,31}", 'a name such as "order_number"')]
Template = Annotated[str, BeforeValidator(_check_template), Field(max_length=1024)]
_Answered = Annotated[
    str,
    text_like(r"[A-Za-z0-9_-]{1,64}(\.[A-Za-z0-9_-]{1,64}){0,7}", 'a path as in "order.status"'),
]


class Case(Section):
    """One case of a `branch`: a test of the value and where it leads."""

    is_: Annotated[str, Field(max_length=256)] | None = Field(default=None, alias="is")
    starts: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    has: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    at_least: float | None = None
    at_most: float | None = None
    known: bool | None = None
    go: Target


class Step(Section):
    """``[[flow.step]]``: one thing that is done. Which keys belong to which `do`: ``docs/ivr.md``."""

    name: Name | None = None
    do: Doing
    next: Target | None = None
    failed: Target | None = None
    prompt: Annotated[
        tuple[Greeting, ...], BeforeValidator(_one_or_many), Field(min_length=1, max_length=16)
    ] = ()
    barge_in: bool = True
    kind: (
        Literal[
            "number",
            "count",
            "digits",
            "position",
            "minutes",
            "duration",
            "date",
            "day",
            "time",
            "amount",
        ]
        | None
    ) = None
    value: Template = ""
    options: dict[Key, Target] = Field(default_factory=dict)
    dial_extension: bool = False
    tries: int = Field(default=3, ge=1, le=20)
    timeout_s: Seconds | None = None
    min_digits: int = Field(default=1, ge=1, le=64)
    max_digits: int = Field(default=16, ge=1, le=64)
    secret: bool = False
    into: Variable | None = None
    hours: Name | None = None
    closed: Target | None = None
    cases: Annotated[Many[Case], Field(max_length=64)] = ()
    variables: dict[Variable, Template] = Field(default_factory=dict)
    language: Literal["en", "zh"] | None = None
    priority: int | None = Field(default=None, ge=0, le=100)
    skill: Template | None = None
    customer: Template | None = None
    url: Annotated[str, Field(max_length=1024)] = ""
    query: dict[str, Template] = Field(default_factory=dict)
    answer: dict[Variable, _Answered] = Field(default_factory=dict)
    queue: Name | None = None
    max_wait_s: Seconds | None = None
    to: Annotated[tuple[To, ...], BeforeValidator(_one_or_many), Field(max_length=16)] = ()
    ring_s: Seconds = 30.0
    busy: Target | None = None
    box: Number | None = None
    survey: Name | None = None
    max_s: Seconds = 180.0
    silence_s: Seconds = 10.0
    what: Annotated[
        tuple[Sound, ...], BeforeValidator(_one_or_many), Field(min_length=1, max_length=16)
    ] = ()
    heard: Target | None = None


class Flow(Section):
    """``[[flow]]``: steps, the first one first."""

    name: Name
    number: Number | None = None
    steps: Annotated[Many[Step], Field(min_length=1, max_length=1_000)] = Field(alias="step")


class LookUp(Section):
    """``[look_up]``: which hosts steps may ask by plain http or inside the private network."""

    hosts: Annotated[
        Many[Annotated[str, text_like("[A-Za-z0-9.:-]{1,253}", "a host name or an address")]],
        Field(max_length=256),
    ] = ()
