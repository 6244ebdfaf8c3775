"""What a network does to datagrams in one direction: loses, doubles, delays, lets them overtake."""

from __future__ import annotations

import random
from dataclasses import dataclass

_HEADERS = 28
"""Octets of IPv4 and UDP before each datagram."""


@dataclass(frozen=True, slots=True)
class Link:
    """The quality of one direction between two hosts.

    `loss`, `duplicate` and `reorder` are probabilities from 0 to 1, each datagram for itself;
    `loss_burst` above 1 makes losses come in bursts of that mean length at the same rate (Gilbert's
    model). `delay_s` is added to every datagram, and up to `jitter_s` more, uniformly, without
    changing the order; a reordered datagram (or the copy of a doubled one) is held back by up to
    `reorder_s` more, so that later ones overtake it. `bandwidth_bps` above 0 lets so many bits a
    second pass; what would wait longer than `queue_s` is lost.
    """

    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    delay_s: float = 0.0005
    jitter_s: float = 0.0
    reorder_s: float = 0.03
    loss_burst: float = 1.0
    bandwidth_bps: float = 0.0
    queue_s: float = 0.2

    def __post_init__(self) -> None:
        for name in ("loss", "duplicate", "reorder"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} is a probability, 0 to 1")
        if min(self.delay_s, self.jitter_s, self.reorder_s, self.bandwidth_bps, self.queue_s) < 0.0:
            raise ValueError("delays are not negative")
        if self.loss_burst > 1.0 and self.loss >= 1.0:
            raise ValueError("bursts of a total loss do not end")


PERFECT = Link(delay_s=0.0)
"""No loss, no delay."""

CUT = Link(loss=1.0)
"""Nothing passes."""


@dataclass(slots=True)
class LinkCounters:
    """What has happened to the datagrams of one or more directions."""

    sent: int = 0
    lost: int = 0
    duplicated: int = 0
    reordered: int = 0


class Direction:
    """The state of one direction: its own chance, so that traffic elsewhere does not change it.

    Parameters: `seed` is any text; the same text and the same sequence of datagrams give the same
    fates.
    """

    __slots__ = ("_bursting", "_free_s", "_last_s", "_random")

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)
        self._last_s = float("-inf")
        self._free_s = float("-inf")
        self._bursting = False

    def deliveries(
        self, link: Link, now_s: float, counters: LinkCounters, octets: int = 0
    ) -> list[float]:
        """When a datagram of `octets` sent at `now_s` arrives: no, one or two times, in seconds."""
        chance = self._random
        counters.sent += 1
        if self._is_lost(link):
            counters.lost += 1
            return []
        at_s = now_s + link.delay_s
        if link.bandwidth_bps:
            begins_s = max(self._free_s, now_s)
            if begins_s - now_s > link.queue_s:
                counters.lost += 1
                return []
            self._free_s = begins_s + 8.0 * (octets + _HEADERS) / link.bandwidth_bps
            at_s += self._free_s - now_s
        if link.jitter_s:
            at_s += chance.random() * link.jitter_s
        at_s = max(at_s, self._last_s)
        if link.reorder and chance.random() < link.reorder:
            counters.reordered += 1
            times = [at_s + chance.random() * link.reorder_s]
        else:
            self._last_s = at_s
            times = [at_s]
        if link.duplicate and chance.random() < link.duplicate:
            counters.duplicated += 1
            times.append(times[0] + chance.random() * link.reorder_s)
        return times

    def _is_lost(self, link: Link) -> bool:
        if not link.loss:
            return False
        if link.loss_burst <= 1.0:
            return self._random.random() < link.loss
        if self._bursting:
            turns = 1.0 / link.loss_burst
        else:
            turns = link.loss / (link.loss_burst * (1.0 - link.loss))
        if self._random.random() < turns:
            self._bursting = not self._bursting
        return self._bursting
