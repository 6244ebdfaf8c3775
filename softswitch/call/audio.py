"""What is heard in a call besides the other party: prompts, music, echo, and what is recorded of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from media.protocol import File, Prompts, RecordingStopped, Source, Tone
from softswitch.errors import CallError

if TYPE_CHECKING:
    from softswitch.call.call import Call
    from softswitch.call.leg import Leg
    from softswitch.call.wiring import Wiring

HOLD_MUSIC = "default"
TONE_PREFIX = "tone:"
MUSIC_PREFIX = "music:"


_RINGBACK = "tone:ringback"
SILENCE = "tone:silence"


class PromptShelf(Protocol):
    """Finds sounds by id, or takes a path; raises `CallError` for neither.

    What `needs_making` (a text to be spoken, a file in another format) is found after `make`.
    """

    def find(self, prompt: str, language: str) -> Path: ...

    def needs_making(self, prompt: str, language: str) -> bool: ...

    async def make(self, prompt: str, language: str) -> None: ...

    def music(self, name: str) -> Path: ...


@dataclass(frozen=True, slots=True)
class Recorded:
    """A finished recording: file name, length at 8,000 frames a second, why it stopped."""

    name: str
    frames: int
    reason: str

    @property
    def duration_s(self) -> float:
        return self.frames / 8000


@dataclass(slots=True)
class _Recording:
    call_id: str
    name: str
    done: Callable[[Recorded], None] | None = None
    noted: bool = True


class CallAudio:
    """The audio verbs of calls, towards the media plane."""

    def __init__(self, wiring: Wiring, prompts: PromptShelf) -> None:
        self._wiring = wiring
        self._prompts = prompts
        self._recordings: dict[int, _Recording] = {}
        self._paused: set[int] = set()
        self.on_recorded: Callable[[str, Recorded], None] = lambda call_id, recorded: None
        """A recording of a call is complete; a message is none."""
        self.on_written: Callable[[Recorded], None] = lambda recorded: None
        """A file is complete, whatever it holds, or as complete as it will be."""
        """Told of each recording of a call that is complete."""

    @property
    def recordings_open(self) -> int:
        return len(self._recordings)

    # -- playing -----------------------------------------------------------------------------------

    def play(
        self,
        call: Call,
        prompt: str,
        *,
        repeat: bool = False,
        leg: Leg | None = None,
        mix: bool = False,
    ) -> asyncio.Future[None]:
        """Start a prompt, a file, ``tone:NAME`` or ``music:NAME`` towards `leg`, by default the caller.

        With `mix` it is heard over the conversation, which is softer meanwhile, not instead of it. Music goes
        on where an announcement or the conversation has interrupted it."""
        stream = self._stream(call, leg)
        play_id = self._wiring.next_number()
        source = self._source(prompt, call.language)
        future = call.play_started(play_id)
        resume = repeat and prompt.startswith(MUSIC_PREFIX)
        self._wiring.plane.play(
            stream, source, play_id=play_id, repeat=repeat, mix=mix, resume=resume
        )
        self._wiring.pump()
        return future

    def play_row(
        self, call: Call, prompts: Sequence[str], *, leg: Leg | None = None, mix: bool = False
    ) -> asyncio.Future[None]:
        """Start prompts one after the other, without a gap, as one; see `play`."""
        stream = self._stream(call, leg)
        play_id = self._wiring.next_number()
        parts = [self._source(prompt, call.language) for prompt in prompts]
        row = Prompts(tuple(part for part in parts if not isinstance(part, Prompts)))
        future = call.play_started(play_id)
        self._wiring.plane.play(stream, row, play_id=play_id, mix=mix)
        self._wiring.pump()
        return future

    def needs_making(self, call: Call, prompt: str) -> bool:
        """Whether `make` must be awaited before `play` finds this prompt."""
        if prompt.startswith((TONE_PREFIX, MUSIC_PREFIX)):
            return False
        return self._prompts.needs_making(prompt, call.language)

    async def make(self, call: Call, prompt: str) -> None:
        """Have a text spoken or a file converted; raises `CallError`."""
        await self._prompts.make(prompt, call.language)

    def _source(self, prompt: str, language: str) -> Source:
        if prompt.startswith(TONE_PREFIX):
            country = self._wiring.office.office.country.lower()
            return Tone(prompt.removeprefix(TONE_PREFIX), country)
        if prompt.startswith(MUSIC_PREFIX):
            return File(str(self._prompts.music(prompt.removeprefix(MUSIC_PREFIX))))
        return File(str(self._prompts.find(prompt, language)))

    def ring_back(self, call: Call) -> None:
        """Let a caller who has been answered already hear that it rings elsewhere, if he is to."""
        wanted = call.ringback_wanted and not call.ringback_heard
        if wanted and call.partner is None and call.caller.stream is not None:
            call.ringback_heard = True
            self.play(call, _RINGBACK, repeat=True)

    def stop_ringback(self, call: Call) -> None:
        """The ringing is over."""
        if call.ringback_heard and call.caller.stream is not None:
            self._wiring.plane.stop_play(call.caller.stream.stream_id)
        call.ringback_heard = False

    def silence(self, call: Call) -> None:
        """End whatever a handler has left running towards the caller."""
        stream = call.caller.stream
        if stream is not None:
            self._wiring.plane.stop_play(stream.stream_id)
            self._wiring.plane.leave_room(stream.stream_id)
            self._wiring.plane.stop_monitor(stream.stream_id)
            self._wiring.plane.echo(stream.stream_id, False)

    def hear_line(self, call: Call, leg: Leg, country: str | None = None) -> None:
        """Listen to what a line says, by the tones of `country`."""
        country = (country or self._wiring.office.office.country).lower()
        self._wiring.plane.hear_progress(self._stream(call, leg), country, answered=True)

    def hear_line_no_more(self, leg: Leg) -> None:
        """Listen to a line no longer."""
        if leg.stream is not None:
            self._wiring.plane.hear_progress(leg.stream.stream_id, None)

    def stop_play(self, call: Call, leg: Leg | None = None) -> None:
        self._wiring.plane.stop_play(self._stream(call, leg))

    def entertain(self, call: Call, holder: Leg) -> None:
        """Music for the one that `holder` has put on hold, until he is back; where the office has taken the
        music away packets of silence, for a telephone that gets none gives the call up."""
        other = call.partner if holder is call.caller else call.caller
        if other is None or other.stream is None or call.partner is None:
            return
        if not holder.held:
            self._wiring.plane.stop_play(other.stream.stream_id)
            return
        try:
            source = self._source(f"{MUSIC_PREFIX}{HOLD_MUSIC}", call.language)
        except CallError:
            source = self._source(SILENCE, call.language)
        self._wiring.plane.play(
            other.stream.stream_id,
            source,
            play_id=self._wiring.next_number(),
            repeat=True,
            resume=True,
        )

    def echo(self, call: Call, on: bool) -> None:
        self._wiring.plane.echo(self._stream(call, None), on)

    def bring_beside(self, call: Call, other: Call) -> None:
        """Move the caller's stream to the worker that has `other`'s."""
        mine, theirs = call.caller.stream, other.caller.stream
        if mine is None:
            call.media_group = other.media_group
        elif theirs is not None and mine.worker != theirs.worker:
            call.media_group = other.media_group
            call.caller.rehome()
            self._wiring.pump()

    def join_room(
        self, call: Call, room: int, *, mute: bool = False, deaf: bool = False, gain: float = 1.0
    ) -> None:
        stream = self._stream(call, None)
        self._wiring.plane.join_room(room, stream, mute=mute, deaf=deaf, gain=gain)

    def monitor(self, call: Call, target: int, mode: str) -> None:
        """Let the caller hear the call of a stream: "listen"; "whisper", that stream hears him too;
        "barge", everybody does."""
        self._wiring.plane.monitor(self._stream(call, None), target, mode=mode)

    def leave_room(self, call: Call) -> None:
        self._wiring.plane.leave_room(self._stream(call, None))

    def send_digits(self, call: Call, digits: str, leg: Leg | None = None) -> None:
        self._wiring.plane.send_digits(self._stream(call, leg), digits)

    @staticmethod
    def _stream(call: Call, leg: Leg | None) -> int:
        found = (leg or call.caller).stream
        if found is None:
            raise CallError(f"call {call.call_id} has no audio yet: answer it first")
        return found.stream_id

    # -- recording ---------------------------------------------------------------------------------

    def start_recording(self, call: Call) -> None:
        """Record caller (left) and partner (right) into one file named after the call."""
        if call.recording is not None or call.partner is None:
            return
        left, right = self._stream(call, None), self._stream(call, call.partner)
        suffix = f"-{call.recordings_made}" if call.recordings_made else ""
        call.recordings_made += 1
        name = f"{call.call_id}{suffix}.wav"
        call.recording = self._record(call, left, right, name, None)
        call.recording_name = name

    def record_caller(
        self, call: Call, name: str, done: Callable[[Recorded], None], *, noted: bool = True
    ) -> int:
        """Record the caller alone (a message); `done` is called when the file is complete. With
        `noted` False the journal, and so the call's record, does not name it."""
        return self._record(call, self._stream(call, None), None, name, done, noted=noted)

    def is_quiet(self, name: str, wanted_s: float) -> asyncio.Future[bool]:
        """Whether the end of a running recording has been silent for `wanted_s`."""
        from softswitch.call.loudness import quiet_tail

        path = self._wiring.office.storage.directory / "recordings" / name
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(None, quiet_tail, path, wanted_s)

    def _record(
        self,
        call: Call,
        left: int,
        right: int | None,
        name: str,
        done: Callable[[Recorded], None] | None,
        *,
        noted: bool = True,
    ) -> int:
        recording_id = self._wiring.next_number()
        wanted = self._wiring.office.recording
        self._wiring.plane.start_recording(
            recording_id,
            left=left,
            right=right,
            name=name,
            ulaw=wanted.format == "ulaw" and right is not None,
            beep=wanted.beep and right is not None,
        )
        self._recordings[recording_id] = _Recording(call.call_id, name, done, noted)
        if noted:
            self._wiring.records.recording_started(call, self._wiring.wall_s(), name)
        return recording_id

    def stop_recording(self, call: Call) -> None:
        """Close the call's recording, if it has one; its record follows when the file is complete."""
        if call.recording is not None:
            self.stop_recording_of(call.recording)
            call.recording = None

    def record_now(self, call: Call) -> bool:
        """Record a conversation on demand, and whatever it becomes; False if there is none."""
        if call.partner is None or call.caller.stream is None or call.partner.stream is None:
            return False
        call.to_be_recorded = True
        self.start_recording(call)
        return True

    def record_no_more(self, call: Call) -> bool:
        """End the recording of a call, and begin none by itself; False if it has none."""
        if call.recording is None:
            return False
        call.to_be_recorded = False
        self.stop_recording(call)
        return True

    def pause_recording(self, call: Call) -> bool:
        """Keep what is said out of the call's recording (silence and a mark); False if it has none."""
        if call.recording is None:
            return False
        self._wiring.plane.pause_recording(call.recording)
        self._paused.add(call.recording)
        return True

    def is_paused(self, call: Call) -> bool:
        """Whether what is said is kept out of the call's recording now."""
        return call.recording in self._paused

    def resume_recording(self, call: Call) -> bool:
        """Record again what is said; False if the call is not recorded."""
        if call.recording is None:
            return False
        self._wiring.plane.resume_recording(call.recording)
        self._paused.discard(call.recording)
        return True

    def stop_recording_of(self, recording_id: int) -> None:
        self._wiring.plane.stop_recording(recording_id)

    def recording_stopped(self, event: RecordingStopped) -> None:
        """The media plane has closed the file."""
        self._paused.discard(event.recording_id)
        known = self._recordings.pop(event.recording_id, None)
        if known is None:
            return
        frames = event.frames * 8000 // event.rate_hz
        recorded = Recorded(known.name, frames, event.reason)
        self.on_written(recorded)
        if known.noted:
            self._wiring.records.recording_stopped(
                known.call_id, self._wiring.wall_s(), known.name, frames, event.reason
            )
            self.on_recorded(known.call_id, recorded)
        if known.done is not None:
            known.done(recorded)
