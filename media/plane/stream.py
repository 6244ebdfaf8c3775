"""What the worker knows of one stream besides its row of numbers: agreements and connections."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from media.protocol import Address, StreamParams

if TYPE_CHECKING:
    from media.plane.handover import Fed


@dataclass(slots=True, eq=False)
class Stream:
    """One stream of the worker. `row` is its place in the arrays, `port_id` the socket it uses.

    Latching: `key` is the exact source that may speak, `host_key` a host of which any UDP port may
    (while not locked), `locked` the address that four packets in sequence have confirmed. `runs`
    counts sequences of sources that are not confirmed: (key, SSRC) -> [sequence, length].
    """

    stream_id: int
    row: int
    port_id: int
    signalled_host: str | None
    params: StreamParams | None = None
    listens_for_digits: bool = False
    """By its `params`: digits that come as sound are reported, and kept from whoever hears this stream."""
    rate_hz: int = 8000
    """Samples a second of its codec: the ring it is laid in, and what is said to it."""
    key: int | None = None
    host_key: int | None = None
    rtcp_key: int | None = None
    locked: Address | None = None
    has_ssrc: bool = False
    runs: dict[tuple[int, int], list[int]] = field(default_factory=dict)
    timed_out: bool = False
    policed: bool = False
    wired: bool = False
    """It has been decided what feeds it, by the command that agreed on it or by one that came with that."""
    # Wiring: who is on the other side, who is fed by relay, what is played or noted down.
    partner: Stream | None = None
    echo: bool = False
    room: int | None = None
    mute: bool = False
    deaf: bool = False
    gain: float = 1.0
    playing: bool = False
    """Something is played instead of what the bridge or the room carries."""
    announced: bool = False
    """Something is played over what the bridge or the room carries."""
    monitors: Stream | None = None
    """Whose call we hear, in `mode`; that stream has us among its `supervisors`."""
    mode: str = "listen"
    progress: str | None = None
    """The country by whose tones the line is listened to."""
    supervisors: list[Stream] = field(default_factory=list)
    decoded: bool = False
    """Somebody needs its samples: it has a slot, or had one and is to be parted from it."""
    by_mix: bool = False
    """What we hear is made by the tick, not relayed."""
    digits: str = ""
    spelling: bool = False
    restored: Address | None = None
    taps: int = 0
    """Recordings that listen to this stream."""
    feeds: Stream | None = None
    """Where our packets are relayed to (a stream may feed itself: echo)."""
    unsynced: bool = False
    """The next packet decides the offsets towards `feeds`."""
    fed: Fed | None = None
    """How we were fed by relay until a moment ago."""
    lead: int | None = None
    """The offset of timestamps towards `feeds` with which the relay goes on behind a mix."""

    @property
    def audio_type(self) -> int | None:
        """The payload type that the peer's audio comes with."""
        if self.params is None or self.params.receive_payload_type is None:
            return None if self.params is None else self.params.payload_type
        return self.params.receive_payload_type

    @property
    def event_type(self) -> int | None:
        """The payload type that the peer's telephone events come with."""
        if self.params is None or self.params.receive_dtmf_payload_type is None:
            return None if self.params is None else self.params.dtmf_payload_type
        return self.params.receive_dtmf_payload_type

    def rtcp_address(self, media: Address) -> Address | None:
        """Where the peer has its RTCP while its media is at `media`; None: nowhere.

        A port that SDP names (RFC 3605) is one of the address that SDP names: media that is taken from
        elsewhere has passed a translator, behind which that port belongs to nobody we know.
        """
        params = self.params
        if params is not None and params.rtcp_mux:
            return media
        if params is not None and params.rtcp_port is not None and media == params.remote:
            return media[0], params.rtcp_port
        return (media[0], media[1] + 1) if media[1] < 65_535 else None

    @property
    def receives(self) -> bool:
        """Our direction lets media come in."""
        return self.params is not None and self.params.direction in ("sendrecv", "recvonly")

    @property
    def sends(self) -> bool:
        """Our direction lets media go out, and there is somewhere to send it."""
        return (
            self.params is not None
            and self.params.direction in ("sendrecv", "sendonly")
            and not self.timed_out
            and (self.params.remote is not None or self.locked is not None)
        )
