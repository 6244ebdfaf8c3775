"""The engine's state checked against its own promises by brute force: for tests, soak runs and the
doctor. Slow on purpose; it uses none of the indexes it checks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from routing.contact import Contact, Phase
from routing.desk import KIND_OF, Agent, WorkPhase
from routing.line import NO_SEAT
from routing.model import SLOT_OF, AgentState, Media, Membership

if TYPE_CHECKING:
    from routing.engine import AcdEngine
    from routing.floor import Floor

PHASES_IN_LINE = (Phase.WAITING, Phase.OFFERED, Phase.DIALING)


def audit(engine: AcdEngine, now_s: float) -> list[str]:
    """What is wrong, in words; empty when all is well. Between events only."""
    floor = engine._floor
    return [
        *_contacts(floor),
        *_agents(floor, now_s),
        *_queues(floor),
        *_idle_beside_waiting(floor, now_s),
    ]


def _contacts(floor: Floor) -> list[str]:
    wrong: list[str] = []
    for contact in floor.contacts.values():
        name = f"contact {contact.id} ({contact.phase.name})"
        in_line = contact.line_entry is not None
        if in_line != (contact.phase in PHASES_IN_LINE):
            wrong.append(f"{name}: in line is {in_line}")
        if in_line and contact not in contact.queue.line_of(contact):
            wrong.append(f"{name}: lost from the line of {contact.queue.id}")
        if contact.entry is not None:
            pool = contact.pool
            if pool is None or contact.entry not in pool.waiting:
                wrong.append(f"{name}: lost from its pool")
            elif pool.queue.pools.get(pool.key) is not pool:
                wrong.append(f"{name}: waits in a pool nobody looks at")
        elif contact.phase is Phase.WAITING:
            wrong.append(f"{name}: in no pool")
        if (contact.phase is Phase.OFFERED) != bool(contact.offers):
            wrong.append(f"{name}: {len(contact.offers)} offers")
        if contact.phase is Phase.CONNECTED and not _served_once(floor, contact):
            wrong.append(f"{name}: not in the hands of exactly one agent")
        if contact.phase is Phase.DORMANT and contact.timer_s is None:
            wrong.append(f"{name}: sleeps for ever")
        if contact.phase is Phase.DIALING and contact.timer_s is None:
            wrong.append(f"{name}: is dialled for ever")
    return wrong


def _served_once(floor: Floor, contact: Contact) -> bool:
    holders = [
        agent
        for agent in floor.agents.values()
        for work in agent.works.values()
        if work.contact_id == contact.id and work.phase is WorkPhase.TALKING
    ]
    return len(holders) == 1 and holders[0].id == contact.agent_id


def _agents(floor: Floor, now_s: float) -> list[str]:
    wrong: list[str] = []
    offered = {offer.work for offer in floor.offers.values()}
    for agent in floor.agents.values():
        name = f"agent {agent.id} ({agent.state})"
        loads = {"voice": 0, "text": 0}
        handed = {"voice": 0, "text": 0}
        for work in agent.works.values():
            slot = SLOT_OF[work.media]
            loads[slot] += 1
            if work.phase is WorkPhase.OFFERED:
                handed[slot] += 1
                if work not in offered:
                    wrong.append(f"{name}: stuck in an offer that does not exist")
            if work.phase is WorkPhase.WRAP_UP and work.wrap_until_s <= now_s:
                wrong.append(f"{name}: stuck in wrap-up")
        if (loads["voice"], loads["text"]) != (agent.voice_load, agent.text_load):
            wrong.append(f"{name}: load miscounted")
        for slot, count in handed.items():
            if count > agent.config.capacities.get(slot, 0):
                wrong.append(f"{name}: {count} {slot} offers at once")
        if agent.state is not agent.visible_state():
            wrong.append(f"{name}: is really {agent.visible_state()}")
        if agent.state is AgentState.AVAILABLE and agent.free_kinds != agent.kinds_free(now_s):
            wrong.append(f"{name}: free for {agent.free_kinds}, not {agent.kinds_free(now_s)}")
        wrong += _standing(agent, name)
    for offer in floor.offers.values():
        if offer.timer_s is None or offer.agent.works.get(offer.work.id) is not offer.work:
            wrong.append(f"offer {offer.id}: rings for ever")
    return wrong


def _standing(agent: Agent, name: str) -> list[str]:
    wrong: list[str] = []
    for pool, seat in agent.pools.items():
        if agent.may_take(pool):
            entry = agent.entries.get(pool)
            if entry is None or entry not in pool.free:
                wrong.append(f"{name}: not found free by {pool.queue.id} {pool.words()}")
            elif isinstance(pool.judge(seat), str):
                wrong.append(f"{name}: not admitted by {pool.queue.id} {pool.words()}")
        elif pool in agent.entries:
            wrong.append(f"{name}: found free, but is not, by {pool.queue.id}")
    if len(agent.entries) > len(agent.pools):
        wrong.append(f"{name}: found free by pools that do not know him")
    return wrong


def _queues(floor: Floor) -> list[str]:
    wrong: list[str] = []
    for queue in floor.queues.values():
        present = sum(seat.agent.present for seat in queue.seats.values())
        if queue.present != present:
            wrong.append(f"queue {queue.id}: {queue.present} present, really {present}")
        for contact in queue.contacts:
            if floor.contacts.get(contact.id) is not contact:
                wrong.append(f"queue {queue.id}: a stranger in line, {contact.id}")
        for demand, count in queue.watched.items():
            real = sum(
                seat.agent.present and not isinstance(demand.judge(seat), str)
                for seat in queue.seats.values()
            )
            if real != count:
                wrong.append(f"queue {queue.id}: {count} at work for {demand}, really {real}")
        for seat in queue.seats.values():
            if queue.codes[seat.index] == NO_SEAT or queue.roster[seat.index] is not seat:
                wrong.append(f"queue {queue.id}: seat of {seat.agent.id} lost")
    return wrong


def _idle_beside_waiting(floor: Floor, now_s: float) -> list[str]:
    """Nobody waits who could be served now. Rings in company (ring-all, ring-progressive) and the
    collecting time of the joint assignment are left out."""
    if floor.config.assignment == "joint" and floor.config.batch_s > 0:
        return []
    wrong: list[str] = []
    for contact in floor.contacts.values():
        if contact.phase is not Phase.WAITING:
            continue
        kind = KIND_OF[contact.media]
        for agent in floor.agents.values():
            pool = contact.pool
            free = kind in agent.free_kinds and pool is not None and agent.may_take(pool)
            if free and may_serve(agent, contact, now_s):
                wrong.append(f"contact {contact.id} waits beside free agent {agent.id}")
    return wrong


def may_serve(agent: Agent, contact: Contact, now_s: float) -> bool:
    """By the rules in force, whatever he is doing."""
    if contact.pool is None or contact.excludes(agent.id, now_s):
        return False
    if contact.assigned_to:
        return contact.assigned_to == agent.id
    seat = agent.seats.get(contact.queue.id)
    return seat is not None and not isinstance(contact.pool.judge(seat), str)


def passed_over(engine: AcdEngine, agent_id: str, contact_id: str, now_s: float) -> list[str]:
    """Contacts that still wait although they stood before `contact_id` and `agent_id` could have
    been offered them: must be empty after every offer. Could: by the rules, and he had not as many of
    that queue at hand as he is to have at once, without what he was offered here."""
    floor = engine._floor
    agent, offered = floor.agents.get(agent_id), floor.contacts.get(contact_id)
    if agent is None or offered is None:
        return []
    mine = offered.standing(now_s)
    voice = KIND_OF[offered.media]
    return [
        contact.id
        for contact in floor.contacts.values()
        if contact.phase is Phase.WAITING
        and contact is not offered
        and KIND_OF[contact.media] == voice
        and contact.standing(now_s) < mine
        and contact.media is not Media.CALLBACK
        and may_serve(agent, contact, now_s)
        and not _has_enough(agent, contact, but=contact_id)
    ]


def _has_enough(agent: Agent, contact: Contact, but: str) -> bool:
    """Whether he has as many contacts of that queue as he may at once, not counting the one called `but`."""
    if contact.pool is not None and contact.pool.by_hand:
        return False
    limits = [
        each.at_once
        for each in agent.config.queues
        if isinstance(each, Membership) and each.queue_id == contact.queue.id
    ]
    at_hand = sum(
        work.queue_id == contact.queue.id and work.contact_id != but
        for work in agent.works.values()
    )
    return any(limit is not None and at_hand >= limit for limit in limits)
