"""Carriers that are known by name only, with dnsmasq as the name server: NAPTR, SRV and addresses; the next
server when the first is gone; records that change; a name that is gone, and a zone that cannot be asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.interop.peers.baresip import Baresip
from tests.interop.peers.dnsmasq import Dnsmasq, service
from tests.interop.peers.ports import HOST, free_port
from tests.interop.peers.process import wait_until
from tests.interop.peers.server import Server, Trunk
from tests.interop.peers.sipp import Sipp

Serve = Callable[..., Server]
Phone = Callable[..., Baresip]
Peer = Callable[..., Sipp]

NAMES = ("moves", "goes", "ails")
OUT = '[[outbound]]\nprefix = "{}"\nstrip = 1\npermission = "internal"\ntrunks = ["{}"]\n'


@pytest.fixture
def dnsmasq(tmp_path: Path) -> Iterator[Callable[..., Dnsmasq]]:
    started: list[Dnsmasq] = []

    def start(records: list[str]) -> Dnsmasq:
        started.append(Dnsmasq(tmp_path / f"dnsmasq-{len(started)}", records))
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.mark.slow
def test_carriers_are_found_by_name_whatever_befalls_the_dns(
    serve: Serve, baresip: Phone, sipp: Peer, dnsmasq: Callable[..., Dnsmasq]
) -> None:
    ports = {name: [free_port(), free_port()] for name in NAMES}
    records = [
        line
        for name, (first, second) in ports.items()
        for line in service(f"{name}.example", ("one", first), ("two", second))
    ]
    names = dnsmasq(records)
    server = serve(
        sip_more=f'nameservers = ["{names.address}"]',
        # Their addresses are what the DNS says; nobody calls in.
        trunks=[
            Trunk(name, f"{name}.example", source=f"127.0.0.{9 + place}:5060")
            for place, name in enumerate(NAMES)
        ],
        more="".join(OUT.format(7 + place, name) for place, name in enumerate(NAMES)),
    )
    phone = baresip(server, "1001", plays="caller")

    def row(name: str) -> dict[str, Any]:
        return next(row for row in server.status()["trunks"] if row["name"] == name)

    def known(name: str) -> list[str]:
        return [target["address"] for target in row(name)["targets"]]

    def call(name: str, port: int) -> None:
        """A call by this carrier comes out at that port."""
        takes = sipp("callee.xml", port=port, calls=1)
        since = phone.mark()
        phone.dial(f"{7 + NAMES.index(name)}013800000001")
        phone.wait_event("CALL_ESTABLISHED", since=since)
        phone.hang_up()
        assert takes.wait().successful == 1
        phone.wait_event("CALL_CLOSED", since=since)

    for name in NAMES:
        assert known(name) == [f"{HOST}:{port}" for port in ports[name]]
    asked = names.process.log()
    for question in ("[NAPTR] moves.example", "[SRV] _sip._udp.moves.example"):
        assert question in asked, asked
    call("moves", ports["moves"][0])
    call("goes", ports["goes"][1])  # nobody is at its first server
    before = len(names.process.log())
    call("moves", ports["moves"][0])
    assert len(names.process.log()) == before, "nothing is asked twice within its TTL"

    elsewhere = free_port()
    changed = [*service("moves.example", ("three", elsewhere)), "local=/goes.example/"]
    names.use([*changed, f"server=/ails.example/{HOST}#{free_port()}"])
    wait_until(
        lambda: known("moves") == [f"{HOST}:{elsewhere}"] and all(row(n)["why"] for n in NAMES[1:]),
        lambda: f"the new answers: {server.status()['trunks']}\n{names.process.tail()}",
    )
    call("moves", elsewhere)
    for name in NAMES[1:]:
        assert known(name) == [f"{HOST}:{port}" for port in ports[name]], "the last good answer"
    call("goes", ports["goes"][0])
    call("ails", ports["ails"][0])
    assert "does not exist" in row("goes")["why"]
    server.wait_idle()
