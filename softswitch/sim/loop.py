"""An asyncio event loop on virtual time: a day in a second, and the same from the same seed.

Nothing in it waits. When no callback is ready, the clock jumps to the next timer; when there is no
timer either and the main coroutine is not done, the program would hang for ever and `DeadlockError`
is raised instead, with the list of what the waiting tasks wait for. Sockets, pipes, signals and
processes are refused: what touches the real world would make the run depend on it.
"""

from __future__ import annotations

import asyncio
import functools
import heapq
import random
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context
from typing import Any, NoReturn, ParamSpec, TypeVar

T = TypeVar("T")
P = ParamSpec("P")

WALL_START_S = 1_767_323_045.0
"""Where wall time begins by default: 2026-01-02 03:04:05 UTC, a working Friday morning in Asia."""

_SPINS_MAX = 1_000_000
_TASKS_SHOWN_MAX = 20


class SimulationError(Exception):
    """Root of the simulation's own errors."""


class DeadlockError(SimulationError):
    """Every task waits and no timer is set: the real program would hang for ever here."""


class LivelockError(SimulationError):
    """Callbacks run without end and time stands still."""


class TimeLimitError(SimulationError):
    """The simulated time allowed for the run is over."""


class RealWorldError(SimulationError):
    """The code under simulation asked for a socket, a signal or a process."""


