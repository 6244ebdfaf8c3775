"""Several telephones of one extension, and one that sends its callers on: what the others are told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.interop.peers.baresip import Baresip
from tests.interop.peers.ports import free_port
from tests.interop.peers.server import Server, password_of
from tests.interop.peers.sipp import Sipp, register

Serve = Callable[..., Server]
Phone = Callable[..., Baresip]
Peer = Callable[..., Sipp]


def test_one_telephone_takes_the_call_and_the_other_shows_no_missed_one(
    serve: Serve, baresip: Phone, sipp: Peer, tmp_path: Path
) -> None:
    """A baresip and a SIPp are one extension; the SIPp insists on a CANCEL with `Reason: SIP;cause=200`. Then
    it is another that says it has moved (302): the call goes where it says."""
    server = serve()
    account = {"server": server.address, "number": "1002", "password": password_of("1002")}
    register(tmp_path, port=(port := free_port()), **account)  # type: ignore[arg-type]
    loser = sipp("elsewhere.xml", calls=1, port=port)
    winner = baresip(server, "1002", plays="callee", answer="manual")
    caller = baresip(server, "1001", plays="caller")
    caller.dial("1002")
    winner.wait_event("CALL_INCOMING")
    caller.wait_event("CALL_RINGING")
    winner.accept()
    counts = loser.wait()
    assert (counts.successful, counts.failed, counts.unexpected) == (1, 0, 0), counts
    caller.wait_event("CALL_ESTABLISHED")
    caller.hang_up()
    winner.wait_event("CALL_CLOSED")
    server.wait_idle()

    account |= {"number": "1003", "password": password_of("1003")}
    register(tmp_path, port=(port := free_port()), **account)  # type: ignore[arg-type]
    moved = sipp("moved.xml", calls=1, port=port, keys={"target": "1002"})
    since, there = caller.mark(), winner.mark()
    caller.dial("1003")
    winner.wait_event("CALL_INCOMING", since=there)
    winner.accept()
    caller.wait_event("CALL_ESTABLISHED", since=since)
    winner.hang_up()
    caller.wait_event("CALL_CLOSED", since=since)
    assert moved.wait().successful == 1
    server.wait_idle()
    calls = {record.row["number_to"]: record.row["legs"] for record in server.records(2)}
    assert len(calls["1002"]) == 3
    legs = [leg["endpoint"].removeprefix("extension:") for leg in calls["1003"]]
    assert legs == ["1001", "1003", "1002", "1002"], "both telephones of 1002 ring again"
