"""The applications that answer calls, each run in a task of its own, and where calls go after them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from softswitch.config import Destination
from softswitch.errors import CallEnded, CallError
from softswitch.sip.causes import q850_of_status

if TYPE_CHECKING:
    from softswitch.call.call import Call
    from softswitch.call.control import CallControl
    from softswitch.call.endpoint import Outcome
    from softswitch.call.known import KnownCustomer

_log = logging.getLogger("softswitch.call")

App: TypeAlias = Callable[["Call", str], Awaitable[None]]

APOLOGY = "apology"
"""The kind of application that tells a caller in words why nobody could be reached."""

# Applications that send a call round among themselves without ever waiting would stop the exchange.
TRANSFERS_MAX = 64


class Enqueue(Protocol):
    """How `Call.enqueue` reaches the queues."""

    async def __call__(self, call: Call, queue: str, max_wait_s: float | None) -> Outcome: ...


class FindsCallers(Protocol):
    """Who finds out which customer is calling, or called. Nothing here fails, or takes long."""

    def begin(self, call: Call) -> None: ...

    def called(self, call: Call, number: str) -> None: ...

    async def settled(self, call: Call) -> None: ...

    async def identify(self, call: Call, number: str) -> KnownCustomer | None: ...


@dataclass(slots=True)
class Apps:
    """Who answers what: applications by the kind of destination (``ivr``, ``queue``, ``apology``...),
    what `Call.enqueue` does, and who finds out which customers are calling."""

    by_kind: dict[str, App] = field(default_factory=dict)
    enqueue: Enqueue | None = None
    callers: FindsCallers | None = None


class Running:
    """Runs the applications of a `CallControl`'s calls."""

    def __init__(self, control: CallControl, apps: Apps) -> None:
        self._control = control
        self._apps = apps
        self._tasks: set[asyncio.Task[None]] = set()
        self.broken = 0

    def __len__(self) -> int:
        return len(self._tasks)

    def has(self, kind: str) -> bool:
        return kind in self._apps.by_kind

    def start(self, call: Call, to: Destination) -> None:
        """Let the application for `to` have the call."""
        coroutine = self._run(call, self._apps.by_kind[to.kind], to.name)
        self._begin(coroutine, f"{to.kind} {call.call_id}")

    def start_app(self, call: Call, app: App, name: str) -> None:
        """Let `app` have the call, whatever its kind."""
        self._begin(self._run(call, app, name), f"app {call.call_id}")

    def _begin(self, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def inline(self, call: Call, kind: str, name: str) -> None:
        """Let an application have the call for a while, on behalf of the handler that awaits it."""
        app = self._apps.by_kind.get(kind)
        if app is None:
            raise CallError(f"there is no application for {kind}")
        await app(call, name)

    async def enqueue(self, call: Call, queue: str, max_wait_s: float | None) -> Outcome:
        """For `Call.enqueue`."""
        if self._apps.enqueue is None:
            raise CallError("queues are not served yet")
        return await self._apps.enqueue(call, queue, max_wait_s)

    def came_in(self, call: Call) -> None:
        """A call from outside begins: who is it?"""
        if self._apps.callers is not None:
            self._apps.callers.begin(call)

    def goes_out(self, call: Call, number: str) -> None:
        """A call of our own goes outside: who is that?"""
        if self._apps.callers is not None:
            self._apps.callers.called(call, number)

    async def identify(self, call: Call, number: str) -> KnownCustomer | None:
        """For `Call.identify`."""
        if self._apps.callers is not None:
            return await self._apps.callers.identify(call, number)
        call.customer_number = number or None
        return call.customer

    async def _run(self, call: Call, app: App, name: str) -> None:
        status, outcome = 480, "no-answer"
        try:
            if self._apps.callers is not None:
                await self._apps.callers.settled(call)
            if not call.ended:
                await app(call, name)
        except CallEnded:
            pass
        except Exception:
            self.broken += 1
            status, outcome = 500, "failed"
            call.onward = None
            _log.exception("the handler of call %s failed", call.call_id)
        if call.ended:
            return
        if call.onward is not None:
            self._go_on(call)
            return
        if call.answered_at_s is not None:
            status, outcome = 200, "answered"
        q850 = 16 if status == 200 else q850_of_status(status)
        self._control.end_call(call, by="switch", q850=q850, status=status, outcome=outcome)

    def _go_on(self, call: Call) -> None:
        onward, call.onward = call.onward, None
        assert onward is not None
        call.moves += 1
        if call.moves > TRANSFERS_MAX:
            _log.warning("call %s was sent on %d times: ended", call.call_id, call.moves)
            self._control.end_call(call, by="switch", q850=25, status=482, outcome="failed")
            return
        call.forget_digits()
        self._control.audio.silence(call)
        try:
            self._control.route(call, onward)
            # We come from a timer or a task, not from an event of the stack: nobody else sends.
            self._control.pump()
        except Exception:
            self.broken += 1
            _log.exception("call %s could not be sent on to %s", call.call_id, onward)
            self._control.end_call(call, by="switch", q850=41, status=500, outcome="failed")

    async def stop(self) -> None:
        """Wait for the handlers of calls that have been ended."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5.0)
