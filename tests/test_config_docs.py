"""docs/configuration.md says of every key what the code does."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from softswitch import config
from softswitch.config.load import _model_in
from softswitch.config.model import Office

ROOT = Path(__file__).parents[1]
DOCUMENT = (ROOT / "docs" / "configuration.md").read_text()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def models() -> dict[str, type[BaseModel]]:
    """Heading -> model, from the office down."""
    found: dict[str, type[BaseModel]] = {}
    for name, field in Office.model_fields.items():
        model = _model_in(field.annotation)
        assert model is not None
        section = field.alias or name
        many = "tuple" in str(field.annotation)
        found[f"[[{section}]]" if many else f"[{section}]"] = model
        for key, inner in model.model_fields.items():
            sub = _model_in(inner.annotation)
            if sub is not None:
                article = "an" if section[0] in "aeiou" else "a"
                found[f"{inner.alias or key} of {article} {section}"] = sub
    return found


def documented(heading: str) -> dict[str, str]:
    """Key -> default as written under a heading."""
    title = heading if heading.startswith("[") else heading.split(" ", 1)[0]
    rest = "" if heading.startswith("[") else " " + heading.split(" ", 1)[1]
    found = re.search(rf"^##+ `{re.escape(title)}`{rest}\n(.*?)(?=^##|\Z)", DOCUMENT, re.M | re.S)
    assert found is not None, f"no heading for {heading}"
    rows = re.findall(r"^\| `([a-z_0-9]+)` \|(.*?)\|.*\|$", found[1], re.M)
    return {key: default.strip() for key, default in rows}


def written(value: Any) -> Any:
    """A default as TOML would give it."""
    if isinstance(value, BaseModel):
        return {}
    if isinstance(value, config.Prompt):
        return value.value
    if isinstance(value, config.PortRange):
        return f"{value.low}-{value.high}"
    if isinstance(value, config.Listen | config.HostPort | config.Destination | Path):
        return str(value)
    if isinstance(value, tuple):
        return [written(item) for item in value]
    return value


@pytest.mark.parametrize(("heading", "model"), models().items(), ids=list(models()))
def test_every_key_and_its_default_is_documented(heading: str, model: type[BaseModel]) -> None:
    rows = documented(heading)
    assert list(rows) == [field.alias or name for name, field in model.model_fields.items()]
    for name, field in model.model_fields.items():
        text = rows[field.alias or name]
        default = field.get_default(call_default_factory=True)
        if default is PydanticUndefined:
            assert text == ""
        elif default is None:
            assert text == "none"
        else:
            assert tomllib.loads(f"x = {text.strip('`')}")["x"] == written(default), name


def keys_of(model: type[BaseModel]) -> set[str]:
    return {field.alias or name for name, field in model.model_fields.items()}


def unknown(model: type[BaseModel], values: dict[str, Any], path: str = "") -> list[str]:
    """Paths of keys that the model does not have."""
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    found = []
    for key, value in values.items():
        here = f"{path}.{key}".lstrip(".")
        if key not in fields:
            found.append(here)
            continue
        inner = _model_in(fields[key].annotation)
        for item in value if isinstance(value, list) else [value]:
            if inner is not None and isinstance(item, dict) and not _keys_are_free(inner, item):
                found += unknown(inner, item, here)
    return found


def _keys_are_free(model: type[BaseModel], values: dict[str, Any]) -> bool:
    """A table whose keys are names, as `membership` of an agent: tables by queue."""
    return all(isinstance(value, dict) for value in values.values()) and not (
        keys_of(model) & set(values)
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_other_pages_name_keys_that_exist(page: Path) -> None:
    text = page.read_text()
    for block in re.findall(r"```toml\n(.*?)```", text, re.DOTALL):
        assert unknown(Office, tomllib.loads(block)) == []
    sections = {name.strip("[]"): model for name, model in models().items() if name[0] == "["}
    for section, keys in re.findall(r"`\[+([a-z_]+)\]+ ([a-z_]+)\b(?! \w)", text):
        assert section in sections, f"[{section}]"
        assert keys in keys_of(sections[section]), f"[{section}] {keys}"
