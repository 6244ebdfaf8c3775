"""What the control plane and a media worker say to each other: frozen commands, events, one codec.

Each message is one msgpack map tagged with its class name; a packet of a `SOCK_SEQPACKET` pair is an
array of those that came about in one turn of a loop. No pickle: a worker that was taken over can lie, it
cannot run code here.
Commands are idempotent, so that the whole state of a worker can be sent again to its replacement.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

import msgspec

from media.errors import ProtocolViolation

Address = tuple[str, int]
"""An IP address in text and a port."""

MESSAGE_OCTETS_MAX = 65_536
PACKED_MAX = 64
"""Messages in one packet of the control socket."""
_PACKET_OCTETS = MESSAGE_OCTETS_MAX - 16

DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")
MONITOR_MODES = ("listen", "whisper", "barge")


class _Message(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """What has its default is not said: a call's commands were four times as long."""


class StreamParams(msgspec.Struct, frozen=True, omit_defaults=True):
    """What SDP has agreed for one stream, seen from our side.

    `remote`: where the peer wants its RTP, None while its SDP is not known; `payload_type` and
    `dtmf_payload_type` are what we send, and what the peer sends unless `receive_payload_type` and
    `receive_dtmf_payload_type` say otherwise (RFC 3264 5.1: each side numbers what it receives);
    `ptime_ms`: 10 to 60, of the packets that we make; `direction` is ours ("recvonly": we send
    nothing); `nat`: the peer's packets may come from another port of the signalled host (symmetric
    RTP, RFC 4961); `signalled_host`: the address the peer's signalling comes from now, None: as
    before; `inband_dtmf`: report digits that come as sound; `srtp_in`, `srtp_out`: the `a=crypto`
    value (RFC 4568) of the peer and ours, None: no SRTP that way;
    `remote_ssrc`: what the peer's SDP says it will send with (RFC 5576); `dtmf_by_info`: digits for this
    peer are reported by `DigitsDue`, for signalling to tell it of them; `rtcp_port`: of the host of `remote`,
    where the peer wants RTCP (RFC 3605) if not on the next port; it means nothing with `rtcp_mux`;
    `fmtp`: what the peer's SDP asks of our encoder (RFC 7587 section 6.1; of Opus alone anything is read);
    `maxptime_ms`: the longest packet that the peer takes; to one who takes no packets as long as his partner
    makes them nothing is relayed.

    A stream that has locked to a source stays with it until `remote`, `nat` or `signalled_host`
    change.
    """

    remote: Address | None
    codec: str = "PCMU"
    payload_type: int = 0
    dtmf_payload_type: int | None = None
    ptime_ms: int = 20
    direction: str = "sendrecv"
    nat: bool = False
    rtcp_mux: bool = False
    signalled_host: str | None = None
    inband_dtmf: bool = False
    srtp_in: str | None = None
    srtp_out: str | None = None
    remote_ssrc: int | None = None
    receive_payload_type: int | None = None
    receive_dtmf_payload_type: int | None = None
    dtmf_by_info: bool = False
    rtcp_port: int | None = None
    fmtp: str | None = None
    maxptime_ms: int | None = None


class Tone(msgspec.Struct, frozen=True, tag="tone"):
    """A call-progress tone by name ("ringback", "busy", "reorder", "dial"...), of one country."""

    name: str
    country: str = "us"


class File(msgspec.Struct, frozen=True, tag="file"):
    """A WAV file: PCM16 or G.711, mono or stereo (mixed down), any rate."""

    path: str


class Prompts(msgspec.Struct, frozen=True, tag="prompts"):
    """Sounds to be played one after the other, 64 at most, as one source."""

    parts: tuple[Tone | File, ...]


Source = Tone | File | Prompts


class StreamStats(msgspec.Struct, frozen=True, omit_defaults=True):
    """The account of one stream at its end (or so far).

    `lost` by sequence numbers (RFC 3550 A.3), `late` arrived after its place had been used;
    `jitter_ms` is the interarrival jitter of RFC 3550 6.4.1; `dropped` counts refused
    packets by reason; `round_trip_ms` and `remote_*` are what the peer's RTCP said of what we sent;
    `mos` estimates how the peer was heard (ITU-T G.107), 0: not at all; `remote_mos` how the peer heard
    us, by its own reports, None where it sent none.
    """

    packets_in: int = 0
    octets_in: int = 0
    packets_out: int = 0
    octets_out: int = 0
    lost: int = 0
    late: int = 0
    jitter_ms: float = 0.0
    dropped: dict[str, int] = msgspec.field(default_factory=dict)
    round_trip_ms: float | None = None
    remote_lost: int = 0
    remote_jitter_ms: float = 0.0
    mos: float = 0.0
    remote_mos: float | None = None


