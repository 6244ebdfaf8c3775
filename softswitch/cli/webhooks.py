"""`softswitch webhook`: servers that are told what happens, and what they were not told."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from softswitch.cli.people import AsJson, day, print_rows, remote_of, tell
from softswitch.cli.place import HERE, Place

_Id = Annotated[int, typer.Argument(help="Of the webhook, as `webhook list` shows it.")]
_LOG_MAX = 1_000


def register(app: typer.Typer) -> None:
    webhook = typer.Typer(help="Servers that are told what happens.", no_args_is_help=True)
    _webhooks(webhook)
    app.add_typer(webhook, name="webhook")


def _webhooks(app: typer.Typer) -> None:
    @app.command("list")
    def list_webhooks(place: Place = HERE, as_json: AsJson = False) -> None:
        """Show all webhooks, what waits for them and what troubles them."""
        rows = [
            {**row, "trouble": row["disabled_because"] or row["trouble"]}
            for row in remote_of(place).pages("/webhooks", 1_000)
        ]
        print_rows(rows, ("id", "name", "url", "topics", "active", "waiting", "trouble"), as_json)

    @app.command()
    def add(
        name: str,
        url: str,
        topic: Annotated[list[str], typer.Option(help="As in calls, tickets, alarms; several.")],
        place: Place = HERE,
        as_json: AsJson = False,
    ) -> None:
        """Have a server told; prints the secret that signs, this once."""
        body = {"name": name, "url": url, "topics": topic}
        made = remote_of(place).ask("POST", "/webhooks", body)
        typer.echo(json.dumps(made, indent=2) if as_json else made["secret"])

    @app.command()
    def log(
        webhook: _Id,
        status: Annotated[str, typer.Option(help="delivered, failed or dropped; all.")] = "",
        place: Place = HERE,
        as_json: AsJson = False,
    ) -> None:
        """Show how a webhook was told, newest first."""
        found = remote_of(place).pages(f"/webhooks/{webhook}/deliveries", _LOG_MAX, status=status)
        rows = [{**row, "at": day(row["at_s"])} for row in found]
        print_rows(rows, ("id", "at", "event", "kind", "status", "attempts", "detail"), as_json)

    @app.command()
    def again(
        webhook: _Id,
        delivery: Annotated[
            int | None, typer.Option(help="Only this one of the log; else all not delivered.")
        ] = None,
        place: Place = HERE,
        as_json: AsJson = False,
    ) -> None:
        """Send again what was not delivered, oldest first; stops at the first that fails."""
        remote, url = remote_of(place), f"/webhooks/{webhook}/deliveries"
        wanted = [delivery] if delivery is not None else _not_delivered(remote, url)
        sent: list[dict[str, Any]] = []
        for number in wanted:
            sent.append(remote.ask("POST", f"{url}/{number}/again"))
            if sent[-1]["status"] != "delivered":
                break
        good = sum(line["status"] == "delivered" for line in sent)
        words = f"{good} of {len(wanted)} delivered"
        if good < len(sent):
            words += f"; {sent[-1]['kind']}: {sent[-1]['detail']}"
        tell(words, {"delivered": good, "of": len(wanted), "deliveries": sent}, as_json)
        if good < len(wanted):
            raise typer.Exit(1)


def _not_delivered(remote: Any, url: str) -> list[int]:
    found = [
        row["id"]
        for status in ("failed", "dropped")
        for row in remote.pages(url, _LOG_MAX, status=status)
    ]
    return sorted(found)
