"""From the text of an office file to an `Office`, or to everything that is wrong with it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from softswitch.config.checks import check_office
from softswitch.config.flows import Flow
from softswitch.config.lines import Ivr
from softswitch.config.locate import Locator
from softswitch.config.model import Office
from softswitch.config.problems import InvalidOffice, Problem, nearest
from softswitch.config.values import Prompt

FILE_BYTES_MAX = 16 * 1024 * 1024
Check = Callable[[Office], Iterable[Problem]]
"""A further check of a whole office, such as the syntax of skill expressions."""

_TOML_PLACE = re.compile(r" \(at (?:line ([0-9]+), column ([0-9]+)|end of document)\)$")
_ENTRY_KEYS = ("name", "number", "id", "prefix")
_WRONG_TYPES = {
    "string_type": "a text in quotes",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "date_type": "a date",
}


def load_office(path: str | Path, *, checks: Iterable[Check] = ()) -> Office:
    """The office of a file; `storage.directory`, the files of `tls` and the WAV files of greetings are
    made absolute, from the file's own directory.

    Raises `ConfigError` (`InvalidOffice`, with all `problems`) where it cannot be read or used.
    """
    file = Path(path)
    try:
        with file.open("rb") as stream:
            data = stream.read(FILE_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidOffice(
            [Problem(str(file), f"cannot be read: {reason}", "a TOML file")]
        ) from None
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        problem = Problem(f"line {line}", "is not UTF-8 text", "a TOML file in UTF-8", line=line)
        raise InvalidOffice([problem], str(file)) from None
    office = parse_office(text, source=str(file), checks=checks)
    directory = (file.parent / office.storage.directory).absolute()
    storage = office.storage.model_copy(update={"directory": directory})
    files = {name: getattr(office.tls, name) for name in type(office.tls).model_fields}
    placed = {name: (file.parent / path).absolute() for name, path in files.items() if path}
    tls = office.tls.model_copy(update=placed)
    placed_sounds = {
        "ivrs": tuple(_with_file_from(file.parent, ivr) for ivr in office.ivrs),
        "flows": tuple(_with_files_from(file.parent, flow) for flow in office.flows),
    }
    return office.model_copy(update={"storage": storage, "tls": tls, **placed_sounds})


def _with_file_from(directory: Path, ivr: Ivr) -> Ivr:
    return ivr.model_copy(update={"greeting": _placed(directory, ivr.greeting)})


def _with_files_from(directory: Path, flow: Flow) -> Flow:
    steps = tuple(
        step.model_copy(update={"prompt": tuple(_placed(directory, p) for p in step.prompt)})
        if step.prompt
        else step
        for step in flow.steps
    )
    return flow.model_copy(update={"steps": steps})


def _placed(directory: Path, prompt: Prompt) -> Prompt:
    if prompt.kind != "file":
        return prompt
    return Prompt("file", str((directory / prompt.value).absolute()))


def parse_office(text: str, source: str = "", *, checks: Iterable[Check] = ()) -> Office:
    """The office that `text` (TOML) describes; `source` names it in errors.

    Raises `InvalidOffice` (a `ConfigError`) with every problem found: first those of syntax, then
    those of single values, then those between them.
    """
    table = _toml(text, source)
    try:
        office = Office.model_validate(table, by_alias=True, by_name=False)
    except ValidationError as error:
        problems = [problem_of(table, details) for details in error.errors(include_url=False)]
        raise InvalidOffice(_located(text, problems), source) from None
    found = [problem for check in (check_office, *checks) for problem in check(office)]
    if found:
        raise InvalidOffice(_located(text, found), source)
    return office


def _toml(text: str, source: str) -> dict[str, Any]:
    if len(text) > FILE_BYTES_MAX:
        raise InvalidOffice([Problem("file", "is too large", f"{FILE_BYTES_MAX} bytes")], source)
    try:
        return tomllib.loads(text.removeprefix("\ufeff"))
    except tomllib.TOMLDecodeError as error:
        raise InvalidOffice([_syntax_problem(text, str(error))], source) from None
    except (ValueError, RecursionError):
        # A number of thousands of digits, or tables nested beyond the stack.
        problem = Problem("file", "holds a value too large or too deeply nested", "plain TOML")
        raise InvalidOffice([problem], source) from None


def _syntax_problem(text: str, message: str) -> Problem:
    place = _TOML_PLACE.search(message)
    words = _TOML_PLACE.sub("", message)
    words = (words[:1].lower() + words[1:])[:200]
    if place is not None and place[1] is not None:
        line, column = int(place[1]), int(place[2])
    else:
        line = text.count("\n") + 1
        column = len(text) - text.rfind("\n")
    return Problem(f"line {line}, column {column}", f"is not TOML: {words}", line=line)


def problem_of(table: Mapping[str, Any], details: Mapping[str, Any]) -> Problem:
    """One pydantic error in the user's words. The value itself is never shown: it may be a secret."""
    location = tuple(part for part in details["loc"] if part != "[key]")
    kind, context = details["type"], details.get("ctx", {})
    path, entry = key_path(location), entry_of(table, location)
    if kind == "refused":
        return Problem(path, context["problem"], context["allowed"], entry)
    if kind == "extra_forbidden":
        known = _known_keys(location[:-1])
        hint = nearest(str(location[-1]), known)
        return Problem(path, f"is not a key that is known here{hint}", ", ".join(known), entry)
    if kind == "missing":
        return Problem(path, "is missing", entry=entry)
    if kind in _WRONG_TYPES:
        return Problem(path, "has the wrong type", _WRONG_TYPES[kind], entry)
    if kind == "literal_error":
        return Problem(path, "is not one of the choices", context["expected"], entry)
    return Problem(path, "is out of bounds", _bounds(kind, context, details["msg"]), entry)