# --- commands: control plane -> worker --------------------------------------------------------


class Setup(_Message, frozen=True):
    """First message to a worker: who it is and what bounds it.

    `orphan_s`: for so long it goes on relaying if the control plane dies, found at a socket in
    `orphan_dir`; 0: it ends at once.
    """

    worker: int
    recordings_dir: str
    rtp_timeout_s: float = 30.0
    streams_max: int = 8192
    back_end: str = "mmsg"
    orphan_s: float = 0.0
    orphan_dir: str = ""


class AddPort(_Message, frozen=True):
    """A bound RTP socket and its RTCP twin; the two descriptors travel beside this message."""

    port_id: int
    host: str
    port: int


class DropPort(_Message, frozen=True):
    """Close a port (and its RTCP twin) that no stream uses."""

    port_id: int


class OpenStream(_Message, frozen=True):
    """A stream exists from now on; `latched` restores the source an earlier worker locked to. `params`:
    `ConfigureStream` in one with it."""

    stream_id: int
    port_id: int
    signalled_host: str | None = None
    latched: Address | None = None
    ssrc: int | None = None
    params: StreamParams | None = None


class ConfigureStream(_Message, frozen=True):
    stream_id: int
    params: StreamParams
    port_id: int | None = None


class ReleaseStream(_Message, frozen=True):
    stream_id: int


class Connect(_Message, frozen=True):
    a: int
    b: int


class Disconnect(_Message, frozen=True):
    a: int
    b: int


class SetEcho(_Message, frozen=True):
    stream_id: int
    on: bool


class JoinRoom(_Message, frozen=True):
    room: int
    stream_id: int
    mute: bool = False
    deaf: bool = False
    gain: float = 1.0


class LeaveRoom(_Message, frozen=True):
    stream_id: int


class Monitor(_Message, frozen=True):
    """`stream_id` hears the call of `target`; `mode` says who hears `stream_id`."""

    stream_id: int
    target: int
    mode: str = "listen"


class StopMonitor(_Message, frozen=True):
    stream_id: int


class StartPlay(_Message, frozen=True):
    """`at_ms`: begin there, because an earlier worker has played that much (`as_of_s`: when, on the
    monotonic clock of the machine); `mix`: over what the stream hears anyway."""

    stream_id: int
    play_id: int
    source: Source
    repeat: bool = False
    at_ms: int = 0
    mix: bool = False
    as_of_s: float | None = None


class StopPlay(_Message, frozen=True):
    stream_id: int


class HearProgress(_Message, frozen=True):
    """Say what the line of a stream says; `country` None: no longer."""

    stream_id: int
    country: str | None
    answered: bool = False


class SendDigits(_Message, frozen=True):
    stream_id: int
    digits: str


class StartRecording(_Message, frozen=True):
    """`elapsed_ms` > 0 continues a file that an earlier worker left behind, silence in between.

    The file has the sampling rate of the better of its two sides (16,000 if one speaks a wideband
    codec), `rate_hz` if that is given. `ulaw`: u-law samples instead of PCM16; `beep`: let both hear
    that they are recorded; `as_of_s`: when `elapsed_ms` was true, on the monotonic clock of the
    machine: a new process may need a while to get here.
    """

    recording_id: int
    left: int
    right: int | None
    name: str
    elapsed_ms: int = 0
    ulaw: bool = False
    beep: bool = False
    rate_hz: int | None = None
    as_of_s: float | None = None


class PauseRecording(_Message, frozen=True):
    """Write silence until `ResumeRecording`: the file keeps the time, but not what is said."""

    recording_id: int


class ResumeRecording(_Message, frozen=True):
    recording_id: int


class StopRecording(_Message, frozen=True):
    recording_id: int


class Stop(_Message, frozen=True):
    """Finish the recordings and exit."""


Command = (
    Setup
    | AddPort
    | DropPort
    | OpenStream
    | ConfigureStream
    | ReleaseStream
    | Connect
    | Disconnect
    | SetEcho
    | JoinRoom
    | LeaveRoom
    | Monitor
    | StopMonitor
    | StartPlay
    | StopPlay
    | HearProgress
    | SendDigits
    | StartRecording
    | PauseRecording
    | ResumeRecording
    | StopRecording
    | Stop
)


# --- events: worker -> control plane ----------------------------------------------------------


