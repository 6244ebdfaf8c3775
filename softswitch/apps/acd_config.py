"""From the office file to what the routing engine is configured with, and what is wrong in between."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING

from routing import model
from routing.calendar import Calendar
from routing.errors import ExpressionError, RoutingConfigError
from routing.expressions import parse_skill
from routing.registry import ENTRY_POINT_GROUP, Registry
from routing.strategies.presets import penalty_rule, tier_rule
from softswitch.call.numbering import Numbering
from softswitch.config import Callback, Membership
from softswitch.config.problems import Problem

if TYPE_CHECKING:
    from softswitch.config import Agent, Customer, Hours, Office, Queue, Relax

_log = logging.getLogger("softswitch.acd")

RONA_REASON = "rona"
"""Why an agent is unavailable who did not answer."""
_ORDINARY = Membership()
_SKILL_FORM = 'as in "billing >= 2 & (lang.zh | lang.en)"'


@cache
def registry() -> Registry:
    """All criteria and orders: built in, and of third parties by entry point (``softswitch.routing``)."""
    found = Registry()
    for point in metadata.entry_points(group=ENTRY_POINT_GROUP):
        try:
            found.add(point.load())
        except Exception:
            # The queue that names it will be refused, with all names that are known.
            _log.exception("the routing strategy %s (%s) cannot be used", point.name, point.value)
    return found


def acd_config_of(office: Office, epoch_s: float) -> model.AcdConfig:
    """The engine's configuration; `epoch_s` is Unix time where its clock shows 0."""
    numbering = Numbering(office.office.country)
    return model.AcdConfig(
        queues=tuple(queue_config_of(queue, _levels(office, queue)) for queue in office.queues),
        agents=tuple(agent_config_of(agent) for agent in office.agents),
        regions=regions_of(office),
        customers=tuple(customer_config_of(customer, numbering) for customer in office.customers),
        calendars={h.name: calendar_of(h, office) for h in office.hours},
        registry=registry(),
        epoch_s=epoch_s,
        assignment=office.routing.assignment,
        batch_s=office.routing.batch_s,
        joint_max=office.routing.joint_max,
    )


def _levels(office: Office, queue: Queue) -> set[int]:
    """The levels that this queue's members have."""
    return {
        _membership(agent, queue.name).level
        for agent in office.agents
        if queue.name in agent.queues
    }


def _membership(agent: Agent, queue: str) -> Membership:
    return agent.membership.get(queue, _ORDINARY)


def queue_config_of(queue: Queue, levels: Iterable[int] = (0,)) -> model.QueueConfig:
    """One ``[[queue]]``, whose members have these levels."""
    aging_s = queue.priority.aging_s
    aging = model.PriorityRule(aging_s=aging_s or None)
    return model.QueueConfig(
        id=queue.name,
        name=queue.name,
        route=tuple(queue.route),
        skill=queue.skill,
        relax=tuple(map(_relaxation, queue.relax)),
        priority=aging if "priority" in queue.model_fields_set else model.PriorityRule(),
        weight=queue.weight,
        prefer=tuple(queue.prefer),
        levels=_level_rule(queue, levels),
        options=dict(queue.options),
        last_agent=model.LastAgentRule(
            within_s=queue.last_agent.within_h * 3600.0,
            wait_s=queue.last_agent.wait_s,
            wait_for_absent=queue.last_agent.wait_for_absent,
        ),
        region=model.RegionRule(wait_s=queue.region.wait_s, skip_absent=queue.region.skip_absent),
        ring_s=queue.ring_s,
        ring_max=queue.ring_max,
        progressive_s=queue.progressive_s,
        wrap_up_s=queue.wrap_up_s,
        rona=model.RonaRule(reason=RONA_REASON, **queue.rona.model_dump()),
        announce=_announce_rule(queue),
        callback=_callback_rule(queue),
        empty=model.EmptyRule(
            join=queue.join_when, leave=queue.stay_when, leave_after_s=queue.leave_after_s
        ),
        max_waiting=queue.max_waiting,
        max_wait_s=queue.max_wait_s,
        overflow=str(queue.overflow),
        hours=queue.hours or "",
        place_held_s=queue.place_held_s,
        place_from_call=queue.place_from_call,
        handle_guess_s=queue.expect.handle_s,
        patience_guess_s=queue.expect.patience_s,
        service_level=model.ServiceLevelRule(
            within_s=queue.service_level.within_s, target=queue.service_level.target
        ),
    )


def _announce_rule(queue: Queue) -> model.AnnounceRule | None:
    announce = queue.announce
    if not (announce.position or announce.wait):
        return None
    return model.AnnounceRule(
        position=announce.position,
        wait=announce.wait,
        every_s=announce.every_s,
        first_s=announce.first_s,
    )


