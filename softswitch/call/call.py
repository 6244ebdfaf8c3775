"""A call as its handler sees it: one caller, awaited verbs, and `CallEnded` when he has hung up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

from softswitch import saying
from softswitch.call.endpoint import Outcome
from softswitch.call.known import of_file
from softswitch.call.listening import Line, Listening
from softswitch.call.waiting import Waiting, settle
from softswitch.errors import CallEnded, CallTransferred

if TYPE_CHECKING:
    from softswitch.call.audio import Recorded
    from softswitch.call.control import CallControl
    from softswitch.call.dial import Dial
    from softswitch.call.dialling import Attempt
    from softswitch.call.diversion import Diversion
    from softswitch.call.identity import Identity
    from softswitch.call.in_call import Trio
    from softswitch.call.keys import CodeKeys
    from softswitch.call.known import KnownCustomer
    from softswitch.call.leg import Leg
    from softswitch.call.ring_timers import RingTimer
    from softswitch.call.transfer import Transfer
    from softswitch.call.trunk_calls import TrunkLeg

MAX_FORWARDS = 70
"""Hops that an INVITE of ours may take at most, ours included (RFC 3261 8.1.1.6)."""
_SILENCE_EVERY_S = 1.0


class Call(Waiting):
    """The story of one call: its caller's leg, the legs made on his behalf, and what is awaited.

    Attributes: `call_id`, unique and fit for a file name; `number`, the same as a small integer;
    `number_from` and `number_to` as dialled; `caller_name`. Set by whoever knows better: `language`
    ("en" or "zh", at first the office's), in which prompts are spoken; `priority` and `skill`, with
    which the call enters queues (None: as the queue and the customer say); `hides_digits`, while a PIN
    is asked for, so that it is not written down; `customer_number`, the number of the customer who has
    proved to be calling (from another telephone, say; `identify` sets it); `variables`, what flows
    remember of the call. `known`: the customer, once he was looked up.

    Every awaited verb raises `CallEnded` when the caller has gone; leaving the handler releases all
    legs and streams.
    """

    __slots__ = (
        "_control",
        "answered_at_s",
        "answered_monotonic_s",
        "attempts",
        "caller",
        "caller_name",
        "code_keys",
        "customer_number",
        "dial_machine",
        "diversions",
        "forwarded_by",
        "forwards",
        "held_by",
        "hidden",
        "hides_digits",
        "identity",
        "known",
        "language",
        "legs",
        "listening",
        "max_forwards",
        "media_group",
        "moves",
        "number",
        "number_from",
        "number_to",
        "outlives_partner",
        "partner",
        "priority",
        "recording",
        "recording_name",
        "recordings_made",
        "redirected_to",
        "referral",
        "ringback_heard",
        "ringback_wanted",
        "ringing_extension",
        "ringing_group",
        "skill",
        "started_at_s",
        "timers",
        "to_be_recorded",
        "transferred_by",
        "trio",
        "trunk_legs",
        "trunks_taken",
        "variables",
    )

    def __init__(
        self,
        control: CallControl,
        *,
        call_id: str,
        number: int,
        identity: Identity,
        number_from: str,
        number_to: str,
        caller_name: str,
        started_at_s: float,
        language: str = "en",
    ) -> None:
        super().__init__(call_id)
        self._control = control
        self.number = number
        self.identity = identity
        self.number_from = number_from
        self.number_to = number_to
        self.caller_name = caller_name
        self.started_at_s = started_at_s
        self.language = language
        self.priority: int | None = None
        self.skill: str | None = None
        self.hides_digits = False
        self.held_by: Leg | None = None  # by program; who holds by his telephone says so in SIP
        self.customer_number: str | None = None
        self.known: KnownCustomer | None = None
        self.variables: dict[str, str] = {}
        self.moves = 0
        self.redirected_to: str | None = None  # what the phone that rang answered with 302
        self.transferred_by: str | None = None  # whose blind transfer sent the call on
        self.ringback_heard = self.ringback_wanted = False
        self.listening: Listening | None = None  # once a handler has listened to a line
        self.answered_at_s: float | None = None
        self.answered_monotonic_s: float | None = None  # a clock that is set must not change a bill
        self.caller: Leg
        self.legs: dict[int, Leg] = {}
        self.partner: Leg | None = None
        self.dial_machine: Dial | None = None
        self.recording: int | None = None
        self.recordings_made = 0
        self.media_group = (
            number  # streams of one group share a worker, as bridges and rooms demand
        )
        self.recording_name: str | None = None
        self.trunks_taken: list[str] = []
        self.trunk_legs: dict[int, TrunkLeg] = {}
        self.hidden = False  # the caller does not want his number shown outside
        self.referral: Transfer | None = None
        self.max_forwards = MAX_FORWARDS  # of what is sent on behalf of the caller (RFC 7332 4)
        self.forwards = 0
        self.forwarded_by: str | None = None
        self.diversions: tuple[Diversion, ...] = ()
        self.ringing_extension: str | None = None
        self.ringing_group: str | None = None
        self.timers: set[RingTimer] = set()
        self.trio: Trio | None = None  # a third is being called by keys
        self.code_keys: dict[int, CodeKeys] = {}  # by leg
        self.attempts: dict[int, Attempt] = {}  # by leg: who is rung beside `dial_machine`
        # Whenever caller and partner talk; None: as the office does with all calls.
        self.to_be_recorded: bool | None = None
        self.outlives_partner = False  # a partner whose phone is lost does not end the call

    # -- verbs of a handler ------------------------------------------------------------------

    async def ring(self) -> None:
        """Tell the caller that it rings (180)."""
        self._check()
        self._control.ring_caller(self)

    async def answer(self) -> None:
        """Take the call; nothing happens if it is answered already."""
        self._check()
        self._control.answer_caller(self)

    async def play(self, prompt: str, *, repeat: bool = False) -> None:
        """Play a prompt's id, a WAV file, ``text:...`` (spoken where espeak-ng is installed) or
        ``tone:NAME`` to its end. With `repeat` it goes on behind the next verbs until `stop_play`."""
        self._check()
        done = await self._start_play(prompt, repeat=repeat)
        if not repeat:
            await self._wait(done)

    async def play_all(self, prompts: Iterable[str]) -> None:
        """Play several prompts, one after the other."""
        for prompt in prompts:
            await self.play(prompt)

    async def say(self, kind: saying.Kind, value: saying.Value) -> None:
        """Say a value in the call's language: ``say("number", 205)``, ``say("position", 3)``,
        ``say("date", date(2026, 10, 1))``; the kinds are those of `softswitch.saying.phrase`."""
        await self.play_all(saying.phrase(kind, value, self.language))

    async def _start_play(self, prompt: str, *, repeat: bool = False) -> asyncio.Future[None]:
        audio = self._control.audio
        if audio.needs_making(self, prompt):
            await self._wait(asyncio.ensure_future(audio.make(self, prompt)))
        return audio.play(self, prompt, repeat=repeat)

    async def stop_play(self) -> None:
        """Silence what `play` has left running."""
        self._check()
        self._control.audio.stop_play(self)

    async def collect(
        self,
        prompt: str | Iterable[str] | None = None,
        *,
        max_digits: int = 1,
        timeout_s: float = 6.0,
        between_s: float = 3.0,
        terminator: str = "#",
    ) -> str:
        """Digits that the caller presses, at most `max_digits`.

        `prompt`, one or several, is played and stops at the first digit; `timeout_s` counts from its
        end, `between_s` between digits; `terminator` ends the input and is not returned. Nothing
        pressed: "".
        """
        self._check()
        for each in (prompt,) if isinstance(prompt, str) else prompt or ():
            if self._digits:
                break
            playing = await self._start_play(each)
            await self._until_digit(None, playing)
            if not playing.done():
                self._control.audio.stop_play(self)
        digits = ""
        while len(digits) < max_digits:
            await self._until_digit(between_s if digits else timeout_s)
            if not self._digits:
                break
            digit = self._digits.popleft()
            if digit == terminator:
                break
            digits += digit
        return digits

    async def next_digit(
        self, timeout_s: float | None, *, until: asyncio.Future[None] | None = None
    ) -> str:
        """The next digit that the caller presses; "" after `timeout_s`, or when `until` is done."""
        await self._until_digit(timeout_s, until)
        return self._digits.popleft() if self._digits else ""

    def forget_digits(self) -> None:
        """Drop what the caller has pressed ahead."""
        self._digits.clear()

    async def start_play(self, prompt: str, *, repeat: bool = False) -> asyncio.Future[None]:
        """Start `play` and return at once: the future is done at its end."""
        self._check()
        return await self._start_play(prompt, repeat=repeat)

    async def dial(self, *targets: str, ring_s: float = 30.0, ringback: bool = True) -> Outcome:
        """Ring destinations together (``extension:1001``, ``ring_group:1100``, a number that the
        caller's rights allow) and stay until that conversation is over.

        A caller who has been answered already hears ringing meanwhile, unless `ringback` is False.
        Returns how it ended; the caller is still there when his partner hung up first.
        """
        self._check()
        done = self.conversation()
        self._control.dial_destinations(self, targets, ring_s, ringback=ringback)
        return await self._wait(done)

    async def pick_up(self, extension: str | None = None) -> bool:
        """Let the caller have the call that rings at `extension`, by default at those who share a ring
        group with him; this call is then over. False when there is none."""
        self._check()
        return self._control.pick_ups.take(self, extension)

    async def retrieve(self, parked: Call) -> bool:
        """Let the caller talk to the one of `parked`; this call is then over. False when he has gone."""
        self._check()
        return self._control.pick_ups.retrieve(self, parked)

    @property
    def has_partner(self) -> bool:
        """Whether the caller talks to somebody."""
        return self.partner is not None

    async def transfer(self, destination: str) -> NoReturn:
        """Send the call on for good: ``queue:support``, ``voicemail:1001``, ``ivr:main``,
        ``extension:1002``, ``ring_group:1100``, ``conference:8000``, ``hangup``, or a number that the
        caller's rights allow.

        The handler is left by `CallTransferred`; what it did not stop is stopped. Raises `CallError`
        for a destination that does not exist: the call is then still here.
        """
        self._check()
        self.onward = self._control.destination(self, destination)
        raise CallTransferred(f"call {self.call_id} goes on to {destination}")

    async def call_back(self, number: str, extension: str) -> NoReturn:
        """Send the call on for good to a number that has called `extension`, with the rights of that
        extension, whoever is calling. Raises `CallError` where they do not lead there."""
        self._check()
        self.onward = self._control.call_back(number, extension)
        raise CallTransferred(f"call {self.call_id} calls back {number}")

    async def enqueue(
        self,
        queue: str,
        *,
        max_wait_s: float | None = None,
        priority: int | None = None,
        skill: str | None = None,
    ) -> Outcome:
        """Wait in a queue, at most `max_wait_s`, and talk to the agent who answers; returns after that
        conversation, or with an outcome that is not answered. Raises `CallError` for an unknown queue.
        """
        self._check()
        if priority is not None:
            self.priority = priority
        if skill is not None:
            self.skill = skill
        return await self._control.running.enqueue(self, queue, max_wait_s)

    async def record_voicemail(self, box: str) -> None:
        """Greet the caller for mailbox `box`, record his message and keep it, also when he hangs up."""
        self._check()
        await self._control.running.inline(self, "voicemail", box)

    async def look_up(self, url: str, *, timeout_s: float = 2.0, **query: object) -> Any | None:
        """Ask a program of the office: GET `url` with `query` added, the answer's JSON, or None when
        there is no good one within `timeout_s`."""
        from softswitch.call.lookup import look_up

        self._check()
        asking = asyncio.ensure_future(look_up(url, timeout_s=timeout_s, **query))
        return await self._wait(asking)

    @property
    def customer(self) -> KnownCustomer | None:
        """The customer who is calling, if the office knows one: whose number this call comes from, or who
        has said another (`identify`); of a call of our own to outside, who is called. Of calls from outside
        the database was asked before the handler began."""
        if self.known is not None:
            return self.known
        return of_file(self._control.customer_of(self.customer_number or self.number_from))

    async def identify(self, number: str) -> KnownCustomer | None:
        """Take the caller for the customer of `number`, once he has proved to be him (by a PIN, say): his
        priority, region and last agent count from now on. "" takes it back. None for nobody known."""
        self._check()
        found = await self._control.running.identify(self, number)
        self._check()
        return found

    async def echo(self, on: bool = True) -> None:
        """Send the caller his own voice back."""
        self._check()
        self._control.audio.echo(self, on)

    async def record(
        self,
        name: str,
        *,
        max_s: float = 180.0,
        silence_s: float | None = None,
        terminator: str = "#",
        noted: bool = True,
        done: Callable[[Recorded], None] | None = None,
    ) -> Recorded:
        """Record the caller into the recordings folder as `name` until he presses `terminator`, hangs
        up, `max_s` have passed or, with `silence_s`, nothing has been heard for so long.

        `done` is called with the finished recording even when the caller hung up, which raises
        `CallEnded` here. Its `reason` is "key" when he pressed the terminator. With `noted` False the
        call's record does not name it.
        """
        self._check()
        loop = asyncio.get_running_loop()
        finished: asyncio.Future[Recorded] = loop.create_future()

        def finish(recorded: Recorded) -> None:
            if done is not None:
                done(recorded)
            if not finished.done():
                finished.set_result(recorded)

        audio = self._control.audio
        recording = audio.record_caller(self, name, finish, noted=noted)
        deadline_s = loop.time() + max_s
        by_key = False
        self._digits.clear()
        while (left_s := deadline_s - loop.time()) > 0:
            await self._until_digit(min(left_s, left_s if silence_s is None else _SILENCE_EVERY_S))
            if self._digits:
                if self._digits.popleft() == terminator:
                    by_key = True
                    break
            elif silence_s is not None and await self._wait(audio.is_quiet(name, silence_s)):
                break
        audio.stop_recording_of(recording)
        recorded = await self._wait(finished)
        return replace(recorded, reason="key") if by_key else recorded

    async def hear_line(
        self,
        *wanted: str,
        timeout_s: float = 10.0,
        country: str | None = None,
        line: Line = "caller",
    ) -> str:
        """What the caller's line says first of `wanted` (none: of all there is), "" after `timeout_s`.

        `cng` (a fax calls), `ced` (a fax answers), `person`, `machine` or `unsure` (who speaks, judged from
        now on), `beep`, and the tones of `country`, by default the office's: `dial`, `ringback`, `busy`,
        `congestion`, `call-waiting`, `unobtainable`, `sit`. He is listened to only meanwhile, and goes on
        talking with whom he talks with.

        `line` "partner": the line of whom the caller talks with, from when he answers; run it beside
        `dial`, which lasts as long as that conversation. "" too when he has gone. Raises `CallError` for any
        other `line`.
        """
        self._check()
        if self.listening is None:
            self.listening = Listening(self._control)
        return await self.listening.hear(self, wanted, timeout_s, country, line)

    async def start_play_all(self, prompts: Iterable[str]) -> asyncio.Future[None]:
        """Start several prompts, one after the other and as one, and return at once."""
        self._check()
        audio, row = self._control.audio, list(prompts)
        if len(row) == 1:
            return await self._start_play(row[0])
        for prompt in row:
            if audio.needs_making(self, prompt):
                await self._wait(asyncio.ensure_future(audio.make(self, prompt)))
        return audio.play_row(self, row)

    async def conference(
        self, room: int, *, mute: bool = False, deaf: bool = False, gain: float = 1.0
    ) -> None:
        """Put the caller into an N-party room, or change how he takes part; `leave_conference` ends it.

        `mute`: nobody hears him; `deaf`: he hears nobody; `gain`: how loud the others hear him, 1 as he is, at
        most 8. Set `media_group` to the room's before answering: streams of one room share a worker.
        """
        self._check()
        self._control.audio.join_room(self, room, mute=mute, deaf=deaf, gain=gain)

    async def leave_conference(self) -> None:
        self._check()
        self._control.audio.leave_room(self)

    async def sleep(self, seconds: float) -> None:
        """Wait, as long as the caller does."""
        self._check()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        timer = loop.call_later(seconds, settle, done)
        try:
            await self._wait(done)
        finally:
            timer.cancel()

    def move_beside(self, other: Call) -> None:
        """Have the caller's stream on the worker of `other`'s caller, as bridges and rooms demand: by
        choice before he is answered, else by a re-INVITE where they are apart."""
        self._control.audio.bring_beside(self, other)

    async def until_ended(self) -> None:
        """Stay until the caller hangs up; returns instead of raising."""
        try:
            await self._wait(asyncio.get_running_loop().create_future())
        except CallEnded:
            return

    async def hang_up(self, q850: int = 16) -> None:
        """End the call: every leg, every stream."""
        if not self.ended:
            self._control.end_call(self, by="switch", q850=q850)
