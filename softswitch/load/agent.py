"""A SIP user agent for thousands of calls and as many accounts on one socket, with the whole SIP core."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from media.wire.sdes import SdesKeys
from softswitch.load.ladder import Ladders
from softswitch.load.leg import Leg
from softswitch.load.network import FaultyTransport
from softswitch.load.sound import SoundPlane
from softswitch.sim.behaviour import Behaviour
from softswitch.sim.datagram import Address, PhoneNetwork
from softswitch.sim.loop import SimulationError
from softswitch.sim.phone_call import PhoneCall
from softswitch.sim.user_agent import UserAgent
from softswitch.sip.events import InviteReceived
from softswitch.sip.message import SipRequest, SipResponse
from softswitch.sip.stack import Credentials, StackConfig
from softswitch.sip.uri import NameAddr, write_host

_LIMIT = 200_000
_AT_ONCE = 50
NOTICED_S = 1.0
"""So long after a NAT has forgotten them telephones register anew."""


@dataclass(frozen=True, slots=True)
class Account:
    """A telephone's number, and the password it registers and calls with (None: no challenge is
    answered)."""

    number: str
    password: str | None = None

    @property
    def credentials(self) -> Credentials | None:
        """For the SIP stack."""
        return Credentials(self.number, self.password) if self.password is not None else None


@dataclass(frozen=True, slots=True)
class Reception:
    """How an incoming call is taken: by whom (an identity of the sound), whom he expects, and how; `then`
    goes on with it."""

    identity: int
    expects: int
    behaviour: Behaviour
    then: Callable[[Leg], Coroutine[Any, Any, None]] | None = None


class LoadAgent(UserAgent):
    """A user agent of the lab.

    Parameters: `sound` is where its calls' streams live (None: calls without sound); `receive(leg,
    request)` decides how a call that comes in is taken; `on_state(leg, state)` hears of each state;
    `server_name` is whom the certificate of `peer` must name; with `srtp` sound is secured, as
    `PhoneCall.keys` says.
    """

    def __init__(
        self,
        network: PhoneNetwork,
        *,
        user: str,
        domain: str,
        peer: Address,
        host: str,
        port: int = 0,
        sound_plane: SoundPlane | None,
        ladders: Ladders,
        codecs: Sequence[str] = ("PCMA", "PCMU"),
        receive: Callable[[SipRequest], Reception] | None = None,
        on_leg: Callable[[Leg], None] | None = None,
        on_state: Callable[[Leg, str], None] | None = None,
        seed: int = 0,
        server_name: str = "",
        srtp: bool = False,
    ) -> None:
        config = StackConfig(
            user_agent="Softswitch load",
            max_sessions=_LIMIT,
            max_transactions=4 * _LIMIT,
            session_timers=False,
        )
        super().__init__(
            network,
            user=user,
            domain=domain,
            peer=peer,
            host=host,
            port=port,
            codecs=codecs,
            sound=False,
            seed=seed,
            calls_max=_LIMIT,
            config=config,
            tap=ladders.tap_flow,
        )
        self.ladders = ladders
        self.server_name = server_name
        self._srtp = srtp
        self._plane = sound_plane
        self._receive = receive
        self._registrations: dict[str, tuple[str, int]] = {}
        self._registered: dict[str, tuple[Account, int, float]] = {}
        self._on_leg = on_leg
        self._on_state = on_state

    async def open(self) -> None:
        """Bind the socket."""
        await super().open()
        if isinstance(self._transport, FaultyTransport):
            self._transport.on_rebind = lambda: self._keep(self._come_back())

    # -- calls -------------------------------------------------------------------------------------

    def dial(
        self,
        number: str,
        *,
        account: Account,
        identity: int,
        expects: int,
        intended_s: float,
        headers: Sequence[tuple[str, str]] = (),
        timeout_s: float = 60.0,
        events: bool = True,
    ) -> Leg:
        """Send an INVITE for `number`, a user part or a SIP URI; what follows is in the `Leg`."""
        target = number if number.startswith("sip:") else f"sip:{number}@{self.domain}"
        call_id = f"{self._random.getrandbits(80):020x}"
        stream = self._plane.open_stream(identity, expects) if self._plane is not None else None
        leg = Leg(
            self,
            outgoing=True,
            number=number,
            stream=stream,
            identity=identity,
            call_id=call_id,
            intended_s=intended_s,
        )
        leg.account = account
        self.dtmf = events
        try:
            leg.session = self.stack.invite(
                target=target,
                flow=self._flow(),
                from_=NameAddr(f"sip:{account.number}@{self.domain}"),
                to=NameAddr(target),
                contact=self.contact_of(account.number),
                sdp=leg.offer(),
                headers=headers,
                credentials=account.credentials,
                timeout_s=timeout_s,
                call_id=call_id,
                now_s=self.now_s(),
            )
        except Exception:
            if stream is not None:
                stream.close()
            raise
        finally:
            self.dtmf = True
        self.calls[leg.session] = leg
        self.driver.pump()
        return leg

    def contact_of(self, number: str) -> str:
        """The URI at which one of our accounts can be reached."""
        host, port = self.local
        assert self._transport is not None
        name = self._transport.name
        suffix = "" if name == "udp" else f";transport={name}"
        return f"sip:{number}@{write_host(host, port)}{suffix}"

    async def register(self, account: Account, expires_s: int = 3600) -> SipResponse:
        """Register one account, or refresh it. Raises `SimulationError` when no answer comes."""
        call_id, cseq = self._registrations.get(
            account.number, (f"{self._random.getrandbits(80):020x}", 0)
        )
        aor = f"sip:{account.number}@{self.domain}"
        handle = self.stack.request(
            "REGISTER",
            f"sip:{self.domain}",
            self._flow(),
            from_=NameAddr(aor),
            to=NameAddr(aor),
            contact=self.contact_of(account.number),
            headers=(("Expires", str(expires_s)),),
            credentials=account.credentials,
            call_id=call_id,
            cseq=cseq + 1,
            now_s=self.now_s(),
        )
        response = await self._answer_to_request(handle)
        # A challenge that was answered has used more numbers.
        self._registrations[account.number] = (call_id, max(cseq + 1, response.cseq.number))
        if response.status == 200 and expires_s:
            self._registered[account.number] = (account, expires_s, self.now_s())
        else:
            self._registered.pop(account.number, None)
        return response

    async def leave(self, timeout_s: float = 2.0) -> None:
        """Take all registrations back, as far as that goes in a short time: nobody shall be rung for hours at
        a port that nobody listens at."""
        slots = asyncio.Semaphore(_AT_ONCE)
        accounts = [account for account, _, _ in self._registered.values()]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await asyncio.gather(*(self._try_to_register(one, 0, slots) for one in accounts))

    async def _come_back(self) -> None:
        """As telephones do that keep asking where they are seen (RFC 5626 4.4.2): they register from there."""
        await asyncio.sleep(NOTICED_S)
        slots = asyncio.Semaphore(_AT_ONCE)
        again = list(self._registered.values())
        await asyncio.gather(
            *(self._try_to_register(a, expires_s, slots) for a, expires_s, _ in again)
        )

    async def _try_to_register(
        self, account: Account, expires_s: int, slots: asyncio.Semaphore
    ) -> None:
        async with slots:
            with contextlib.suppress(SimulationError):
                await self.register(account, expires_s)

    def out_of_reach(self, leg: Leg) -> bool:
        """Whether our NAT has forgotten us since we last said anything that tells where the leg is now: then
        nobody could have reached it."""
        transport = self._transport
        if not isinstance(transport, FaultyTransport) or not transport.rebindings:
            return False
        _, _, registered_s = self._registered.get(leg.number, (None, 0, -math.inf))
        said_s = max(self.ladders.last_out_s(leg.call_id), registered_s)
        return said_s < transport.rebound_at_s

    async def probe(self, leg: Leg, instead: dict[str, object] | None = None) -> int:
        """Say BYE again in a dialog that is over: 481 from everybody who has forgotten it. 0: none.

        `instead` stands for the leg's own dialog."""
        dialog = instead if instead is not None else leg.dialog
        if dialog is None:
            return 0
        number = leg.account.number if leg.account is not None else self.user
        target = leg.number if leg.number.startswith("sip:") else f"sip:{leg.number}@{self.domain}"
        routes = dialog["routes"]
        assert isinstance(routes, list)
        from_ = NameAddr(f"sip:{number}@{self.domain}").with_param("tag", str(dialog["local_tag"]))
        to = NameAddr(target).with_param("tag", str(dialog["remote_tag"]))
        handle = self.stack.request(
            "BYE",
            str(dialog["target"]),
            self._flow(),
            from_=from_,
            to=to,
            headers=[("Route", str(route)) for route in routes],
            call_id=str(dialog["call_id"]),
            cseq=int(str(dialog["local_cseq"])) + 10,
            timeout_s=4.0,
            now_s=self.now_s(),
        )
        try:
            return (await self._answer_to_request(handle)).status
        except SimulationError:
            return 0

    async def _answer_to_request(self, handle: int) -> SipResponse:
        future: asyncio.Future[SipResponse] = asyncio.get_running_loop().create_future()
        self._handles[handle] = future
        self.driver.pump()
        return await future

    def send_raw(self, data: bytes) -> None:
        """Send octets to the target without any state of ours."""
        assert self._transport is not None
        self._transport.send(data, self._flow())

    # -- called by the legs and the user agent ---------------------------------------------------------

    def note_state(self, leg: Leg, state: str) -> None:
        """A leg has entered a state."""
        if self._on_state is not None:
            self._on_state(leg, state)

    def media_address(self, call: PhoneCall) -> Address:
        """Where the call's SDP wants the peer's RTP."""
        if isinstance(call, Leg) and call.stream is not None:
            return call.stream.local
        return super().media_address(call)

    def forget(self, call: PhoneCall) -> None:
        """The call has ended; unlike a telephone's, it is not remembered."""
        self._silent.pop(id(call), None)
        self.calls.pop(call.session, None)

    async def _take_invite(self, event: InviteReceived) -> None:
        self._take_invite_now(event)

    def _take(self, event: object, now_s: float) -> None:
        if isinstance(event, InviteReceived):
            self._take_invite_now(event)
        else:
            super()._take(event, now_s)  # type: ignore[arg-type]

    def new_keys(self) -> SdesKeys | None:
        """Keys for a call, where sound is to be secured."""
        return SdesKeys(self._random.randbytes) if self._srtp else None

    def _take_invite_now(self, event: InviteReceived) -> None:
        number = event.request.request_uri.user or ""
        reception = (
            self._receive(event.request)
            if self._receive is not None
            else Reception(0, 0, self.behaviour)
        )
        stream = None
        if self._plane is not None and reception.behaviour.status in (None, 200):
            stream = self._plane.open_stream(reception.identity, reception.expects)
        leg = Leg(
            self,
            outgoing=False,
            number=number,
            stream=stream,
            identity=reception.identity,
            call_id=event.request.call_id,
            intended_s=self.now_s(),
        )
        leg.session, leg.invite = event.session, event
        self.calls[event.session] = leg
        if self._on_leg is not None:
            self._on_leg(leg)
        self._behave(leg, reception.behaviour)
        if reception.then is not None:
            self._keep(reception.then(leg))