def _bounds(kind: str, context: Mapping[str, Any], message: str) -> str:
    words = {
        "greater_than": "more than {gt}",
        "greater_than_equal": "{ge} or more",
        "less_than": "less than {lt}",
        "less_than_equal": "{le} or less",
        "string_too_short": "{min_length} characters or more",
        "string_too_long": "{max_length} characters or fewer",
        "too_short": "{min_length} entries or more",
        "too_long": "{max_length} entries or fewer",
        "finite_number": "a finite number",
    }
    template = words.get(kind)
    return template.format(**context) if template else message


def key_path(location: Iterable[object]) -> str:
    """``queue[0].overflow`` from ("queue", 0, "overflow")."""
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
            continue
        text = str(part)
        if not re.fullmatch("[A-Za-z0-9_-]+", text) or (path and text.isdigit()):
            shown = text if text.isprintable() else ascii(text)[1:-1]
            text = f'"{shown[:64]}"'
        path += f".{text}" if path else text
    return path


def entry_of(table: Mapping[str, Any], location: tuple[Any, ...]) -> str:
    """The name or number of the array's table that a problem is in."""
    if len(location) < 2 or not isinstance(location[1], int):
        return ""
    tables = table.get(location[0])
    found = tables[location[1]] if isinstance(tables, list) else None
    if not isinstance(found, dict):
        return ""
    for key in _ENTRY_KEYS:
        value = found.get(key)
        if isinstance(value, str) and value.isprintable() and len(value) <= 64:
            return value
    return ""


def _known_keys(location: tuple[Any, ...]) -> list[str]:
    """The keys of the table at `location`, as they are written in the file."""
    model: type[BaseModel] = Office
    for part in location:
        if isinstance(part, int):
            continue
        field = next((f for n, f in model.model_fields.items() if (f.alias or n) == part), None)
        inner = _model_in(field.annotation) if field is not None else None
        if inner is None:
            return []
        model = inner
    return [field.alias or name for name, field in model.model_fields.items()]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model inside ``tuple[Queue, ...]`` or ``Callback | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_model_in(argument) for argument in getattr(annotation, "__args__", ()))
    return next((model for model in found if model is not None), None)


def _located(text: str, problems: list[Problem]) -> list[Problem]:
    locator = Locator(text)
    placed = [replace(p, line=p.line or locator.line_of(p.key_path)) for p in problems]
    return sorted(placed, key=lambda problem: problem.line or len(text))
