"""`softswitch queues` and `softswitch agents`: the call centre of the running server, as tables or JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from softswitch.cli.place import HERE, Place

_AsJson = Annotated[bool, typer.Option("--json", help="Print a JSON list.")]
_Watch = Annotated[bool, typer.Option("--watch", "-w", help="Keep showing it, until Ctrl-C.")]
_EVERY_S = 1.0
_FIGURES = ("came", "wait-\ning", "ans-\nwered", "aban-\ndoned", "level", "ASA", "AHT")
_TICKETS = "tick-\nets"
_EXPECTED = "wait\nnow"
_QUEUE_FIGURES = (
    "wait-\ning",
    "long-\nest",
    "free",
    "busy",
    "away",
    "ans-\nwered",
    "aban-\ndoned",
    "level/\ngoal",
    _EXPECTED,
    "at\nwork",
)


class Per(StrEnum):
    region = "region"
    skill = "skill"
    hour = "hour"
    half_hour = "half-hour"


def register(app: typer.Typer) -> None:
    @app.command()
    def queues(
        place: Place = HERE,
        per: Annotated[
            Per | None,
            typer.Option(help="Today's figures by region, by skill or by the time of the day."),
        ] = None,
        as_json: _AsJson = False,
        watch: _Watch = False,
    ) -> None:
        """Show the queues: who waits, who is at work, today's service level."""
        if per is None:
            _show(lambda: _status(place, "queues"), as_json, queue_table, watch)
        else:
            _show(lambda: _figures(place, per), as_json, figure_table, watch)

    @app.command()
    def agents(place: Place = HERE, as_json: _AsJson = False, watch: _Watch = False) -> None:
        """Show the agents and what they are doing."""
        _show(lambda: _status(place, "agents"), as_json, agent_table, watch)


def _status(place: Path, what: str) -> list[dict[str, Any]]:
    from softswitch.cli.remote import status_of

    rows: list[dict[str, Any]] = status_of(place)[what]
    return rows


def _figures(place: Path, per: Per) -> list[dict[str, Any]]:
    """Today's figures, each row by its name: the period where nothing else is told apart."""
    from softswitch.cli.remote import Remote

    by_time = per in (Per.hour, Per.half_hour)
    told, by = ("all", per.value) if by_time else (per.value, "all")
    answer = Remote.of(place).ask("GET", "/reports/live", per=told, by=by)
    named = "period" if by_time else per.value
    return [{"name": row[named], "per": per.value, **row} for row in answer["rows"]]


def _show(
    ask: Callable[[], list[dict[str, Any]]],
    as_json: bool,
    table: Callable[[list[dict[str, Any]]], Any],
    watch: bool,
) -> None:
    from softswitch.cli.tables import show

    rows = ask()
    if watch and not as_json:
        watch_table(lambda: table(ask()))
    elif as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        show(table(rows))


def watch_table(draw: Callable[[], Any]) -> None:
    """Draw once a second, in place."""
    from threading import Event

    from rich.live import Live

    pause = Event()
    with Live(draw(), auto_refresh=False, screen=True) as live:
        while not pause.wait(_EVERY_S):
            live.update(draw(), refresh=True)


def _table(title: str) -> Any:
    """Without frames, so that thirteen columns fit a terminal of eighty."""
    from rich import box
    from rich.table import Table

    return Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=0)


def queue_table(rows: list[dict[str, Any]]) -> Any:
    """One row a queue."""
    table = _table("Queues")
    for name in ("queue", "num-\nber"):
        table.add_column(name, overflow="fold")  # a name cut short is nobody's
    with_tickets = any(row["tickets_waiting"] for row in rows)
    for name in (*_QUEUE_FIGURES, *([_TICKETS] if with_tickets else [])):
        table.add_column(name, justify="right", no_wrap=name != _EXPECTED)
    for row in rows:
        agents = row["agents"]
        busy = sum(agents.get(state, 0) for state in ("offered", "on-contact", "wrap-up"))
        level = row["service_level"]
        shown = "-" if level is None else f"{level:.0%}/{row['target']:.0%}"
        table.add_row(
            row["queue"] if row["open"] else f"{row['queue']} (closed)",
            row["number"],
            str(row["waiting"]),
            duration(row["longest_wait_s"]),
            str(agents.get("available", 0)),
            str(busy),
            str(agents.get("unavailable", 0)),
            str(row["answered"]),
            str(row["abandoned"]),
            shown,
            _expected(row),
            _share(row["occupancy_lately"]),
            *([str(row["tickets_waiting"])] if with_tickets else []),
        )
    return table


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def _expected(row: dict[str, Any]) -> str:
    """The wait that a caller would be told now, and how far today's were off."""
    wait_s, error_s = row.get("expected_wait_s"), row.get("wait_error_s")
    if wait_s is None:
        return "-"
    return duration(wait_s) + ("" if error_s is None else f" ± {duration(error_s)}")


def figure_table(rows: list[dict[str, Any]]) -> Any:
    """One row a region, skill or period."""
    table = _table("Today")
    table.add_column(rows[0]["per"] if rows else "", overflow="fold")
    for name in _FIGURES:
        table.add_column(name, justify="right")
    for row in rows:
        level = row["service_level"]["value"]
        table.add_row(
            row["name"] or "(none)",
            *(str(row[name]) for name in ("entered", "waiting", "answered", "abandoned")),
            "-" if level is None else f"{level:.0%}",
            *(_mean(row[name]) for name in ("average_answer_s", "average_handle_s")),
        )
    return table


def _mean(ratio: dict[str, Any]) -> str:
    return "-" if ratio["value"] is None else duration(ratio["value"])


def agent_table(rows: list[dict[str, Any]]) -> Any:
    """One row an agent."""
    table = _table("Agents")
    for name in ("agent", "extension", "state", "since", "call", "queues"):
        table.add_column(name, overflow="fold")
    for name in ("calls", "missed", "tickets", "occupancy"):
        table.add_column(name, justify="right")
    for row in rows:
        state = f"{row['state']} ({row['reason']})" if row["reason"] else row["state"]
        if not row["reachable"] and row["state"] != "logged-out":
            state += ", no telephone"
        table.add_row(
            row["agent"],
            row["extension"],
            state,
            duration(row["for_s"]),
            row["call"],
            ", ".join(row["queues"]),
            str(row["calls"]),
            str(row["missed"]),
            str(row["tickets"]),
            _share(row["occupancy"]),
        )
    return table


def duration(seconds: float) -> str:
    """``45 s``, ``3:20`` or ``2:03:20``."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
