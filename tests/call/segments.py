"""What a call's journal tells of it, as records and statistics read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softswitch.store.entry import Entry
from softswitch.store.story import Segment, tell_heard
from softswitch.store.told import told_of

if TYPE_CHECKING:
    from softswitch.sim.world import World


def consultations(world: World, call_id: str) -> list[Segment]:
    """The stretches of a call in which a third was consulted."""
    entries = world.journal.of_call(call_id)
    story = tell_heard(
        (Entry(seq, one.at_s, one.kind, call_id, "{}"), told_of(one.kind, one.data))
        for seq, one in enumerate(entries)
    )
    return [segment for segment in story.segments if segment.kind == "consult"]
