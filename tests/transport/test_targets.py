"""Which server comes first: RFC 2782 and RFC 3263 as decisions without a network."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softswitch.transport.targets import (
    Candidate,
    Naptr,
    NextHop,
    Target,
    in_order,
    services,
    srv_names,
    supported_for,
    usable_address,
)


def candidate(name: str, priority: int, weight: int) -> Candidate:
    return Candidate((Target("udp", (name, 5060)),), priority, weight)


def test_priorities_are_kept_and_weights_share() -> None:
    chance = random.Random(7)
    first = Counter(
        in_order(
            [
                candidate("last", 20, 100),
                candidate("big", 10, 60),
                candidate("small", 10, 30),
                candidate("seldom", 10, 0),
            ],
            chance.random,
        )[0].address[0]
        for _ in range(20_000)
    )
    assert "last" not in first
    assert first["big"] / 20_000 == pytest.approx(60 / 91, abs=0.02)
    assert first["small"] / 20_000 == pytest.approx(30 / 91, abs=0.02)
    assert 0 < first["seldom"] / 20_000 < 0.03


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 65_535)), max_size=12),
    st.randoms(use_true_random=False),
)
def test_every_target_is_tried_once_and_priorities_never_mix(
    entries: list[tuple[int, int]], chance: random.Random
) -> None:
    candidates = [candidate(str(i), p, w) for i, (p, w) in enumerate(entries)]
    ordered = in_order(candidates, chance.random)
    assert sorted(t.address[0] for t in ordered) == sorted(str(i) for i in range(len(entries)))
    priorities = [entries[int(target.address[0])][0] for target in ordered]
    assert priorities == sorted(priorities)


def test_naptr_order_preference_and_what_is_not_ours() -> None:
    records = [
        Naptr(20, 1, "s", "SIP+D2U", "", "_sip._udp.example"),
        Naptr(10, 2, "s", "SIP+D2T", "", "_sip._tcp.example"),
        Naptr(10, 1, "S", "SIPS+D2T", "", "_sips._tcp.example"),
        Naptr(1, 1, "s", "SIP+D2S", "", "_sip._sctp.example"),
        Naptr(1, 1, "u", "E2U+sip", "!^.*$!sip:x@evil.example!", ""),
        Naptr(1, 1, "s", "SIP+D2U", "!x!y!", "_sip._udp.evil.example"),
    ]
    every = services(records, ["udp", "tcp", "tls"])
    assert [transport for transport, _ in every] == ["tls", "tcp", "udp"]
    assert services(records, ["udp"]) == [("udp", "_sip._udp.example")]


def test_transports_that_a_hop_may_use() -> None:
    every = ["ws", "tls", "tcp", "udp"]
    assert supported_for(NextHop("h"), every) == ["udp", "tcp", "tls"]
    assert supported_for(NextHop("h", secure=True), every) == ["tls"]
    assert supported_for(NextHop("h", transport="tcp"), every) == ["tcp"]
    assert supported_for(NextHop("h", transport="tls"), ["udp"]) == []
    assert srv_names(NextHop("h"), ["udp", "tls"]) == [
        ("udp", "_sip._udp.h"),
        ("tls", "_sips._tcp.h"),
    ]


@pytest.mark.parametrize(
    ("address", "for_peers", "for_strangers"),
    [
        ("192.0.2.1", True, False),
        ("8.8.8.8", True, True),
        ("10.0.0.1", True, False),
        ("127.0.0.1", True, False),
        ("::1", True, False),
        ("::ffff:127.0.0.1", True, False),
        ("169.254.1.1", True, False),
        ("0.0.0.0", False, False),
        ("::", False, False),
        ("224.0.0.1", False, False),
        ("ff02::1", False, False),
        ("255.255.255.255", False, False),
        ("2606:4700::1", True, True),
        ("no.address", False, False),
    ],
)
def test_addresses_that_the_dns_may_name(
    address: str, for_peers: bool, for_strangers: bool
) -> None:
    assert (usable_address(address, private=True) is not None) == for_peers
    assert (usable_address(address, private=False) is not None) == for_strangers
