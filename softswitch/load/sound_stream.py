"""One party's sound, as its call and its scenario see it; the columns are in `softswitch.load.sound`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softswitch.load import samples
from softswitch.sim.datagram import Address
from softswitch.sip.sdp import AudioNegotiated

if TYPE_CHECKING:
    from softswitch.load.sound import SoundPlane
    from softswitch.load.streams import StreamFacts


class SoundStream:
    """One party's sound; what `PhoneCall` wants of its `audio`. Made by `SoundPlane.open_stream`."""

    def __init__(self, plane: SoundPlane, slot: int, local: Address, identity: int) -> None:
        self.local = local
        self.identity = identity
        self.sampled = False
        self.recording: samples.Recording | None = None
        self.codec = ""
        self.facts: StreamFacts | None = None
        self._plane: SoundPlane | None = plane
        self._slot = slot

    @property
    def slot(self) -> int:
        """Its row in the plane's columns."""
        return self._slot

    def configure(self, agreed: AudioNegotiated) -> None:
        """Take what SDP has agreed; sending begins or stops accordingly."""
        if self._plane is not None:
            first = not self.codec
            self.codec = agreed.codec
            self._plane.configure(self._slot, agreed)
            if first and self.sampled:
                self.say_sample()

    def expect(self, identity: int) -> None:
        """Say who is to be heard; 0 for anybody but ourselves."""
        if self._plane is not None:
            self._plane.book.expects[self._slot] = identity

    def mute(self, on: bool = True) -> None:
        """Send silence instead of the signature."""
        if self._plane is not None:
            self._plane.muted[self._slot] = on

    def press(self, digits: str, by: str = "rfc4733") -> float:
        """Send digits as events (`rfc4733`) or as tones (`inband`); returns the seconds it takes."""
        return self._plane.press(self._slot, digits, by) if self._plane is not None else 0.0

    def say_sample(self) -> None:
        """Say speech instead of the signature, and keep what is heard for `Comparison`."""
        if self._plane is not None and self.codec in ("PCMU", "PCMA"):
            said = samples.coded(samples.said_by(self.identity), self.codec)
            self._plane.say(self._slot, said)
        self.sampled = True

    def heard_expected(self) -> int:
        """How often the expected party has been heard so far, in packets or in stretches of sound."""
        return int(self._plane.book.expected[self._slot]) if self._plane is not None else 0

    def hears_expected(self, before: int = 0) -> bool:
        """Whether the expected party is heard for sure, since `heard_expected` was `before`: some packets
        with a note, or one stretch of sound, which is two seconds of him."""
        if self._plane is None:
            return False
        new = self.heard_expected() - before
        return new > 2 or (new > 0 and not self._plane.book.stamped[self._slot])

    def forget_gaps(self) -> None:
        """What has been silent so far was meant to be."""
        if self._plane is not None:
            self._plane.book.gap_us[self._slot] = 0

    def received(self) -> int:
        """Audio packets received so far."""
        if self._plane is None:
            return self.facts.received if self.facts is not None else 0
        return int(self._plane.book.received[self._slot])

    def close(self) -> None:
        """Stop; `facts` is what is known of the stream."""
        if self._plane is not None:
            self.facts = self._plane.close_stream(self._slot, self.codec)
            self._plane = None
