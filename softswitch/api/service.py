"""What the routes stand on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec, TypeVar

from fastapi import Depends, Request

from softswitch.api.accounts import Accounts
from softswitch.api.sessions import Sessions

if TYPE_CHECKING:
    from softswitch.clock import Clock
    from softswitch.config import Office
    from softswitch.store import Store
    from softswitch.switch import Switch

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(slots=True)
class Service:
    """One exchange as the API sees it. `switch` is the running one; work that takes long is done in
    `executor`'s threads, so that no call waits for a report."""

    office: Office
    store: Store
    clock: Clock
    switch: Switch
    sessions: Sessions
    accounts: Accounts
    executor: ThreadPoolExecutor
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def in_thread(self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Run what would hold up the loop."""

        def call() -> T:
            return function(*arguments, **named)

        return await asyncio.get_running_loop().run_in_executor(self.executor, call)


def _service(request: Request) -> Any:
    return request.app.state.service


Served = Annotated[Service, Depends(_service)]
"""Parameter of a route: what it stands on."""
