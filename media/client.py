"""The control plane's hold on the media plane: reserve, configure, bridge, play, record, release.

Every method but `start` and `stop` is synchronous and never waits: it changes the state kept here
and queues one command to the worker that has the stream. That state is all there is to know about a
worker, so a dead one is replaced with the same ports and everything is sent again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from media.protocol import MediaEvent, Source, StreamParams


@dataclass(frozen=True, slots=True)
class LocalStream:
    """Our end of a stream: its id and the address to write into SDP."""

    stream_id: int
    host: str
    port: int
    worker: int


class MediaClient:
    """Client and supervisor of a few media workers; lives on one asyncio loop.

    Parameters: `address` to bind and to announce; `ports` first and last UDP port to use (even
    ports RTP, the next odd one RTCP); `workers` processes; `recordings_dir` is created when
    missing; `on_event` is called on the loop's thread for each `MediaEvent`; `one_port_per_stream`
    for middleboxes that insist on a port of its own for each stream; `rtp_timeout_s` until
    `MediaTimedOut`.
    """

    def __init__(
        self,
        *,
        address: str,
        ports: tuple[int, int],
        workers: int,
        recordings_dir: Path,
        on_event: Callable[[MediaEvent], None],
        one_port_per_stream: bool = False,
        rtp_timeout_s: float = 30.0,
        announced_address: str | None = None,
    ) -> None:
        raise NotImplementedError

    async def start(self) -> None:
        """Bind the first sockets, spawn the workers; raises `MediaError` if that cannot be done."""
        raise NotImplementedError

    async def stop(self) -> None:
        """Finish the recordings, end the workers, close every socket. Idempotent."""
        raise NotImplementedError

    def reserve(self, *, group: int, signalled_host: str | None) -> LocalStream:
        """A new stream; streams of one `group` (call) share a worker, as bridges demand.

        `signalled_host`: where SDP says the peer is, if it is known already. Raises `NoCapacity`.
        """
        raise NotImplementedError

    def configure(self, stream_id: int, params: StreamParams) -> None:
        """What SDP has agreed, again at every change. Idempotent. Raises `UnknownStream`,
        `NotSupported` (codec)."""
        raise NotImplementedError

    def connect(self, a: int, b: int) -> None:
        """A two-party bridge between streams of one group; ends any bridge they were in before."""
        raise NotImplementedError

    def disconnect(self, a: int, b: int) -> None:
        """End the bridge between `a` and `b`, if there is one."""
        raise NotImplementedError

    def echo(self, stream_id: int, on: bool) -> None:
        """Send a stream its own audio back."""
        raise NotImplementedError

    def join_room(
        self,
        room: int,
        stream_id: int,
        *,
        mute: bool = False,
        deaf: bool = False,
        gain: float = 1.0,
    ) -> None:
        """Put a stream into an N-party conference, or change its `mute`, `deaf`, `gain` there.

        All streams of a room must be of one worker: reserve them with the room's `group`.
        """
        raise NotImplementedError

    def leave_room(self, stream_id: int) -> None:
        """Take a stream out of its room; nothing happens if it is in none."""
        raise NotImplementedError

    def play(self, stream_id: int, source: Source, *, play_id: int, repeat: bool = False) -> None:
        """Send a tone or a file to the peer instead of what its bridge carries, from now on.

        Replaces what was played before. `PlayFinished` follows at the end, at `stop_play`, or when
        another source takes over.
        """
        raise NotImplementedError

    def stop_play(self, stream_id: int) -> None:
        """Stop what is played; the bridge is heard again."""
        raise NotImplementedError

    def send_digits(self, stream_id: int, digits: str) -> None:
        """Send DTMF digits (0-9 * # A-D; ',' pauses) by RFC 4733, one after the other."""
        raise NotImplementedError

    def start_recording(
        self, recording_id: int, *, left: int, right: int | None, name: str
    ) -> None:
        """Record what `left` and `right` say into one stereo WAV `recordings_dir/name`.

        `right` None records `left` alone (mono). `name`: a bare file name. Raises `BadName`.
        """
        raise NotImplementedError

    def stop_recording(self, recording_id: int) -> None:
        """End a recording; `RecordingStopped` follows when the file is complete. Idempotent."""
        raise NotImplementedError

    def release(self, stream_id: int) -> None:
        """Give a stream back; its bridges, plays and recordings end, `StreamClosed` follows.
        Idempotent."""
        raise NotImplementedError

    def snapshot(self) -> dict[str, Any]:
        """Workers (pid, streams, cpu, restarts), streams, ports: for display and for tests."""
        raise NotImplementedError
