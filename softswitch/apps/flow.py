"""Flows: what `FlowMachine` decides, done in a call."""

from __future__ import annotations

import asyncio
import itertools
import logging
from datetime import datetime
from typing import TYPE_CHECKING

from softswitch.apps.flow_machine import (
    Answered,
    Ask,
    Dial,
    Enqueue,
    Entered,
    Event,
    FlowMachine,
    Hear,
    Mark,
    Over,
    Record,
    Script,
    Secretly,
    Survey,
    TakeMessage,
)
from softswitch.apps.flow_machine import Effect as FlowEffect
from softswitch.apps.ivr import next_key, play_until_key, spoken_as
from softswitch.apps.ivr_machine import (
    Announce,
    Await,
    ForgetDigits,
    Leave,
    Play,
    TimedOut,
)
from softswitch.config.derived import FromOffice
from softswitch.errors import CallError

if TYPE_CHECKING:
    from softswitch.apps.catalogue import Desk
    from softswitch.apps.survey import Surveys
    from softswitch.call.call import Call
    from softswitch.config import Office

_log = logging.getLogger("softswitch.apps")
LEFT = "flow-left"
ASKED = "flow-asked"
BEEP = "beep"


def _scripts_of(office: Office) -> dict[str, Script]:
    hours = {each.name: each for each in office.hours}
    extensions = frozenset(each.number for each in office.extensions)
    return {flow.name: Script(flow, hours, extensions, spoken_as) for flow in office.flows}


class Flows:
    """The application of ``flow:NAME`` destinations."""

    def __init__(self, desk: Desk, surveys: Surveys) -> None:
        self._desk = desk
        self._surveys = surveys
        self._numbers = itertools.count(1)
        # Of all flows: variables go along from one to the other.
        self._secrets = FromOffice(
            desk,
            lambda office: frozenset(
                step.into for flow in office.flows for step in flow.steps if step.secret
            ),
        )
        self._scripts = FromOffice(desk, _scripts_of)

    async def run(self, call: Call, name: str) -> None:
        """Lead the caller through; leaves by `Call.transfer`."""
        machine = FlowMachine(self._scripts()[name])
        event: Event = Entered(self._facts(call), call.language)
        try:
            while True:
                event = await self._perform_all(call, machine, machine.handle(event, self._now()))
        finally:
            call.variables = dict(machine.variables)
            call.hides_digits = False
            if not machine.left:
                self._note_left(call, name, machine, "", "hung up")

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._desk.clock.wall_s(), self._desk.office.office.zone)

    def _facts(self, call: Call) -> dict[str, str]:
        """What the caller brings: variables of a flow before this one, and what is known of him."""
        return {**call.variables, **self._known(call)}

    def _known(self, call: Call) -> dict[str, str]:
        customer = call.customer
        return {
            "caller": call.number_from,
            "called": call.number_to,
            "caller_name": call.caller_name,
            "customer": customer.name if customer is not None else "",
            "customer_priority": str(customer.priority) if customer is not None else "",
            "customer_tags": ",".join(customer.tags) if customer is not None else "",
            "customer_region": customer.region if customer is not None else "",
            "customer_tickets": str(customer.tickets_open) if customer is not None else "",
            "language": call.language,
        }

    # -- effects -----------------------------------------------------------------------------------

    async def _perform_all(
        self, call: Call, machine: FlowMachine, effects: list[FlowEffect]
    ) -> Event:
        event: Event = TimedOut()
        for effect in effects:
            match effect:
                case Play():
                    await call.answer()
                    event = await play_until_key(call, effect.prompts)
                case Await():
                    event = await next_key(call, effect.timeout_s)
                case Announce():
                    await call.answer()
                    await self._announce(call, effect.prompt)
                case ForgetDigits():
                    call.forget_digits()
                case Secretly():
                    call.hides_digits = effect.on
                case Mark():
                    await self._mark(call, machine, effect)
                case Leave():
                    name = machine.snapshot()["flow"]
                    self._note_left(call, name, machine, str(effect.to), effect.why)
                    await call.transfer(str(effect.to))
                case _:
                    event = await self._take_time(call, effect)
        return event

    async def _announce(self, call: Call, prompt: str) -> None:
        try:
            await call.play(prompt)
        except CallError as error:
            if call.ended:
                raise
            _log.error("call %s: prompt %s: %s", call.call_id, prompt, error)

    async def _mark(self, call: Call, machine: FlowMachine, mark: Mark) -> None:
        if mark.language is not None:
            call.language = mark.language
        if mark.priority is not None:
            call.priority = mark.priority
        if mark.skill is not None:
            call.skill = mark.skill
        if mark.customer is not None:
            await call.identify(mark.customer)
            known = self._known(call)
            for name in known:
                if name.startswith("customer"):
                    machine.variables[name] = known[name]

    async def _take_time(self, call: Call, effect: FlowEffect) -> Event:
        match effect:
            case Ask():
                return Answered(await self._ask(call, effect))
            case Enqueue():
                outcome = await call.enqueue(effect.queue, max_wait_s=effect.max_wait_s)
                return Over(outcome.result)
            case Dial():
                outcome = await call.dial(*effect.targets, ring_s=effect.ring_s)
                return Over(outcome.result)
            case TakeMessage():
                await call.record_voicemail(effect.box)
            case Survey():
                score = await self._surveys.run(call, effect.name)
                return Over("" if score is None else str(score))
            case Record():
                return Over(await self._record(call, effect))
            case Hear():
                return Over(await self._hear(call, effect))
            case _:
                pass
        return Over("")

    async def _ask(self, call: Call, ask: Ask) -> object:
        clock = self._desk.clock
        began_s = clock.monotonic_s()
        asking = self._desk.ask(ask.url, timeout_s=ask.timeout_s, query=ask.query)
        answer: object = await call.wait_for(asyncio.ensure_future(asking))
        took_s = round(clock.monotonic_s() - began_s, 3)
        data = {"url": ask.url, "answered": answer is not None, "took_s": took_s}
        self._desk.journal.append(ASKED, call.call_id, data, clock.wall_s())
        return answer

    async def _record(self, call: Call, record: Record) -> str:
        await call.answer()
        await self._announce(call, BEEP)
        name = f"{call.call_id}-flow-{next(self._numbers)}.wav"
        recorded = await call.record(name, max_s=record.max_s, silence_s=record.silence_s)
        return recorded.name

    async def _hear(self, call: Call, hear: Hear) -> str:
        """What the line says; what was played meanwhile is over, or cut off where something was heard."""
        await call.answer()
        playing = None
        if hear.prompts:
            try:
                playing = await call.start_play_all(hear.prompts)
            except CallError as error:
                if call.ended:
                    raise
                _log.error("call %s: prompts %s: %s", call.call_id, hear.prompts, error)
        said = await call.hear_line(*hear.what, timeout_s=hear.timeout_s)
        if playing is not None and said:
            await call.stop_play()
        elif playing is not None:
            await call.wait_for(playing)
        return said

    def _note_left(self, call: Call, name: str, machine: FlowMachine, to: str, why: str) -> None:
        variables = {k: v for k, v in machine.variables.items() if k not in self._secrets()}
        data = {
            "flow": name,
            "to": to,
            "why": why,
            "steps": list(machine.trail),
            "variables": variables,
        }
        self._desk.journal.append(LEFT, call.call_id, data, self._desk.clock.wall_s())
