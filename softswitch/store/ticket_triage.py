"""Where a new ticket belongs, by what it says and whose it is. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from softswitch.store.words import words_of


@dataclass(frozen=True, slots=True)
class Trigger:
    """Matches a ticket with one of `keywords` (words in a row, in any script), of one of `sources`, `kinds`
    and `customer_tags`; what is empty matches any. Says what is to be filled in; "" nothing."""

    name: str = ""
    keywords: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    customer_tags: tuple[str, ...] = ()
    queue: str = ""
    skill: str = ""
    priority: str = ""
    department: str = ""
    assignee: str = ""
    tags: tuple[str, ...] = ()
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a ticket at its beginning."""

    texts: tuple[str, ...] = ()
    source: str = ""
    kind: str = ""
    customer_tags: frozenset[str] = frozenset()


@dataclass(slots=True)
class Placement:
    """Where it belongs; "" is left as it was. `because` names the triggers that matched."""

    queue: str = ""
    skill: str = ""
    priority: str = ""
    department: str = ""
    assignee: str = ""
    tags: list[str] = field(default_factory=list)
    because: list[str] = field(default_factory=list)


_FILLED = ("queue", "skill", "priority", "department", "assignee")


def triage(triggers: Iterable[Trigger], facts: Facts) -> Placement:
    """Ask the triggers in order: the first that says something of a part decides it, tags are gathered."""
    text = f" {words_of(facts.texts)} "
    found = Placement()
    for trigger in triggers:
        if not trigger.enabled or not _matches(trigger, facts, text):
            continue
        found.because.append(trigger.name)
        for part in _FILLED:
            if not getattr(found, part):
                setattr(found, part, getattr(trigger, part))
        found.tags += [tag for tag in trigger.tags if tag not in found.tags]
    return found


def _matches(trigger: Trigger, facts: Facts, text: str) -> bool:
    if trigger.sources and facts.source not in trigger.sources:
        return False
    if trigger.kinds and facts.kind not in trigger.kinds:
        return False
    if trigger.customer_tags and facts.customer_tags.isdisjoint(trigger.customer_tags):
        return False
    if not trigger.keywords:
        return True
    wanted = (words_of([keyword]) for keyword in trigger.keywords)
    return any(words and f" {words} " in text for words in wanted)
