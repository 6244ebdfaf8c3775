"""`softswitch status`: what the running server is doing, as tables or as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from softswitch.store import CallRecord


def register(app: typer.Typer) -> None:
    @app.command()
    def status(
        place: Annotated[Path, typer.Argument(help="office.toml or the storage directory.")] = Path(
            "office.toml"
        ),
        as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    ) -> None:
        """Show live calls, registrations and workers of the running server."""
        from softswitch.cli.remote import status_of
        from softswitch.cli.tables import show

        answer = status_of(place)
        if as_json:
            typer.echo(json.dumps(answer, indent=2, sort_keys=True))
        else:
            show(*status_tables(answer))

    @app.command()
    def calls(
        place: Annotated[Path, typer.Argument(help="office.toml or the storage directory.")] = Path(
            "office.toml"
        ),
        limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 20,
        as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
        live: Annotated[bool, typer.Option("--live", help="Those that go on now.")] = False,
        watch: Annotated[
            bool, typer.Option("--watch", "-w", help="Keep showing those that go on.")
        ] = False,
    ) -> None:
        """Show the records of past calls, or the calls that go on."""
        from softswitch.cli.queues import watch_table
        from softswitch.cli.remote import status_of
        from softswitch.cli.tables import show

        now = live or watch
        rows = status_of(place)["calls"] if now else _records(place, limit)
        if as_json:
            typer.echo(json.dumps(rows, indent=2, default=str))
        elif watch:
            watch_table(lambda: live_table(status_of(place)["calls"]))
        else:
            show(live_table(rows) if now else records_table(rows))


def _records(place: Path, limit: int) -> list[dict[str, Any]]:
    """The newest records: from the server that runs, or from the database where none does."""
    from softswitch.cli.remote import Remote

    remote = Remote.found(place)
    if remote is None:
        import asyncio

        return asyncio.run(_stored(place, limit))
    rows = remote.pages("/calls", limit)
    return [{**r, "recording": next((f["name"] for f in r["recordings"]), None)} for r in rows]


async def _stored(place: Path, limit: int) -> list[dict[str, Any]]:
    from softswitch.cli.place import storage_at
    from softswitch.store import Store

    directory, database = storage_at(place)
    store = await Store.open(directory, database=database, read_only=True)
    try:
        found: list[CallRecord] = []
        while len(found) < limit:  # the store hands out pages
            before = found[-1].seq if found else None
            page = await store.calls.list(limit - len(found), before)
            if not page:
                break
            found += page
        return [record.as_dict() for record in found]
    finally:
        await store.close()


def status_tables(answer: dict[str, Any]) -> list[Any]:
    """The tables of `status`: the switch, its calls, queues, agents, registrations, trunks and workers."""
    from rich.table import Table

    from softswitch.cli.queues import agent_table, queue_table

    head = Table(title=f"{answer['office']}  (up {answer['uptime_s']:.0f} s)", title_justify="left")
    for name in (
        "calls now",
        "calls so far",
        "registered",
        "broken",
        "messages in",
        "messages out",
    ):
        head.add_column(name, justify="right")
    counters = answer["counters"]
    head.add_row(
        str(len(answer["calls"])),
        str(answer["tables"]["total"]),
        str(len(answer["registrations"])),
        str(answer["tables"]["broken"] + counters["exceptions"]),
        str(counters["received"]),
        str(counters["sent"]),
    )
    tables: list[Any] = [head, *_attention(answer)]
    live = live_table(answer["calls"])
    phones = Table(title="Registrations", title_justify="left")
    for name in ("extension", "contact", "expires", "answers"):
        phones.add_column(name)
    for entry in answer["registrations"]:
        expires = f"{entry['expires_s']:.0f} s"
        phones.add_row(entry["extension"], entry["contact"], expires, _answers(entry))
    trunks = Table(title="Trunks", title_justify="left")
    for name in ("trunk", "address", "state", "registration", "calls", "refused"):
        trunks.add_column(name)
    for entry in answer["trunks"]:
        calls = f"{entry['calls']}/{entry['calls_max']}"
        state = f"{entry['state']}: {entry['why']}" if entry["why"] else entry["state"]
        trunks.add_row(
            entry["name"],
            entry["address"],
            state,
            entry["registration"],
            calls,
            str(entry["refused"]),
        )
    workers = Table(
        "worker", "pid", "streams", "cpu", "longest pause", "of it own work", "woken late",
        title="Media workers", title_justify="left",
    )  # fmt: skip
    for entry in answer["workers"]:
        gaps = [f"{entry[name]:.1f} ms" for name in ("gap_ms", "gap_own_ms", "gap_overslept_ms")]
        name = f"{entry['worker']}{', draining' if entry.get('draining') else ''}"
        which = name, str(entry["pid"]), str(entry["streams"])
        workers.add_row(*which, f"{entry['cpu']:.0%}", *gaps)
    for entry in answer.get("media", {}).get("orphans", ()):
        which = "of an earlier life", str(entry["pid"]), str(entry["streams"])
        workers.add_row(*which, f"{entry['cpu']:.0%}", "", "", "")
    shed = Table(
        "class", "waiting", "served late", "repeated", "dropped", "refused",
        title="More than could be done at once", title_justify="left",
    )  # fmt: skip
    for entry in answer["overload"].get("classes", ()):
        counts = [entry[name] for name in ("waiting", "waited", "repeated", "dropped", "refused")]
        if any(counts):
            shed.add_row(entry["class"], *(str(count) for count in counts))
    bans = Table("banned address", "for", title="Bans (softswitch unban)", title_justify="left")
    for entry in answer.get("bans", ()):
        bans.add_row(entry["source"], f"{entry['left_s']} s")
    lines = Table("extension", "set by telephone", title="Lines", title_justify="left")
    for entry in answer.get("lines", ()):
        words = [f"{name} {shown(entry[name])}" for name in entry["changed"]]
        lines.add_row(entry["extension"], ", ".join(words))
    centre = (queue_table(answer.get("queues", [])), agent_table(answer.get("agents", [])))
    return [
        *tables,
        *(t for t in (live, *centre, phones, lines, trunks, workers, shed, bans) if t.row_count),
    ]


def _answers(entry: dict[str, Any]) -> str:
    if entry["reachable"] is None:
        return ""
    return f"in {entry['round_trip_ms']:.0f} ms" if entry["reachable"] else "no: unreachable"


def _attention(answer: dict[str, Any]) -> list[Any]:
    """What somebody should do something about; nothing where all is well."""
    from rich.table import Table

    rows = [(name, reason) for name, reason in sorted(answer["alarms"].items())]
    rows += [
        (f"restart needed for {key}", "it is only read at a start") for key in answer["restart"]
    ]
    if not rows:
        return []
    table = Table("attention", "why", title_justify="left")
    for row in rows:
        table.add_row(*row)
    return [table]


def live_table(calls: list[dict[str, Any]]) -> Any:
    """One row a call that goes on."""
    from rich.table import Table

    table = Table("call", "from", "customer", "to", "state", "since", "legs", title="Live calls")
    table.title_justify = "left"
    for call in calls:
        legs = ", ".join(f"{leg['endpoint']} {leg['state']}" for leg in call["legs"])
        customer = (call.get("customer") or {}).get("name", "")
        since = f"{call['age_s']:.0f} s"
        table.add_row(
            call["call_id"], call["from"], customer, call["to"], call["state"], since, legs
        )
    return table


def shown(value: bool | str) -> str:
    """A setting of a line in a word."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return value or "off"


def records_table(records: list[dict[str, Any]]) -> Any:
    """Call records as a table."""
    import datetime

    from rich.table import Table

    columns = ("call", "started", "from", "customer", "to", "status", "seconds", "by", "recording")
    table = Table(*columns, title="Calls", title_justify="left")
    for record in records:
        started = datetime.datetime.fromtimestamp(
            float(record["started_at_s"]), datetime.UTC
        ).astimezone()
        table.add_row(
            str(record["call_id"]),
            started.strftime("%Y-%m-%d %H:%M:%S"),
            str(record["number_from"]),
            str(record.get("customer_name") or ""),
            str(record["number_to"]),
            str(record["status"]),
            f"{float(record['duration_s'] or 0):.1f}",
            str(record["ended_by"] or ""),
            str(record["recording"] or ""),
        )
    return table
