"""Calls that go on, and what may be done to them. Agents see and steer their own, supervisors all."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import Field

from media.dsp.tones import tone_names
from softswitch.api.access import PREFIX, GuardedRoute, Identity, Me
from softswitch.api.models import Input, Line, Output, Text
from softswitch.api.paging import Cursor, Limit, Page, page_of
from softswitch.api.problem import Refused
from softswitch.api.routes.calls import CallId
from softswitch.api.rows import live_row, live_state
from softswitch.api.service import Served, Service
from softswitch.call.call import Call
from softswitch.prompts import text_of
from softswitch.store.ledger import Missing

router = APIRouter(prefix=PREFIX, route_class=GuardedRoute, tags=["live calls"])

Number = Annotated[str, Field(pattern=r"^[0-9*#+]{1,32}$", examples=["1002"])]
Destination = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9_:.+*#-]{1,128}$", examples=["queue:billing"])
]
Party = Literal["caller", "callee"]
_PROMPT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
State = Literal["ringing", "answered", "talking", "held"]
_Prompt = Annotated[
    Text, Field(min_length=1, max_length=1024, examples=["text:One moment please."])
]


class CustomerCalling(Output):
    """Who is calling, or called from here. `id` null: only the office file knows him;
    `tickets` are the newest of those open."""

    id: int | None = Field(examples=[12])
    name: str = Field(examples=["Wang Wei"])
    priority: int
    region: str
    tags: list[str] = Field(examples=[["vip"]])
    last_agent: str = Field(examples=["lilei"])
    tickets_open: int = Field(examples=[1])
    tickets: list[int] = Field(examples=[[17]])


class LiveLeg(Output):
    """One party of a call that goes on."""

    leg: int = Field(examples=[1])
    endpoint: str = Field(examples=["extension:1001"])
    state: Literal["started", "ringing", "answered", "held"]
    codec: str | None = Field(examples=["PCMA"], description="Null until it is agreed.")


class LiveCall(Output):
    """A call that goes on."""

    call_id: str = Field(examples=["c-0f3a"])
    number_from: str = Field(examples=["+8613800000001"])
    number_to: str = Field(examples=["5000"])
    caller_name: str
    state: State
    started_at_s: float
    answered_at_s: float | None
    recording: str | None = Field(description="The file that is being written now.")
    recording_paused: bool = Field(description="What is said is kept out of it.")
    parked: int | None = Field(description="The slot in which it waits; null: it is not parked.")
    customer: CustomerCalling | None = Field(description="Null where nobody is known.")
    queues: list[str] = Field(examples=[["support"]], description="That it has met so far.")
    agents: list[str] = Field(examples=[["lilei"]])
    legs: list[LiveLeg]


class Origination(Input):
    """Who is to be rung first, and whom he is to be connected to."""

    extension: Number = Field(examples=["1001"])
    number: Number = Field(examples=["1002"])
    caller_name: Line = Field(default="", description="Shown on the phone that rings first.")


class Hold(Input):
    """Whether a call is held; `by` is who holds, by default one of our extensions."""

    on: bool = Field(examples=[True])
    by: Party | None = None


class Transfer(Input):
    """Where to, and who: the other party is let go when that has answered."""

    to: Destination
    party: Party = "caller"


class Park(Input):
    """Who is to be parked, for any phone to fetch."""

    party: Party = "caller"


class Play(Input):
    """What is heard: a prompt's id, `tone:NAME`, or `text:...` to be spoken."""

    prompt: _Prompt
    to: Literal["caller", "callee", "both"] = "both"


class Digits(Input):
    """Keys pressed in the name of the other party."""

    digits: str = Field(pattern=r"^[0-9*#A-D]{1,64}$", examples=["12#"])
    to: Party = "callee"


class RecordingState(Input):
    """`paused`: what is said is kept out of the recording (card numbers). `start`: record a call that the
    office would not."""

    paused: bool = False
    start: bool = Field(default=False, examples=[True])


class Supervise(Input):
    """Hear a conversation at `extension`, by default one's own: "listen"; "whisper", the agent hears you too;
    "barge", both do. Asked for again it changes the mode."""

    mode: Literal["listen", "whisper", "barge"] = "listen"
    extension: Number | None = Field(default=None, examples=["1003"])


class Requeue(Input):
    """Into a queue (again); `queue` "" is the same one."""

    queue: Line = ""
    keep_place: bool = True


class Priority(Input):
    """The higher, the sooner."""

    priority: float = Field(ge=-1e6, le=1e6, examples=[10])


class Assignment(Input):
    """To one agent, past every rule."""

    agent: Line = Field(examples=["lilei"])


