"""A whole office on virtual time, in one process and from one seed.

@simulated()
async def test_a_call() -> None:
    async with World(seed=1, office=small_office()) as world:
        caller, callee = await world.phone("1001"), await world.phone("1002")
        call = await caller.call("1002")
        await call.answered()
        call.hang_up()
        await world.settle()
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from media.protocol import MediaEvent
from softswitch.apps.ask import Asker
from softswitch.apps.checks import OFFICE_CHECKS
from softswitch.apps.mailer import SendMail
from softswitch.clock import Clock
from softswitch.config import Office, parse_office
from softswitch.errors import MailError
from softswitch.sim.behaviour import Behaviour
from softswitch.sim.checkers import (
    check_journal,
    check_media,
    check_rest,
    check_wire,
    flatten,
    require,
)
from softswitch.sim.datagram import Address, PhoneNetwork
from softswitch.sim.dns import SimDns
from softswitch.sim.link import Link
from softswitch.sim.loop import SimulationError, VirtualClock, virtual_loop
from softswitch.sim.media import SimMediaPlane
from softswitch.sim.network import SimNetwork
from softswitch.sim.phone import VirtualPhone
from softswitch.sim.refusals import check_refusals
from softswitch.sim.sip_trace import SipTrace
from softswitch.sim.trunk import VirtualTrunk
from softswitch.sim.user_agent import UserAgent
from softswitch.switch import Switch
from softswitch.transport.interface import Transport

if TYPE_CHECKING:
    from softswitch.store import StoreAlarm

EXCHANGE: Address = ("10.0.0.1", 5060)
"""Where `small_office` listens."""

_SECRET_OCTETS = 32
_QUIET_S = 70.0


def small_office(
    *,
    extensions: int = 4,
    trunks: int = 1,
    recording: str = "none",
    health_check_s: float = 0.0,
    listen: Iterable[str] = (),
    sip: str = "",
    more: str = "",
) -> str:
    """The text of an office file for simulations.

    Extensions 1001, 1002, ... with password ``secret-1001``, ...; trunks ``carrier-1`` at
    10.0.1.1:5060, ...; calls to 9... leave by them, +861000 comes to 1001. `listen`: this machine's
    addresses on loopback instead of the simulated host's; `sip`: more keys of that table. `more` is added.
    """
    host, port = EXCHANGE
    if listen:
        host = "127.0.0.1"
    listening = ", ".join(f'"{each}"' for each in listen or [f"udp://{host}:{port}"])
    lines = [
        f'[office]\nname = "Simulated"\ndomain = "office.example"\n\n[sip]\n'
        f'listen = [{listening}]\n{sip}\n\n[media]\naddress = "{host}"\n'
        f'ports = "20000-29999"\nworkers = 1\n\n[recording]\ncalls = "{recording}"\n'
    ]
    for number in range(1001, 1001 + extensions):
        lines.append(
            f'[[extension]]\nnumber = "{number}"\npassword = "secret-{number}"\n'
            'permissions = ["internal", "local", "national"]\n'
        )
    names = [f"carrier-{number}" for number in range(1, trunks + 1)]
    for number, name in enumerate(names, 1):
        address = f"10.0.1.{number}:5060"
        lines.append(
            f'[[trunk]]\nname = "{name}"\nuri = "sip:{address}"\n'
            f'from_addresses = ["{address}"]\ncaller_id = "+861000"\n'
            f"health_check_s = {health_check_s:g}\n"
        )
    if names:
        chosen = ", ".join(f'"{name}"' for name in names)
        lines.append(
            f'[[outbound]]\nprefix = "9"\nstrip = 1\npermission = "national"\ntrunks = [{chosen}]\n'
            '[[inbound]]\nnumber = "+861000"\nto = "extension:1001"\n'
        )
    return "\n".join([*lines, more])


def _parsed(text: str) -> Office:
    return parse_office(text, "simulated office", checks=OFFICE_CHECKS)


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One entry of the journal."""

    kind: str
    call_id: str | None
    data: dict[str, Any]
    at_s: float


class MemoryJournal:
    """The journal in a list."""

    def __init__(self) -> None:
        self.entries: list[JournalEntry] = []

    def append(self, kind: str, call_id: str | None, data: dict[str, Any], at_s: float) -> None:
        """Add one entry."""
        self.entries.append(JournalEntry(kind, call_id, data, at_s))

    def of_kind(self, kind: str) -> list[JournalEntry]:
        """All entries of a kind, oldest first."""
        return [entry for entry in self.entries if entry.kind == kind]

    def of_call(self, call_id: str) -> list[JournalEntry]:
        """All entries of a call, oldest first."""
        return [entry for entry in self.entries if entry.call_id == call_id]


