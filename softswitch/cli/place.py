"""Where a running server is found: by its configuration file or its storage directory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from softswitch.errors import ConfigError

HERE = Path("office.toml")
VARIABLE = "SOFTSWITCH_OFFICE"
Place = Annotated[
    Path, typer.Argument(help="office.toml or the storage directory.", envvar=VARIABLE)
]
OfficeFile = Annotated[
    Path, typer.Argument(help="The configuration: office.toml or its folder.", envvar=VARIABLE)
]
"""The last word of every command that speaks to a server or reads what it has kept."""


def keep_from_others() -> None:
    """What is written from now on, by this process and those it starts, is not for other users of the machine
    to read. The group may, where the file says so: a program that archives recordings."""
    os.umask(os.umask(0o077) | 0o027)


def word_or_place(word: str, place: Path) -> tuple[str, Path]:
    """Where only an office was named, in the place of a word before it: no word, and that office."""
    if word and place == Path(os.environ.get(VARIABLE, HERE)) and Path(word).exists():
        return "", Path(word)
    return word, place


def storage_directory(place: Path) -> Path:
    """`place` is office.toml, the folder that holds it, or the storage directory itself."""
    return storage_at(place)[0]


def office_file(place: Path) -> Path:
    """The office's file: `place` itself, or the one in that folder. Raises `ConfigError` where none was named
    and this folder has none."""
    if place == HERE and not place.exists():
        raise ConfigError(
            str(HERE),
            "is not in this folder",
            f"the file or folder of an office as the last word, or in {VARIABLE}",
        )
    return place / HERE if place.is_dir() else place


def storage_at(place: Path) -> tuple[Path, str]:
    """The storage directory of `place`, and the database that holds its records. Where only the directory is
    known that is the file in it."""
    from softswitch.api.admin import SOCKET_NAME
    from softswitch.config import load_office

    if place.is_dir():
        if (place / SOCKET_NAME).exists():
            return place, "sqlite"
        if not office_file(place).is_file():
            raise ConfigError(
                str(place),
                "has no office.toml, and no server runs on it",
                "office.toml or its folder, or the storage directory of a server that runs",
            )
    storage = load_office(office_file(place)).storage
    return storage.directory, storage.database