@router.get("/calls/live")
async def list_live(
    me: Me,
    service: Served,
    limit: Limit = 200,
    cursor: Cursor = None,
    number: Annotated[str, Query(max_length=64, description="Of either end.")] = "",
    queue: Annotated[str, Query(max_length=64, description="That it has met so far.")] = "",
    agent: Annotated[str, Query(max_length=64)] = "",
    state: State | None = None,
) -> Page[LiveCall]:
    """Calls that go on now, oldest first; agents see their own."""

    def wanted(call: Call) -> bool:
        if number and number not in (call.number_from, call.number_to):
            return False
        if state is not None and live_state(call) != state:
            return False
        if queue or agent:
            queues, agents = service.events.hub.met(call.call_id)
            if (queue and queue not in queues) or (agent and agent not in agents):
                return False
        return _concerns(service, me, call)

    calls = filter(wanted, service.switch.control.calls)
    page, more = page_of(calls, lambda call: (call.started_at_s, call.call_id), limit, cursor)
    return Page(items=[_live(service, call) for call in page], next=more)


@router.post("/calls/live", status_code=201)
async def originate(body: Origination, me: Me, service: Served) -> LiveCall:
    """Begin a call: a phone of `extension` rings; who answers is connected to `number`."""
    if not me.at_least("supervisor") and body.extension != _own_extension(service, me):
        raise Refused(403, "calls from other extensions are for supervisors to begin")
    call = service.switch.call_desk.originate(
        body.extension, body.number, caller_name=body.caller_name
    )
    service.noted(me, "call-originated", f"call:{call.call_id}", to=body.number)
    return _live(service, call)


@router.get("/calls/live/{call_id}")
async def show_live(call_id: CallId, me: Me, service: Served) -> LiveCall:
    """One call that goes on."""
    return _live(service, own_call(service, me, call_id))


@router.delete("/calls/live/{call_id}", status_code=204)
async def hang_up(call_id: CallId, me: Me, service: Served) -> None:
    """End a call."""
    call = own_call(service, me, call_id)
    service.noted(me, "call-hung-up", f"call:{call_id}")
    service.switch.call_desk.hang_up(call, by=me.actor)


@router.put("/calls/live/{call_id}/hold", status_code=204)
async def hold(call_id: CallId, body: Hold, me: Me, service: Served) -> None:
    """Let the other party hear music, or go on."""
    call = own_call(service, me, call_id)
    if body.on:
        service.switch.call_desk.hold(call, by=body.by)
    else:
        service.switch.call_desk.resume(call)
    service.noted(me, "call-put-on-hold" if body.on else "call-taken-off-hold", f"call:{call_id}")


@router.post("/calls/live/{call_id}/transfer", status_code=204)
async def transfer(call_id: CallId, body: Transfer, me: Me, service: Served) -> None:
    """Send a party somewhere else: a destination or a number. Also takes a caller out of a menu or a
    queue."""
    call = own_call(service, me, call_id)
    service.switch.call_desk.transfer(call, body.to, party=body.party, by=me.name)
    service.noted(me, "call-transferred", f"call:{call_id}", to=body.to, party=body.party)


@router.post("/calls/live/{call_id}/park", status_code=204)
async def park(call_id: CallId, body: Park, me: Me, service: Served) -> None:
    """Park a party; in which slot is in the call's `parked`, and the code with the slot fetches him."""
    call = own_call(service, me, call_id)
    service.switch.call_desk.park(call, service.office.codes.park, party=body.party)
    service.noted(me, "call-parked", f"call:{call_id}", party=body.party)


@router.put("/calls/live/{call_id}/recording", status_code=204)
async def pause_recording(call_id: CallId, body: RecordingState, me: Me, service: Served) -> None:
    """Begin the recording of a call, pause it, or go on with it."""
    call = own_call(service, me, call_id)
    audio = service.switch.control.audio
    if body.start:
        service.switch.call_desk.record(call)
    done = audio.pause_recording(call) if body.paused else audio.resume_recording(call)
    if not done:
        raise Missing(f"call {call_id} is not recorded")
    if body.start:
        service.noted(me, "call-recording-started", f"call:{call_id}", paused=body.paused)
    else:
        done_is = "call-recording-paused" if body.paused else "call-recording-resumed"
        service.noted(me, done_is, f"call:{call_id}")


@router.delete("/calls/live/{call_id}/recording", status_code=204)
async def stop_recording(call_id: CallId, me: Me, service: Served) -> None:
    """Record a conversation no longer."""
    call = live_call(service, call_id)
    if not service.switch.control.audio.record_no_more(call):
        raise Missing(f"call {call_id} is not recorded")
    service.noted(me, "call-recording-stopped", f"call:{call_id}")