class SimEnvironment:
    """What a `softswitch.switch.Switch` stands on in a world: nothing real.

    Host names are looked up in `dns`; `media` is the plane that the switch was given last.
    """

    def __init__(self, network: SimNetwork, seed: int) -> None:
        self.virtual_clock = VirtualClock(virtual_loop())
        self.clock: Clock = self.virtual_clock
        self.journal = MemoryJournal()
        self.dns = SimDns()
        self.mails: list[EmailMessage] = []
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.answers: dict[str, Any] = {}
        self.answer_after_s = 0.0
        self.mail_fails = ""
        self.media: SimMediaPlane | None = None
        self._network = network
        self._random = random.Random(f"exchange {seed}")

    def transports(self, office: Office) -> list[Transport]:
        """Endpoints of the network for `[sip] listen`, UDP only."""
        listens = [listen for listen in office.sip.listen if listen.transport == "udp"]
        return [self._network.transport(listen.host, listen.port) for listen in listens]

    def plane(
        self, office: Office, directory: Path, on_event: Callable[[MediaEvent], None]
    ) -> SimMediaPlane:
        """A silent media plane."""
        workers, address = office.media.workers, office.media.address
        (directory / "recordings").mkdir(parents=True, exist_ok=True)
        self.media = SimMediaPlane(
            on_event=on_event,
            address=EXCHANGE[0] if address == "auto" else address,
            ports=office.media.ports,
            workers=1 if workers == "auto" else int(workers),
            recordings_dir=directory / "recordings",
        )
        return self.media

    async def store(
        self, office: Office, directory: Path, on_alarm: Callable[[StoreAlarm], None]
    ) -> tuple[MemoryJournal, None]:
        """The journal in memory, and no database."""
        return self.journal, None

    def lookup(self, office: Office) -> SimDns:
        """A DNS in memory."""
        return self.dns

    def token(self) -> str:
        """80 bits from the seed."""
        return f"{self._random.getrandbits(80):020x}"

    def admin(self) -> bool:
        """No sockets here."""
        return False

    def http(self) -> bool:
        """No sockets here."""
        return False

    def mail(self, office: Office) -> SendMail:
        """Mails are kept in `mails`; with `mail_fails` each is refused with those words."""

        async def send(message: EmailMessage) -> None:
            if self.mail_fails:
                raise MailError(self.mail_fails)
            self.mails.append(message)

        return send

    def asker(self, office: Office) -> Asker:
        """Questions are kept in `asked` and answered from `answers`, by URL, after `answer_after_s`."""

        async def ask(url: str, *, timeout_s: float, query: Mapping[str, str]) -> Any | None:
            self.asked.append((url, dict(query)))
            await asyncio.sleep(min(self.answer_after_s, timeout_s))
            return self.answers.get(url) if self.answer_after_s < timeout_s else None

        return ask

    def telemetry(self, office: Office) -> None:
        """No traces leave the simulation."""

    def secret(self) -> bytes:
        """The key of the exchange's nonces, from the seed."""
        return self._random.randbytes(_SECRET_OCTETS)


