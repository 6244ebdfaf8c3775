"""Whether everything an office file wants played is there: asked at the start, not by the first caller."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from softswitch.apps.ivr import spoken_as
from softswitch.config.problems import InvalidOffice, Problem, nearest
from softswitch.errors import CallError

if TYPE_CHECKING:
    from softswitch.config import Office, Prompt
    from softswitch.prompts import Prompts


async def make_sounds(office: Office, prompts: Prompts) -> None:
    """Speak the texts and convert the files of all menus, flows and queues; raises `InvalidOffice` with
    every sound that is missing or cannot be played."""
    problems = [*_missing_music(office, prompts)]
    for path, entry, wanted in _sounds(office):
        prompt = spoken_as(wanted)
        try:
            if prompts.needs_making(prompt):
                await prompts.make(prompt)
            prompts.find(prompt)
        except CallError as error:
            hint = nearest(prompt, prompts.names()) if wanted.kind == "prompt" else ""
            allowed = "a prompt's id, a WAV file, or a text where espeak-ng is installed"
            problems.append(Problem(path, f"{error}{hint}", allowed, entry))
    if problems:
        raise InvalidOffice(problems)


def _sounds(office: Office) -> Iterator[tuple[str, str, Prompt]]:
    """Path, entry and prompt of all that menus and flows say."""
    for index, ivr in enumerate(office.ivrs):
        yield f"ivr[{index}].greeting", ivr.name, ivr.greeting
    for index, flow in enumerate(office.flows):
        for number, step in enumerate(flow.steps):
            for each in step.prompt:
                yield f"flow[{index}].step[{number}].prompt", flow.name, each
    for index, queue in enumerate(office.queues):
        for each in queue.announce.messages:
            yield f"queue[{index}].announce.messages", queue.name, each


def _missing_music(office: Office, prompts: Prompts) -> Iterator[Problem]:
    played = [(f"queue[{n}].music", q.name, q.music) for n, q in enumerate(office.queues)]
    played += [
        (f"conference[{n}].music", c.number, c.music) for n, c in enumerate(office.conferences)
    ]
    for path, entry, music in played:
        try:
            prompts.music(music)
        except CallError as error:
            allowed = 'a file of the folder prompts/music of the storage directory, or "default"'
            yield Problem(path, str(error), allowed, entry)
