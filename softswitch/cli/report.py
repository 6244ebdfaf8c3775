"""`softswitch report`: what a day, a week or any time has brought, as a table, JSON, CSV or XLSX."""

from __future__ import annotations

import json
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer

from softswitch.cli.place import HERE, Place

_Day = Annotated[
    datetime | None,
    typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M"], help="In the office's time zone."),
]
_BESIDE_MAX = 5
_SHOWN = ("queue", "agent", "region", "skill", "department", "assignee", "kind", "source", "period")


class What(StrEnum):
    queues = "queues"
    agents = "agents"
    outcomes = "outcomes"
    tickets = "tickets"
    adherence = "adherence"


_LIVE = {What.queues: "/reports/live", What.agents: "/reports/live/agents"}


def register(app: typer.Typer) -> None:
    @app.command()
    def report(
        what: Annotated[
            str, typer.Argument(help="queues, agents, outcomes, tickets or adherence.")
        ] = "queues",
        place: Place = HERE,
        since: _Day = None,
        until: _Day = None,
        by: Annotated[str, typer.Option(help="all, half-hour, hour, day, week or month.")] = "all",
        per: Annotated[
            str, typer.Option(help="Told apart by: queue, agent, region, skill, department...")
        ] = "",
        formula: Annotated[
            str, typer.Option(help='Of the service level: "offered", "answered"... or "all".')
        ] = "",
        within_s: Annotated[
            float | None,
            typer.Option(
                "--within", help="T of the service level in seconds; else each queue's own."
            ),
        ] = None,
        queue: Annotated[
            list[str] | None, typer.Option(help="Only of this queue; may be given again.")
        ] = None,
        agent: Annotated[
            list[str] | None, typer.Option(help="Only of this agent; may be given again.")
        ] = None,
        out: Annotated[
            Path | None, typer.Option(help="Write to a file: .csv, .xlsx or .json.")
        ] = None,
        as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
        live: Annotated[
            bool,
            typer.Option("--live", help="Queues or agents today up to this second, from memory."),
        ] = False,
    ) -> None:
        """Report on queues, agents, outcomes, tickets or adherence: today, or between --since and --until."""
        from softswitch.cli.place import word_or_place
        from softswitch.cli.remote import Remote
        from softswitch.cli.tables import show
        from softswitch.errors import ConfigError

        if what not in set(What):
            what, place = word_or_place(what, place)
            what = what or What.queues
        if what not in set(What):
            raise ConfigError(what, "is no report", ", ".join(What))
        kind = out.suffix.removeprefix(".").lower() if out is not None else "json"
        if kind not in ("json", "csv", "xlsx"):
            raise ConfigError("--out", "is no format", "a file ending in .csv, .xlsx or .json")
        if live and (what not in _LIVE or since or until or within_s is not None):
            words = "tells of queues and agents today, with each queue's own T"
            raise ConfigError(
                "--live", words, "--by, --per, --formula, --queue and --agent beside it"
            )
        remote = Remote.of(place)
        zone = ZoneInfo(remote.ask("GET", "/office")["timezone"]) if since or until else None
        query: dict[str, Any] = {
            "start_s": _moment(since, zone),
            "end_s": _moment(until, zone),
            "by": by,
            "per": per or None,
            "formula": formula or None,
            "within_s": within_s,
            "queue": queue,
            "agent": agent,
        }
        path = _LIVE[What(what)] if live else f"/reports/{what}"
        answer = remote.ask("GET", path, format=kind, **query)
        if out is not None:
            data = answer if isinstance(answer, bytes) else json.dumps(answer, indent=2).encode()
            out.write_bytes(data)
            typer.echo(f"{out}: {len(data)} octets")
        elif as_json:
            typer.echo(json.dumps(answer, indent=2))
        elif answer["rows"]:
            show(report_table(answer))
        else:
            typer.echo("nothing happened in that time")


def _moment(day: datetime | None, zone: ZoneInfo | None) -> float | None:
    return None if day is None else max(0.0, day.replace(tzinfo=zone).timestamp())


def report_table(answer: dict[str, Any]) -> Any:
    """One column a row of the report, as it has more figures than a terminal has room; one row a row where
    there are many. Figures that are empty throughout are left out."""
    from rich.table import Table

    rows = answer["rows"]
    columns = [
        c for c in answer["columns"] if any(_shown(row.get(c)) not in ("", "-") for row in rows)
    ]
    table = Table(title=f"Report: {answer['name']}", title_justify="left")
    if len(rows) <= _BESIDE_MAX:
        heads = [c for c in columns if c in _SHOWN]
        table.add_column("")
        for row in rows:
            names = (_shown(row.get(c)) or (c != "period" and "(none)") for c in heads)
            table.add_column(" ".join(filter(None, names)) or "all", justify="right")
        for column in (c for c in columns if c not in _SHOWN):
            table.add_row(column.replace("_", " "), *(_shown(row.get(column)) for row in rows))
        return table
    for column in columns:
        table.add_column(column.replace("_", " "), justify="left" if column in _SHOWN else "right")
    for row in rows:
        table.add_row(*(_shown(row.get(column)) for column in columns))
    return table


def _shown(value: Any) -> str:
    if isinstance(value, dict):  # a ratio
        value = value.get("value")
    if value is None:
        return "-"
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
