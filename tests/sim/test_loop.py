"""The virtual-time loop: time jumps, order is fixed, hanging programs are found."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from softswitch.sim.loop import (
    DeadlockError,
    LivelockError,
    RealWorldError,
    TimeLimitError,
    VirtualClock,
    VirtualLoop,
    run,
    simulated,
    virtual_loop,
)


def test_a_day_takes_no_time() -> None:
    async def main() -> float:
        await asyncio.sleep(86_400)
        return asyncio.get_running_loop().time()

    started = time.perf_counter()
    assert run(main()) == 86_400.0
    assert time.perf_counter() - started < 10


def test_timers_fire_in_order_at_their_exact_times() -> None:
    async def main() -> list[tuple[float, str]]:
        loop = asyncio.get_running_loop()
        seen: list[tuple[float, str]] = []
        for at_s, name in ((0.3, "c"), (0.1, "a"), (0.2, "b"), (1e5 + 0.1, "d")):
            loop.call_at(at_s, lambda name=name: seen.append((loop.time(), name)))
        await asyncio.sleep(2e5)
        return seen

    assert run(main()) == [(0.1, "a"), (0.2, "b"), (0.3, "c"), (100_000.1, "d")]


def test_timers_of_one_instant_fire_in_the_order_they_were_set() -> None:
    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        seen: list[int] = []
        for number in range(100):
            loop.call_at(1.0, seen.append, number)
        await asyncio.sleep(2)
        return seen

    assert run(main()) == list(range(100))


def test_a_deadlock_is_raised_and_names_who_waits() -> None:
    async def waits_for_ever() -> None:
        await asyncio.Event().wait()

    with pytest.raises(DeadlockError, match="waits_for_ever"):
        run(waits_for_ever())


def test_a_deadlock_after_time_has_passed() -> None:
    async def main() -> None:
        await asyncio.sleep(5)
        await asyncio.get_running_loop().create_future()

    with pytest.raises(DeadlockError, match=r"virtual second 5\.0"):
        run(main())


def test_endless_callbacks_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("softswitch.sim.loop._SPINS_MAX", 1000)

    async def main() -> None:
        for _ in iter(int, 1):
            await asyncio.sleep(0)

    with pytest.raises(LivelockError):
        run(main())


def test_the_time_limit_stops_periodic_work() -> None:
    async def main() -> None:
        for _ in iter(int, 1):
            await asyncio.sleep(30)

    with pytest.raises(TimeLimitError):
        run(main(), limit_s=3600)


def test_the_time_limit_is_inclusive() -> None:
    assert run(asyncio.sleep(10, "done"), limit_s=10) == "done"


def test_what_main_raises_comes_out_and_tasks_are_cancelled() -> None:
    cancelled: list[bool] = []

    async def background() -> None:
        try:
            await asyncio.sleep(1e9)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async def main() -> None:
        task = asyncio.create_task(background())
        await asyncio.sleep(1)
        assert not task.done()
        raise ValueError("from main")

    with pytest.raises(ValueError, match="from main"):
        run(main())
    assert cancelled == [True]


def test_the_seed_fixes_the_chance() -> None:
    async def main() -> list[float]:
        return [virtual_loop().random.random() for _ in range(5)]

    assert run(main(), seed=3) == run(main(), seed=3)
    assert run(main(), seed=3) != run(main(), seed=4)


@simulated(seed=7)
async def test_the_decorator_runs_on_virtual_time(tmp_path: object) -> None:
    assert tmp_path is not None  # fixtures reach the test through the decorator
    assert virtual_loop().seed == 7
    await asyncio.sleep(1000)
    assert virtual_loop().time() == 1000.0


@simulated()
async def test_the_real_world_is_refused() -> None:
    loop = asyncio.get_running_loop()
    with pytest.raises(RealWorldError):
        await loop.create_datagram_endpoint(asyncio.DatagramProtocol, ("127.0.0.1", 0))
    with pytest.raises(RealWorldError):
        await asyncio.open_connection("127.0.0.1", 1)
    with socket.socket() as sock, pytest.raises(RealWorldError):
        loop.add_reader(sock.fileno(), lambda: None)
    with pytest.raises(RealWorldError):
        await asyncio.create_subprocess_exec("true")


@simulated()
async def test_executors_run_inline() -> None:
    loop = asyncio.get_running_loop()
    assert await asyncio.to_thread(sum, (1, 2, 3)) == 6
    with pytest.raises(ZeroDivisionError):
        await loop.run_in_executor(None, lambda: 1 // 0)


@simulated()
async def test_timeouts_are_virtual() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(3600):
            await asyncio.Event().wait()
    assert virtual_loop().time() == 3600.0


def test_virtual_loop_outside_a_simulation() -> None:
    async def main() -> None:
        virtual_loop()

    with pytest.raises(RealWorldError):
        asyncio.run(main())


def test_the_wall_clock_may_jump_the_monotonic_not() -> None:
    loop = VirtualLoop()
    clock = VirtualClock(loop, wall_start_s=1000.0)
    loop.run_until_complete(asyncio.sleep(5))
    assert (clock.monotonic_s(), clock.wall_s()) == (5.0, 1005.0)
    clock.shift_wall(-3600)
    assert (clock.monotonic_s(), clock.wall_s()) == (5.0, -2595.0)
    loop.close()
