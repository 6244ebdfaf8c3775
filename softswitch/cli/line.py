"""`softswitch line`: how calls to an extension are treated now, and change it."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from softswitch.cli.place import HERE, Place

_Switch = Annotated[str | None, typer.Option(metavar="on|off|office", show_default=False)]
_Forward = Annotated[str | None, typer.Option(metavar="WHERE|off|office", show_default=False)]
_VALUES: dict[str, Any] = {"on": True, "off": False, "office": None}


def register(app: typer.Typer) -> None:
    @app.command()
    def line(
        extension: Annotated[str, typer.Argument(help="Its number.")],
        place: Place = HERE,
        do_not_disturb: _Switch = None,
        call_waiting: _Switch = None,
        forward_always: _Forward = None,
        forward_busy: _Forward = None,
        forward_no_answer: _Forward = None,
        forward_unreachable: _Forward = None,
        as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    ) -> None:
        """Show how calls to an extension are treated, or change it.

        WHERE is "voicemail", a number (dialled with the extension's own rights) or a destination as in the
        office file; "office" makes it again what the office file says.
        """
        from softswitch.api.admin import ask
        from softswitch.cli.place import storage_directory

        switches = {"do_not_disturb": do_not_disturb, "call_waiting": call_waiting}
        forwards = {
            "forward_always": forward_always,
            "forward_busy": forward_busy,
            "forward_no_answer": forward_no_answer,
            "forward_unreachable": forward_unreachable,
        }
        changes: dict[str, bool | str | None] = {
            name: _value(name, text) for name, text in switches.items() if text is not None
        }
        changes |= {name: _where(text) for name, text in forwards.items() if text is not None}
        directory = storage_directory(place)
        answer = next(ask(directory, "line", extension=extension, changes=changes))
        if as_json:
            typer.echo(json.dumps(answer, indent=2))
            return
        from softswitch.cli.tables import show

        show(_table(extension, answer))


def _value(name: str, text: str) -> bool | None:
    if text not in _VALUES:
        option = "--" + name.replace("_", "-")
        raise typer.BadParameter(f"{text} is neither on, off nor office", param_hint=option)
    found: bool | None = _VALUES[text]
    return found


def _where(text: str) -> str | None:
    return None if text == "office" else "" if text == "off" else text


def _table(extension: str, settings: dict[str, Any]) -> Any:
    from rich.table import Table

    from softswitch.cli.status import shown

    table = Table("setting", "now", title=f"Line {extension}", title_justify="left")
    after_s = settings.pop("after_s")
    for name, value in settings.items():
        words = shown(value)
        if name == "forward_no_answer" and value:
            words += f" (after {after_s:g} s)"
        table.add_row(name.replace("_", " "), words)
    return table
