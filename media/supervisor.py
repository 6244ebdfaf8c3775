"""The worker processes: started, watched, replaced when they die; one more kept ready for that."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from media.errors import MediaError
from media.process import WorkerProcess
from media.protocol import Command, MediaEvent, Stop, WorkerLoad

_READY_S = 15.0
_STOP_S = 5.0
_WATCH_S = 1.0
_DEAF_S = 10.0
_RETRY_S = (0.0, 0.1, 0.5, 2.0, 5.0)
_HEALTHY_S = 10.0

Introduction = Iterable[tuple[Command, tuple[int, ...]]]
"""Commands, each with the descriptors that go with it."""


class Send(Protocol):
    """As `WorkerProcess.send`."""

    def __call__(
        self, command: Command, descriptors: tuple[int, ...] = (), *, patient: bool = False
    ) -> None: ...


def _to_nobody(
    command: Command, descriptors: tuple[int, ...] = (), *, patient: bool = False
) -> None:
    """To a worker that is being replaced: it will be introduced."""


@dataclass(slots=True)
class _Post:
    """A worker's number and the process that fills it now."""

    worker: int
    process: WorkerProcess | None = None
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    since_s: float = 0.0
    heard_s: float = 0.0
    deaths: int = 0
    deaths_in_a_row: int = 0
    load: WorkerLoad | None = None
    replacing: bool = False
    renewing: bool = False
    """It was asked to end, so that a fresh process takes its place."""
    retry: asyncio.TimerHandle | None = None


