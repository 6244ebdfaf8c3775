"""`softswitch user`, `softswitch token` and `softswitch customers`: who may use the API, and who calls."""

from __future__ import annotations

import csv
import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from softswitch.cli.place import HERE, Place

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_Role = Annotated[str, typer.Option(help="agent, supervisor or admin.")]


def register(app: typer.Typer) -> None:
    user = typer.Typer(help="Users of the API.", no_args_is_help=True)
    token = typer.Typer(help="Tokens of programs.", no_args_is_help=True)
    customers = typer.Typer(help="Customers.", no_args_is_help=True)
    _users(user)
    _tokens(token)
    _customers(customers)
    app.add_typer(user, name="user")
    app.add_typer(token, name="token")
    app.add_typer(customers, name="customers")


def remote_of(place: Path) -> Any:
    from softswitch.cli.remote import Remote

    return Remote.of(place)


def print_rows(rows: list[dict[str, Any]], columns: tuple[str, ...], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    from rich.table import Table

    from softswitch.cli.tables import show

    table = Table(*columns)
    for row in rows:
        table.add_row(*(_cell(row[column]) for column in columns))
    show(table)


def tell(words: str, row: dict[str, Any], as_json: bool) -> None:
    typer.echo(json.dumps(row, indent=2) if as_json else words)


def _cell(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def day(at_s: float | None) -> str:
    return "never" if at_s is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(at_s))


def _password() -> str:
    """From the terminal, twice, or a line of standard input: never an argument, which others can see."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))


def _user_named(remote: Any, name: str) -> dict[str, Any]:
    from softswitch.errors import SoftswitchError

    for user in remote.pages("/users", 100_000):
        if user["name"] == name:
            return dict(user)
    raise SoftswitchError(f"there is no user {name}; `softswitch user list` shows them")


def _users(app: typer.Typer) -> None:
    @app.command("list")
    def list_users(place: Place = HERE, as_json: AsJson = False) -> None:
        """Show all users."""
        rows = list(remote_of(place).pages("/users", 100_000))
        print_rows(rows, ("name", "full_name", "role", "active", "must_change"), as_json)

    @app.command()
    def add(
        name: str,
        role: _Role = "agent",
        full_name: Annotated[str, typer.Option(help="As shown.")] = "",
        place: Place = HERE,
        as_json: AsJson = False,
    ) -> None:
        """Add a user; the password is asked for, or read from standard input."""
        remote, password = remote_of(place), _password()
        body = {"name": name, "role": role, "full_name": full_name, "password": password}
        made = remote.ask("POST", "/users", {**body, "must_change": False})
        tell(f"{name} is {role}", made, as_json)

    @app.command()
    def password(name: str, place: Place = HERE, as_json: AsJson = False) -> None:
        """Give a user another password; his sessions end."""
        remote = remote_of(place)
        user = _user_named(remote, name)
        change = {"password": _password(), "must_change": False}
        changed = remote.ask("PATCH", f"/users/{user['id']}", change)
        tell(f"{name} has another password", changed, as_json)

    @app.command()
    def change(
        name: str,
        role: Annotated[str | None, typer.Option(help="agent, supervisor or admin.")] = None,
        full_name: Annotated[str | None, typer.Option(help="As shown.")] = None,
        active: Annotated[
            bool | None, typer.Option("--active/--inactive", help="Whether he may log in.")
        ] = None,
        place: Place = HERE,
        as_json: AsJson = False,
    ) -> None:
        """Change a user; what is not given stays. Another role ends his sessions."""
        given = {"role": role, "full_name": full_name, "active": active}
        values = {key: value for key, value in given.items() if value is not None}
        remote = remote_of(place)
        user = _user_named(remote, name)
        changed = remote.ask("PATCH", f"/users/{user['id']}", values)
        is_active = "active" if changed["active"] else "inactive"
        tell(f"{name} is {changed['role']}, {is_active}", changed, as_json)

    @app.command()
    def remove(name: str, place: Place = HERE, as_json: AsJson = False) -> None:
        """Remove a user."""
        remote = remote_of(place)
        user = _user_named(remote, name)
        remote.ask("DELETE", f"/users/{user['id']}")
        tell(f"{name} is removed", user, as_json)


def _tokens(app: typer.Typer) -> None:
    @app.command("list")
    def list_tokens(place: Place = HERE, as_json: AsJson = False) -> None:
        """Show all tokens, without their secrets."""
        rows = [
            {**row, "expires": day(row["expires_at_s"])}
            for row in remote_of(place).pages("/tokens", 100_000)
        ]
        print_rows(rows, ("id", "name", "role", "scopes", "created_by", "expires"), as_json)

    @app.command()
    def add(
        name: str,
        scope: Annotated[list[str], typer.Option(help='As in "calls:read"; "*" is everything.')],
        role: _Role = "agent",
        days: Annotated[
            float | None, typer.Option(min=0.001, help="It expires then; else never.")
        ] = None,
        place: Place = HERE,
        as_json: AsJson = False,
    ) -> None:
        """Make a token; it is shown this once."""
        expires_at_s = None if days is None else time.time() + days * 86_400
        body = {"name": name, "role": role, "scopes": scope, "expires_at_s": expires_at_s}
        made = remote_of(place).ask("POST", "/tokens", body)
        typer.echo(json.dumps(made, indent=2) if as_json else made["token"])

    @app.command()
    def revoke(token_id: str, place: Place = HERE, as_json: AsJson = False) -> None:
        """Revoke a token by its id."""
        from urllib.parse import quote

        remote_of(place).ask("DELETE", f"/tokens/{quote(token_id, safe='')}")
        tell(f"{token_id} is revoked", {"id": token_id}, as_json)


def _customers(app: typer.Typer) -> None:
    @app.command("import")
    def import_customers(
        file: Annotated[
            Path,
            typer.Argument(help="CSV with name, phone, address, region, priority, tags, field:..."),
        ],
        dry_run: Annotated[
            bool, typer.Option("--dry-run", help="Only list what is wrong, by line.")
        ] = False,
        existing: Annotated[
            str, typer.Option(help="Rows of known numbers: skip, change or add another.")
        ] = "skip",
        skip_bad: Annotated[
            bool, typer.Option("--skip-bad", help="Import the good rows of a bad file.")
        ] = False,
        place: Place = HERE,
        as_json: AsJson = False,
    ) -> None:
        """Import customers from a CSV file."""
        found = remote_of(place).ask(
            "POST",
            "/customers/import",
            raw=file.read_bytes(),
            dry_run=str(dry_run).lower(),
            existing=existing,
            skip_bad=str(skip_bad).lower(),
        )
        if as_json:
            typer.echo(json.dumps(found, indent=2))
        else:
            for fault in found["mistakes"]:
                where = [f"{file}:{fault['line']}", fault["column"], fault["detail"]]
                typer.echo(": ".join(part for part in where if part), err=True)
            if found["bad"] > len(found["mistakes"]):
                typer.echo(f"{file}: and more; {found['bad']} rows are bad", err=True)
            words = ("rows", "bad", "added", "changed", "skipped")
            would = "would be: " if found["dry_run"] else ""
            typer.echo(would + ", ".join(f"{found[word]} {word}" for word in words))
        if found["bad"] or found["mistakes"]:  # of the head: not a row was looked at
            raise typer.Exit(1)

    @app.command("duplicates")
    def list_duplicates(
        by: Annotated[
            str, typer.Option(help="What they share: number, name or address (e-mail).")
        ] = "number",
        limit: Annotated[int, typer.Option(min=1, help="How many groups at most.")] = 100,
        place: Place = HERE,
        as_json: AsJson = False,
    ) -> None:
        """Show who may be one customer written down twice."""
        found = list(remote_of(place).pages("/customers/duplicates", limit, by=by))
        rows = [
            {
                **one,
                "shared": one["value"],
                "who": [f"{c['id']} {c['name']}".strip() for c in one["customers"]]
                + (["..."] if one["count"] > len(one["customers"]) else []),
            }
            for one in found
        ]
        if as_json:
            typer.echo(json.dumps(found, indent=2))
        else:
            print_rows(rows, ("shared", "count", "who"), as_json)

    @app.command("merge")
    def merge_customers(
        kept: Annotated[int, typer.Argument(help="Number of the customer who stays.")],
        other: Annotated[int, typer.Argument(help="Number of the one who turned out to be him.")],
        place: Place = HERE,
        as_json: AsJson = False,
    ) -> None:
        """Two customers are one: what the other has comes over."""
        found = remote_of(place).ask("POST", f"/customers/{kept}/merge", {"other": other})
        undo = f"`softswitch customers unmerge {kept} {other}` undoes it"
        tell(f"customer {other} is {kept} {found['name']} now; {undo}", found, as_json)

    @app.command("unmerge")
    def unmerge_customers(
        kept: Annotated[int, typer.Argument(help="Number of the customer who was kept.")],
        other: Annotated[int, typer.Argument(help="Number of the one who is not him after all.")],
        place: Place = HERE,
        as_json: AsJson = False,
    ) -> None:
        """Undo a merge: what came over with the other goes back to him."""
        found = remote_of(place).ask("POST", f"/customers/{kept}/unmerge", {"other": other})
        tell(f"customer {other} is himself again, and {kept} what he was", found, as_json)

    @app.command("export")
    def export_customers(
        file: Annotated[Path, typer.Argument(help="CSV to be written.")],
        place: Place = HERE,
        as_json: AsJson = False,
    ) -> None:
        """Write all customers to a CSV file."""
        data = remote_of(place).ask("GET", "/customers/export")
        file.write_bytes(data)
        count = sum(1 for row in csv.reader(data.decode().splitlines(keepends=True)) if row) - 1
        tell(f"{file}: {count} customers", {"file": str(file), "customers": count}, as_json)
