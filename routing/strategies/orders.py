"""The built-in final orders: who of the agents left comes first."""

from __future__ import annotations

from typing import Any

from routing.contact import Contact
from routing.desk import NEVER, Seat
from routing.model import QueueConfig, Rng


class LongestIdle:
    """Who has been free for longest. Idle time runs from log-in, the end of a break or the end of
    wrap-up; an offer that came to nothing does not restart it."""

    name = "longest-idle"
    standing = True

    def rank(self, seat: Seat, contact: Contact | None, now_s: float) -> Any:
        return seat.agent.idle_since_s


class LeastOccupied:
    """Lowest occupancy (conversation and wrap-up over all time at work), weighted over the last hour."""

    name = "least-occupied"
    standing = True

    def rank(self, seat: Seat, contact: Contact | None, now_s: float) -> Any:
        return (seat.agent.occupancy_rank(), seat.agent.idle_since_s)


class FewestCalls:
    """Fewest contacts answered this shift, from any queue; a tie goes to the longest idle."""

    name = "fewest-calls"
    standing = True

    def rank(self, seat: Seat, contact: Contact | None, now_s: float) -> Any:
        return (seat.agent.calls, seat.agent.idle_since_s)


class LeastTalkTime:
    """Least time in conversation this shift; a tie goes to the longest idle."""

    name = "least-talk-time"
    standing = True

    def rank(self, seat: Seat, contact: Contact | None, now_s: float) -> Any:
        return (seat.agent.talk_s, seat.agent.idle_since_s)


class Sequential:
    """By position, from the top each time."""

    name = "sequential"
    standing = True

    def rank(self, seat: Seat, contact: Contact | None, now_s: float) -> Any:
        return (seat.position, seat.seq)


class RoundRobin(Sequential):
    """By position, after the one the queue offered to last, around."""

    name = "round-robin"
    circular = "queue"


class TopDown(Sequential):
    """By position from the top for each contact, who goes on after his own last offer, around."""

    name = "top-down"
    circular = "contact"


class Random:
    """Each with the same chance."""

    name = "random"
    standing = True
    lottery = True

    def rank(self, seat: Seat, contact: Contact | None, now_s: float) -> Any:
        return 1.0


class WeightedRandom:
    """With a chance in proportion to the membership's weight."""

    name = "weighted-random"
    standing = True
    lottery = True

    def rank(self, seat: Seat, contact: Contact | None, now_s: float) -> Any:
        return seat.weight


class RingAll(LongestIdle):
    """All at once (up to `ring_max`) who rank equal under the criteria; the first to answer wins."""

    name = "ring-all"
    at_once = "all"


class RingProgressive(Sequential):
    """By position, one more every `progressive_s`, the earlier ones ringing on."""

    name = "ring-progressive"
    at_once = "progressive"


class LeastRecent:
    """Who was never called from this queue, then whose last call from it ended longest ago."""

    name = "least-recent"
    standing = True

    def rank(self, seat: Seat, contact: Contact | None, now_s: float) -> Any:
        return seat.last_end_s


class FewestCallsHere:
    """Fewest contacts answered from this queue."""

    name = "fewest-calls-here"
    standing = True

    def rank(self, seat: Seat, contact: Contact | None, now_s: float) -> Any:
        return (seat.calls, seat.position, seat.seq)


class LongestSinceCall:
    """Whose last conversation, from any queue, ended longest ago; then by position."""

    name = "longest-since-call"
    standing = True

    def rank(self, seat: Seat, contact: Contact | None, now_s: float) -> Any:
        return (seat.agent.last_end_s, seat.position)


class LeastTalkTimeThenPosition:
    name = "least-talk-time-then-position"
    standing = True

    def rank(self, seat: Seat, contact: Contact | None, now_s: float) -> Any:
        return (seat.agent.talk_s, seat.position)


class FewestCallsThenPosition:
    name = "fewest-calls-then-position"
    standing = True

    def rank(self, seat: Seat, contact: Contact | None, now_s: float) -> Any:
        return (seat.agent.calls, seat.position)


class InOrderOfOffer:
    """By position, then whose last offered contact ended longest ago."""

    name = "position-then-least-recent"
    standing = True

    def rank(self, seat: Seat, contact: Contact | None, now_s: float) -> Any:
        return (seat.position, seat.agent.last_end_s if seat.agent.calls else NEVER)


class PenaltyWeighted:
    """Asterisk's wrandom: a draw below (1 + level) x 1000 each, the lowest wins; the level is a
    weight here and nothing else."""

    name = "penalty-weighted"

    def __init__(self, rng: Rng) -> None:
        self._rng = rng

    @classmethod
    def for_queue(cls, queue: QueueConfig, rng: Rng) -> PenaltyWeighted:
        return cls(rng)

    def rank(self, seat: Seat, contact: Contact | None, now_s: float) -> Any:
        return self._rng.random() * (1 + max(seat.level, 0)) * 1000
