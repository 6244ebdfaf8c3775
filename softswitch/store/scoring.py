"""How good a conversation was, by a scorecard. Pure.

A scorecard has sections with weights, a section has items with weights. An item is answered with points,
or not at all where it does not apply: then its weight is shared by the others. A critical item without
any points makes the whole worth nothing, whatever else was good.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

SECTIONS_MAX = 20
ITEMS_MAX = 100
"""Of a whole scorecard."""
POINTS_MAX = 100


@dataclass(frozen=True, slots=True)
class Item:
    """One question. `key` names it in answers and in comparisons between versions."""

    key: str
    question: str
    points: int = 1
    weight: float = 1.0
    critical: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """Questions about the same."""

    name: str
    items: tuple[Item, ...]
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Form:
    """What is asked. `pass_percent`: from which score on a conversation was good enough."""

    sections: tuple[Section, ...]
    pass_percent: float = 80.0

    def items(self) -> Iterator[Item]:
        """All questions, in order."""
        for section in self.sections:
            yield from section.items


@dataclass(frozen=True, slots=True)
class Answer:
    """`points` None: does not apply here. `remark`: why."""

    key: str
    points: int | None
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Score:
    """`percent` None: nothing was answered that counts. `raw_percent` is what it would be without critical
    items; `failed` are those that have no points; `open` have no answer yet."""

    percent: float | None
    raw_percent: float | None
    sections: Mapping[str, float | None] = field(default_factory=dict)
    failed: tuple[str, ...] = ()
    open: tuple[str, ...] = ()
    passed: bool = False


def faults_of_form(form: Form) -> list[str]:
    """What is wrong with a scorecard, in words."""
    faults = []
    items = list(form.items())
    keys = [item.key for item in items]
    if not items:
        faults.append("a scorecard asks something")
    if len(form.sections) > SECTIONS_MAX or len(items) > ITEMS_MAX:
        faults.append(f"a scorecard has at most {SECTIONS_MAX} sections and {ITEMS_MAX} items")
    for name in dict.fromkeys(key for key in keys if keys.count(key) > 1):
        faults.append(f"the key {name} is used twice")
    names = [section.name for section in form.sections]
    for name in dict.fromkeys(name for name in names if names.count(name) > 1):
        faults.append(f"the section {name} is there twice")
    for section in form.sections:
        if section.items and not any(item.weight > 0 or item.critical for item in section.items):
            faults.append(f"nothing of the section {section.name} counts")
    return faults


def faults_of_answers(form: Form, answers: Mapping[str, Answer]) -> list[str]:
    """What is wrong with answers, in words."""
    known = {item.key: item for item in form.items()}
    faults = []
    for key, answer in answers.items():
        item = known.get(key)
        if item is None:
            faults.append(f"the scorecard has no item {key}")
        elif answer.points is not None and not 0 <= answer.points <= item.points:
            faults.append(f"{key} is worth 0 to {item.points} points")
    return faults


def score(form: Form, answers: Mapping[str, Answer]) -> Score:
    """What answers are worth, in percent."""
    sections = {section.name: _section_percent(section, answers) for section in form.sections}
    raw = _weighted(
        (section.weight, percent)
        for section in form.sections
        if (percent := sections[section.name]) is not None
    )
    failed = tuple(
        item.key
        for item in form.items()
        if item.critical and item.key in answers and answers[item.key].points == 0
    )
    percent = 0.0 if failed else raw
    return Score(
        percent=percent,
        raw_percent=raw,
        sections=sections,
        failed=failed,
        open=tuple(item.key for item in form.items() if item.key not in answers),
        passed=percent is not None and percent >= form.pass_percent,
    )


def _section_percent(section: Section, answers: Mapping[str, Answer]) -> float | None:
    given = (
        (item.weight, 100.0 * answer.points / item.points)
        for item in section.items
        if (answer := answers.get(item.key)) is not None and answer.points is not None
    )
    return _weighted(given)


def _weighted(pairs: Iterator[tuple[float, float]]) -> float | None:
    found = list(pairs)
    weight = sum(weight for weight, _ in found)
    if weight <= 0:
        return None
    return sum(weight * percent for weight, percent in found) / weight