def _callback_rule(queue: Queue) -> model.CallbackRule:
    callback = queue.callback
    if callback is None:
        # Nobody is offered one, but a program may ask for it.
        return model.CallbackRule(dial_s=Callback().dial_s)
    return model.CallbackRule(
        offer_after_s=callback.offer_after_s,
        key=callback.key,
        customer_first=callback.first == "customer",
        attempts=callback.attempts,
        retry_after_s=callback.retry_after_s,
        dial_s=callback.dial_s,
        agent_wait_s=callback.agent_wait_s,
    )


def _relaxation(step: Relax) -> model.Relaxation:
    """A step that says nothing but when asks for no skill any more."""
    changes = step.drop or step.also or step.require
    skill = step.skill if step.skill is not None or changes else ""
    return model.Relaxation(
        after_s=step.after_s,
        skill=skill,
        drop=tuple(step.drop),
        also=step.also,
        require=step.require,
    )


def _level_rule(queue: Queue, levels: Iterable[int]) -> model.LevelRule:
    if queue.tiers is not None:
        tiers = queue.tiers
        return tier_rule(levels, tiers.wait_s, tiers.multiply, tiers.no_agent_no_wait)
    if queue.penalties is not None:
        rule = queue.penalties
        return penalty_rule(
            rule.changes, rule.maximum, rule.minimum, rule.raise_to, rule.members_limit
        )
    return model.LevelRule(
        steps=tuple(model.LevelStep(**step.model_dump()) for step in queue.levels.steps),
        skip_absent=queue.levels.skip_absent,
        ignore_up_to=queue.levels.ignore_up_to,
    )


def agent_config_of(agent: Agent) -> model.AgentConfig:
    """One ``[[agent]]``."""
    return model.AgentConfig(
        id=agent.id,
        name=agent.name,
        queues=tuple(
            model.Membership(queue_id=name, **_membership(agent, name).model_dump())
            for name in agent.queues
        ),
        skills=dict(agent.skills),
        regions=tuple(agent.regions),
        capacities=agent.capacities.model_dump(exclude_none=True),
        wrap_up_s=agent.wrap_up_s,
        attributes={"extension": agent.extension},
    )


def customer_config_of(customer: Customer, numbering: Numbering) -> model.CustomerConfig:
    """One ``[[customer]]``; known by the first of his numbers."""
    phones = tuple(numbering.e164(number) or number for number in customer.phone)
    return model.CustomerConfig(
        id=phones[0],
        phones=phones,
        name=customer.name,
        priority=float(customer.priority),
        tags=tuple(customer.tags),
    )


def regions_of(office: Office) -> tuple[model.RegionConfig, ...]:
    """All regions, their prefixes as the world writes them."""
    return tuple(
        model.RegionConfig(name=r.name, prefixes=tuple(map(_prefix, r.prefixes)))
        for r in office.regions
    )


def calendar_of(hours: Hours, office: Office) -> Calendar:
    """One ``[[hours]]``, in the office's time zone."""
    week = tuple(tuple((start, end) for start, end in day) for day in hours.open)
    return Calendar(week, dict.fromkeys(hours.holidays, ()), office.office.zone)


def _prefix(number: str) -> str:
    return number if number.startswith("+") else f"+{number}"


# -- checks -----------------------------------------------------------------------------------------


def check_routing(office: Office) -> Iterable[Problem]:
    """Skill expressions, names of criteria and orders, keys with two meanings, and agents who share a
    telephone."""
    for index, queue in enumerate(office.queues):
        yield from _check_queue(f"queue[{index}]", queue)
    extensions: dict[str, str] = {}
    for index, agent in enumerate(office.agents):
        path = f"agent[{index}].extension"
        first = extensions.setdefault(agent.extension, path)
        if first != path:
            yield Problem(path, f"is the same as {first}", "an extension of his own", agent.id)


def _check_queue(path: str, queue: Queue) -> Iterator[Problem]:
    skills = [(f"{path}.skill", queue.skill)]
    for number, step in enumerate(queue.relax):
        for name in ("skill", "also", "require"):
            skills.append((f"{path}.relax[{number}].{name}", getattr(step, name) or ""))
    broken = False
    for key, text in skills:
        try:
            parse_skill(text)
        except ExpressionError as error:
            broken = True
            yield Problem(
                key, f"{error.problem}, at character {error.position}", _SKILL_FORM, queue.name
            )
    if not broken:
        try:
            registry().pipeline(queue_config_of(queue), random.Random(0))
        except RoutingConfigError as error:
            key = error.where.rpartition(": ")[2].partition(" ")[0]
            if key == "levels":
                key = next(k for k in ("tiers", "penalties", "levels") if getattr(queue, k))
            yield Problem(f"{path}.{key}", error.problem, error.allowed, queue.name)
    if queue.callback is not None and queue.callback.key in queue.keys:
        yield Problem(f"{path}.callback.key", "is one of `keys` too", "another key", queue.name)
