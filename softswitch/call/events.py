"""The neutral vocabulary between legs and the machines that decide about them.

A and B legs never see each other's SIP: a leg turns its dialog's events into these, and performs the
effects it is given. Everything here is a value.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from softswitch.call.endpoint import Endpoint, Outcome


class LegRang(msgspec.Struct, frozen=True):
    """The far end alerts; `early_media` when it sends audio already (183 with SDP)."""

    leg: int
    early_media: bool = False


class LegAnswered(msgspec.Struct, frozen=True):
    leg: int


class LegFailed(msgspec.Struct, frozen=True):
    """The leg ended before an answer, with the SIP status that says why, the Q.850 cause where it was told (0:
    the status says all), for how long nothing more is wanted there (0: nothing was said), and the realm that
    a password was asked of in vain. `ours`: it was never sent, for want of something here."""

    leg: int
    status: int
    reason: str = ""
    q850: int = 0
    retry_after_s: int = 0
    realm: str = ""
    ours: bool = False


class LegEnded(msgspec.Struct, frozen=True):
    """An answered leg is over. `by`: remote, local, timer, media."""

    leg: int
    by: str
    q850: int = 16


class CallerEnded(msgspec.Struct, frozen=True):
    """The caller has gone: cancelled before the answer, or hung up after it. `elsewhere`: he has been
    served by somebody else, so that these phones show no missed call."""

    by: str
    q850: int = 16
    elsewhere: bool = False


class TimerExpired(msgspec.Struct, frozen=True):
    """A timer asked for by `StartTimer` is due; `generation` tells a stale one."""

    name: str
    generation: int


DialEvent: TypeAlias = LegRang | LegAnswered | LegFailed | LegEnded | CallerEnded | TimerExpired


class StartLeg(msgspec.Struct, frozen=True):
    """`silence_s`: give the leg up (408) when nothing at all is heard for so long."""

    leg: int
    endpoint: Endpoint
    silence_s: float | None = None


class EndLeg(msgspec.Struct, frozen=True):
    """Cancel or hang up. `elsewhere`: another phone took the call, so that this one shows no missed call."""

    leg: int
    q850: int = 16
    elsewhere: bool = False


class RingCaller(msgspec.Struct, frozen=True):
    """Tell the caller that it rings (180), with this leg's early audio (183) when it has any."""

    leg: int
    early_media: bool


class ConnectCaller(msgspec.Struct, frozen=True):
    """This leg has won: answer the caller where that is still due and join the two."""

    leg: int


class StartTimer(msgspec.Struct, frozen=True):
    name: str
    generation: int
    after_s: float


class Finish(msgspec.Struct, frozen=True):
    """The dial attempt is over; nothing of it is left but legs already told to end."""

    outcome: Outcome


DialEffect: TypeAlias = StartLeg | EndLeg | RingCaller | ConnectCaller | StartTimer | Finish
