"""Who spoke in a call: nobody else is judged by it, and a word beside it lies within what was recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softswitch.store.ledger import Conflict, Missing
from softswitch.store.story import tell

if TYPE_CHECKING:
    from softswitch.api.service import Service
    from softswitch.store.record import CallRecord


async def require_spoke(service: Service, call_id: str, agent_id: str) -> None:
    """Raises `Missing` for a call there is no record of, `Conflict` for an agent who was not in it: its
    queues did not give it to him, and none of its legs was his telephone's."""
    record = await _record(service, call_id)
    story = tell(await service.store.entries.of_story(call_id))
    given = {one.agent_id for one in story.handlings} | {one.agent_id for one in story.visits}
    phones = {str(leg.get("endpoint")) for leg in record.legs} | {record.origin}
    spoke = [
        agent.id for agent in service.office.agents if f"extension:{agent.extension}" in phones
    ]
    if agent_id in given or agent_id in spoke:
        return
    others = sorted({*given, *spoke} - {""})
    who = f"{', '.join(others)} did" if others else "no agent did"
    raise Conflict(f"{agent_id} did not speak in call {call_id}; {who}")


async def require_recorded(
    service: Service, call_id: str, recording: int, second: float | None
) -> None:
    """Raises `Conflict` for a second that no recording of a call has."""
    if second is None:
        return
    recordings = (await _record(service, call_id)).recordings
    if recording >= len(recordings):
        raise Conflict(f"call {call_id} has {len(recordings)} recordings, counted from 0")
    started_s, stopped_s = (
        recordings[recording].get(f"{at}_at_s") for at in ("started", "stopped")
    )
    if started_s is not None and stopped_s is not None and second > stopped_s - started_s + 1.0:
        raise Conflict(f"recording {recording} ends after {stopped_s - started_s:.1f} s")


async def _record(service: Service, call_id: str) -> CallRecord:
    record = await service.store.calls.get(call_id)
    if record is None:
        raise Missing(f"there is no call {call_id}")
    return record
