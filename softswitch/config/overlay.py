"""Entries beside the office file: tables of the same form that live elsewhere, checked by the same rules. Pure.

The file comes first: it must stand alone, what is in it cannot be changed from here, and an entry of the
same name is refused. Entries may refer to the file and to each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import ValidationError

from softswitch.config.checks import check_office
from softswitch.config.lines import Hours
from softswitch.config.load import Check, key_path, problem_of
from softswitch.config.model import Office
from softswitch.config.problems import InvalidOffice, Problem
from softswitch.config.values import Prompt, Section, week_text

SECTIONS: Mapping[str, tuple[str, str]] = {
    "extension": ("extensions", "number"),
    "ring_group": ("ring_groups", "number"),
    "trunk": ("trunks", "name"),
    "outbound": ("outbound", ""),
    "inbound": ("inbound", ""),
    "hours": ("hours", "name"),
    "ivr": ("ivrs", "name"),
    "flow": ("flows", "name"),
    "region": ("regions", "name"),
    "queue": ("queues", "name"),
    "conference": ("conferences", "number"),
    "agent": ("agents", "id"),
}
"""Tables that may have entries: the attribute of `Office`, and the key that names an entry ("": none
does; entries are numbered)."""

SECRETS = frozenset({"password", "pin"})
"""Keys, at any depth, whose values are never shown."""

_PLACE = re.compile(r"^([a-z_]+)\[([0-9]+)\](?:\.(.*))?$")


@dataclass(frozen=True, slots=True, eq=False)
class OverlayEntry:
    """One table: of which section, by which name, with which values (as TOML or JSON has them)."""

    section: str
    name: str
    values: dict[str, Any]


def read_entry(section: str, values: Mapping[str, Any]) -> Section:
    """One table as its model. Raises `InvalidOffice` with key paths inside the table."""
    model = model_of(section)
    try:
        found = model.model_validate(dict(values), by_alias=True, by_name=False)
    except ValidationError as error:
        table = {section: [dict(values)]}
        problems = [
            problem_of(table, {**details, "loc": (section, 0, *details["loc"])})
            for details in error.errors(include_url=False)
        ]
        raise InvalidOffice([_inside(problem) for problem in problems]) from None
    files = [
        Problem(key_path(path), "is a file", "a prompt that was uploaded, or text:...")
        for path, prompt in _prompts_in(found)
        if prompt.kind == "file"
    ]
    if files:  # who may use the API must not read the disk with it
        raise InvalidOffice(files)
    return found


def _prompts_in(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Prompt]]:
    if isinstance(value, Prompt):
        yield path, value
    elif isinstance(value, Section):
        for name, field in type(value).model_fields.items():
            yield from _prompts_in(getattr(value, name), (*path, field.alias or name))
    elif isinstance(value, tuple):
        for index, each in enumerate(value):
            yield from _prompts_in(each, (*path, index))
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _prompts_in(each, (*path, key))


def model_of(section: str) -> type[Section]:
    """The model of a section's tables."""
    annotation = Office.model_fields[SECTIONS[section][0]].annotation
    model: type[Section] = get_args(annotation)[0]
    return model


def name_in(section: str, values: Mapping[str, Any]) -> str:
    """The name that an entry gives itself; "" where entries have none."""
    key = SECTIONS[section][1]
    name = values.get(key) if key else ""
    return name if isinstance(name, str) else ""


def compose(file: Office, entries: Iterable[OverlayEntry], checks: Iterable[Check] = ()) -> Office:
    """The office of a file with these entries. Raises `InvalidOffice`; `entry_at` finds whose fault it
    is."""
    added: dict[str, list[Section]] = {}
    for entry in entries:
        added.setdefault(entry.section, []).append(read_entry(entry.section, entry.values))
    update = {
        SECTIONS[section][0]: (*getattr(file, SECTIONS[section][0]), *models)
        for section, models in added.items()
    }
    office = file.model_copy(update=update)
    found = [problem for check in (check_office, *checks) for problem in check(office)]
    if found:
        raise InvalidOffice(found)
    return office


def entry_at(
    file: Office, entries: Iterable[OverlayEntry], problem: Problem
) -> tuple[OverlayEntry | None, str]:
    """The entry that a problem of `compose` is in, None for the file, and the key path inside it."""
    place = _PLACE.match(problem.key_path)
    if place is None or place[1] not in SECTIONS:
        return None, problem.key_path
    index = int(place[2]) - len(getattr(file, SECTIONS[place[1]][0]))
    own = [entry for entry in entries if entry.section == place[1]]
    if not 0 <= index < len(own):
        return None, problem.key_path
    return own[index], place[3] or ""


def _inside(problem: Problem) -> Problem:
    place = _PLACE.match(problem.key_path)
    inner = (place[3] or "") if place is not None else problem.key_path
    return Problem(inner, problem.problem, problem.allowed, problem.entry)


def plain(value: Any) -> Any:
    """A value of a model as the file would write it."""
    if isinstance(value, Hours):
        return {
            "name": value.name,
            "open": week_text(value.open),
            **({"holidays": plain(value.holidays)} if value.holidays else {}),
        }
    if isinstance(value, Section):
        fields = type(value).model_fields
        return {
            fields[name].alias or name: plain(getattr(value, name))
            for name in fields
            if name in value.model_fields_set
        }
    if isinstance(value, Prompt):
        return f"text:{value.value}" if value.kind == "text" else value.value
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, str | bool | int | float) or value is None:
        return value
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return [plain(inner) for inner in value]
    return str(value)


def without_secrets(
    values: Mapping[str, Any], path: tuple[str, ...] = ()
) -> tuple[dict[str, Any], list[str]]:
    """Values that may be shown, and the key paths of those that may not."""
    shown: dict[str, Any] = {}
    hidden: list[str] = []
    for key, value in values.items():
        if key in SECRETS:
            hidden.append(key_path((*path, key)))
        elif isinstance(value, Mapping):
            shown[key], inner = without_secrets(value, (*path, key))
            hidden += inner
        else:
            shown[key] = value
    return shown, hidden


def merged(values: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON merge patch (RFC 7396): null takes a key away."""
    found = dict(values)
    for key, value in patch.items():
        if value is None:
            found.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(found.get(key), Mapping):
            found[key] = merged(found[key], value)
        else:
            found[key] = value
    return found
