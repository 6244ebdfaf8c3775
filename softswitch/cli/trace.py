"""`softswitch trace`: the SIP ladder of a call, from the running server, while it happens or after it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from softswitch.cli.place import HERE, Place


def register(app: typer.Typer) -> None:
    @app.command()
    def trace(
        call: Annotated[
            str,
            typer.Argument(
                help="The call's id (from `status` or `calls`), its beginning or its end."
            ),
        ] = "",
        place: Place = HERE,
        follow: Annotated[
            bool | None,
            typer.Option("--follow/--no-follow", help="Go on with messages as they pass."),
        ] = None,
        raw: Annotated[bool, typer.Option("--raw", help="Print whole messages.")] = False,
        pcap: Annotated[
            Path | None, typer.Option(help="Write the call's messages to this capture file.")
        ] = None,
    ) -> None:
        """Draw the ladder of a call: its legs, and what was decided between them. Without a call, print
        every message as it passes."""
        from softswitch.api.admin import ask
        from softswitch.cli.place import storage_directory, word_or_place

        call, place = word_or_place(call, place)
        goes_on = (not call and pcap is None) if follow is None else follow
        answers = ask(storage_directory(place), "trace", call=call, follow=goes_on)
        if pcap is not None:
            count = _write(pcap, answers)
            typer.echo(f"{count} messages in {pcap}")
            return
        try:
            for line in _lines(answers, call=bool(call) and not goes_on, raw=raw):
                typer.echo(line)
        except KeyboardInterrupt:
            return


def _lines(answers: Iterable[dict[str, Any]], *, call: bool, raw: bool) -> Iterator[str]:
    if not call:
        yield from messages(answers, raw=raw)
        return
    from softswitch.ladder import ladder

    rows = list(answers)
    yield from ladder(rows)
    if raw:
        for row in rows:
            if "raw" in row:
                yield ""
                yield from messages([row], since_s=rows[0]["at_s"], raw=True)


def _write(path: Path, answers: Iterable[dict[str, Any]]) -> int:
    from softswitch.errors import SoftswitchError
    from softswitch.pcap import pcap

    rows = [row for row in answers if "raw" in row]
    if not rows:
        raise SoftswitchError(
            "there is no message to be written: those of long ago are forgotten ([trace] messages)"
        )
    try:
        path.write_bytes(pcap(map(_passed, rows)))
    except OSError as error:
        raise SoftswitchError(f"{path} cannot be written: {error.strerror}") from None
    return len(rows)


def _passed(row: dict[str, Any]) -> Any:
    from softswitch.config.values import split_host_port
    from softswitch.hep import Passed

    local, peer = (
        (host, port or 0)
        for host, port in (split_host_port(row[end]) or ("0.0.0.0", 0) for end in ("local", "peer"))
    )
    source, destination = (peer, local) if row["received"] else (local, peer)
    data = row["raw"].encode("utf-8", "surrogateescape")
    return Passed(source, destination, row["transport"], row["wall_s"], data)


def _printable(raw: str) -> str:
    return raw.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def messages(
    answers: Iterable[dict[str, Any]], *, since_s: float | None = None, raw: bool = False
) -> Iterator[str]:
    """One line a message: time since `since_s`, by default the first, peer, arrow, first line, CSeq."""
    first_s = since_s
    for message in answers:
        if first_s is None:
            first_s = message["at_s"]
        arrow = "──▶ softswitch" if message["received"] else "◀── softswitch"
        what = message["first_line"].removesuffix(" SIP/2.0").removeprefix("SIP/2.0 ")
        yield (
            f"{message['at_s'] - first_s:9.3f} s  {message['peer']:>21} {arrow}  {what}"
            f"  ({message['cseq']})  {message['call_id'][:24]}"
        )
        if raw:
            yield _printable(message["raw"])
