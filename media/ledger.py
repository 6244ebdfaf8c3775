"""What the control plane remembers of streams and recordings: enough to tell it to a new worker."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import inf

import msgspec

from media.protocol import (
    Address,
    Command,
    Connect,
    HearProgress,
    JoinRoom,
    Monitor,
    OpenStream,
    PauseRecording,
    SendDigits,
    SetEcho,
    Source,
    StartPlay,
    StartRecording,
    StopPlay,
    StopRecording,
    StreamParams,
)

DIGIT_S, COMMA_S = 0.2, 1.0
"""How long a digit takes with the pause behind it, and a pause that is asked for."""


def digits_left(digits: str, since_s: float, now_s: float) -> tuple[str, float]:
    """Of digits of which the first began at `since_s`: those that have not begun at `now_s`, and when the first
    of them begins, or all are over."""
    at_s = since_s
    for number, digit in enumerate(digits):
        if at_s >= now_s:
            return digits[number:], at_s
        at_s += COMMA_S if digit == "," else DIGIT_S
    return "", at_s


class StreamState(msgspec.Struct):
    """All that a worker must know of a stream, to be said again to its replacement."""

    stream_id: int
    worker: int
    group: int
    port_id: int
    ssrc: int
    signalled_host: str | None
    door: int = 0
    opened: bool = False
    """Its worker has heard of it."""
    params: StreamParams | None = None
    latched: Address | None = None
    partner: int | None = None
    echo: bool = False
    room: JoinRoom | None = None
    monitor: Monitor | None = None
    progress: str | None = None
    play: StartPlay | None = None
    play_since_s: float = 0.0
    play_stopped: bool = False
    left_off: tuple[Source, int] | None = None
    """What was played over and over last, and how far it had come, in ms."""
    digits: str = ""
    digits_since_s: float = 0.0

    def open(self) -> OpenStream:
        """What its worker is to hear before anything else, once."""
        self.opened = True
        return OpenStream(
            self.stream_id, self.port_id, self.signalled_host, self.latched, self.ssrc, self.params
        )

    def start_play(self, play: StartPlay, now_s: float, *, resume: bool = False) -> StartPlay:
        """Remember what is played from now on; returns it, `resume`: from where it was left off."""
        self.stop_play(now_s)
        if resume and self.left_off is not None and self.left_off[0] == play.source:
            play = msgspec.structs.replace(play, at_ms=self.left_off[1])
        self.play, self.play_since_s, self.play_stopped = play, now_s, False
        return play

    def stop_play(self, now_s: float) -> None:
        """What is played ends here."""
        if self.play is not None and not self.play_stopped:
            self.play_stopped = True
            if self.play.repeat:
                come_ms = self.play.at_ms + round(1000 * (now_s - self.play_since_s))
                self.left_off = self.play.source, come_ms

    def send_digits(self, digits: str, now_s: float) -> None:
        """Remember what is to be sent, until it has been. Who is told by INFO needs no worker for it."""
        if self.params is None or not self.params.dtmf_by_info:
            left, free_s = digits_left(self.digits, self.digits_since_s, now_s)
            self.digits, self.digits_since_s = left + digits, max(free_s, now_s)

    def hold_digits(self, now_s: float) -> None:
        """The worker has died: what it has not begun to send waits for the next. A digit that it was sending
        has been heard: any packet of it is enough."""
        self.digits, _ = digits_left(self.digits, self.digits_since_s, now_s)
        self.digits_since_s = inf

    def succeed(self) -> None:
        """Another worker takes over. It knows no packet numbers of the first, so a sealed stream speaks
        with another SSRC: under the old one its packets would be replays to the peer, sealed with a
        key stream that has been used (RFC 3711 9.1)."""
        if self.params is not None and self.params.srtp_out is not None:
            self.ssrc = (self.ssrc + 1) & 0xFFFFFFFF


@dataclass(slots=True)
class RecordingState:
    """A recording that has not been reported as ended."""

    command: StartRecording
    worker: int
    since_s: float
    paused: bool = False
    stopping: bool = False


def told_again(
    streams: Iterable[StreamState], recordings: Iterable[RecordingState], now_s: float
) -> Iterator[Command]:
    """Yield the commands that bring a new worker to the state of these streams and recordings.

    Streams come before what connects them. Plays and recordings go on where they would be now.
    """
    own = list(streams)
    for stream in own:
        yield stream.open()
    known = {stream.stream_id for stream in own}
    for stream in own:
        yield from _doings(stream, now_s)
        if stream.monitor is not None and stream.monitor.target in known:
            yield stream.monitor
    for recording in recordings:
        elapsed_ms = max(1, round(1000 * (now_s - recording.since_s)))
        yield msgspec.structs.replace(recording.command, elapsed_ms=elapsed_ms, as_of_s=now_s)
        if recording.paused:
            yield PauseRecording(recording.command.recording_id)
        if recording.stopping:
            yield StopRecording(recording.command.recording_id)


def _doings(stream: StreamState, now_s: float) -> Iterator[Command]:
    if stream.partner is not None and stream.stream_id < stream.partner:
        yield Connect(stream.stream_id, stream.partner)
    if stream.echo:
        yield SetEcho(stream.stream_id, True)
    if stream.room is not None:
        yield stream.room
    if stream.progress is not None:
        yield HearProgress(stream.stream_id, stream.progress)
    if stream.play is not None:
        passed_ms = round(1000 * (now_s - stream.play_since_s))
        yield msgspec.structs.replace(
            stream.play, at_ms=stream.play.at_ms + passed_ms, as_of_s=now_s
        )
        if stream.play_stopped:
            yield StopPlay(stream.stream_id)
    if stream.digits_since_s == inf:
        stream.digits_since_s = now_s
    digits, _ = digits_left(stream.digits, stream.digits_since_s, now_s)
    if digits:
        yield SendDigits(stream.stream_id, digits)