class World:
    """An exchange, its phones and its carriers on one simulated network.

    Parameters: `office` is an office file's text or an `Office`; `link` the default link of the
    network. To be used as an async context manager on a `VirtualLoop`; leaving it closes all.

    Attributes: `network`, `trace` (every SIP message sent), `arrived`, `switch`, `journal`, `media`, `clock`,
    `phones` and `trunks` by name.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        office: Office | str | None = None,
        link: Link | None = None,
        prepare: Callable[[Switch], None] | None = None,
    ) -> None:
        self.seed = seed
        self.network = SimNetwork(seed, default=link)
        self.trace = SipTrace()
        self.arrived = SipTrace()
        self.network.tap = self.trace.tap
        self.network.tap_delivered = self.arrived.tap
        self.environment = SimEnvironment(self.network, seed)
        self.clock = self.environment.virtual_clock
        self.journal = self.environment.journal
        self.phones: dict[str, VirtualPhone] = {}
        self.trunks: dict[str, VirtualTrunk] = {}
        self._agents: list[UserAgent] = []
        self._folder = tempfile.TemporaryDirectory(prefix="softswitch-sim-")
        self.office = self._settle_office(small_office() if office is None else office)
        self.switch = Switch(self.office, environment=self.environment)
        if prepare is not None:
            prepare(self.switch)
        self._problems: list[dict[str, Any]] = []
        self._baseline: dict[str, int] = {}

    @property
    def media(self) -> SimMediaPlane:
        """The silent media plane; raises `SimulationError` before the start."""
        if self.environment.media is None:
            raise SimulationError("the world has not been entered")
        return self.environment.media

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The virtual loop."""
        return virtual_loop()

    async def __aenter__(self) -> Self:
        self.loop.set_exception_handler(lambda _, context: self._problems.append(context))
        try:
            await self.switch.start()
        except BaseException:
            self._folder.cleanup()
            raise
        self._baseline = self._tables()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        try:
            for agent in self._agents:
                await agent.close()
            await self.switch.stop()
        finally:
            self._folder.cleanup()

    async def phone(
        self,
        number: str,
        *,
        behaviour: Behaviour | None = None,
        register: bool = True,
        network: PhoneNetwork | None = None,
        host: str | None = None,
        **options: Any,
    ) -> VirtualPhone:
        """A phone for extension `number`, registered unless `register` is False.

        It gets an address of its own (10.0.2.N) and the password of the office file. `network` may
        be a NAT; `options` go to `VirtualPhone`. Several phones may share a number; `phones` then
        has the last.
        """
        extension = next((e for e in self.office.extensions if e.number == number), None)
        options.setdefault("password", extension.password if extension is not None else None)
        options.setdefault("sound", False)
        index = len(self._agents) + 1
        phone = VirtualPhone(
            network if network is not None else self.network,
            number=number,
            server=self._server(),
            domain=self.office.office.domain,
            host=host if host is not None else f"10.0.2.{index}",
            port=options.pop("port", 5060),
            behaviour=behaviour,
            seed=self.seed + index,
            **options,
        )
        await phone.open()
        self.phones[number] = phone
        self._agents.append(phone)
        if register:
            response = await phone.register()
            if response.status != 200:
                raise SimulationError(f"{number} was not registered: {response.status}")
        return phone

    async def trunk(
        self, name: str, *, behaviour: Behaviour | None = None, **options: Any
    ) -> VirtualTrunk:
        """The far end of trunk `name` of the office file, at its configured address."""
        trunk = next(t for t in self.office.trunks if t.name == name)
        options.setdefault("sound", False)
        carrier = VirtualTrunk(
            self.network,
            name=name,
            server=self._server(),
            host=trunk.host,
            port=trunk.port or 5060,
            behaviour=behaviour,
            seed=self.seed + 1000 + len(self.trunks),
            **options,
        )
        await carrier.open()
        self.trunks[name] = carrier
        self._agents.append(carrier)
        return carrier

    def check(self, *, silent: Iterable[Address] = ()) -> list[str]:
        """All findings of the checkers as things are now; best after `settle`."""
        findings = check_wire(self.trace, arrived=self.arrived, silent=set(silent))
        findings += check_refusals(self.trace, self._server())
        findings += check_rest(baseline=self._baseline, **self._things())
        findings += check_media(self.media)
        findings += check_journal(self.journal.entries)
        counters = self.switch.driver.counters
        if counters.exceptions or counters.stack_exceptions:
            findings.append(
                f"{counters.exceptions} handlers and the stack {counters.stack_exceptions} times "
                "failed with an exception"
            )
        findings += [f"an exception in the loop: {problem}" for problem in self._problems]
        findings += [f"{a.user}: {error!r}" for a in self._agents for error in a.failures]
        return findings

    async def settle(self, *, quiet_s: float = _QUIET_S, silent: Iterable[Address] = ()) -> None:
        """Let `quiet_s` pass, so that every transaction is over, then check the invariants.

        Raises `InvariantViolation`. All calls must have been ended before, and telephones that the
        exchange asks by OPTIONS (those behind a NAT) must have unregistered.
        """
        await asyncio.sleep(quiet_s)
        require(self.check(silent=silent))

    # -- inside --------------------------------------------------------------------------------

    def _settle_office(self, office: Office | str) -> Office:
        parsed = _parsed(office) if isinstance(office, str) else office
        directory = Path(self._folder.name)
        # A secret from the seed: nonces and stateless tags are then the same in every run.
        (directory / "secret").write_bytes(self.environment.secret())
        storage = parsed.storage.model_copy(update={"directory": directory})
        return parsed.model_copy(update={"storage": storage})

    def _server(self) -> Address:
        listen = next(each for each in self.office.sip.listen if each.transport == "udp")
        return listen.host, listen.port

    def _things(self) -> dict[str, Any]:
        agents = {f"{agent.user} ({agent.local[0]})": agent for agent in self._agents}
        return {"switch": self.switch, "network": self.network, **agents}

    def _tables(self) -> dict[str, int]:
        return flatten(switch=self.switch, network=self.network)
