"""The door to the media plane: the few verbs that call control uses, and nothing of how they are done."""

from __future__ import annotations

from typing import Protocol

from media.protocol import Source, StreamParams


class LocalStream(Protocol):
    """What `reserve` gives: the stream's number and the address to put into SDP."""

    @property
    def stream_id(self) -> int: ...

    @property
    def host(self) -> str: ...

    @property
    def port(self) -> int: ...

    @property
    def worker(self) -> int: ...

    @property
    def ssrc(self) -> int: ...


class MediaPlane(Protocol):
    """Verbs of the media plane. None of them waits: commands keep their order, results come as events."""

    def reserve(self, *, group: int, signalled_host: str | None) -> LocalStream: ...

    def configure(self, stream_id: int, params: StreamParams) -> None: ...

    def connect(self, a: int, b: int) -> None: ...

    def disconnect(self, a: int, b: int) -> None: ...

    def echo(self, stream_id: int, on: bool) -> None: ...

    def join_room(
        self,
        room: int,
        stream_id: int,
        *,
        mute: bool = False,
        deaf: bool = False,
        gain: float = 1.0,
    ) -> None: ...

    def leave_room(self, stream_id: int) -> None: ...

    def monitor(self, stream_id: int, target: int, *, mode: str = "listen") -> None: ...

    def stop_monitor(self, stream_id: int) -> None: ...

    def play(
        self,
        stream_id: int,
        source: Source,
        *,
        play_id: int,
        repeat: bool = False,
        mix: bool = False,
        resume: bool = False,
    ) -> None: ...

    def stop_play(self, stream_id: int) -> None: ...

    def hear_progress(
        self, stream_id: int, country: str | None, *, answered: bool = False
    ) -> None: ...

    def send_digits(self, stream_id: int, digits: str) -> None: ...

    def start_recording(
        self,
        recording_id: int,
        *,
        left: int,
        right: int | None,
        name: str,
        ulaw: bool = False,
        beep: bool = False,
    ) -> None: ...

    def pause_recording(self, recording_id: int) -> None: ...

    def resume_recording(self, recording_id: int) -> None: ...

    def stop_recording(self, recording_id: int) -> None: ...

    def release(self, stream_id: int) -> None: ...

    def snapshot(self) -> dict[str, object]: ...
