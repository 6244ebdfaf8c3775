"""`softswitch check FILE`: what a configuration says, or everything that is wrong with it."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from softswitch.cli.place import HERE, OfficeFile, office_file

if TYPE_CHECKING:
    from softswitch.config import Office
    from softswitch.config.office import Recording

_ARRAYS = (
    ("extension", "extensions"),
    ("ring_group", "ring_groups"),
    ("trunk", "trunks"),
    ("outbound", "outbound"),
    ("inbound", "inbound"),
    ("hours", "hours"),
    ("ivr", "ivrs"),
    ("flow", "flows"),
    ("region", "regions"),
    ("queue", "queues"),
    ("conference", "conferences"),
    ("agent", "agents"),
    ("customer", "customers"),
)
_NAMES_SHOWN_MAX = 6


def register(app: typer.Typer) -> None:
    @app.command()
    def check(
        file: OfficeFile = HERE,
        limits: Annotated[
            bool, typer.Option("--limits", help="Print the limits on what strangers can grow.")
        ] = False,
    ) -> None:
        """Read a configuration: print what it says, or every problem with its line and key."""
        if limits:
            from softswitch.cli.limits import limit_rows

            _print_table(("limit", "value", "what happens beyond"), limit_rows())
            return
        from softswitch.apps.checks import OFFICE_CHECKS
        from softswitch.config import load_office

        path = office_file(file)
        office = load_office(path, checks=OFFICE_CHECKS)
        _print_table(("section", "says"), summary(office))
        for warning in [*warnings(path), *unserved(office)]:
            typer.echo(f"warning: {warning}", err=True)
        typer.echo(f"{path}: good")


def summary(office: Office) -> list[tuple[str, str]]:
    """Rows of (section, what it says); secrets are not among them."""
    media, recording = office.media, office.recording
    addresses = f"{media.address} {media.other_address}".rstrip().replace(" ", " and ")
    rows = [
        ("office", f"{office.office.name} ({office.office.domain}, {office.office.timezone})"),
        ("sip", ", ".join(str(listen) for listen in office.sip.listen)),
        ("media", f"{addresses}, ports {media.ports.low}-{media.ports.high}"),
        ("http", str(office.http.listen)),
        ("storage", str(office.storage.directory)),
        ("recording", _recording(recording)),
    ]
    for section, attribute in _ARRAYS:
        entries = getattr(office, attribute)
        if entries:
            rows.append((section, _listed([_label(entry) for entry in entries])))
    return rows


def _recording(recording: Recording) -> str:
    says = f"{recording.calls}, kept {recording.retain_days} days"
    return says if recording.archive == "none" else f"{says}, archived as {recording.archive}"


def _label(entry: object) -> str:
    for key in ("number", "name", "id", "prefix"):
        label = getattr(entry, key, None)
        if label:
            return str(label)
    return "(any)"


def _listed(labels: list[str]) -> str:
    shown = ", ".join(labels[:_NAMES_SHOWN_MAX])
    more = f" and {len(labels) - _NAMES_SHOWN_MAX} more" if len(labels) > _NAMES_SHOWN_MAX else ""
    return f"{len(labels)}: {shown}{more}"


def warnings(path: Path) -> list[str]:
    """What is allowed but unwise about the file itself."""
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        return [f"{path} holds passwords and others may read it; run: chmod 600 {path}"]
    return []


def unserved(office: Office) -> list[str]:
    """Queues whose callers nobody of this file will ever be given. Agents may be made through the API as well:
    that is no mistake."""
    from routing.expressions import parse_skill

    found = []
    for queue in office.queues:
        agents = [agent for agent in office.agents if queue.name in agent.queues]
        demand = parse_skill(queue.skill)
        if not agents:
            found.append(f"queue {queue.name}: no agent of this file has it in his `queues`")
        elif not queue.relax and not any(demand.admits(agent.skills) for agent in agents):
            found.append(f"queue {queue.name}: none of its agents has the skill {queue.skill}")
    return found


def _print_table(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    from rich.table import Table
    from rich.text import Text

    from softswitch.cli.tables import show

    table = Table(*columns)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    show(table)
