"""Ten minutes of a call centre on real sockets: 100 agents, 500 callers, the exchange with its media worker and
its database, and accounts that agree with the journal at the end.

    make office      (or: pytest -m soak tests/soak/test_real_office.py; SEED=7 chooses another day)
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

import pytest

from softswitch.apps.checks import OFFICE_CHECKS
from softswitch.config import parse_office
from softswitch.environment import Machine
from softswitch.ports import free_port
from softswitch.sim.centre import centre_office
from softswitch.sim.phone import VirtualPhone
from softswitch.sim.phone_audio import PhoneAudio
from softswitch.sim.real_network import RealNetwork
from softswitch.sim.trunk import VirtualTrunk
from softswitch.sim.world import JournalEntry, MemoryJournal
from softswitch.switch import Switch
from tests.apps.people import KEYS, MORE, People, agents_of, check_accounts, run_office

AGENTS, CALLERS, MEAN_S = 97, 500, 1.2
PAUSE_S = 2.0


class SparseAudio(PhoneAudio):
    """Sends a frame every two seconds, and keys as they are: a conversation is alive, and a hundred of them
    leave the machine to the exchange."""

    def _tick(self) -> None:
        super()._tick()
        if self._tick_handle is not None and self._event is None and not self._to_press:
            self._tick_handle.cancel()
            self._next_tick_s = self._loop.time() + PAUSE_S
            self._tick_handle = self._loop.call_at(self._next_tick_s, self._tick)

    def press(self, digits: str) -> None:
        super().press(digits)
        if self._tick_handle is not None:
            self._tick_handle.cancel()
            self._next_tick_s = self._loop.time()
            self._tick_handle = self._loop.call_soon(self._tick)  # type: ignore[assignment]


class _Sparse:
    async def _open_audio(self: Any) -> PhoneAudio:
        return SparseAudio(await self._network.open_socket(self.local[0]), self._random)


class SparsePhone(_Sparse, VirtualPhone):
    pass


class SparseTrunk(_Sparse, VirtualTrunk):
    pass


class CopyingMachine(Machine):
    """The real machine; what goes into the journal is kept in memory too."""

    def __init__(self) -> None:
        super().__init__()
        self.copy = MemoryJournal()

    async def store(self, office, directory, on_alarm):
        journal, store = await super().store(office, directory, on_alarm)
        append = journal.append

        def both(kind, call_id, data, at_s):
            self.copy.entries.append(JournalEntry(kind, call_id, dict(data), at_s))
            return append(kind, call_id, data, at_s)

        journal.append = both
        return journal, store


class RealWorld:
    """What `People` need of a world, made of real sockets."""

    def __init__(self, office, directory, seed: int) -> None:
        storage = office.storage.model_copy(update={"directory": directory})
        self.office = office.model_copy(update={"storage": storage})
        self.machine = CopyingMachine()
        self.clock, self.journal = self.machine.clock, self.machine.copy
        self.switch = Switch(self.office, environment=self.machine)
        self.network, self.seed = RealNetwork(), seed
        self.agents: list[Any] = []

    def _server(self):
        listen = self.office.sip.listen[0]
        return listen.host, listen.port

    async def phone(self, number, behaviour=None):
        password = next(e.password for e in self.office.extensions if e.number == number)
        phone = SparsePhone(
            self.network,
            number=number,
            password=password,
            server=self._server(),
            domain=self.office.office.domain,
            host="127.0.0.1",
            port=0,
            behaviour=behaviour,
            seed=self.seed + int(number),
            sound=True,
        )
        await phone.open()
        self.agents.append(phone)
        assert (await phone.register()).status == 200
        return phone

    async def trunk(self, name):
        trunk = next(t for t in self.office.trunks if t.name == name)
        carrier = SparseTrunk(
            self.network,
            name=name,
            server=self._server(),
            host=trunk.host,
            port=trunk.port,
            behaviour=None,
            seed=self.seed,
            sound=True,
        )
        await carrier.open()
        self.agents.append(carrier)
        return carrier


@pytest.mark.soak
async def test_a_hundred_agents_and_five_hundred_callers_on_real_sockets(tmp_path):
    seed = int(os.environ.get("SEED", "100"))
    callers = int(os.environ.get("CALLERS", str(CALLERS)))
    text = centre_office(KEYS, agents=agents_of(100), more=MORE, extensions=100)
    text = text.replace('"+861000"\n', '"+861000"\nmax_calls = 1000\nmax_calls_per_s = 100\n', 1)
    text = text.replace("10.0.0.1:5060", f"127.0.0.1:{free_port('127.0.0.1')}")
    text = text.replace('address = "10.0.0.1"', 'address = "127.0.0.1"')
    text = text.replace("10.0.1.1:5060", f"127.0.0.2:{free_port('127.0.0.2')}")
    office = parse_office(text, "real office", checks=OFFICE_CHECKS)
    world = RealWorld(office, tmp_path, seed)
    problems: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, c: problems.append(c))
    numbers = [f"010{60000000 + n}" for n in range(300)]
    await world.switch.start()
    began_s, cpu_s = time.monotonic(), time.process_time()
    try:
        people = People(world, seed, numbers=numbers, press_key=lambda call, key: call.press(key))
        await run_office(
            world,
            people,
            agents=AGENTS,
            callers=callers,
            mean_s=MEAN_S,
            until_s=world.clock.monotonic_s() + callers * MEAN_S,
            rest_s=60,
        )
        outcomes = check_accounts(world, people)
        left = world.switch.snapshot()["acd"]
        await world.switch.store.journal.flush()
        kept = await world.switch.store.entries.after(0, "acd-closed", 10_000)
    finally:
        for agent in world.agents:
            await agent.close()
        await world.switch.stop()
    lasted_s, cpu_s = time.monotonic() - began_s, time.process_time() - cpu_s
    figures = f"seed {seed}, {people.called} callers, {dict(outcomes)}"
    print(f"\n{lasted_s:.0f} s, {cpu_s:.0f} s CPU: {figures}")
    assert people.called == callers
    assert len(kept) == sum(outcomes.values()), "the database has what the journal was given"
    assert left["calls"] == left["offers"] == 0
    assert outcomes["answered"] > 0.5 * callers
    assert problems == []
    assert [f for agent in world.agents for f in agent.failures] == []
