"""From a destination to the steps that `Dial` tries. Pure: what is registered now is asked by function."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from softswitch.call.dialplan import ToTrunks
from softswitch.call.endpoint import PhoneEndpoint, Step, TrunkEndpoint

if TYPE_CHECKING:
    from softswitch.config import RingGroup

RING_S_DEFAULT = 60.0
TRUNK_SILENCE_S = 1.8  # with the network's own delay, the next trunk is asked within two seconds
TRUNK_RING_S = 120.0

Registered = Callable[[str], tuple[PhoneEndpoint, ...]]


def steps_to_trunks(route: ToTrunks) -> tuple[Step, ...]:
    """One trunk after the other; one that stays silent is given up after two seconds."""
    return tuple(
        Step((TrunkEndpoint(trunk, route.number),), TRUNK_RING_S, TRUNK_SILENCE_S)
        for trunk in route.trunks
    )


def steps_to_extension(
    registered: Registered, number: str, ring_s: float = RING_S_DEFAULT, *, in_order: bool = False
) -> tuple[Step, ...]:
    """All registered contacts of the extension at once, or `in_order` of the preference that they
    registered with, equals together, `ring_s` in all (RFC 3261 16.6); no step when there is none."""
    endpoints = registered(number)
    if not endpoints:
        return ()
    if not in_order:
        return (Step(endpoints, ring_s),)
    preferences = sorted({endpoint.q for endpoint in endpoints}, reverse=True)
    return tuple(
        Step(tuple(e for e in endpoints if e.q == preference), ring_s / len(preferences))
        for preference in preferences
    )


def steps_to_ring_group(
    group: RingGroup, members: tuple[str, ...], registered: Registered
) -> tuple[Step, ...]:
    """The `members` together (``all``), or one after the other, `ring_s` each."""
    if group.ring != "all":
        return tuple(
            step
            for member in members
            for step in steps_to_extension(registered, member, float(group.ring_s))
        )
    endpoints = tuple(e for member in members for e in registered(member))
    return (Step(endpoints, float(group.ring_s)),) if endpoints else ()
