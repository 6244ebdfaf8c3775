"""Many calls by SIPp: phones with authentication, trunks by address, a lossy path between."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.interop.peers.lossy import LossyPath
from tests.interop.peers.ports import HOST, free_port
from tests.interop.peers.server import Server, Trunk, password_of
from tests.interop.peers.sipp import Counts, Sipp, register
from tests.rows import Row

Serve = Callable[..., Server]
Peer = Callable[..., Sipp]

# Transactions linger for 32 s after a call, at 50 calls a second some 5,000 at once; that high-water
# mark stays with the allocator. Whether it stays flat from then on is the soak test's question.
MEMORY_GROWTH_MAX_KIB = 32 * 1024


def assert_flawless(counts: Counts, calls: int) -> None:
    assert (counts.calls, counts.successful, counts.failed) == (calls, calls, 0), counts
    assert counts.unexpected == 0, counts
    assert (counts.retransmissions, counts.received_again) == (0, 0), counts


@pytest.mark.slow
@pytest.mark.parametrize("calls", [200, pytest.param(1000, marks=pytest.mark.soak)])
def test_many_authenticated_calls(serve: Serve, sipp: Peer, tmp_path: Path, calls: int) -> None:
    """Calls at 50 a second, each answered to a challenge and held for a second. From the fiftieth on one more
    is like another: a thousand of them are of the long programme, as is whether memory stays flat."""
    server = serve(rtp_ports=400)
    callee_port, caller_port = free_port(), free_port()
    for number, port in (("1001", caller_port), ("1002", callee_port)):
        register(
            tmp_path,
            server=server.address,
            number=number,
            password=password_of(number),
            port=port,
        )
    callee = sipp("callee.xml", port=callee_port, calls=50 + calls)

    def run(calls: int) -> Counts:
        return sipp(
            "caller.xml",
            server=server.address,
            port=caller_port,
            number="1002",
            username="1001",
            password=password_of("1001"),
            keys={"caller": "1001"},
            calls=calls,
            rate=50,
            limit=500,
            hold_ms=1000,
        ).wait(timeout_s=120)

    assert_flawless(run(50), 50)  # so that everything that is loaded late is in memory
    before_kib = server.resident_kib()

    assert_flawless(run(calls), calls)
    assert_flawless(callee.wait(), 50 + calls)
    records = server.records(50 + calls)
    assert len({record.call_id for record in records}) == 50 + calls
    assert {record.status for record in records} == {"answered"}
    server.wait_empty()
    growth_kib = server.resident_kib() - before_kib
    assert growth_kib < MEMORY_GROWTH_MAX_KIB, f"{growth_kib} KiB more than before {calls} calls"


@pytest.mark.soak
def test_memory_stays_flat(serve: Serve, sipp: Peer) -> None:
    """Five times 1,000 calls, with empty tables between: from the second on nothing is added."""
    carrier, sink, transit = carrier_and_sink()
    server = serve(trunks=[carrier, sink], more=transit, rtp_ports=400)
    sipp("callee.xml", port=port_of(sink), calls=None)
    sizes_kib = []
    for _ in range(5):
        calling = sipp(
            "uac",
            server=server.address,
            port=port_of(carrier),
            number="88100",
            calls=1000,
            rate=50,
            limit=500,
            hold_ms=500,
        )
        assert_flawless(calling.wait(timeout_s=120), 1000)
        server.wait_empty()
        sizes_kib.append(server.resident_kib())
    assert sizes_kib[-1] - sizes_kib[1] < 3 * 1024, sizes_kib


def carrier_and_sink() -> tuple[Trunk, Trunk, str]:
    """Two trunks on free ports and the transit between them: what `carrier` brings for 88* goes
    to `sink`."""
    carrier = Trunk("carrier", f"{HOST}:{free_port()}")
    sink = Trunk("sink", f"{HOST}:{free_port()}")
    transit = '[[inbound]]\nfrom = "carrier"\nnumber = "88*"\nto = "trunk:sink"\n'
    return carrier, sink, transit


def port_of(trunk: Trunk) -> int:
    return int(trunk.address.rpartition(":")[2])


@pytest.mark.slow
def test_embedded_scenarios_through_two_trunks(serve: Serve, sipp: Peer) -> None:
    """SIPp's own uac calls in by one trunk; the call leaves by another to SIPp's own uas."""
    carrier, sink, transit = carrier_and_sink()
    server = serve(trunks=[carrier, sink], more=transit, rtp_ports=400)
    called = sipp("uas", port=port_of(sink), calls=100)
    calling = sipp(
        "uac",
        server=server.address,
        port=port_of(carrier),
        number="88100",
        calls=100,
        rate=50,
        hold_ms=500,
    )
    assert_flawless(calling.wait(), 100)
    assert_flawless(called.wait(), 100)
    assert {r.status for r in server.records(100)} == {"answered"}
    server.wait_idle()


def test_a_trunk_may_only_call_what_is_written_down(serve: Serve, sipp: Peer) -> None:
    carrier, sink, transit = carrier_and_sink()
    server = serve(trunks=[carrier, sink], more=transit, rtp_ports=400)
    calling = sipp("uac", server=server.address, port=port_of(carrier), number="77100", calls=5)
    counts = calling.wait()
    assert (counts.successful, counts.failed) == (0, 5), counts
    assert list(calling.refusals().values()) == [404] * 5, counts
    server.wait_idle()


def test_a_stranger_gets_no_call(serve: Serve, sipp: Peer) -> None:
    """From an address that is no trunk's, without credentials: refused before anything is made."""
    carrier, sink, transit = carrier_and_sink()
    server = serve(trunks=[carrier, sink], more=transit, rtp_ports=400)
    stranger = sipp("uac", server=server.address, number="88100", calls=5)
    counts = stranger.wait()
    assert (counts.successful, counts.failed) == (0, 5), counts
    assert any(f"SIP/2.0 {status}" in counts.details for status in (401, 403)), counts
    server.wait_idle()
    assert server.records(0) == []


