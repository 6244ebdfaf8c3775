"""Rows 38 and 42 on real sockets with a real media worker: telephones that vanish without a BYE, and one that
changes its address in the middle of a call."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from softswitch.sim.audio import match, speech
from softswitch.sim.behaviour import answer
from softswitch.sim.phone import VirtualPhone
from softswitch.sim.real_network import RealNetwork, RealSocket
from tests.interop.peers.server import Server, password_of
from tests.rows import Row

Serve = Callable[..., Server]
CALLS, RTP_TIMEOUT_S = 10, 30.0


async def telephone(server: Server, number: str, seed: int) -> VirtualPhone:
    host, _, port = server.address.partition(":")
    phone = VirtualPhone(
        RealNetwork(),
        number=number,
        password=password_of(number),
        server=(host, int(port)),
        domain="interop.example",
        host=host,
        behaviour=answer(),
        calls_max=CALLS,
        seed=seed,
    )
    await phone.open()
    assert (await phone.register()).status == 200
    return phone


@pytest.mark.soak
async def test_calls_of_vanished_telephones_end_by_their_silence(serve: Serve, row: Row) -> None:
    server = serve()
    caller, callee = await telephone(server, "1001", 1), await telephone(server, "1002", 2)
    calls = [await caller.call("1002") for _ in range(CALLS)]
    await asyncio.gather(*(call.answered() for call in calls))
    await asyncio.sleep(1.0)
    assert len(server.status()["calls"]) == CALLS
    await asyncio.gather(caller.close(), callee.close())
    gone_s, ends_s = time.monotonic(), [0.0] * 0
    while len(ends_s) < CALLS and time.monotonic() - gone_s < 2 * RTP_TIMEOUT_S:
        await asyncio.sleep(0.1)
        ended = CALLS - len(server.status()["calls"])
        ends_s += [time.monotonic() - gone_s] * (ended - len(ends_s))
    records = server.records(CALLS)
    by = {str(record.row.get("ended_by")) for record in records}
    row(
        38,
        "both telephones vanish, real sockets",
        calls=CALLS,
        ended=len(ends_s),
        first_s=round(ends_s[0], 1),
        last_s=round(ends_s[-1], 1),
        by=" ".join(sorted(by)),
        streams_left=server.status()["media"]["streams"],
    )
    assert len(ends_s) == CALLS
    assert abs(ends_s[0] - RTP_TIMEOUT_S) <= 1.0
    assert abs(ends_s[-1] - RTP_TIMEOUT_S) <= 1.0
    server.wait_idle()


async def test_a_telephone_that_changes_its_address_is_heard_and_hears(
    serve: Serve, row: Row
) -> None:
    """From 127.0.0.1 to another address, told by re-INVITE; both speak all the time."""
    server = serve()
    caller, callee = await telephone(server, "1001", 1), await telephone(server, "1002", 2)
    call = await caller.call("1002")
    await call.answered()
    theirs = await callee.incoming()
    mine, other = call.audio, theirs.audio
    assert mine is not None
    assert other is not None
    await asyncio.sleep(0.5)
    gaps_ms, moves = [], 3
    for move in range(moves):
        before = mine.counters.received, other.counters.received
        other.gap_s_max = 0.0
        moved_at_s = asyncio.get_running_loop().time()
        mine.move(await RealSocket.open(f"127.0.0.{70 + move}"))
        await call.reinvite()
        await mine.listen(len(mine.heard()) / 8000 + 0.2)
        assert mine.last_arrival_s is not None
        await asyncio.sleep(0.5)
        gaps_ms.append(1000 * max(mine.gap_s_max, other.gap_s_max))
        assert mine.last_arrival_s > moved_at_s
        assert other.counters.received > before[1] + 20
    said = speech(1, 1.5)
    at = len(theirs.heard())
    await call.play(said)
    await asyncio.sleep(0.4)
    correlation = match(said, theirs.heard()[at:]).correlation
    row(
        42,
        "wire to air, real media",
        moves=moves,
        longest_gap_ms=round(max(gaps_ms)),
        speech_correlates=round(correlation, 2),
    )
    assert max(gaps_ms) < 1000
    assert correlation > 0.9
    call.hang_up()
    await asyncio.gather(caller.close(), callee.close())
    server.wait_idle()
