"""One call of the load lab as its scenario sees it: `PhoneCall` with a stream of the sound plane."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from softswitch.errors import RemoteProtocolError, SoftswitchError
from softswitch.sim.phone_call import CallEnd, PhoneCall
from softswitch.sip.events import SipEvent
from softswitch.sip.sdp import AudioNegotiated

if TYPE_CHECKING:
    from softswitch.load.agent import LoadAgent
    from softswitch.load.sound_stream import SoundStream
    from softswitch.load.streams import StreamFacts


class CallCutOff(SoftswitchError):
    """The other side ended a call that was to go on."""


class Leg(PhoneCall):
    """A call as `softswitch.sim.phone_call.PhoneCall`, and what a load scenario wants besides.

    Attributes to read: `identity` (who we are in the sound), `intended_s` (when it was to begin),
    `call_id`, `up_s` and `ended_s` on the loop's clock.
    """

    def __init__(
        self,
        agent: LoadAgent,
        *,
        outgoing: bool,
        number: str,
        stream: SoundStream | None,
        identity: int,
        call_id: str,
        intended_s: float,
    ) -> None:
        self.stream = stream
        self.identity = identity
        self.call_id = call_id
        self.intended_s = intended_s
        self.account: Any = None
        self.dialog: dict[str, object] | None = None
        self.sound_error = ""
        self._load_agent = agent
        super().__init__(agent, outgoing=outgoing, number=number, audio=None)
        self.keys = agent.new_keys()

    # -- for scenarios -------------------------------------------------------------------------------

    async def talk(self, seconds: float) -> None:
        """Let the call go on for so long, sound flowing. Raises `CallCutOff` when it ends before."""
        end = asyncio.ensure_future(self.ended())
        try:
            done, _ = await asyncio.wait({end}, timeout=seconds)
            if done:
                raise CallCutOff(f"ended by {end.result().by}")
        finally:
            end.cancel()

    async def dtmf(self, digits: str, by: str = "rfc4733") -> None:
        """Press digits and wait until they are out: `by` "rfc4733", "info" or "inband"."""
        if by == "info":
            for digit in digits:
                body = f"Signal={digit}\r\nDuration=100\r\n".encode()
                self.send_info("application/dtmf-relay", body)
                await asyncio.sleep(0.2)
            return
        if self.stream is not None:
            await asyncio.sleep(self.stream.press(digits, by))

    def mute(self, on: bool = True) -> None:
        """Send silence, or the signature again."""
        if self.stream is not None:
            self.stream.mute(on)

    async def hears(self, timeout_s: float = 5.0) -> bool:
        """Wait until the party that is to be heard has been heard; False when it has not.

        That it was silent before, as menus are that wait and telephones that ring, is no gap.
        """
        heard = await self._wait(
            lambda: self.stream is not None and self.stream.hears_expected(), timeout_s
        )
        if heard and self.stream is not None:
            self.stream.forget_gaps()
        return heard

    async def hears_anything(self, timeout_s: float = 5.0) -> bool:
        """Wait for the first audio packets."""
        return await self._wait(
            lambda: self.stream is not None and self.stream.received() > 2, timeout_s
        )

    async def _wait(self, condition: Any, timeout_s: float) -> bool:
        loop = asyncio.get_running_loop()
        until_s = loop.time() + timeout_s
        while not condition():
            if self.end is not None or loop.time() >= until_s:
                return bool(condition())
            await asyncio.sleep(0.02)
        return True

    @property
    def out_of_reach(self) -> bool:
        """See `LoadAgent.out_of_reach`."""
        return self._load_agent.out_of_reach(self)

    @property
    def facts(self) -> StreamFacts | None:
        """What is known of the sound, once the call has ended."""
        return self.stream.facts if self.stream is not None else None

    # -- the call's own steps ----------------------------------------------------------------------

    def take(self, event: SipEvent) -> None:
        """As of every call; a description that cannot be used ends it."""
        try:
            super().take(event)
        except RemoteProtocolError as error:
            self.sound_error = f"the target's session description cannot be used: {error}"
            self.hang_up()

    def _use(self, agreed: AudioNegotiated) -> None:
        super()._use(agreed)
        if self.stream is not None:
            try:
                self.stream.configure(agreed)
            except SoftswitchError as error:
                self.sound_error = str(error)

    def _enter(self, state: str) -> None:
        new = state not in self.times
        super()._enter(state)
        if new:
            self._load_agent.note_state(self, state)

    def hang_up(self) -> None:
        """End the call whatever its state."""
        if self.end is None and self.state == "up":
            self.dialog = self._load_agent.stack.dialog_of(self.session)
        super().hang_up()

    def _finish(self, end: CallEnd) -> None:
        if self.stream is not None:
            self.stream.close()
        super()._finish(end)
