"""Sounds and digits on their way into streams: begun, replaced, ended, and said to be over."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from media.dsp import tones
from media.plane.mixer import Mixer
from media.plane.player import Library, Play, resampled
from media.plane.stream import Stream
from media.plane.streams import Streams
from media.plane.wiring import Wiring
from media.protocol import DigitsDue, MediaEvent, PlayFinished, Source, StartPlay

_DIGITS_MAX = 256
_DIGIT_SET = frozenset("0123456789*#ABCDabcd,")
_SOUND_S_MAX = 60
_BEEP_HZ, _BEEP_S, _BEEP_PEAK = 1_400.0, 0.2, 3_000.0
_OURS, _DIGITS = -1, -2
"""Play numbers of what nobody waits for the end of."""


class Prompter:
    """One play a stream; the mixer sends what it says here, and `emit` takes the events."""

    def __init__(
        self,
        streams: Streams,
        library: Library,
        mixer: Mixer,
        wiring: Wiring,
        emit: Callable[[MediaEvent], None],
    ) -> None:
        self._streams = streams
        self._library = library
        self._mixer = mixer
        self._wiring = wiring
        self._emit = emit

    def play(self, stream: Stream, command: StartPlay, since_ms: int = 0) -> None:
        """Begin a source as soon as it has been read; `since_ms` after the command was given."""
        if command.mix:
            self._wiring.check_decodable(stream)
        self.stop(stream, "replaced")
        play = Play(
            command.play_id, command.repeat, command.source, stream.rate_hz, over_call=command.mix
        )
        self._begin(stream, play)
        self._fetch(stream, play, command.source, command.at_ms + since_ms)

    def _fetch(self, stream: Stream, play: Play, source: Source, at_ms: int) -> None:
        rate_hz = play.rate_hz

        def ready(samples: NDArray[np.int16] | None, problem: str) -> None:
            if samples is None:
                if self._mixer.plays.get(stream) is play:
                    self.end(stream, play, f"failed: {problem}")
                return
            if play.rate_hz == rate_hz:
                play.begin(samples, at_ms)

        self._library.fetch(source, rate_hz, ready)

    def change_rate(self, stream: Stream) -> None:
        """The codec of `stream` has another sampling rate: what is played goes on at that."""
        play = self._mixer.plays.get(stream)
        if play is None or play.rate_hz == stream.rate_hz:
            return
        before_hz, play.rate_hz = play.rate_hz, stream.rate_hz
        at_ms = round(1000 * play.at / before_hz)
        samples, play.samples = play.samples, None
        if play.source is not None:
            self._fetch(stream, play, play.source, at_ms)
        elif samples is not None:
            play.begin(resampled(samples, before_hz, play.rate_hz), at_ms)

    def _begin(self, stream: Stream, play: Play) -> None:
        self._mixer.plays[stream] = play
        stream.playing, stream.announced = not play.over_call, play.over_call
        self._mixer.changed()
        self._wiring.rewire(stream)

    def stop(self, stream: Stream | None, reason: str) -> None:
        """End what is played into a stream, if anything is."""
        play = self._mixer.plays.get(stream) if stream is not None else None
        if stream is not None and play is not None:
            self.end(stream, play, reason)

    def end(self, stream: Stream, play: Play, reason: str) -> None:
        """`play` is over; the stream hears its bridge again unless another has begun."""
        if self._mixer.plays.get(stream) is play:
            del self._mixer.plays[stream]
        now = self._mixer.plays.get(stream)
        stream.playing = now is not None and not now.over_call
        stream.announced = now is not None and now.over_call
        self._mixer.changed()
        self._wiring.rewire(stream)
        if play.play_id >= 0:
            self._emit(PlayFinished(stream.stream_id, play.play_id, reason))

    def beep(self, stream: Stream) -> None:
        """Let one who is recorded hear it: 1,400 Hz for 0.2 s, unless something else is played."""
        if stream not in self._mixer.plays and stream.sends:
            rate_hz = stream.rate_hz
            at = np.arange(round(_BEEP_S * rate_hz)) / rate_hz
            samples = tones.to_int16(_BEEP_PEAK * np.sin(2 * np.pi * _BEEP_HZ * at))
            self._begin(stream, Play(_OURS, False, None, rate_hz, samples, over_call=True))

    def pass_on(self, stream: Stream, digit: str) -> None:
        """Tell the other side of a bridge of a digit that no packet of `stream` tells it of, in the way
        that it understands. One who hears something else than the bridge is left alone."""
        partner = stream.partner
        if partner is None or not partner.sends or digit not in _DIGIT_SET:
            return
        play = self._mixer.plays.get(partner)
        if not partner.playing or (play is not None and play.play_id == _DIGITS):
            self.send_digits(partner, digit)

    def _sound_digits(self, stream: Stream, digits: str) -> None:
        sound = tones.dtmf(digits, rate_hz=stream.rate_hz)
        play = self._mixer.plays.get(stream)
        if play is None or play.play_id != _DIGITS or play.samples is None:
            self.stop(stream, "replaced")
            self._begin(stream, Play(_DIGITS, False, None, stream.rate_hz, sound))
            return
        left = play.samples[play.at :]
        if len(left) > _SOUND_S_MAX * play.rate_hz:
            raise ValueError(f"more than {_SOUND_S_MAX} s of digits are waiting")
        play.samples, play.at = np.concatenate([left, sound]), 0

    def send_digits(self, stream: Stream, digits: str) -> None:
        """Send digits as events, or as sound where none are agreed; raises `ValueError`."""
        if not set(digits) <= _DIGIT_SET or len(stream.digits) + len(digits) > _DIGITS_MAX:
            raise ValueError("digits are 0-9 * # A-D and ',', at most 256")
        if stream.params is not None and stream.params.dtmf_by_info:
            self._emit(DigitsDue(stream.stream_id, digits))
            return
        if stream.params is not None and stream.params.dtmf_payload_type is None:
            self._sound_digits(stream, digits)
            return
        stream.digits += digits
        if stream.digits:
            self._mixer.spell(stream)
            self._wiring.rewire(stream)
