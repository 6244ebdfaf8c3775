"""Who is calling, or called: the customer is looked up while the call is on its way.

The look-up begins with the INVITE, of a call of our own when it goes outside; beside the call. What needs the
answer (a menu, a queue) waits for it `WAIT_S` at most, which it does only where the database is slow; one that
does not answer in `GIVE_UP_S` or fails is left alone for `REST_S`. What is found is journaled, once a call, as
``call-customer``; `called` there says that he did not call.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from softswitch.call.identity import TrunkIdentity
from softswitch.call.known import TICKETS_TOLD, KnownCustomer, of_file
from softswitch.errors import SoftswitchError

if TYPE_CHECKING:
    from softswitch.apps.catalogue import Desk
    from softswitch.call.call import Call
    from softswitch.config import Customer
    from softswitch.store import Store

_log = logging.getLogger(__name__)

LookUp: TypeAlias = Callable[[str], Awaitable[KnownCustomer | None]]
"""The customer of a number in E.164; raises `SoftswitchError` where nobody can say."""

WAIT_S = 0.1
GIVE_UP_S = 1.0
REST_S = 10.0
LOOK_UPS_MAX = 200
"""Look-ups at once; calls beyond are not looked up."""
ALARM = "customers.look-up"
ENTRY = "call-customer"


def look_up_in(store: Store) -> LookUp:
    """Asks a database."""

    async def look_up(number: str) -> KnownCustomer | None:
        found = await store.customers.caller(number, TICKETS_TOLD)
        if found is None:
            return None
        profile = found.customer.profile
        return KnownCustomer(
            profile.name,
            tuple(profile.phones),
            profile.priority,
            tuple(profile.tags),
            profile.region,
            found.customer.id,
            found.tickets_open,
            found.tickets,
        )

    return look_up


class Callers:
    """Looks callers up.

    Args:
        desk: Time and journal.
        in_file: The customer of the office file with a number.
        e164: A number as E.164, None for what is none.
        last_agent: Who served a customer last, by the keys that the routing engine remembers him by.
        alarm: Raises an alarm by name, or takes it back with the reason "".

    `look_up` asks a database; `has_none` says that there is nobody in it, and saves the asking.
    """

    def __init__(
        self,
        desk: Desk,
        *,
        in_file: Callable[[str], Customer | None],
        e164: Callable[[str], str | None],
        last_agent: Callable[[KnownCustomer, str], str],
        alarm: Callable[[str, str], None],
    ) -> None:
        self._desk = desk
        self._in_file = in_file
        self._e164 = e164
        self._last_agent = last_agent
        self._alarm = alarm
        self.look_up: LookUp | None = None
        self.has_none: Callable[[], bool] = lambda: False
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._rests_until_s = 0.0
        self._is_alarmed = False
        self.found = self.unknown = self.failed = self.left_out = 0

    def begin(self, call: Call) -> None:
        """A call has come in."""
        if isinstance(call.identity, TrunkIdentity):
            self._begin(call, call.number_from)

    def called(self, call: Call, number: str) -> None:
        """A call of an extension or of the office goes to a number outside. Of a caller from outside that is
        sent on, he stays the customer."""
        if not isinstance(call.identity, TrunkIdentity) and call.known is None:
            self._begin(call, number, called=True)

    async def settled(self, call: Call) -> None:
        """Wait until it is known who is calling, or long enough."""
        task = self._tasks.get(call.call_id)
        if task is not None and not task.done():
            await asyncio.wait({task}, timeout=WAIT_S)

    async def identify(self, call: Call, number: str) -> KnownCustomer | None:
        """The caller has said (and proved) that he is the customer of another number."""
        call.customer_number = number or None
        call.known = None
        self._begin(call, number or call.number_from)
        await self.settled(call)
        return call.customer

    async def known(self, number: str) -> KnownCustomer | None:
        """Whose number that is, beside any call; None also where nobody can say in time."""
        e164 = self._e164(number)
        found = None
        if e164 is not None and self.look_up is not None and not self._is_left_out():
            try:
                async with asyncio.timeout(WAIT_S):
                    found = await self.look_up(e164)
            except (SoftswitchError, TimeoutError, OSError) as error:
                _log.warning("whose number %s is cannot be said: %s", number, error)
        customer = self._in_file(number)
        return of_file(customer) if found is None else found.and_file(customer)

    def snapshot(self) -> dict[str, int]:
        """For `status`; `look_ups` is 0 at rest."""
        return {
            "look_ups": len(self._tasks),
            "found": self.found,
            "unknown": self.unknown,
            "failed": self.failed,
            "left_out": self.left_out,
        }

    async def stop(self) -> None:
        """Look nobody up any more."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- inside ---------------------------------------------------------------------------------

    def _begin(self, call: Call, written: str, *, called: bool = False) -> None:
        before = self._tasks.pop(call.call_id, None)
        if before is not None:
            before.cancel()
        number = self._e164(written)
        nobody = number is None or self.look_up is None or self.has_none()
        if nobody or number is None or self._is_left_out():
            self._know(call, written, number, None, called)
            return
        task = asyncio.get_running_loop().create_task(self._ask(call, written, number, called))
        self._tasks[call.call_id] = task
        task.add_done_callback(lambda done: self._forget(call.call_id, done))

    def _is_left_out(self) -> bool:
        resting = self._desk.clock.monotonic_s() < self._rests_until_s
        if resting or len(self._tasks) >= LOOK_UPS_MAX:
            self.left_out += 1
            return True
        return False

    async def _ask(self, call: Call, written: str, number: str, called: bool) -> None:
        assert self.look_up is not None
        try:
            async with asyncio.timeout(GIVE_UP_S):
                known = await self.look_up(number)
        except (SoftswitchError, TimeoutError, OSError) as error:
            self._fail(str(error) or f"no answer within {GIVE_UP_S:g} s")
            known = None
        except Exception as error:  # whatever it is, the call goes on
            _log.exception("who calls could not be looked up")
            self._fail(type(error).__name__)
            known = None
        else:
            if self._is_alarmed:
                self._is_alarmed = False
                self._alarm(ALARM, "")
        self._know(call, written, number, known, called)

    def _fail(self, why: str) -> None:
        self.failed += 1
        self._rests_until_s = self._desk.clock.monotonic_s() + REST_S
        _log.warning("who calls cannot be looked up for %g s: %s", REST_S, why)
        self._is_alarmed = True
        self._alarm(ALARM, why)

    def _know(
        self,
        call: Call,
        written: str,
        number: str | None,
        known: KnownCustomer | None,
        called: bool,
    ) -> None:
        customer = self._in_file(written)
        known = of_file(customer) if known is None else known.and_file(customer)
        if known is None:
            self.unknown += 1
            return
        self.found += 1
        known = replace(known, last_agent=self._last_agent(known, number or written))
        call.known = known
        if not call.ended:
            at_s = self._desk.clock.wall_s()
            data = {**known.told(), "called": called}
            self._desk.journal.append(ENTRY, call.call_id, data, at_s)

    def _forget(self, call_id: str, task: asyncio.Task[None]) -> None:
        if self._tasks.get(call_id) is task:
            del self._tasks[call_id]
