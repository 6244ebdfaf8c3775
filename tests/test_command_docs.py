"""Commands with their options, make targets, files and routes that README and documents name are there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from softswitch.api.access import ACCESS, PREFIX
from softswitch.cli.main import build

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMANDS = typer.main.get_command(build())
WORD = re.compile(r"[a-z][a-z-]*")


def lines(page: Path) -> Iterator[str]:
    """What somebody would type: the lines of consoles, those continued joined, and code in a line of text."""
    text = page.read_text()
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            if line.strip().startswith("$ "):
                yield line.strip()[2:]
    outside = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    yield from re.findall(r"`([^`]+)`", outside)


def typed(program: str) -> list[object]:
    return [
        pytest.param(line, id=f"{page.stem}: {line[:50]}")
        for page in PAGES
        for line in dict.fromkeys(lines(page))
        if line.startswith(program + " ")
    ]


def words_of(line: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)[1:]
    except ValueError:  # an ellipsis, half a quotation
        return line.split()[1:]


@pytest.mark.parametrize("line", typed("softswitch"))
def test_a_command_is_there_with_its_options(line: str) -> None:
    words = words_of(line.replace("...", ""))
    command: Any = COMMANDS
    while (inner := getattr(command, "commands", None)) and words and WORD.fullmatch(words[0]):
        assert words[0] in inner, f"there is no command {words[0]}"
        command = inner[words.pop(0)]
    known = {
        o for parameter in command.params for o in (*parameter.opts, *parameter.secondary_opts)
    }
    named = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    assert named <= known | {"--help"}


@pytest.mark.parametrize("line", typed("make"))
def test_a_make_target_is_there(line: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = [word for word in words_of(line) if WORD.fullmatch(word)]
    assert named
    assert set(named) <= targets


FILE = re.compile(
    r"(?:softswitch|media|routing|tests|bench|docs|examples|scripts|prompts)/[\w/.*-]+"
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_file_that_is_named_is_there(page: Path) -> None:
    text = re.sub(r"\]\([^)]*\)", "", page.read_text())  # links: mkdocs follows those
    named = {
        word.rstrip(".") for code in re.findall(r"`([^`\n]+)`", text) for word in FILE.findall(code)
    }
    made = {"bench/out/bench.html"}
    missing = [name for name in named - made if not list(ROOT.glob(name))]
    assert not missing


WEBSOCKET = f"GET {PREFIX}/events"


def there(method: str, path: str) -> bool:
    """Whether the API has this route; `path` may name a thing where the route has a place for one."""
    segments = path.removeprefix(PREFIX).strip("/").split("/")
    for route in (*ACCESS, WEBSOCKET):
        way, _, known = route.partition(" ")
        places = known.removeprefix(PREFIX).strip("/").split("/")
        fits = len(places) == len(segments) and all(
            place == segment or place.startswith("{")
            for place, segment in zip(places, segments, strict=True)
        )
        if fits and way in (method, "GET" if method == "HEAD" else method):
            return True
    return False


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_route_that_is_named_is_there(page: Path) -> None:
    named = re.findall(r"\b(GET|POST|PUT|PATCH|DELETE|HEAD) (/[\w/{}.-]*)", page.read_text())
    missing = [f"{way} {path}" for way, path in named if not there(way, path.rstrip("."))]
    assert not missing


def test_the_links_of_the_readme_lead_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / "README.md").read_text())
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
