"""Checks of an office file that the applications add: menus that go round in circles or nowhere, and
queues that nobody could route."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from softswitch.apps.acd_config import check_routing
from softswitch.config.flow_checks import automatic_exits
from softswitch.config.problems import Problem
from softswitch.telemetry import check_telemetry

if TYPE_CHECKING:
    from softswitch.config import Check, Destination, Ivr, Office

_Node = tuple[str, str]


def check_menus(office: Office) -> Iterator[Problem]:
    """Circles in which a caller who presses nothing is sent round for ever, and dead ends: menus that
    offer nothing and lead nowhere."""
    yield from _circles(office)
    for index, ivr in enumerate(office.ivrs):
        if _is_dead_end(office, ivr):
            yield Problem(
                f"ivr[{index}].options",
                "is empty: the menu leads nowhere",
                'options, dial_extension with extensions, or an `otherwise` (even "hangup")',
                ivr.name,
            )


def _is_dead_end(office: Office, ivr: Ivr) -> bool:
    offers = ivr.options or (ivr.dial_extension and office.extensions)
    return not offers and "otherwise" not in ivr.model_fields_set


def _circles(office: Office) -> Iterator[Problem]:
    """One problem a circle, at the menu of it that comes first in the file.

    Only ways that nobody chooses count: what a caller presses himself may lead back.
    """
    ways = _automatic_ways(office)
    seen: set[frozenset[_Node]] = set()
    for index, flow in enumerate(office.flows):
        for number, key, to in automatic_exits(flow):
            start = ("flow", flow.name)
            circle = _way_back(ways, start, (to.kind, to.name))
            if circle and frozenset(circle) not in seen:
                seen.add(frozenset(circle))
                yield _circle(f"flow[{index}].step[{number}].{key}", circle, flow.name)
    for index, ivr in enumerate(office.ivrs):
        for key in ("otherwise", "closed"):
            start, to = ("ivr", ivr.name), getattr(ivr, key)
            if key == "closed" and (ivr.hours is None or to == _itself(ivr)):
                continue  # never taken; or refused with the plain values
            circle = _way_back(ways, start, (to.kind, to.name))
            if circle and frozenset(circle) not in seen:
                seen.add(frozenset(circle))
                yield _circle(f"ivr[{index}].{key}", circle, ivr.name)


def _circle(path: str, circle: list[_Node], entry: str) -> Problem:
    names = " -> ".join(f"{kind}:{name}" for kind, name in [*circle, circle[0]])
    problem = f"sends callers round in a circle: {names}"
    return Problem(path, problem, "a destination outside of it", entry)


def _itself(ivr: Ivr) -> Destination:
    from softswitch.config import Destination

    return Destination("ivr", ivr.name)


def _automatic_ways(office: Office) -> dict[_Node, list[_Node]]:
    ways: dict[_Node, list[_Node]] = {}
    for ivr in office.ivrs:
        found = [ivr.otherwise, *([ivr.closed] if ivr.hours is not None else [])]
        ways["ivr", ivr.name] = [(to.kind, to.name) for to in found]
    for flow in office.flows:
        ways["flow", flow.name] = [(to.kind, to.name) for _, _, to in automatic_exits(flow)]
    for queue in office.queues:
        ways["queue", queue.name] = [(queue.overflow.kind, queue.overflow.name)]
    for extension in office.extensions:
        if extension.forward.always is not None:
            always = extension.forward.always
            ways["extension", extension.number] = [(always.kind, always.name)]
    return ways


def _way_back(ways: dict[_Node, list[_Node]], start: _Node, first: _Node) -> list[_Node]:
    """A way from `start` by `first` back to `start`; empty where there is none."""
    came_from: dict[_Node, _Node] = {first: start}
    waiting = [first]
    while waiting:
        node = waiting.pop()
        if node == start:
            break
        for following in ways.get(node, ()):
            if following not in came_from:
                came_from[following] = node
                waiting.append(following)
    if start not in came_from:
        return []
    circle = [came_from[start]]
    while circle[-1] != start:
        circle.append(came_from[circle[-1]])
    return circle[::-1]


OFFICE_CHECKS: tuple[Check, ...] = (check_menus, check_routing, check_telemetry)
"""Given to `load_office` wherever an office is to be served."""
