"""Telephones and trunks on real sockets, a switch to call, and the question whether the sound arrived."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from softswitch.errors import SoftswitchError
from softswitch.load.demo import FIRST_EXTENSION, DemoSwitch
from softswitch.load.plan import certificate_name, local_host, parse_target
from softswitch.sim.audio import Samples, match, speech
from softswitch.sim.behaviour import answer
from softswitch.sim.phone import VirtualPhone
from softswitch.sim.phone_call import PhoneCall
from softswitch.sim.real_network import RealNetwork, SipOver
from softswitch.sim.trunk import VirtualTrunk

CORRELATION_MIN = 0.9
_SETTLE_S = 0.4


class NotHeard(AssertionError):
    """The sound that arrived is not the sound that was sent."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What one party heard: `correlation` 1.0 is the same sound, `delay_ms` from the start of the call's
    sound to where it was found."""

    correlation: float
    delay_ms: float
    samples: Samples


class Laboratory:
    """Makes phones and trunks and closes all of them: an async context manager.

    `phone` and `trunk` return open user agents of `softswitch.sim`, with everything they can.
    """

    def __init__(self) -> None:
        self._stack = AsyncExitStack()
        self._seeds = itertools.count(1)

    async def __aenter__(self) -> Laboratory:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self._stack.aclose()

    async def phone(
        self,
        target: str,
        number: str,
        password: str | None = None,
        *,
        domain: str | None = None,
        register: bool = True,
        trust: Path | None = None,
    ) -> VirtualPhone:
        """A telephone of `target` ("sip:host:port;transport=tls"), registered unless told otherwise; `trust` is
        the PEM file of the authority, or the very certificate, of a target over TLS that the system does not
        trust.

        Raises `SoftswitchError` when it cannot register.
        """
        server, transport, host = parse_target(target)
        network = RealNetwork(transport, trusted=trust)  # type: ignore[arg-type]
        phone = VirtualPhone(
            network,
            number=number,
            password=password,
            server=server,
            domain=domain or host,
            host=local_host(server[0]),
            seed=next(self._seeds),
        )
        phone.server_name = certificate_name(host)
        await phone.open()
        self._stack.push_async_callback(phone.close)
        if register:
            response = await phone.register()
            if response.status != 200:
                raise SoftswitchError(
                    f"{number} cannot register at {target}: {response.status} {response.reason}"
                )
        return phone

    async def trunk(self, target: str, *, host: str = "127.0.0.1", port: int = 0) -> VirtualTrunk:
        """A carrier at `host` and `port` for the switch at `target`; it answers what comes.

        `host` and `port` are what that switch knows its trunk by.
        """
        server, _, _ = parse_target(target)
        trunk = VirtualTrunk(
            RealNetwork(),
            name="carrier",
            server=server,
            host=host,
            port=port,
            behaviour=answer(),
            seed=next(self._seeds),
        )
        await trunk.open()
        self._stack.push_async_callback(trunk.close)
        return trunk


async def heard(
    caller: PhoneCall, callee: PhoneCall | None = None, *, seconds: float = 2.0
) -> Heard:
    """Let `caller` speak for some seconds and tell what `callee` heard of it; without a callee, what came
    back to the caller (an echo test). Waits for the answer first."""
    await caller.answered()
    said = speech(caller.session + 1, seconds)
    listener = callee if callee is not None else caller
    before = len(listener.heard())
    await caller.play(said)
    await asyncio.sleep(_SETTLE_S)
    samples = listener.heard()[before:]
    if not len(samples):
        return Heard(0.0, 0.0, samples)
    found = match(said, samples)
    return Heard(found.correlation, found.delay_ms, samples)


async def assert_heard(
    caller: PhoneCall,
    callee: PhoneCall | None = None,
    *,
    seconds: float = 2.0,
    at_least: float = CORRELATION_MIN,
) -> Heard:
    """As `heard`, both ways where there is a callee. Raises `NotHeard` saying who did not hear whom."""
    first = await heard(caller, callee, seconds=seconds)
    pairs = [("the callee" if callee is not None else "the caller", first)]
    if callee is not None:
        pairs.append(("the caller", await heard(callee, caller, seconds=seconds)))
    for who, result in pairs:
        if not len(result.samples):
            raise NotHeard(f"{who} heard nothing")
        if result.correlation < at_least:
            raise NotHeard(
                f"{who} heard something else (correlation {result.correlation:.2f}, "
                f"{at_least:.2f} wanted)"
            )
    return first


@dataclass(frozen=True, slots=True)
class TestSwitch:
    """A running switch of our own: its `target`, and the `password` of extensions 1001 to 1060.

    Over another transport it is `over("tls")`, and `certificate` is to be trusted there.
    At `carrier` it has a trunk: calls to 9... go there, and from there `first` can be called.
    """

    __test__ = False

    target: str
    domain: str
    password: str
    carrier: tuple[str, int]
    certificate: Path
    targets: Mapping[str, str]
    first: int = FIRST_EXTENSION

    def over(self, transport: SipOver) -> str:
        """The target over "udp", "tcp", "tls", "ws" or "wss"."""
        return self.targets[transport]


@asynccontextmanager
async def switch() -> AsyncIterator[TestSwitch]:
    """A switch of our own on loopback, with an office for tests."""
    async with DemoSwitch(1) as running:
        host, _ = running.address
        targets = {
            transport: f"sip:{host}:{port};transport={transport}"
            for transport, port in running.ports.items()
        }
        yield TestSwitch(
            targets["udp"].partition(";")[0],
            running.domain,
            running.password,
            running.carrier,
            running.certificate,
            targets,
        )