class StreamLatched(_Message, frozen=True):
    """Four packets in sequence came from `remote` with one SSRC: media is locked to it."""

    stream_id: int
    remote: Address


class DigitReceived(_Message, frozen=True):
    """One DTMF digit (0-9 * # A-D), reported once, however many packets carried it."""

    stream_id: int
    digit: str
    duration_ms: int


class DigitsDue(_Message, frozen=True):
    """Digits that are to be sent to the peer of a stream, which is told of them by INFO and not by media."""

    stream_id: int
    digits: str


class ProgressHeard(_Message, frozen=True):
    """`what` the peer's line says: `dial`, `ringback`, `busy`, `congestion`, `call-waiting`,
    `unobtainable`, `sit` (special information tone), `cng` (a fax calls), `ced` (a fax answers),
    `beep`; and once after an answer `person`, `machine` or `unsure`."""

    stream_id: int
    what: str


class MediaTimedOut(_Message, frozen=True):
    """Nothing came for the configured time on a stream whose direction expects media."""

    stream_id: int


class PlayFinished(_Message, frozen=True):
    """The source has been played to its end, was replaced or stopped (`reason` says which)."""

    stream_id: int
    play_id: int
    reason: str = "end"


class RecordingStopped(_Message, frozen=True):
    """`frames` at `rate_hz`; `reason`: "stopped", "released", "disk", "worker", "limit"."""

    recording_id: int
    path: str
    frames: int
    reason: str
    rate_hz: int = 8000


class StreamClosed(_Message, frozen=True):
    stream_id: int
    stats: StreamStats


class WorkerDied(_Message, frozen=True):
    """The process is gone; its streams and recordings are silent until `WorkerReplaced`."""

    worker: int
    streams: list[int]
    recordings: list[int]


class WorkerReplaced(_Message, frozen=True):
    """A new process has the same ports and all state."""

    worker: int


class CommandRefused(_Message, frozen=True):
    """A command could not be carried out (unknown stream, unreadable file): a value, no crash."""

    command: str
    stream_id: int
    problem: str


class WorkerLoad(_Message, frozen=True):
    """Once a second: the share of a core and what is held; used for placement and for display.

    `gap_ms` is the longest time between two fetches of datagrams in that second, `gap_own_ms` what of it was
    our own work, `gap_collector_ms` the garbage collector's part of that, `gap_overslept_ms` how much later
    than asked for the machine woke the worker.
    """

    worker: int
    cpu: float
    streams: int
    packets_in: int
    packets_out: int
    unknown_sources: int
    gap_ms: float = 0.0
    gap_own_ms: float = 0.0
    gap_collector_ms: float = 0.0
    gap_overslept_ms: float = 0.0


MediaEvent = (
    StreamLatched
    | DigitReceived
    | DigitsDue
    | ProgressHeard
    | MediaTimedOut
    | PlayFinished
    | RecordingStopped
    | StreamClosed
    | WorkerDied
    | WorkerReplaced
    | CommandRefused
    | WorkerLoad
)

_encoder = msgspec.msgpack.Encoder()
_command_decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(list[Command])
_event_decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(list[MediaEvent])


encode: Callable[[Command | MediaEvent], bytes] = _encoder.encode
"""One command or event as msgpack, for `pack`."""


def pack(encoded: Iterable[bytes]) -> tuple[bytes, int]:
    """As many of the first of `encoded` as fit into one packet of the control socket, and how many: what
    comes about in one turn of a loop wakes the other side once."""
    taken = list(islice(encoded, PACKED_MAX))
    data = b"".join(taken)
    while len(data) > _PACKET_OCTETS and len(taken) > 1:
        taken.pop()
        data = b"".join(taken)
    count = len(taken)
    # The head of an array (msgpack: fixarray, array 16), then its elements as they are.
    return (
        bytes((0x90 | count,)) if count < 16 else b"\xdc" + count.to_bytes(2, "big")
    ) + data, count


def unpack_commands(data: bytes | memoryview) -> list[Command]:
    """Inverse of `pack` for commands; raises `ProtocolViolation`."""
    try:
        commands: list[Command] = _command_decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ProtocolViolation(str(error)) from error
    if not commands:
        raise ProtocolViolation("a packet without a command")
    return commands


def unpack_events(data: bytes) -> list[MediaEvent]:
    """Inverse of `pack` for events; raises `ProtocolViolation`."""
    try:
        events: list[MediaEvent] = _event_decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ProtocolViolation(str(error)) from error
    return events