@router.post("/calls/live/{call_id}/play", status_code=204)
async def play(call_id: CallId, body: Play, me: Me, service: Served) -> None:
    """Play or say something into a call; a conversation goes on softer meanwhile."""
    call = own_call(service, me, call_id)
    _require_prompt(service, call, body.prompt)
    await service.switch.call_desk.play(call, body.prompt, to=body.to)
    service.noted(me, "call-played-into", f"call:{call_id}", prompt=body.prompt[:64])


@router.post("/calls/live/{call_id}/digits", status_code=204)
async def send_digits(call_id: CallId, body: Digits, me: Me, service: Served) -> None:
    """Press keys towards a party (for menus of others)."""
    call = own_call(service, me, call_id)
    service.switch.call_desk.send_digits(call, body.digits, to=body.to)
    # Which keys is not written down: they may be a card's number or a PIN.
    service.noted(me, "call-keys-pressed", f"call:{call_id}", to=body.to, count=len(body.digits))


@router.post("/calls/live/{call_id}/supervise", status_code=201)
async def supervise(call_id: CallId, body: Supervise, me: Me, service: Served) -> LiveCall:
    """Listen to a conversation, whisper to its agent, or speak to both: rings your phone."""
    call = live_call(service, call_id)
    extension = body.extension or _own_extension(service, me)
    if not extension:
        raise Refused(422, "say at which extension you want to hear it")
    supervision = service.switch.centre.supervision
    service.noted(me, "call-supervised", f"call:{call_id}", mode=body.mode, extension=extension)
    if supervision.change(call, extension, body.mode):
        return _live(service, call)
    return _live(service, supervision.begin(extension, call, body.mode, by=me.name))


@router.post("/calls/live/{call_id}/requeue", status_code=204)
async def requeue(call_id: CallId, body: Requeue, me: Me, service: Served) -> None:
    """Put a call into a queue (again)."""
    desk = service.switch.centre.queue_desk
    desk.requeue(call_id, body.queue, keep_place=body.keep_place, by=me.name)
    service.noted(me, "call-requeued", f"call:{call_id}")


@router.post("/calls/live/{call_id}/assign", status_code=204)
async def assign(call_id: CallId, body: Assignment, me: Me, service: Served) -> None:
    """Give a waiting call to one agent."""
    service.switch.centre.queue_desk.assign(call_id, body.agent, by=me.name)
    service.noted(me, "call-assigned", f"call:{call_id}")


@router.put("/calls/live/{call_id}/priority", status_code=204)
async def set_priority(call_id: CallId, body: Priority, me: Me, service: Served) -> None:
    """Let a waiting call be answered sooner or later."""
    service.switch.centre.queue_desk.set_priority(call_id, body.priority)
    service.noted(me, "call-priority-set", f"call:{call_id}", priority=body.priority)


def live_call(service: Service, call_id: str) -> Call:
    """A call that goes on. Raises `Missing`."""
    found = next((c for c in service.switch.control.calls if c.call_id == call_id), None)
    if found is None:
        raise Missing(f"no call {call_id} goes on now")
    return found


def own_call(service: Service, me: Identity, call_id: str) -> Call:
    """A call that somebody may steer: any for supervisors, his own for an agent. Raises `Missing`, also
    for those of others: whether they exist is not told."""
    call = live_call(service, call_id)
    if not _concerns(service, me, call):
        raise Missing(f"no call {call_id} goes on now")
    return call


def _concerns(service: Service, me: Identity, call: Call) -> bool:
    if me.at_least("supervisor"):
        return True
    extension = _own_extension(service, me)
    label = f"extension:{extension}"
    return bool(extension) and any(leg.label == label for leg in call.legs.values())


def _own_extension(service: Service, me: Identity) -> str:
    agent = service.switch.centre.agents_by_id.get(me.agent_id)
    return agent.extension if agent is not None else ""


def _require_prompt(service: Service, call: Call, prompt: str) -> None:
    """Raises `Refused` for what cannot be heard. Files are nobody's business here: who may use the API must
    not read the disk with it."""
    kind, colon, name = prompt.partition(":")
    if kind == "text" and colon:
        if not text_of(prompt):
            raise Refused(422, "there is nothing to say after text:")
    elif kind == "tone" and colon:
        names = tone_names(service.office.office.country)
        if name not in names:
            raise Refused(422, f"there is no tone {name}; there are {', '.join(names)}")
    elif not _PROMPT.fullmatch(prompt):
        raise Refused(422, "a prompt's id, tone:NAME or text:..., not a file")
    elif not service.switch.desk.prompts.has(prompt, call.language):
        raise Refused(422, f"there is no prompt {prompt}: GET /prompts lists them")


def _live(service: Service, call: Call) -> LiveCall:
    return LiveCall(**live_row(service, call))
