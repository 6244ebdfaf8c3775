"""A simulated telephone: registers, calls, answers, holds, presses digits, speaks and listens."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from softswitch.sim.behaviour import Behaviour
from softswitch.sim.datagram import Address, PhoneNetwork
from softswitch.sim.user_agent import UserAgent
from softswitch.sip.message import SipResponse
from softswitch.sip.stack import Credentials, StackConfig

_REFRESH_AT = 0.8


class VirtualPhone(UserAgent):
    """A telephone with an extension of the exchange at `server`.

    Parameters: `number` is user part and digest user name, `password` answers the exchange's
    challenges (None: none is answered); the rest as for `UserAgent`. Example::

        async with VirtualPhone(network, number="1001", password="...", server=server) as phone:
            await phone.register()
            call = await phone.call("1002")
            await call.answered()
            await call.play(speech(1, 3.0))
            call.hang_up()
            await call.ended()
    """

    def __init__(
        self,
        network: PhoneNetwork,
        *,
        number: str,
        password: str | None = None,
        server: Address,
        domain: str | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        display_name: str | None = None,
        behaviour: Behaviour | None = None,
        codecs: Sequence[str] = ("PCMA", "PCMU"),
        dtmf: bool = True,
        sound: bool = True,
        seed: int = 0,
        calls_max: int = 16,
        config: StackConfig | None = None,
    ) -> None:
        super().__init__(
            network,
            user=number,
            domain=domain if domain is not None else server[0],
            peer=server,
            host=host,
            port=port,
            display_name=display_name,
            credentials=Credentials(number, password) if password is not None else None,
            behaviour=behaviour,
            codecs=codecs,
            dtmf=dtmf,
            sound=sound,
            seed=seed,
            calls_max=calls_max,
            config=config,
        )
        self.registered_until_s: float | None = None
        self._registration_id = f"{self._random.getrandbits(80):020x}"
        self._registration_cseq = 0
        self._refresh: asyncio.Task[None] | None = None

    async def register(self, expires_s: int = 3600, *, refresh: bool = True) -> SipResponse:
        """Register our contact for `expires_s`; with `refresh` again and again in good time.

        Returns the final response, whatever it is. Raises `SimulationError` when none comes.
        """
        if self._refresh is not None:
            self._refresh.cancel()
            self._refresh = None
        response = await self._register(expires_s)
        granted_s = self._granted_s(response, expires_s)
        if refresh and self.registered_until_s is not None and granted_s > 0:
            self._refresh = asyncio.create_task(self._refresh_for_ever(granted_s))
        return response

    async def unregister(self) -> SipResponse:
        """Remove our contact."""
        return await self.register(0)

    @property
    def registered(self) -> bool:
        """Whether the exchange has our contact, as far as we know."""
        return self.registered_until_s is not None and self.now_s() < self.registered_until_s

    async def close(self) -> None:
        """Stop at once, without BYE or REGISTER."""
        if self._refresh is not None:
            self._refresh.cancel()
            await asyncio.gather(self._refresh, return_exceptions=True)
            self._refresh = None
        await super().close()

    async def _register(self, expires_s: int) -> SipResponse:
        self._registration_cseq += 1
        response = await self.request(
            "REGISTER",
            to=self.aor,
            headers=(("Expires", str(expires_s)),),
            call_id=self._registration_id,
            cseq=self._registration_cseq,
        )
        # The answer to a challenge has used further numbers.
        self._registration_cseq = max(self._registration_cseq, response.cseq.number)
        granted_s = self._granted_s(response, expires_s)
        if 200 <= response.status < 300 and granted_s > 0:
            self.registered_until_s = self.now_s() + granted_s
        else:
            self.registered_until_s = None
        return response

    def _granted_s(self, response: SipResponse, asked_s: int) -> int:
        """What the registrar grants our contact: its `expires`, else the Expires header."""
        for contact in response.contacts:
            if contact.uri_text.partition(";")[0] == self.contact.partition(";")[0]:
                text = contact.param("expires")
                if text is not None and text.isascii() and text.isdecimal():
                    return int(text)
        return response.expires if response.expires is not None else asked_s

    async def _refresh_for_ever(self, granted_s: int) -> None:
        while granted_s > 0:
            await asyncio.sleep(granted_s * _REFRESH_AT)
            granted_s = self._granted_s(await self._register(granted_s), granted_s)