class Supervisor:
    """Keeps `workers` processes alive; `senders` has for each what `send` does, for who has many commands.

    `introduce(worker)` gives all that a new process must be told; `on_event(worker, event)` takes
    what a worker says; `on_death(worker)` and `on_replaced(worker)` tell of its end and of a
    successor that serves. `spare`: keep one process more, ready to take over at once.
    """

    def __init__(
        self,
        workers: int,
        *,
        spare: bool,
        introduce: Callable[[int], Introduction],
        on_event: Callable[[int, MediaEvent], None],
        on_death: Callable[[int], None],
        on_replaced: Callable[[int], None],
    ) -> None:
        self._posts = [_Post(number) for number in range(workers)]
        self.senders: list[Send] = [_to_nobody] * workers
        self._spare_wanted = spare
        self._introduce = introduce
        self._on_event = on_event
        self._on_death = on_death
        self._on_replaced = on_replaced
        self._spare: WorkerProcess | None = None
        self._spare_retry: asyncio.TimerHandle | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._running = False
        self._loop: asyncio.AbstractEventLoop

    async def start(self) -> None:
        """Start all workers and wait until they serve; raises `MediaError` if one does not."""
        self._loop = asyncio.get_running_loop()
        self._running = True
        try:
            for post in self._posts:
                self._fill(post, None)
            async with asyncio.timeout(_READY_S):
                for post in self._posts:
                    await post.ready.wait()
        except TimeoutError:
            await self.stop()
            raise MediaError(f"a media worker was not ready after {_READY_S:.0f} s") from None
        except MediaError:
            await self.stop()
            raise
        self._prepare_spare()
        self._watch = self._loop.call_later(_WATCH_S, self._look_after)

    async def stop(self) -> None:
        """Let the workers finish their recordings and end."""
        self._running = False
        for handle in (self._watch, self._spare_retry, *(post.retry for post in self._posts)):
            if handle is not None:
                handle.cancel()
        processes = [post.process for post in self._posts if post.process is not None]
        for process in processes:
            process.send(Stop())
        if self._spare is not None:
            self._spare.close()
            processes.append(self._spare)
            self._spare = None
        await asyncio.gather(*(process.gone(_STOP_S) for process in processes))
        for process in processes:
            process.read_all()  # what it said last
            process.close()
        for post in self._posts:
            post.process = None
            self.senders[post.worker] = _to_nobody

    def send(
        self,
        worker: int,
        command: Command,
        descriptors: tuple[int, ...] = (),
        *,
        patient: bool = False,
    ) -> None:
        """Send a command, one that is `patient` with the next; to a worker that is being replaced
        nothing, it will be introduced."""
        self.senders[worker](command, descriptors, patient=patient)

    def flush(self) -> None:
        """Have all workers hear now what they were to hear at the end of this turn of the loop."""
        for post in self._posts:
            process = post.process
            if process is not None and process.gathering:
                process.flush()

    def renew(self, worker: int) -> None:
        """Let a fresh process take the place of a worker that has nothing to do."""
        post = self._posts[worker]
        if post.process is not None and not post.renewing:
            post.renewing = True
            post.process.send(Stop())

    def load_of(self, worker: int) -> tuple[float, int] | None:
        """Return the share of a core and the streams that a worker has reported last."""
        load = self._posts[worker].load
        return None if load is None else (load.cpu, load.streams)

    def alive(self) -> list[int]:
        """Return the workers that have a process now."""
        return [post.worker for post in self._posts if post.process is not None]

    def is_alive(self, worker: int) -> bool:
        """Whether a worker has a process now."""
        return self._posts[worker].process is not None

    def snapshot(self) -> list[dict[str, Any]]:
        """Return pid, load and deaths of each worker."""
        return [
            {
                "worker": post.worker,
                "pid": None if post.process is None else post.process.pid,
                "cpu": None if post.load is None else post.load.cpu,
                "packets_in": None if post.load is None else post.load.packets_in,
                "packets_out": None if post.load is None else post.load.packets_out,
                "unknown_sources": None if post.load is None else post.load.unknown_sources,
                "restarts": post.deaths,
            }
            for post in self._posts
        ]

    @property
    def spare_pid(self) -> int | None:
        """Process id of the spare worker, if there is one."""
        return None if self._spare is None else self._spare.pid

    def _spawn(self) -> WorkerProcess:
        def heard(event: MediaEvent) -> None:
            self._heard(process, event)

        def ended() -> None:
            self._ended(process)

        process = WorkerProcess(heard, ended)
        return process

    def _fill(self, post: _Post, process: WorkerProcess | None) -> None:
        post.process = self._spawn() if process is None else process
        self.senders[post.worker] = post.process.send
        post.since_s = post.heard_s = self._loop.time()
        post.ready.clear()
        for command, descriptors in self._introduce(post.worker):
            post.process.send(command, descriptors)

    def _post_of(self, process: WorkerProcess) -> _Post | None:
        for post in self._posts:
            if post.process is process:
                return post
        return None

    def _heard(self, process: WorkerProcess, event: MediaEvent) -> None:
        post = self._post_of(process)
        if post is None:
            return
        post.heard_s = self._loop.time()
        if isinstance(event, WorkerLoad):
            post.load = event
            post.ready.set()
            if post.replacing:  # its first word: what it was told at birth is served now
                post.replacing = False
                self._on_replaced(post.worker)
            if post.heard_s - post.since_s > _HEALTHY_S:
                post.deaths_in_a_row = 0
        self._on_event(post.worker, event)

    def _ended(self, process: WorkerProcess) -> None:
        if process is self._spare:
            self._spare = None
            if self._running:
                self._spare_retry = self._loop.call_later(_RETRY_S[-1], self._prepare_spare)
            return
        post = self._post_of(process)
        if post is None:
            return
        post.process = post.load = None
        self.senders[post.worker] = _to_nobody
        if not self._running:
            return
        if post.renewing:
            post.renewing = False
            self._replace(post)
            return
        post.deaths += 1
        self._on_death(post.worker)
        # What kills one worker after the other must not become a loop of forks.
        delay_s = _RETRY_S[min(post.deaths_in_a_row, len(_RETRY_S) - 1)]
        post.deaths_in_a_row += 1
        if delay_s:
            post.retry = self._loop.call_later(delay_s, self._replace, post)
        else:
            self._replace(post)

    def _replace(self, post: _Post) -> None:
        if not self._running or post.process is not None:
            return
        spare, self._spare = self._spare, None
        try:
            self._fill(post, spare)
        except MediaError:
            post.retry = self._loop.call_later(_RETRY_S[-1], self._replace, post)
            return
        post.replacing = True
        # Not at once: the replacement needs the processor more.
        self._spare_retry = self._loop.call_later(_WATCH_S, self._prepare_spare)

    def _prepare_spare(self) -> None:
        if self._running and self._spare_wanted and self._spare is None:
            with contextlib.suppress(MediaError):
                self._spare = self._spawn()

    def _look_after(self) -> None:
        """A worker that says nothing for long is stuck: end it, the rest follows."""
        now_s = self._loop.time()
        for post in self._posts:
            if post.process is not None and now_s - post.heard_s > _DEAF_S:
                post.process.kill()
        self._watch = self._loop.call_later(_WATCH_S, self._look_after)
