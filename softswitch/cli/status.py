"""`softswitch status`: what the running server is doing, as tables or as JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from softswitch.cli.place import HERE, Place

if TYPE_CHECKING:
    from softswitch.store import CallRecord
    from softswitch.store.calls import CallFilter

Rows = Iterable[dict[str, Any]]


def register(app: typer.Typer) -> None:
    @app.command()
    def status(
        place: Place = HERE,
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
        place: Place = HERE,
        limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 20,
        as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
        live: Annotated[bool, typer.Option("--live", help="Those that go on now.")] = False,
        watch: Annotated[
            bool, typer.Option("--watch", "-w", help="Keep showing those that go on.")
        ] = False,
        number: Annotated[str | None, typer.Option(help="From it or to it, as dialled.")] = None,
        queue: Annotated[str | None, typer.Option(help="That waited in it.")] = None,
        agent: Annotated[str | None, typer.Option(help="That he answered out of a queue.")] = None,
        state: Annotated[
            str | None, typer.Option("--status", help="As in answered, abandoned, busy, failed.")
        ] = None,
        recorded: Annotated[
            bool, typer.Option("--recorded", help="That have a recording.")
        ] = False,
        sip_call_id: Annotated[
            str | None, typer.Option(help="With this Call-ID, as a carrier names it.")
        ] = None,
        user_agent: Annotated[
            str | None, typer.Option(help="With a telephone whose software's name begins so.")
        ] = None,
    ) -> None:
        """Show the records of past calls, or the calls that go on."""
        from softswitch.cli.queues import watch_table
        from softswitch.cli.remote import status_of
        from softswitch.cli.tables import show
        from softswitch.errors import ConfigError

        now = live or watch
        wanted = {
            "number": number,
            "queue": queue,
            "agent": agent,
            "status": state,
            "sip_call_id": sip_call_id,
            "user_agent": user_agent,
        }
        if now and (recorded or any(wanted.values())):
            raise ConfigError(
                "--live", "shows all calls that go on", "it without a choice of records"
            )
        rows = status_of(place)["calls"] if now else _records(place, limit, recorded, wanted)
        if as_json:
            typer.echo(json.dumps(rows, indent=2, default=str))
        elif watch:
            watch_table(lambda: live_table(status_of(place)["calls"]))
        else:
            show(live_table(rows) if now else records_table(rows))


def _records(
    place: Path, limit: int, recorded: bool, wanted: dict[str, str | None]
) -> list[dict[str, Any]]:
    """The newest records: from the server that runs, or from the database where none does."""
    from softswitch.cli.remote import Remote

    remote = Remote.found(place)
    if remote is None:
        import asyncio

        from softswitch.store.calls import CallFilter

        number = (wanted["number"],) if wanted["number"] else ()
        which = CallFilter(
            number,
            wanted["status"],
            queue=wanted["queue"],
            agent=wanted["agent"],
            recorded=recorded,
            sip_call_id=wanted["sip_call_id"] or "",
            user_agent=wanted["user_agent"] or "",
        )
        return asyncio.run(_stored(place, limit, which))
    rows = remote.pages("/calls", limit, recorded=str(recorded).lower(), **wanted)
    return [{**r, "recording": next((f["name"] for f in r["recordings"]), None)} for r in rows]


async def _stored(place: Path, limit: int, which: CallFilter) -> list[dict[str, Any]]:
    from softswitch.cli.place import storage_at
    from softswitch.store import Store

    directory, database = storage_at(place)
    store = await Store.open(directory, database=database, read_only=True)
    try:
        found: list[CallRecord] = []
        while len(found) < limit:  # the store hands out pages
            before = found[-1].seq if found else None
            page = await store.calls.list(limit - len(found), before, which)
            if not page:
                break
            found += page
        return [record.as_dict() for record in found]
    finally:
        await store.close()


STAGES = {
    "sums": "half-hours are added up:",
    "columns": "contacts are packed:",
}


def status_tables(answer: dict[str, Any]) -> list[Any]:
    """The tables of `status`: the switch, its calls, queues, agents, registrations, trunks and workers; those
    that are empty are left out."""
    from softswitch.cli.queues import agent_table, queue_table

    below = (
        live_table(answer["calls"]),
        queue_table(answer.get("queues", [])),
        agent_table(answer.get("agents", [])),
        _phones(answer["registrations"]),
        _lines(answer.get("lines", ())),
        _trunks(answer["trunks"]),
        _connections(answer.get("transports", ())),
        _workers(answer),
        _shed(answer["overload"]),
        _floods(answer.get("floods", ())),
        _refused(answer.get("refused", ())),
        _bans(answer.get("bans", ())),
    )
    return [_head(answer), *_attention(answer), *(table for table in below if table.row_count)]


def _table(title: str, *columns: str, right: bool = False) -> Any:
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for name in columns:
        table.add_column(name, justify="right" if right else "left")
    return table


def _head(answer: dict[str, Any]) -> Any:
    columns = ("calls now", "calls so far", "registered", "broken", "messages in", "messages out")
    table = _table(f"{answer['office']}  (up {answer['uptime_s']:.0f} s)", *columns, right=True)
    counters = answer["counters"]
    table.add_row(
        str(len(answer["calls"])),
        str(answer["tables"]["total"]),
        str(len(answer["registrations"])),
        str(answer["tables"]["broken"] + counters["exceptions"]),
        str(counters["received"]),
        str(counters["sent"]),
    )
    return table


def _phones(entries: Rows) -> Any:
    table = _table("Registrations", "extension", "contact", "expires", "answers")
    for entry in entries:
        expires = f"{entry['expires_s']:.0f} s"
        table.add_row(entry["extension"], entry["contact"], expires, _answers(entry))
    return table


def _trunks(entries: Rows) -> Any:
    table = _table("Trunks", "trunk", "address", "state", "registration", "calls", "refused")
    for entry in entries:
        state = f"{entry['state']}: {entry['why']}" if entry["why"] else entry["state"]
        calls = f"{entry['calls']}/{entry['calls_max']}"
        registration, refused = entry["registration"], str(entry["refused"])
        table.add_row(entry["name"], entry["address"], state, registration, calls, refused)
    return table


def _connections(entries: Rows) -> Any:
    columns = ("listener", "connections", "opened by us", "pings answered", "pongs heard")
    table = _table("Connections", *columns)
    for entry in entries:
        if entry.get("accepted") or entry.get("connected"):
            counts = [entry[name] for name in ("connections", "opened", "pings", "pongs")]
            where = f"{entry['name']}://{entry['address']}"
            table.add_row(where, *(str(count) for count in counts))
    return table


def _workers(answer: dict[str, Any]) -> Any:
    pauses = ("longest pause", "our own work", "woken late")
    table = _table("Media workers", "worker", "pid", "streams", "cpu", *pauses)
    for entry in answer["workers"]:
        gaps = [f"{entry[name]:.1f} ms" for name in ("gap_ms", "gap_own_ms", "gap_overslept_ms")]
        name = f"{entry['worker']}{', draining' if entry.get('draining') else ''}"
        which = name, str(entry["pid"]), str(entry["streams"])
        table.add_row(*which, f"{entry['cpu']:.0%}", *gaps)
    for entry in answer.get("media", {}).get("orphans", ()):
        which = "of an earlier life", str(entry["pid"]), str(entry["streams"])
        table.add_row(*which, f"{entry['cpu']:.0%}", "", "", "")
    return table


def _shed(overload: dict[str, Any]) -> Any:
    """Who had to wait, was not read or was refused since the start, and how it is now."""
    columns = ("class", "waiting", "served late", "repeated", "dropped", "refused")
    table = _table("More than could be done at once", *columns)
    told_s = overload.get("retry_after_s")
    table.caption = f"the loop is {overload['lag_ms']:.0f} ms late" + (
        f"; refused: 503, come again in {told_s[0]} to {told_s[1]} s" if told_s else ""
    )
    table.caption_justify = "left"
    for entry in overload.get("classes", ()):
        counts = [entry[name] for name in ("waiting", "waited", "repeated", "dropped", "refused")]
        if any(counts):
            waiting, *others = counts
            first = f" ({entry['wait_ms']} ms)" if waiting else ""
            table.add_row(entry["class"], f"{waiting}{first}", *(str(count) for count in others))
    return table


def _floods(entries: Rows) -> Any:
    table = _table("Who sent most of it", "from", "dropped", "refused")
    table.caption = "within two minutes, at least; over UDP anybody can send in anybody's name"
    table.caption_justify = "left"
    for entry in entries:
        table.add_row(entry["source"], str(entry["dropped"]), str(entry["refused"]))
    return table


def _refused(entries: Rows) -> Any:
    table = _table("Wrong passwords", "from", "user", "times", "last")
    for entry in entries:
        last = f"{entry['since_s']} s ago"
        table.add_row(entry["source"], entry["account"], str(entry["count"]), last)
    return table


def _bans(entries: Rows) -> Any:
    table = _table("Bans (softswitch unban)", "banned address", "for")
    for entry in entries:
        table.add_row(entry["source"], f"{entry['left_s']} s")
    return table


def _lines(entries: Rows) -> Any:
    table = _table("Lines", "extension", "set by telephone")
    for entry in entries:
        words = [f"{name} {shown(entry[name])}" for name in entry["changed"]]
        table.add_row(entry["extension"], ", ".join(words))
    return table


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
    if progress := answer.get("reports"):
        rows.append(_of_reports(progress))
    if not rows:
        return []
    table = Table("attention", "why", title_justify="left")
    for row in rows:
        table.add_row(*row)
    return [table]


def _of_reports(progress: dict[str, Any]) -> tuple[str, str]:
    """How far the background is with what reports are made of: until then they take longer."""
    left_s = progress["left_s"]
    rest = "" if left_s is None else f", about {_duration(left_s)} left"
    until = time.strftime("%Y-%m-%d", time.localtime(progress["at_s"]))
    done = f"{STAGES[progress['stage']]} {progress['share']:.0%}, until {until}{rest}"
    return "reports are slow", f"{done}; later contacts are counted one by one"


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{max(1, round(seconds))} s"


def _calls_table(title: str, rows: list[dict[str, str]]) -> Any:
    """One row a call. Its id, by which other commands are asked, stays whole on the narrowest screen; columns
    in which nothing stands are left out."""
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    shown = [name for name in (rows[0] if rows else ()) if any(row[name] for row in rows)]
    for name in shown:
        table.add_column(name, overflow="fold", no_wrap=name == "call")
    for row in rows:
        table.add_row(*(row[name] for name in shown))
    return table


def live_table(calls: list[dict[str, Any]]) -> Any:
    """One row a call that goes on."""
    return _calls_table("Live calls", [_live(call) for call in calls])


def _live(call: dict[str, Any]) -> dict[str, str]:
    legs = (f"{leg['endpoint']} {leg['state']}" for leg in call["legs"])
    return {
        "call": call["call_id"],
        "from": call["from"],
        "customer": (call.get("customer") or {}).get("name", ""),
        "to": call["to"],
        "state": call["state"],
        "since": f"{call['age_s']:.0f} s",
        "legs": ", ".join(legs),
    }


def shown(value: bool | str) -> str:
    """A setting of a line in a word."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return value or "off"


def records_table(records: list[dict[str, Any]]) -> Any:
    """Call records as a table."""
    return _calls_table("Calls", [_record(record) for record in records])


def _record(record: dict[str, Any]) -> dict[str, str]:
    import datetime

    started = datetime.datetime.fromtimestamp(float(record["started_at_s"]), datetime.UTC)
    return {
        "call": str(record["call_id"]),
        "started": started.astimezone().strftime("%Y-%m-%d %H:%M:%S"),
        "from": str(record["number_from"]),
        "customer": str(record.get("customer_name") or ""),
        "to": str(record["number_to"]),
        "status": str(record["status"]),
        "seconds": f"{float(record['duration_s'] or 0):.1f}",
        "by": str(record["ended_by"] or ""),
        "recording": str(record["recording"] or ""),
    }
