"""A caller in a queue: what he hears, which keys he may press, and how he leaves."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

from media.errors import MediaError
from routing import events
from softswitch import saying
from softswitch.apps.ivr import spoken_as
from softswitch.call.endpoint import Outcome
from softswitch.call.futures import either
from softswitch.errors import CallError

if TYPE_CHECKING:
    from softswitch.apps.acd import CallCentre
    from softswitch.call.call import Call
    from softswitch.call.leg import Leg
    from softswitch.config import Queue

_log = logging.getLogger("softswitch.acd")

_SHORT_WAIT_S = 60.0
KEY = "key"
CALLBACK = "callback"
_STATUSES = {"full": 486, "closed": 480, "max-wait": 480, "empty": 480}


class State(Enum):
    """Where a caller is."""

    ENTERING = "entering"
    WAITING = "waiting"
    TALKING = "talking"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Queued:
    """He is in the line."""


@dataclass(frozen=True, slots=True)
class Say:
    """Tell him, music before and after."""

    prompts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Joined:
    """An agent has him."""


@dataclass(frozen=True, slots=True)
class Departure:
    """He leaves the queue. `reason`: answered, or why not (full, closed, empty, max-wait, removed, key,
    callback, withdrawn...); `target`, where the call is to go, "" for nowhere; `outcome`, of the
    conversation, if there was one."""

    reason: str
    target: str = ""
    outcome: Outcome | None = None
    queue: str = ""
    agent: str = ""

    def as_outcome(self) -> Outcome:
        """What `Call.enqueue` returns."""
        if self.outcome is not None:
            return self.outcome
        status = _STATUSES.get(self.reason, 480)
        return Outcome(self.reason, status, 17 if status == 486 else 19)


Signal: TypeAlias = Queued | Say | Joined | Departure


class QueueCall:
    """One call in the queues, from its arrival until it leaves; it stays the same when it overflows into
    another queue, is taken back from an agent or transferred into a queue.

    The engine decides, the `CallCentre` tells what it decided, and `run`, in the task of the call's
    handler, does what takes time. An agent is joined whatever is being said at the moment.
    """

    def __init__(self, centre: CallCentre, call: Call, contact_id: str, queue: Queue) -> None:
        self._centre = centre
        self.call = call
        self.contact_id = contact_id
        self.queue = queue
        self.state = State.ENTERING
        self.agent_id = ""
        self.agent_leg: Leg | None = None
        self.customer_leg: Leg = call.caller
        self.early_media = False
        self.open = True  # the engine has this contact, as a call
        self.bound_for_queue = False  # a transfer is taking the call into a queue
        self.withdrawn_to = ""
        self.served_by = ""
        self._callback_key = ""
        self._signals: deque[Signal] = deque()
        self._woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._talk: asyncio.Future[Outcome] | None = None
        self._turn = 0
        self._messages: asyncio.TimerHandle | None = None
        self._next_message = 0

    def snapshot(self) -> dict[str, str]:
        return {
            "contact": self.contact_id,
            "call": self.call.call_id,
            "queue": self.queue.name,
            "state": self.state.value,
            "agent": self.agent_id,
        }

    # -- told by the centre ------------------------------------------------------------------------

    def queued(self, queue: Queue) -> None:
        """In the line of a queue, for the first time or again."""
        self.queue = queue
        self._callback_key = ""
        if self.state is State.ENTERING:
            self.state = State.WAITING
        self._signal(Queued())
        self._plan_message()

    def announce(self, position: int | None, wait_s: float | None) -> None:
        """Tell him his place and the expected wait."""
        self._signal(Say(announcement(position, wait_s, self.call.language)))

    def _plan_message(self) -> None:
        """The queue's own announcements, in turn, as long as he waits in it."""
        if self._messages is not None:
            self._messages.cancel()
            self._messages = None
        announce = self.queue.announce
        if announce.messages and self.state is State.WAITING:
            loop = asyncio.get_running_loop()
            self._messages = loop.call_later(announce.messages_every_s, self._message)

    def _message(self) -> None:
        self._messages = None
        if self.state is not State.WAITING or self.call.ended:
            return
        messages = self.queue.announce.messages
        self._signal(Say((spoken_as(messages[self._next_message % len(messages)]),)))
        self._next_message += 1
        self._plan_message()

    def offer_callback(self, key: str) -> None:
        """From now on `key` has him called back."""
        if not self._centre.callbacks.number_for(self.call):
            return
        self._callback_key = key
        words: tuple[str, ...] = ("callback-offer",)
        if key != "1":
            words = ("callback-offer-key", *saying.phrase("digits", key, self.call.language))
        self._signal(Say(words))

    def joining(self, agent_id: str, leg: Leg) -> None:
        """An agent is about to be joined: what follows is a conversation."""
        self.state = State.TALKING
        self._plan_message()
        self.agent_id = self.served_by = agent_id
        self.agent_leg = leg
        self.customer_leg = self.call.caller
        self._talk = self.call.conversation()
        self._signal(Joined())

    def left(self, reason: str, target: str = "") -> None:
        """Out of the queue without an agent."""
        if self.state is not State.GONE:
            self.state = State.GONE
            self._plan_message()
            self._signal(Departure(reason, target, queue=self.queue.name))

    def taken_back(self) -> None:
        """From the agent into the line: by a supervisor, or because the agent's phone is lost."""
        self._turn += 1
        self.state = State.WAITING
        self._plan_message()
        self.agent_id, self.agent_leg = "", None
        talk, self._talk = self._talk, None
        self.call.leave_conversation()
        if talk is not None and not talk.done():
            talk.set_result(Outcome("taken-back", 200, 16))

    def begin_waiting(self, welcome: str) -> None:
        """A customer who has been called back, and waits for an agent."""
        self.state = State.WAITING
        self._signal(Queued())
        self._plan_message()
        self._signal(Say((welcome,)))

    def handed_over(self, queue: Queue) -> None:
        """A transfer brings the call into a queue: whoever ran it so far has lost it for good."""
        self._turn += 1
        self.queue = queue
        self.bound_for_queue = False
        self.customer_leg = self.call.caller
        self.state = State.ENTERING
        self.agent_id, self.agent_leg = "", None
        self._talk = None
        self._signals.clear()
        self.call.leave_conversation()

    def _signal(self, signal: Signal) -> None:
        self._signals.append(signal)
        if not self._woken.done():
            self._woken.set_result(None)

    @property
    def _must_stop(self) -> bool:
        """Whether something waits that no announcement may delay."""
        return any(not isinstance(signal, Say) for signal in self._signals)

    # -- the task ----------------------------------------------------------------------------------

    async def run(self) -> Departure:
        """Keep the caller company until he leaves; raises `CallEnded` when he hangs up."""
        try:
            return await self._keep_company()
        finally:
            if self._messages is not None:
                self._messages.cancel()

    async def _keep_company(self) -> Departure:
        while True:
            match await self._next():
                case Queued():
                    await self._receive()
                case Say(prompts):
                    await self._say(prompts)
                case Joined():
                    departure = await self._talk_over()
                    if departure is not None:
                        return departure
                case Departure() as departure:
                    self._silence()
                    return departure

    async def _next(self) -> Signal:
        while True:
            if self._must_stop:
                while isinstance(self._signals[0], Say):
                    self._signals.popleft()
            if self._signals:
                return self._signals.popleft()
            if self._woken.done():
                self._woken = asyncio.get_running_loop().create_future()
            key = await self.call.next_digit(None, until=self._woken)
            if key:
                await self._pressed(key)

    async def _receive(self) -> None:
        """Answer, unless he is to listen unanswered, and play music."""
        if self.state is not State.WAITING:
            return
        if self.early_media:
            self._centre.control.early_media(self.call)
        else:
            await self.call.answer()
        await self._music()

    async def _music(self) -> None:
        if self.state is State.WAITING and not self._must_stop:
            await self._start(f"music:{self.queue.music}", repeat=True)

    async def _start(self, prompt: str, *, repeat: bool = False) -> asyncio.Future[None] | None:
        """Begin to play, unless there is no such sound or something came that must not wait."""
        audio, call = self._centre.control.audio, self.call
        try:
            if audio.needs_making(call, prompt):
                await call.wait_for(asyncio.ensure_future(audio.make(call, prompt)))
            if self.state is not State.WAITING or self._must_stop:
                return None
            return audio.play(call, prompt, repeat=repeat)
        except (CallError, MediaError) as error:
            if call.ended:
                raise
            _log.error("call %s: %s", call.call_id, error)
            return None

    async def _say(self, prompts: tuple[str, ...]) -> None:
        for prompt in prompts:
            playing = await self._start(prompt)
            while playing is not None and not playing.done() and not self._must_stop:
                if self._woken.done():
                    self._woken = asyncio.get_running_loop().create_future()
                key = await self.call.next_digit(None, until=either(playing, self._woken))
                if key:
                    await self._pressed(key)
            if self._must_stop:
                return
        await self._music()

    def _silence(self) -> None:
        if self.call.caller.stream is not None and not self.call.ended:
            self._centre.control.audio.stop_play(self.call)

    async def _talk_over(self) -> Departure | None:
        """The conversation; None when the caller waits again after it."""
        talk, turn = self._talk, self._turn
        if talk is None:
            return None
        outcome = await self.call.wait_for(talk)
        if turn != self._turn or self.state is not State.TALKING:
            return None
        self.state = State.GONE
        return Departure("answered", "", outcome, self.queue.name, self.served_by)

    # -- keys --------------------------------------------------------------------------------------

    async def _pressed(self, key: str) -> None:
        if self.state is not State.WAITING:
            return
        target = self.queue.keys.get(key)
        if target is not None:
            self.withdrawn_to = str(target)
            self._centre.host.do(events.ContactWithdrawn(self.contact_id, KEY))
        elif key == self._callback_key:
            await self._ask_for_callback()

    async def _ask_for_callback(self) -> None:
        if not self._centre.callbacks.request_for(self):
            return
        self.state = State.GONE
        self._silence()
        await self.call.play("callback-accepted")
        self._signal(Departure(CALLBACK, "hangup", queue=self.queue.name))


def announcement(position: int | None, wait_s: float | None, language: str) -> tuple[str, ...]:
    """The prompts that tell a caller his place and how long it takes."""
    prompts: list[str] = []
    if position == 1:
        prompts.append("you-are-next")
    elif position is not None:
        prompts += ["your-position-is", *saying.phrase("position", position, language)]
    if wait_s is not None:
        if wait_s < _SHORT_WAIT_S:
            prompts.append("wait-less-than-a-minute")
        else:
            minutes = round(wait_s / 60.0)
            prompts += ["wait-about", *saying.phrase("minutes", minutes, language)]
    return tuple(prompts)