class _VirtualSelector:
    """Stands where `_run_once` expects a selector; selecting moves the clock instead of waiting."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        self._loop.pass_time(timeout)
        return []


class _OrderedTimer(asyncio.TimerHandle):
    """asyncio's heap forgets who came first among equal times; on virtual time equal is common."""

    __slots__ = ("_turn",)

    def __init__(
        self,
        when: float,
        turn: int,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        loop: asyncio.AbstractEventLoop,
        context: Context | None,
    ) -> None:
        super().__init__(when, callback, args, loop, context)
        self._turn = turn

    def __lt__(self, other: object) -> bool:
        assert isinstance(other, _OrderedTimer)
        return (self.when(), self._turn) < (other.when(), other._turn)


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop whose `time()` is virtual, starting at 0.0 seconds.

    Parameters: `seed` starts `loop.random`, the one source of chance a simulation may use;
    `limit_s` is the simulated time after which `TimeLimitError` is raised (None: no limit).

    `run_in_executor` runs the function at once in this thread, so its order is deterministic.
    Libraries with threads of their own (database drivers) do not belong in a simulation.
    """

    def __init__(self, seed: int = 0, *, limit_s: float | None = None) -> None:
        super().__init__()
        self.seed = seed
        self.random = random.Random(seed)
        self._now_s = 0.0
        self._limit_s = limit_s
        self._spins = 0
        self._turns = 0
        self._clock_resolution = 1e-9
        self._selector = _VirtualSelector(self)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now_s

    def pass_time(self, timeout: float | None) -> None:
        """Called once an iteration by the base class; `timeout` as a selector would take it."""
        if timeout is None:
            raise DeadlockError(self._describe_deadlock())
        if timeout <= 0:
            self._spins += 1
            if self._spins > _SPINS_MAX:
                raise LivelockError(f"{_SPINS_MAX} iterations at virtual second {self._now_s:.6f}")
            return
        self._spins = 0
        # Not `now + timeout`: the sum may round to just below the timer and wake nobody.
        scheduled: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        self._now_s = max(self._now_s, scheduled[0].when())
        if self._limit_s is not None and self._now_s > self._limit_s:
            raise TimeLimitError(f"more than {self._limit_s} simulated seconds")

    def _describe_deadlock(self) -> str:
        lines = [f"nothing is scheduled at virtual second {self._now_s:.6f}; waiting tasks:"]
        tasks = sorted(asyncio.all_tasks(self), key=lambda task: task.get_name())
        for task in tasks[:_TASKS_SHOWN_MAX]:
            frames = task.get_stack(limit=1)
            at = f"{frames[-1].f_code.co_filename}:{frames[-1].f_lineno}" if frames else "?"
            lines.append(f"  {task.get_name()} {getattr(task.get_coro(), '__qualname__', '')} {at}")
        if len(tasks) > _TASKS_SHOWN_MAX:
            lines.append(f"  and {len(tasks) - _TASKS_SHOWN_MAX} more")
        return "\n".join(lines)

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """As the base class; callbacks of the same instant run in the order they were set."""
        self._check_closed()  # type: ignore[attr-defined]
        self._turns += 1
        timer = _OrderedTimer(when, self._turns, callback, args, self, context)
        heapq.heappush(self._scheduled, timer)  # type: ignore[attr-defined]
        timer._scheduled = True  # type: ignore[attr-defined]
        return timer

    # What BaseEventLoop asks of a concrete loop.

    def _process_events(self, event_list: list[Any]) -> None:
        """No selector, no events."""

    def _write_to_self(self) -> None:
        """`call_soon_threadsafe` needs no wake-up: the loop never sleeps."""

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Run `func(*args)` now, in this thread; the future is already done."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future


def _refuse(*_args: Any, **_kwargs: Any) -> NoReturn:
    raise RealWorldError("no sockets, pipes, signals or processes on virtual time")


async def _refuse_async(*_args: Any, **_kwargs: Any) -> NoReturn:
    _refuse()


for _name in (
    *("add_reader", "remove_reader", "add_writer", "remove_writer"),
    *("add_signal_handler", "remove_signal_handler"),
):
    setattr(VirtualLoop, _name, _refuse)
for _name in (
    *("getaddrinfo", "getnameinfo", "create_connection", "create_server"),
    *("create_datagram_endpoint", "create_unix_connection", "create_unix_server"),
    *("connect_accepted_socket", "connect_read_pipe", "connect_write_pipe"),
    *("subprocess_shell", "subprocess_exec", "sock_recv", "sock_recv_into", "sock_recvfrom"),
    *("sock_recvfrom_into", "sock_sendall", "sock_sendto", "sock_connect", "sock_accept"),
):
    setattr(VirtualLoop, _name, _refuse_async)


class VirtualClock:
    """The `softswitch.clock.Clock` of a `VirtualLoop`.

    `monotonic_s` is the loop's time; `wall_s` is `wall_start_s` plus that, plus what `shift_wall`
    added: wall clocks jump (summer time, NTP, an administrator), monotonic ones never.
    """

    def __init__(self, loop: VirtualLoop, *, wall_start_s: float = WALL_START_S) -> None:
        self._loop = loop
        self._wall_start_s = wall_start_s

    def monotonic_s(self) -> float:
        return self._loop.time()

    def wall_s(self) -> float:
        return self._wall_start_s + self._loop.time()

    def shift_wall(self, by_s: float) -> None:
        """Let the wall clock jump by `by_s` seconds (negative: back)."""
        self._wall_start_s += by_s


def run(main: Coroutine[Any, Any, T], *, seed: int = 0, limit_s: float | None = None) -> T:
    """Run `main` to its end on a new `VirtualLoop` and return its result.

    Raises what `main` raises, `DeadlockError` where it would wait for ever, `TimeLimitError` after
    `limit_s` simulated seconds. Tasks still running at the end are cancelled, as by `asyncio.run`.
    """
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(seed, limit_s=limit_s)) as runner:
        return runner.run(main)


def simulated(
    seed: int = 0, *, limit_s: float | None = None
) -> Callable[[Callable[P, Awaitable[T]]], Callable[P, T]]:
    """Decorator: make an async test an ordinary function that runs on virtual time.

    Works with plain pytest; fixtures and parameters of the test are kept::

        @simulated(seed=7)
        async def test_a_day_passes() -> None:
            await asyncio.sleep(86_400)
    """

    def decorate(test: Callable[P, Awaitable[T]]) -> Callable[P, T]:
        @functools.wraps(test)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
            async def main() -> T:
                return await test(*args, **kwargs)

            return run(main(), seed=seed, limit_s=limit_s)

        return wrapper

    return decorate


def virtual_loop() -> VirtualLoop:
    """The running loop, which must be virtual; raises `RealWorldError` on any other."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop, VirtualLoop):
        raise RealWorldError("this needs softswitch.sim.run(...) or @simulated()")
    return loop
