"""Checks of flows: keys that belong to a step, steps that lead nowhere, circles nobody chooses.

A flow is refused where a caller who presses nothing could be sent round for ever, where it stops without
having said how, and where a step can never be reached: each with the step's own path.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from softswitch.config.flows import BUILT_IN_VARIABLES, STEP, Flow, Step, variables_in
from softswitch.config.problems import Problem, nearest, quoted
from softswitch.config.values import Destination

if TYPE_CHECKING:
    from softswitch.config.checks import Known
    from softswitch.config.model import Office

_COMMON = frozenset({"name", "do", "next"})
_KEYS: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    # what a step must say, and what it may say besides
    "play": (frozenset({"prompt"}), frozenset({"barge_in"})),
    "say": (frozenset({"kind", "value"}), frozenset({"barge_in"})),
    "menu": (
        frozenset({"prompt"}),
        frozenset({"options", "dial_extension", "tries", "timeout_s", "failed"}),
    ),
    "collect": (
        frozenset({"prompt", "into"}),
        frozenset({"min_digits", "max_digits", "tries", "timeout_s", "secret", "failed"}),
    ),
    "hours": (frozenset({"hours", "closed"}), frozenset()),
    "branch": (frozenset({"value", "cases"}), frozenset()),
    "set": (frozenset(), frozenset({"variables", "language", "priority", "skill", "customer"})),
    "look-up": (frozenset({"url", "answer"}), frozenset({"query", "timeout_s", "failed"})),
    "enqueue": (frozenset({"queue"}), frozenset({"max_wait_s", "failed"})),
    "dial": (frozenset({"to"}), frozenset({"ring_s", "busy", "failed"})),
    "voicemail": (frozenset({"box"}), frozenset()),
    "record": (frozenset(), frozenset({"into", "max_s", "silence_s"})),
    "survey": (frozenset({"survey"}), frozenset({"into"})),
    "hear": (frozenset({"what"}), frozenset({"heard", "into", "prompt", "timeout_s"})),
    "transfer": (frozenset({"to"}), frozenset()),
    "hang-up": (frozenset(), frozenset({"prompt"})),
    "go": (frozenset({"next"}), frozenset()),
}
_FINAL = frozenset({"transfer", "hang-up"})
# What follows these comes only after somebody has pressed a key or talked.
_ANSWERED = frozenset({"collect", "enqueue", "dial"})
_LEADING = ("next", "failed", "closed", "busy", "heard")
_END = Destination("hangup")


def check_flows(office: Office, known: Known) -> Iterator[Problem]:
    """All that is wrong with the flows of an office, but for circles that lead through others."""
    variables = {*BUILT_IN_VARIABLES, *(v for flow in office.flows for v in _written(flow))}
    hosts = {host.lower() for host in office.look_up.hosts}
    for index, flow in enumerate(office.flows):
        path = f"flow[{index}]"
        names = {step.name for step in flow.steps if step.name is not None}
        yield from _doubled_names(path, flow)
        for number, step in enumerate(flow.steps):
            here = f"{path}.step[{number}]"
            yield from _keys(here, flow, step)
            yield from _things(here, flow, step, known)
            yield from _texts(here, flow, step, variables)
            yield from _url(here, flow, step, hosts)
            for key, to in targets_of(step):
                if to.kind != STEP:
                    yield from known.destination(f"{here}.{key}", flow.name, to)
                elif to.name not in names:
                    hint = nearest(to.name, names)
                    allowed = quoted(sorted(names)) if names else "none; no step has a name"
                    problem = f'there is no step "{to.name}"{hint}'
                    yield Problem(f"{here}.{key}", problem, allowed, flow.name)
        yield from _ends(path, flow)
        yield from _unreached(path, flow)
        yield from _circles(path, flow)


# -- the graph --------------------------------------------------------------------------------------


def targets_of(step: Step) -> list[tuple[str, Destination]]:
    """Where a step says that it leads, with the key that says so."""
    found = [(key, getattr(step, key)) for key in _LEADING]
    found += [(f'options."{key}"', to) for key, to in step.options.items()]
    found += [(f"cases[{n}].go", case.go) for n, case in enumerate(step.cases)]
    if step.do == "transfer":
        found += [("to", to) for to in step.to]
    return [(key, to) for key, to in found if to is not None]


def ways_of(flow: Flow, number: int) -> list[tuple[str, int | Destination, bool]]:
    """All ways out of a step: the key, the number of the next step or a destination, and whether nobody
    chooses it: it is taken although the caller presses nothing and talks to nobody."""
    step, index = flow.steps[number], _index(flow)

    def place(to: Destination) -> int | Destination:
        return index.get(to.name, to) if to.kind == STEP else to

    following: int | Destination = number + 1 if number + 1 < len(flow.steps) else _END
    after = place(step.next) if step.next is not None else following
    if step.do in _FINAL:
        return [("to", place(to), True) for to in step.to] or [("do", _END, True)]
    ways: list[tuple[str, int | Destination, bool]] = []
    if step.do == "menu":
        ways += [(f'options."{k}"', place(to), False) for k, to in step.options.items()]
        failed = step.failed if step.failed is not None else _END
        ways.append(("failed", place(failed), True))
        return ways
    ways.append(("next", after, step.do not in _ANSWERED))
    if step.do == "branch":
        ways += [(f"cases[{n}].go", place(case.go), True) for n, case in enumerate(step.cases)]
    if step.closed is not None:
        ways.append(("closed", place(step.closed), True))
    if step.do in ("collect", "enqueue", "dial", "look-up"):
        otherwise = _END if step.do == "collect" else after
        ways.append(("failed", otherwise if step.failed is None else place(step.failed), True))
    if step.heard is not None:
        ways.append(("heard", place(step.heard), True))
    if step.busy is not None:
        ways.append(("busy", place(step.busy), True))
    return ways


def _index(flow: Flow) -> dict[str, int]:
    return {step.name: n for n, step in enumerate(flow.steps) if step.name is not None}


def automatic_exits(flow: Flow) -> list[tuple[int, str, Destination]]:
    """The destinations that a caller may be sent to who presses nothing: step, key, destination."""
    found: list[tuple[int, str, Destination]] = []
    seen, waiting = {0}, [0]
    while waiting:
        number = waiting.pop()
        for key, to, automatic in ways_of(flow, number):
            if not automatic:
                continue
            if isinstance(to, Destination):
                found.append((number, key, to))
            elif to not in seen:
                seen.add(to)
                waiting.append(to)
    return found


def _called(flow: Flow, number: int) -> str:
    return flow.steps[number].name or f"step[{number}]"


def _circles(path: str, flow: Flow) -> Iterator[Problem]:
    """Each circle once, at the first of its steps."""
    done: set[int] = set()
    for start in range(len(flow.steps)):
        yield from _walk(path, flow, start, done)


def _walk(path: str, flow: Flow, start: int, done: set[int]) -> Iterator[Problem]:
    """Depth first and without recursion: a flow may be a thousand steps long."""
    stack = [(start, iter(_automatic(flow, start)))] if start not in done else []
    on_way = {start} if stack else set()
    while stack:
        number, ways = stack[-1]
        key, following = next(ways, ("", -1))
        if following < 0:
            stack.pop()
            on_way.discard(number)
            done.add(number)
        elif following in on_way:
            circle = [each for each, _ in stack]
            circle = circle[circle.index(following) :]
            names = " -> ".join(_called(flow, each) for each in [*circle, following])
            yield Problem(
                f"{path}.step[{number}].{key}",
                f"sends callers round in a circle: {names}",
                "a step outside of it, or a menu or collect within",
                flow.name,
            )
        elif following not in done:
            on_way.add(following)
            stack.append((following, iter(_automatic(flow, following))))


def _automatic(flow: Flow, number: int) -> list[tuple[str, int]]:
    return [
        (key, to)
        for key, to, automatic in ways_of(flow, number)
        if automatic and not isinstance(to, Destination)
    ]


def _ends(path: str, flow: Flow) -> Iterator[Problem]:
    last = flow.steps[-1]
    if last.do not in {*_FINAL, "menu"} and last.next is None:
        yield Problem(
            f"{path}.step[{len(flow.steps) - 1}].next",
            "is missing: the last step is a dead end",
            'a step\'s name or a destination, even "hangup"',
            flow.name,
        )
    for number, step in enumerate(flow.steps):
        if step.do == "menu" and not step.options and not step.dial_extension:
            yield Problem(
                f"{path}.step[{number}].options",
                "is empty: the menu offers nothing",
                "options, or dial_extension = true",
                flow.name,
            )


def _unreached(path: str, flow: Flow) -> Iterator[Problem]:
    seen, waiting = {0}, [0]
    while waiting:
        for _, to, _ in ways_of(flow, waiting.pop()):
            if not isinstance(to, Destination) and to not in seen:
                seen.add(to)
                waiting.append(to)
    for number in range(len(flow.steps)):
        if number not in seen:
            problem = "is never reached"
            yield Problem(f"{path}.step[{number}]", problem, "a step that leads here", flow.name)


# -- single steps -----------------------------------------------------------------------------------


def _doubled_names(path: str, flow: Flow) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for number, step in enumerate(flow.steps):
        if step.name is not None and first.setdefault(step.name, number) != number:
            problem = f"is the same as {path}.step[{first[step.name]}].name"
            where = f"{path}.step[{number}].name"
            yield Problem(where, problem, "a name of its own", flow.name)


def _keys(here: str, flow: Flow, step: Step) -> Iterator[Problem]:
    needed, possible = _KEYS[step.do]
    given = set(step.model_fields_set)
    for key in sorted(needed - given):
        yield Problem(f"{here}.{key}", f'is missing: a "{step.do}" step needs it', "", flow.name)
    for key in sorted(given - needed - possible - _COMMON):
        allowed = ", ".join(sorted(needed | possible | _COMMON))
        yield Problem(f"{here}.{key}", f'is no key of a "{step.do}" step', allowed, flow.name)
    if step.do in _FINAL and step.next is not None:
        yield Problem(f"{here}.next", f'cannot follow: "{step.do}" is the end', "", flow.name)
    if step.do == "menu" and step.next is not None:
        problem = "cannot follow: a menu leads where its options say, or to `failed`"
        yield Problem(f"{here}.next", problem, "options, failed", flow.name)
    if step.min_digits > step.max_digits:
        problem = "is more than max_digits"
        yield Problem(f"{here}.min_digits", problem, f"up to {step.max_digits}", flow.name)
    if step.do == "transfer" and len(step.to) > 1:
        yield Problem(f"{here}.to", "holds several destinations", "one", flow.name)
    for n, case in enumerate(step.cases):
        tests = {k for k in case.model_fields_set if k != "go"}
        if len(tests) != 1:
            allowed = "one of is, starts, has, at_least, at_most, known"
            yield Problem(f"{here}.cases[{n}]", "must hold one test", allowed, flow.name)


def _things(here: str, flow: Flow, step: Step, known: Known) -> Iterator[Problem]:
    """Queues, mailboxes and hours that a step names."""
    for key, kind, name in (
        ("hours", "hours", step.hours),
        ("queue", "queue", step.queue),
        ("box", "voicemail", step.box),
    ):
        if name is not None:
            yield from known.check(f"{here}.{key}", flow.name, kind, name)
    if step.do == "dial":
        for n, to in enumerate(step.to):
            if to.kind not in ("extension", "ring_group"):
                yield Problem(
                    f"{here}.to[{n}]",
                    "cannot be rung and come back from",
                    "extension:... or ring_group:..., else a transfer",
                    flow.name,
                )
            else:
                yield from known.destination(f"{here}.to[{n}]", flow.name, to)


def _texts(here: str, flow: Flow, step: Step, variables: set[str]) -> Iterator[Problem]:
    texts = [("value", step.value), ("skill", step.skill), ("customer", step.customer)]
    texts += [(f"variables.{key}", text) for key, text in step.variables.items()]
    texts += [(f"query.{key}", text) for key, text in step.query.items()]
    for key, text in texts:
        for name in variables_in(text or ""):
            if name not in variables:
                hint = nearest(name, variables)
                problem = f'there is no variable "{name}"{hint}'
                yield Problem(f"{here}.{key}", problem, quoted(sorted(variables)), flow.name)


def _url(here: str, flow: Flow, step: Step, hosts: set[str]) -> Iterator[Problem]:
    if step.do != "look-up" or not step.url:
        return
    try:
        parts = urlsplit(step.url)
        host = (parts.hostname or "").lower()
        usable = bool(host) and parts.port != 0 and step.url.isascii() and step.url.isprintable()
    except ValueError:
        usable, host, parts = False, "", None
    if not usable or parts is None or parts.scheme not in ("http", "https"):
        problem = "is no address that can be asked"
        yield Problem(f"{here}.url", problem, '"https://host/path"', flow.name)
    elif parts.scheme == "http" and host not in hosts:
        yield Problem(
            f"{here}.url",
            f"asks {host} without encryption",
            f'https, or look_up.hosts = ["{host}"]',
            flow.name,
        )


def _written(flow: Flow) -> Iterator[str]:
    for step in flow.steps:
        if step.into is not None:
            yield step.into
        yield from step.variables
        yield from step.answer
