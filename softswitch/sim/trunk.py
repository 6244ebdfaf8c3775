"""A simulated carrier: a SIP peer known by its address, with as many numbers as a test wants."""

from __future__ import annotations

from collections.abc import Sequence

from softswitch.sim.behaviour import Behaviour
from softswitch.sim.datagram import Address, PhoneNetwork
from softswitch.sim.user_agent import UserAgent
from softswitch.sip.events import RequestReceived
from softswitch.sip.gate import Gate
from softswitch.sip.message import SipRequest
from softswitch.sip.stack import Credentials, StackConfig


class VirtualTrunk(UserAgent):
    """The far end of a trunk.

    Parameters: `name` for From and for messages of tests; `server` the exchange; `host` and `port`
    as the exchange's `from_addresses` say. `behaviours` takes calls by the called number, others
    are taken by `behaviour`. While `available` is False, OPTIONS and INVITE get `refusal`; `gate` may
    challenge the exchange.
    """

    def __init__(
        self,
        network: PhoneNetwork,
        *,
        name: str,
        server: Address,
        domain: str | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        behaviour: Behaviour | None = None,
        codecs: Sequence[str] = ("PCMA", "PCMU"),
        dtmf: bool = True,
        sound: bool = True,
        seed: int = 0,
        calls_max: int = 10_000,
        credentials: Credentials | None = None,
        config: StackConfig | None = None,
        gate: Gate | None = None,
    ) -> None:
        super().__init__(
            network,
            user=name,
            domain=domain if domain is not None else server[0],
            peer=server,
            host=host,
            port=port,
            behaviour=behaviour,
            codecs=codecs,
            dtmf=dtmf,
            sound=sound,
            seed=seed,
            calls_max=calls_max,
            credentials=credentials,
            config=config,
            gate=gate,
        )
        self.available = True
        self.refusal = 503
        self.behaviours: dict[str, Behaviour] = {}

    def behaviour_for(self, request: SipRequest) -> Behaviour:
        """By the number in the Request-URI."""
        if not self.available:
            return Behaviour(0.0, self.refusal)
        return self.behaviours.get(request.request_uri.user or "", self.behaviour)

    def take_request(self, event: RequestReceived) -> None:
        """200, or the refusal while out of service."""
        status = 200 if self.available or event.session is not None else self.refusal
        self.stack.respond(event.handle, status, now_s=self.now_s())