@pytest.mark.slow
def test_calls_complete_over_a_path_that_loses_a_fifth(
    serve: Serve, sipp: Peer, lossy: Callable[..., LossyPath], row: Row
) -> None:
    """100 calls of SIPp with 20 % of all datagrams lost each way, from SIPp to the switch: nothing fails for
    that. An exchange that is given no core for 200 ms, as tests beside this one may leave it, says 503 and
    serves nobody late; whoever was told so, and only he, calls again."""
    far = "127.0.0.5"
    carrier, sink, transit = carrier_and_sink()
    carrier = Trunk("carrier", f"{far}:5060", source=far)
    server = serve(trunks=[carrier, sink], more=transit, rtp_ports=400)
    called = sipp("callee.xml", port=port_of(sink), calls=None)
    path = lossy(server.address, host=far, loss=0.2, seed=20)
    wanted, tried = 100, 0
    while wanted and tried < 300:
        calling = sipp(
            "uac",
            server=f"{far}:{path.port}",
            number="88100",
            calls=wanted,
            rate=20,
            hold_ms=500,
            extra=["-max_retrans", "9"],
        )
        counts = calling.wait(timeout_s=150)
        assert (counts.calls, counts.successful + counts.failed) == (wanted, wanted), counts
        assert list(calling.refusals().values()) == [503] * counts.failed, counts
        tried += wanted
        wanted = counts.failed
    refused = sum(each["refused"] for each in server.status()["overload"]["classes"])
    row(31, "20 % lost each way, real sockets", calls=100, failed=wanted, told_503=tried - 100)
    assert wanted == 0
    assert tried - 100 <= refused, "nobody was refused but for want of a core"
    relayed = path.snapshot()
    assert relayed["up_lost"] > 50, relayed
    assert relayed["down_lost"] > 50, relayed
    assert {record.status for record in server.records(100)} == {"answered"}
    server.wait_idle(timeout_s=60)
    called.stop()
