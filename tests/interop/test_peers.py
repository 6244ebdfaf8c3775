"""The harness itself: the peers against each other, without the switch. When these fail, no result
of the other files means anything."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

import numpy as np
import pytest

from tests.interop.peers.audio import (
    RATE_HZ,
    Samples,
    assert_heard,
    assert_heard_in_pieces,
    assert_not_heard,
    match,
    match_in_steps,
    match_pieces,
)
from tests.interop.peers.baresip import Baresip
from tests.interop.peers.ports import free_port
from tests.interop.peers.sipp import Sipp


def test_match_finds_a_delayed_noisy_copy_and_nothing_else(voices: dict) -> None:
    caller, callee = voices["caller"].samples, voices["callee"].samples
    noise = np.random.default_rng(1).normal(0, 0.005, len(caller) + RATE_HZ)
    heard = noise + np.concatenate([np.zeros(RATE_HZ // 2), 0.7 * caller, np.zeros(RATE_HZ // 2)])
    found = match(caller, heard)
    assert found.correlation > 0.95
    assert abs(found.delay_s - 0.5) < 0.001
    assert_heard(caller, heard, "a delayed copy")
    assert_not_heard(callee, heard, "the other voice")


def test_match_sees_one_lost_packet(voices: dict) -> None:
    caller = voices["caller"].samples
    middle = len(caller) // 2
    shifted = np.concatenate([caller[:middle], caller[middle + 160 :], np.zeros(160)])
    assert match(caller, shifted).correlation < 0.95


def test_a_step_of_the_delay_costs_nothing_and_a_fault_does(voices: dict) -> None:
    """Two steps of a delay are followed; lost, repeated or broken sound, and more of them, are not excused."""
    caller, callee = voices["caller"].samples, voices["callee"].samples
    third, tick = len(caller) // 3, 160
    first, second, last = caller[:third], caller[third : 2 * third], caller[2 * third :]

    def gap(ticks: int) -> Samples:
        return np.zeros(ticks * tick)

    later = np.concatenate([gap(9), first, gap(2), second, gap(3), last, gap(9)])
    found = match_in_steps(caller, later)
    assert found.correlation > 0.99
    assert (found.steps_s, found.complete) == ((0.04, 0.06), 1.0)
    assert match(caller, later).correlation < 0.8
    assert match_in_steps(caller, np.concatenate([gap(9), caller, gap(9)])).steps_s == ()
    parts = np.array_split(caller, 8)
    noise = np.random.default_rng(1).normal(0, 1.3 * caller.std(), len(caller))
    for what, wrong in (
        ("the other voice", callee),
        ("a step every half second", np.concatenate([x for y in parts for x in (y, gap(2))])),
        ("its halves turned round", np.concatenate([last, second, first])),
        ("a third of it silent", np.concatenate([first, 0 * second, last])),
        (
            "a tenth of a second and more away",
            np.concatenate([first, gap(7), second, gap(7), last]),
        ),
        ("noise over it", caller + noise),
        ("nothing", np.zeros(len(caller))),
    ):
        assert match_in_steps(caller, wrong).correlation < 0.8, what


def test_pieces_are_found_past_gaps_and_only_in_their_order(voices: dict) -> None:
    caller, callee = voices["caller"].samples, voices["callee"].samples
    parts = np.array_split(caller, 8)
    gaps = np.concatenate([each for part in parts for each in (part[:-200], np.zeros(333))])
    assert match(caller, gaps).correlation < 0.75
    assert_heard_in_pieces(caller, gaps, "the same with gaps")
    middle = len(caller) // 2
    for what, wrong in (
        ("the other voice", callee),
        ("half of it", caller[:middle]),
        ("its halves turned round", np.concatenate([caller[middle:], caller[:middle]])),
        ("nothing", np.zeros(len(caller))),
    ):
        assert match_pieces(caller, wrong).found < 0.65, what


def test_a_port_that_is_taken_for_a_moment_is_waited_for(sipp: Callable[..., Sipp]) -> None:
    port = free_port()
    taken = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    taken.bind(("127.0.0.1", port))
    free = threading.Timer(0.5, taken.close)
    free.start()
    callee = sipp("callee.xml", calls=1, port=port)
    free.join()
    assert sipp("uac", server=f"127.0.0.1:{port}").wait().successful == 1
    assert callee.wait().successful == 1


def test_sipp_calls_sipp(sipp: Callable[..., Sipp]) -> None:
    callee = sipp("callee.xml", calls=50)
    caller = sipp("uac", server=f"127.0.0.1:{callee.port}", calls=50, rate=50, hold_ms=100)
    for counts in (caller.wait(), callee.wait()):
        assert (counts.successful, counts.failed) == (50, 0), counts
        assert (counts.retransmissions, counts.received_again, counts.unexpected) == (0, 0, 0)


def test_baresip_hears_itself_through_an_echo(
    sipp: Callable[..., Sipp], baresip: Callable[..., Baresip], voices: dict
) -> None:
    echo = sipp("uas", rtp_echo=True)
    phone = baresip(f"127.0.0.1:{echo.port}", "1001", plays="caller", register=False)
    phone.dial("service")
    phone.wait_event("CALL_ESTABLISHED")
    phone.wait_heard_bytes(int(2 * (len(voices["caller"].samples) + RATE_HZ)))
    phone.hang_up()
    phone.wait_event("CALL_CLOSED")
    assert_heard(voices["caller"].samples, phone.heard(), "its own voice")


@pytest.mark.parametrize("who", ["caller", "callee"])
def test_the_voices_differ_and_fit_a_short_call(voices: dict, who: str) -> None:
    other = "callee" if who == "caller" else "caller"
    assert 2.0 < len(voices[who].samples) / RATE_HZ < 8.0
    assert_not_heard(voices[who].samples, voices[other].samples, "the other voice")
