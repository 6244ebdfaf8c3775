"""Strategies of other systems, written as pipelines. Formulas and quirks: docs/routing.md.

What is kept is what their users rely on: who is asked first, and when others are. What is not kept
are accidents of their formulas (an idle time that overflows its band, a tie between levels).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from routing.errors import RoutingConfigError
from routing.model import LevelRule, LevelStep, PriorityRule, QueueConfig

_STRICT = PriorityRule(aging_s=None)
# mod_callcenter: score = seconds waited + base score, so one point is one second.
_SECONDS = PriorityRule(aging_s=1.0)

# Asterisk app_queue: penalty first (a band of a million in its metric), then the strategy.
_ASTERISK = {
    "ringall": ("priority", "level", "ring-all"),
    "leastrecent": ("priority", "level", "least-recent"),
    "fewestcalls": ("priority", "level", "fewest-calls-here"),
    "random": ("priority", "level", "random"),
    "wrandom": ("priority", "level-limits", "penalty-weighted"),
    "rrmemory": ("priority", "level", "round-robin"),
    "roundrobin": ("priority", "level", "round-robin"),
    "rrordered": ("priority", "level", "round-robin"),
    "linear": ("priority", "level", "top-down"),
}

# FreeSWITCH mod_callcenter: ORDER BY level, then the strategy.
_FREESWITCH = {
    "longest-idle-agent": ("priority", "level", "longest-since-call"),
    "agent-with-least-talk-time": ("priority", "level", "least-talk-time-then-position"),
    "agent-with-fewest-calls": ("priority", "level", "fewest-calls-then-position"),
    "round-robin": ("priority", "level", "round-robin"),
    "top-down": ("priority", "level", "top-down"),
    "sequentially-by-agent-order": ("priority", "level", "position-then-least-recent"),
    "random": ("priority", "level", "random"),
    "ring-all": ("priority", "level-limits", "ring-all"),
    "ring-progressively": ("priority", "level", "ring-progressive"),
}

PRESETS: dict[str, tuple[tuple[str, ...], PriorityRule]] = {
    **{f"asterisk.{name}": (route, _STRICT) for name, route in _ASTERISK.items()},
    **{f"freeswitch.{name}": (route, _SECONDS) for name, route in _FREESWITCH.items()},
}


def expanded(queue: QueueConfig) -> QueueConfig:
    """`queue` with a preset's name in its route replaced by the pipeline it stands for."""
    if len(queue.route) != 1 or queue.route[0] not in PRESETS:
        return queue
    route, priority = PRESETS[queue.route[0]]
    if queue.priority != PriorityRule():
        priority = queue.priority
    return replace(queue, route=route, priority=priority)


def tier_rule(
    levels: Iterable[int],
    wait_s: float,
    multiply: bool = False,
    no_agent_no_wait: bool = True,
) -> LevelRule:
    """mod_callcenter's tier rules over the queue's `levels`: the lowest at once, level L after
    `wait_s`, or L x `wait_s` with `multiply`; with `no_agent_no_wait` a tier without anybody at work
    (there: logged in, breaks included) is passed over at once."""
    ordered = sorted(set(levels))
    steps = [LevelStep(maximum=ordered[0])] if ordered else []
    if multiply:
        steps += [LevelStep(after_s=wait_s * level, maximum=level) for level in ordered[1:]]
    elif ordered:
        steps.append(LevelStep(after_s=wait_s))
    return LevelRule(steps=tuple(steps), skip_absent=no_agent_no_wait)


def penalty_rule(
    changes: Sequence[str],
    maximum: int | None = None,
    minimum: int | None = None,
    raise_to: int | None = None,
    penalty_members_limit: int = 0,
) -> LevelRule:
    """Asterisk's queuerules.conf: each change is ``secs,max[,min[,raise]]``, with a sign for relative
    values, an empty field for no change and ``rN`` to raise only inside the window. The start values
    are QUEUE_MAX_PENALTY, QUEUE_MIN_PENALTY and QUEUE_RAISE_PENALTY."""
    step = LevelStep(maximum=maximum, minimum=minimum, raise_to=raise_to)
    steps = [step]
    parsed = sorted((_change(text) for text in changes), key=lambda change: change[0])
    for after_s, fields in parsed:
        raised = fields[2]
        inside = raised.startswith("r")
        step = LevelStep(
            after_s=after_s,
            maximum=_applied(step.maximum, fields[0]),
            minimum=_applied(step.minimum, fields[1]),
            raise_to=_applied(step.raise_to, raised.removeprefix("r")),
            raise_inside=inside if raised else step.raise_inside,
        )
        steps.append(step)
    return LevelRule(steps=tuple(steps), ignore_up_to=penalty_members_limit)


def _change(text: str) -> tuple[float, list[str]]:
    fields = [field.strip() for field in text.split(",")]
    try:
        after_s = float(fields[0])
        for number in fields[1:]:
            int(number.removeprefix("r") or 0)
    except ValueError:
        raise RoutingConfigError("penaltychange", f"{text!r}", "secs,±max[,±min[,raise]]") from None
    if not 2 <= len(fields) <= 4:
        raise RoutingConfigError("penaltychange", f"{text!r}", "secs,±max[,±min[,raise]]")
    return after_s, fields[1:] + [""] * (4 - len(fields))


def _applied(value: int | None, change: str) -> int | None:
    if not change:
        return value
    if change[0] in "+-":
        return None if value is None else max(0, value + int(change))
    return int(change)
