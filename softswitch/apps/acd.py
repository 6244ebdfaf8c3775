"""The call centre inside the calls: carries out what the routing engine decides.

`CallCentre` knows which call belongs to which contact and which offer rings which telephone; what a caller
hears is `QueueCall`'s, what an agent hears `AgentOffer`'s, what a callback takes `Callbacks`'.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from routing import decisions as decided
from routing import events
from routing.model import Media, Outcome
from softswitch.apps.acd_agents import Agents, Queues
from softswitch.apps.acd_callback import Callbacks
from softswitch.apps.acd_contacts import Contacts
from softswitch.apps.acd_host import AcdHost
from softswitch.apps.acd_journal import AcdMemory
from softswitch.apps.acd_recovery import recover
from softswitch.apps.acd_watch import CallWatch
from softswitch.apps.agent_codes import AgentCodes
from softswitch.apps.agent_offer import AgentOffer, told
from softswitch.apps.queue_call import KEY, Departure, QueueCall, State
from softswitch.apps.supervisor import Supervision
from softswitch.call.identity import PhoneIdentity
from softswitch.call.numbering import Numbering
from softswitch.call.shown import Shown
from softswitch.config.derived import FromOffice
from softswitch.errors import CallError, QueueUnavailable
from softswitch.store.acd import story_of

if TYPE_CHECKING:
    from softswitch.apps.catalogue import Catalogue, Desk
    from softswitch.apps.registrar import Registrar
    from softswitch.call.call import Call
    from softswitch.call.control import CallControl
    from softswitch.call.endpoint import Outcome as CallOutcome
    from softswitch.call.known import KnownCustomer
    from softswitch.config import Agent, Office, Queue

_log = logging.getLogger("softswitch.acd")

# While an agent is being rung the end of a handler's patience is put off by so much.
_LET_HIM_ANSWER_S = 1.0
_WORDS = {"full": "queue-full", "closed": "closed"}


class CallCentre:
    """Queues and agents of one exchange. `attach` gives it the calls, `start` its memory."""

    def __init__(self, desk: Desk, catalogue: Catalogue, memory: AcdMemory) -> None:
        office = desk.office
        self.desk = desk
        self.catalogue = catalogue
        self.queues: dict[str, Queue] = {}
        self.agents_by_id: dict[str, Agent] = {}
        self.agents_by_extension: dict[str, Agent] = {}
        self._know(office)
        self._regions = FromOffice(desk, _regions_of)
        self.host = AcdHost(
            desk,
            memory,
            perform=self._perform,
            after=self._pump,
            story_of=story_of,
            seed=desk.token(),
        )
        self.control: CallControl
        self.calls: dict[str, QueueCall] = {}  # by call id
        self._contacts: dict[str, QueueCall] = {}
        self.offers: dict[int, AgentOffer] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._contact_counts: dict[str, int] = {}
        self.callbacks = Callbacks(self)
        self.contacts = Contacts(self)
        self.watch = CallWatch(self)
        self.agents = Agents(self)
        self.queue_desk = Queues(self)
        self._codes = AgentCodes(self)
        catalogue.add("queue", self._run_queue)
        catalogue.add("queued-callback", self._run_callback)
        catalogue.add_code("agent_log_in_out", self._codes.log_in_or_out)
        catalogue.add_code("agent_pause", self._codes.pause_or_go_on)
        self.supervision = Supervision(self)
        catalogue.add_code("listen", self.supervision.run)
        catalogue.apps.enqueue = self._enqueue

    def _know(self, office: Office) -> None:
        self._numbering = Numbering(office.office.country)
        self.queues = {queue.name: queue for queue in office.queues}
        self.agents_by_id = {agent.id: agent for agent in office.agents}
        self.agents_by_extension = {agent.extension: agent for agent in office.agents}

    def use_office(self, office: Office) -> None:
        """Go on with another office: callers keep their places in queues that stay, and leave those that
        are gone by their overflow; agents who are gone finish the call at hand."""
        queues, agents = self.queues, self.agents_by_id
        self._know(office)
        # What is gone is known until nobody is told of it any more.
        self.queues, self.agents_by_id = queues | self.queues, agents | self.agents_by_id
        self.host.use_office(office)
        self._know(office)
        for name in self.queues.keys() - queues.keys():
            self.prepare_text(name, office.office.language)

    def attach(self, control: CallControl, registrar: Registrar) -> None:
        """From now on these are the calls and the telephones."""
        self.control = control
        registrar.listen(self.agents.reachable)

    async def start(self) -> None:
        """Remember what was before, and begin."""
        await recover(self)
        await self.host.keep()
        for queue in self.queues:
            self.prepare_text(queue, self.desk.office.office.language)

    async def stop(self) -> None:
        """All calls have ended: write down what is to be remembered."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.host.stop()

    def _pump(self) -> None:
        self.control.pump()

    # -- callers -----------------------------------------------------------------------------------

    async def wait_in(
        self, call: Call, name: str, max_wait_s: float | None = None, *, answer: bool = True
    ) -> Departure:
        """Let a caller wait in a queue until he leaves it, by whatever way, and his conversation is over.

        `answer` False: he hears what is played without having been answered, until an agent has him.
        Raises `CallError` for an unknown queue, `CallEnded` when he hangs up.
        """
        queue = self.queues.get(name)
        if queue is None:
            raise QueueUnavailable(f"there is no queue {name}")
        queue_call = self.calls.get(call.call_id)
        if queue_call is not None and queue_call.state is State.TALKING:
            self._hand_over(queue_call, queue)
        else:
            queue_call = self._arrive(call, queue, answer=answer)
        timer = None
        if max_wait_s is not None:
            timer = asyncio.get_running_loop().call_later(
                max_wait_s, self._lose_patience, queue_call
            )
        try:
            return await queue_call.run()
        finally:
            if timer is not None:
                timer.cancel()

    def _arrive(self, call: Call, queue: Queue, *, answer: bool) -> QueueCall:
        contact_id = self._new_contact_id(call.call_id)
        known, priority = call.customer, call.priority
        if priority is None and known is not None and known.id:
            priority = known.priority
        queue_call = QueueCall(self, call, contact_id, queue)
        queue_call.early_media = not (answer and queue.answer)
        self._adopt(queue_call)
        call.to_be_recorded = self._records(queue)
        self.host.do(
            events.ContactArrived(
                contact_id=contact_id,
                queue_id=queue.name,
                caller=self.number_of(call),
                priority=None if priority is None else float(priority),
                skill=call.skill or "",
                region=self._region(known),
                started_s=call.started_at_s - self.host.epoch_s,
                customer_id=self._customer_id(call),
                attributes=self._facts(call),
            )
        )
        return queue_call

    def _facts(self, call: Call) -> dict[str, str]:
        facts = {"number": call.number_from, "name": call.caller_name}
        if call.customer_number:
            facts["customer_number"] = call.customer_number
        if call.known is not None and call.known.id:
            facts["customer_name"] = call.known.name
        return facts

    def _region(self, known: KnownCustomer | None) -> str:
        """What the customer's record says, where that is a region of the office; "" lets his number
        decide."""
        if known is None or known.region not in self._regions():
            return ""
        return known.region

    def last_agent(self, known: KnownCustomer, number: str) -> str:
        """Who served a customer last, "" for nobody who is remembered."""
        return self.host.engine.last_agent_of(self.key_of(known), number)

    def key_of(self, known: KnownCustomer) -> str:
        """What the engine remembers a customer by."""
        if known.id:
            return f"customer:{known.id}"
        return self.written(known.phone[0]) if known.phone else ""

    def _customer_id(self, call: Call) -> str:
        """Of a customer whom the database knows, or who has proved to be calling from another telephone."""
        if call.known is not None and call.known.id:
            return self.key_of(call.known)
        if not call.customer_number:
            return ""
        customer = self.host.customers.get(self.written(call.customer_number))
        return customer.id if customer is not None else ""

    def _records(self, queue: Queue) -> bool:
        """Whether a queue's conversations are recorded: as it says, or else as the office does."""
        if queue.record is not None:
            return queue.record
        return self.desk.office.recording.calls in ("queue", "all")

    def _adopt(self, queue_call: QueueCall) -> None:
        self.calls[queue_call.call.call_id] = queue_call
        self._contacts[queue_call.contact_id] = queue_call

    def adopt(self, queue_call: QueueCall) -> None:
        """A callback has brought a caller."""
        queue_call.call.to_be_recorded = self._records(queue_call.queue)
        self._adopt(queue_call)

    def release(self, contact_id: str) -> None:
        """The contact lives on without the call it came by."""
        self._contacts.pop(contact_id, None)

    def _new_contact_id(self, call_id: str) -> str:
        """The call's own id; a call that comes into queues again has one with a number."""
        count = self._contact_counts[call_id] = self._contact_counts.get(call_id, 0) + 1
        return call_id if count == 1 else f"{call_id}/{count}"

    def _hand_over(self, queue_call: QueueCall, queue: Queue) -> None:
        """An agent has transferred his caller into a queue: place, priority and customer stay."""
        call = queue_call.call
        queue_call.handed_over(queue)
        self.host.do(
            events.ContactRequeued(
                contact_id=queue_call.contact_id,
                queue_id=queue.name,
                skill=call.skill,
                priority=None if call.priority is None else float(call.priority),
                by="transfer",
            )
        )

    def _lose_patience(self, queue_call: QueueCall) -> None:
        """The handler's `max_wait_s` is over."""
        if queue_call.state is not State.WAITING:
            return
        view = self.host.engine.view_contact(queue_call.contact_id, self.host.now_s())
        if view is not None and view.phase == "offered":
            asyncio.get_running_loop().call_later(
                _LET_HIM_ANSWER_S, self._lose_patience, queue_call
            )
        else:
            self.host.tell(events.ContactWithdrawn(queue_call.contact_id, "max-wait"))

    def number_of(self, call: Call) -> str:
        """By which the caller is known: an extension's own number, or E.164."""
        if isinstance(call.identity, PhoneIdentity):
            return call.number_from
        return self.written(call.number_from)

    def written(self, number: str) -> str:
        """A number as E.164, or as it is where it is none."""
        return self._numbering.e164(number) or number

    # -- applications ------------------------------------------------------------------------------

    async def _run_queue(self, call: Call, name: str) -> None:
        """The application of ``queue:NAME`` destinations."""
        departure = await self.wait_in(call, name)
        if departure.reason == "answered":
            await self._survey(call, departure)
        else:
            await self._send_on(call, departure)

    async def _enqueue(self, call: Call, queue: str, max_wait_s: float | None) -> CallOutcome:
        """What `Call.enqueue` does: a destination to overflow to is the handler's to choose."""
        departure = await self.wait_in(call, queue, max_wait_s)
        if departure.reason == "answered":
            await self._survey(call, departure)
        return departure.as_outcome()

    async def _run_callback(self, call: Call, _: str) -> None:
        """A customer who has been called back."""
        queue_call = self.calls[call.call_id]
        departure = await queue_call.run()
        if departure.reason == "answered":
            await self._survey(call, departure)
        else:
            await self._send_on(call, departure)

    async def _survey(self, call: Call, departure: Departure) -> None:
        outcome = departure.outcome
        queue = self.queues.get(departure.queue)
        survey = queue.survey if queue is not None else None
        if survey is None or outcome is None or outcome.by == "caller":
            return
        call.forget_digits()
        await self.catalogue.surveys.run(call, survey, queue=departure.queue, agent=departure.agent)

    async def _send_on(self, call: Call, departure: Departure) -> None:
        target = departure.target
        if target and target != "hangup":
            try:
                await call.transfer(target)
            except CallError:
                if call.ended or call.onward is not None:
                    raise
                _log.warning("call %s: %s is nowhere to overflow to", call.call_id, target)
        if departure.reason in ("callback", KEY):
            await call.hang_up()
            return
        await call.answer()
        await call.play(_WORDS.get(departure.reason, "unavailable"))
        await call.hang_up(17 if departure.reason == "full" else 19)

    # -- decisions ---------------------------------------------------------------------------------

    def _perform(self, decision: decided.Decision) -> None:
        if self.contacts.take(decision):
            return
        match decision:
            case decided.OfferTo():
                self._offer(decision)
            case decided.CancelOffer():
                self._cancel_offer(decision)
            case decided.Connect():
                self._connect(decision)
            case decided.ContactQueued():
                if (queue_call := self._contacts.get(decision.contact_id)) is not None:
                    queue_call.queued(self.queues[decision.queue_id])
                    queue_call.call.to_be_recorded = self._records(queue_call.queue)
            case decided.ContactMoved():
                queue_call = self._contacts.get(decision.contact_id)
                if queue_call is not None and queue_call.state is State.TALKING:
                    queue_call.taken_back()  # first: what follows is no agent who hangs up
                    self.control.office_calls.part(queue_call.call)
            case decided.AnnouncePosition():
                if (queue_call := self._contacts.get(decision.contact_id)) is not None:
                    queue_call.announce(decision.position, decision.wait_s)
            case decided.OfferCallback():
                if (queue_call := self._contacts.get(decision.contact_id)) is not None:
                    queue_call.offer_callback(decision.key)
            case decided.Overflow():
                if (queue_call := self._contacts.get(decision.contact_id)) is not None:
                    queue_call.left(decision.reason, decision.target)
            case decided.DialCallback():
                self.callbacks.dial(decision)
            case decided.CancelDial():
                self.callbacks.cancel_dial(decision)
            case decided.ContactClosed():
                self._closed(decision)
            case _:
                pass

    def _offer(self, decision: decided.OfferTo) -> None:
        agent = self.agents_by_id[decision.agent_id]
        queue_call = self._contacts.get(decision.contact_id)
        if queue_call is not None:
            call = queue_call.call
        elif decision.media is Media.CALLBACK:
            call = self.callbacks.call_for(decision)
        else:
            self.host.tell(events.OfferFailed(decision.offer_id, "gone"))
            return
        if call.ended:
            return  # it has ended at this very moment: that is told, and takes the offer back
        offer = AgentOffer(self, decision.offer_id, decision.contact_id, agent, call)
        self.offers[decision.offer_id] = offer
        offer.ring(decision.ring_s, self._shown(decision))
        customer = self.customer_name(decision.contact_id)
        self.prepare_text(customer, self.desk.office.office.language)

    def _shown(self, decision: decided.OfferTo) -> Shown:
        """On the agent's telephone: which queue, and who."""
        view = self.host.engine.view_contact(decision.contact_id, self.host.now_s())
        number = str(view.attributes.get("number", "")) if view is not None else ""
        name = self.customer_name(decision.contact_id)
        return Shown(f"{decision.queue_id}: {name or number}"[:64], number)

    def customer_name(self, contact_id: str) -> str:
        """The customer's name, or what his telephone says it is."""
        view = self.host.engine.view_contact(contact_id, self.host.now_s())
        if view is None:
            return ""
        if view.attributes.get("customer_name"):
            return str(view.attributes["customer_name"])
        number = str(view.attributes.get("customer_number") or view.attributes.get("number", ""))
        customer = self.host.customers.get(self.written(number))
        return customer.name if customer is not None else str(view.attributes.get("name", ""))

    def _cancel_offer(self, decision: decided.CancelOffer) -> None:
        offer = self.offers.pop(decision.offer_id, None)
        if offer is not None:
            offer.cancel(decision.reason)
            self.callbacks.offer_over(offer)

    def offer_over(self, offer: AgentOffer) -> None:
        """The agent's phones have made an end of it."""
        self.offers.pop(offer.offer_id, None)
        self.callbacks.offer_over(offer)

    def _connect(self, decision: decided.Connect) -> None:
        if decision.offer_id == 0:
            self.callbacks.join(decision)
            return
        offer = self.offers.pop(decision.offer_id, None)
        if offer is None:
            return  # he has hung up again: that is told already
        if decision.contact_id in self._contacts:
            self.spawn(self._tell_and_join(offer, decision))
            return
        offer.cancel("gone")
        self.host.tell(events.ContactEnded(decision.contact_id, "customer"))

    async def _tell_and_join(self, offer: AgentOffer, decision: decided.Connect) -> None:
        language = self.desk.office.office.language
        name = self.customer_name(decision.contact_id)
        prompts = told(self, decision.queue_id, decision.waited_s, name, language)
        if not await offer.tell(prompts):
            return
        queue_call = self._contacts.get(decision.contact_id)
        if queue_call is None or queue_call.call is not offer.call or offer.leg is None:
            offer.cancel("gone")
            return
        assert offer.attempt is not None
        offer.joined()
        self.join(queue_call, offer)
        self.control.pump()

    def join(self, queue_call: QueueCall, offer: AgentOffer) -> None:
        """Caller and agent hear each other from now on."""
        assert offer.leg is not None
        assert offer.attempt is not None
        call = queue_call.call
        call.outlives_partner = True
        self.host.connected(queue_call.contact_id)
        queue_call.joining(offer.agent.id, offer.leg)
        self.control.office_calls.connect(call, offer.attempt, offer.leg)

    def _closed(self, decision: decided.ContactClosed) -> None:
        queue_call = self._contacts.pop(decision.contact_id, None)
        if queue_call is None:
            return
        queue_call.open = False
        if decision.outcome is Outcome.WITHDRAWN:
            target = queue_call.withdrawn_to
            queue_call.left(decision.reason or "withdrawn", target)
        elif queue_call.state in (State.ENTERING, State.WAITING):
            # Whatever else it was (a queue removed, a callback cancelled): nobody waits for it.
            queue_call.left(decision.reason or decision.outcome.value)

    def end_contact(self, queue_call: QueueCall, by: str) -> None:
        """The caller, or his agent, has gone."""
        if queue_call.open:
            queue_call.open = False
            self.host.tell(events.ContactEnded(queue_call.contact_id, by))

    def forget(self, call_id: str) -> QueueCall | None:
        """The call has ended, or is no longer a queue's."""
        self._contact_counts.pop(call_id, None)
        return self.calls.pop(call_id, None)

    # -- words -------------------------------------------------------------------------------------

    def name_prompts(self, queue: str, language: str) -> list[str]:
        """How a queue's name is said: as the office has recorded it, or spoken."""
        own = f"queue-{queue}"
        if self.desk.prompts.has(own, language):
            return [own]
        return self.text_prompts(queue, language)

    def text_prompts(self, text: str, language: str) -> list[str]:
        """A text, if it has been spoken already: nobody waits for it."""
        prompt = f"text:{text}"
        return [] if self.desk.prompts.needs_making(prompt, language) else [prompt]

    def prepare_text(self, text: str, language: str) -> None:
        """Have a text spoken, to be there when it is needed."""
        prompt = f"text:{text}"
        if text and self.desk.prompts.needs_making(prompt, language):
            self.spawn(self._speak(prompt, language))

    async def _speak(self, prompt: str, language: str) -> None:
        try:
            await self.desk.prompts.make(prompt, language)
        except CallError as error:
            _log.debug("%s", error)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something beside the calls; what it raises is logged."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.host.broken += 1
            _log.error("a task of the call centre failed", exc_info=task.exception())

    # -- what it shows -----------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """Table sizes: all 0 after the last hang-up, but for those that count."""
        return {
            **self.host.snapshot(),
            "calls": len(self.calls),
            "offers": len(self.offers),
            "tasks": len(self._tasks),
            **self.callbacks.snapshot(),
            **self.contacts.snapshot(),
            **self.watch.snapshot(),
            **self.supervision.snapshot(),
        }


def _regions_of(office: Office) -> frozenset[str]:
    return frozenset(region.name for region in office.regions)
