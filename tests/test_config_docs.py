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

DOCUMENT = (Path(__file__).parents[1] / "docs" / "configuration.md").read_text()


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
