"""Call centres for simulations: an office with a queue and agents, and what is heard in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from media.protocol import File, Prompts
from softswitch.sim.world import small_office

if TYPE_CHECKING:
    from softswitch.sim.media import SimStream
    from softswitch.sim.phone_call import PhoneCall
    from softswitch.sim.world import World

QUEUE_NUMBER = "+861065551001"
"""Calls from carriers to it go to the queue ``support``."""

AGENTS: Mapping[str, str] = {"lilei": "", "hanmeimei": "", "mary": 'role = "supervisor"'}


def centre_office(
    queue: str = "",
    *,
    agents: Mapping[str, str] = AGENTS,
    more: str = "",
    recording: str = "none",
    extensions: int = 0,
) -> str:
    """The text of an office file with the queue ``support`` (number 5000).

    `queue` holds more of its keys; `agents` gives each agent's id more of his: they have the extensions
    1001, 1002, ... in order; three more extensions follow. `more` is added to the file.
    """
    lines = [
        f'[[inbound]]\nnumber = "{QUEUE_NUMBER}"\nto = "queue:support"\n',
        f'[[queue]]\nname = "support"\nnumber = "5000"\n{queue}\n',
    ]
    for number, (agent, keys) in enumerate(agents.items(), 1001):
        queues = "" if "queues" in keys else 'queues = ["support"]\n'
        lines.append(
            f'[[agent]]\nid = "{agent}"\nname = "{agent.title()}"\nextension = "{number}"\n'
            f'password = "console-secret-{agent}"\n{queues}{keys}\n'
        )
    count = extensions or len(agents) + 3
    return small_office(extensions=count, recording=recording, more="\n".join([*lines, more]))


def heard(world: World, call: PhoneCall) -> str:
    """What is played to a simulated party now: a prompt's id, ``tone:NAME``, or "" for nothing."""
    stream = stream_of(world, call)
    if stream is None or stream.playing is None:
        return ""
    source = stream.playing[1]
    if isinstance(source, Prompts):
        source = source.parts[0]
    if isinstance(source, File):
        path = Path(source.path)
        return f"music:{path.stem}" if path.parent.name == "music" else path.stem
    return f"tone:{source.name}"


def talks_to(world: World, one: PhoneCall, other: PhoneCall) -> bool:
    """Whether two parties hear each other."""
    first, second = stream_of(world, one), stream_of(world, other)
    if first is None or second is None or first.playing or second.playing:
        return False
    return first.bridged_to == second.local.stream_id


def press(world: World, call: PhoneCall, keys: str) -> None:
    """A simulated party presses keys."""
    stream = stream_of(world, call)
    assert stream is not None, "no audio yet"
    world.media.press(stream.local.stream_id, keys)


def stream_of(world: World, call: PhoneCall) -> SimStream | None:
    """The stream of the exchange that sends to a simulated party."""
    local = call.local_media
    for stream in world.media.streams.values():
        if local is not None and stream.params is not None and stream.params.remote == local:
            return stream
    return None
