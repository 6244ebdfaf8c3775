"""What is played into streams: tones, files, digits as sound; read on a thread, served by tick."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from media.dsp import tones, wav
from media.dsp.mixer import soft_clip
from media.dsp.resample import Polyphase
from media.errors import MediaError, NotSupported
from media.plane.disk import Disk
from media.plane.timeline import RATE_HZ
from media.protocol import File, Prompts, Source, Tone

_CACHED_SAMPLES_MAX = 64 << 20
_FILE_OCTETS_MAX = 256 << 20
DUCKED = 0.25
"""What lies under an announcement is 12 dB softer."""

_PROMPTS_MAX = 64
_FLAC = b"fLaC"


def read_source(source: Source, rate_hz: int = RATE_HZ) -> NDArray[np.int16]:
    """Return (n,) int16 at `rate_hz`; raises `MediaError` or `OSError`."""
    match source:
        case Tone(name=name, country=country):
            try:
                return tones.render(country, name, rate_hz=rate_hz)
            except KeyError as error:
                raise NotSupported(f"no tone {name!r}") from error
        case Prompts(parts=parts):
            if not 1 <= len(parts) <= _PROMPTS_MAX:
                raise NotSupported(f"{len(parts)} prompts; allowed: 1 to {_PROMPTS_MAX}")
            return np.concatenate([read_source(part, rate_hz) for part in parts])
        case File(path=path):
            with open(path, "rb") as file:
                stored_hz, parties = _parties(file)
            mixed: NDArray[np.int16] = parties[0]
            if len(parties) > 1:
                mixed = parties.mean(axis=0).astype(np.int16)
            mixed = resampled(mixed, stored_hz, rate_hz)
            if not len(mixed):
                raise NotSupported(f"{path} holds no sound")
            return mixed


def _parties(file: BinaryIO) -> tuple[int, NDArray[np.int16]]:
    """Return the rate and (parties, n) int16 of a WAV or FLAC file."""
    kind = file.read(4)
    file.seek(0)
    if kind != _FLAC:
        return wav.read(file, octets_max=_FILE_OCTETS_MAX)
    import soundfile  # only who keeps such files loads libsndfile

    try:
        with soundfile.SoundFile(file) as sound:
            if sound.frames * sound.channels * 2 > _FILE_OCTETS_MAX:
                raise NotSupported(f"{sound.frames} samples are too many")
            samples = sound.read(dtype="int16", always_2d=True)
            rate_hz: int = sound.samplerate
            return rate_hz, np.ascontiguousarray(samples.T)
    except soundfile.LibsndfileError as error:
        raise NotSupported(str(error)) from error


def resampled(samples: NDArray[np.int16], from_hz: int, to_hz: int) -> NDArray[np.int16]:
    """Return (n,) int16 at another rate, whatever the two are."""
    if from_hz == to_hz:
        return samples
    try:
        converted: NDArray[np.int16] = Polyphase(from_hz, to_hz).whole(samples[None])[0]
        return converted
    except ValueError:
        pass  # no simple ratio
    # Low-pass by the Fourier transform of the whole file: exact, and off the tick.
    wanted = max(1, round(len(samples) * to_hz / from_hz))
    spectrum = np.fft.rfft(samples.astype(np.float64))
    kept = np.zeros(wanted // 2 + 1, np.complex128)
    size = min(len(kept), len(spectrum))
    kept[:size] = spectrum[:size]
    signal = np.fft.irfft(kept, wanted) * (wanted / len(samples))
    return tones.to_int16(signal)


Wanted = tuple[Source, int]
"""A source and the rate it is to be played at."""


class Library:
    """Sources that have been read, at the rates they are played at; the least used leave when it
    grows too large."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._known: OrderedDict[Wanted, NDArray[np.int16]] = OrderedDict()
        self._samples = 0
        self._arrived: deque[tuple[Wanted, NDArray[np.int16] | None, str]] = deque()
        self._wanted: dict[Wanted, list[Callable[[NDArray[np.int16] | None, str], None]]] = {}

    @property
    def awaiting(self) -> bool:
        """A source is being read, or has been and waits for `poll`."""
        return bool(self._wanted)

    def fetch(
        self,
        source: Source,
        rate_hz: int,
        ready: Callable[[NDArray[np.int16] | None, str], None],
    ) -> None:
        """Call `ready(samples, problem)` at once or at a later `poll`; samples None: problem."""
        wanted = source, rate_hz
        known = self._known.get(wanted)
        if known is not None:
            self._known.move_to_end(wanted)
            ready(known, "")
            return
        waiting = self._wanted.setdefault(wanted, [])
        waiting.append(ready)
        if len(waiting) == 1:
            self._disk.submit(lambda: self._read(wanted))

    def _read(self, wanted: Wanted) -> None:
        try:
            self._arrived.append((wanted, read_source(*wanted), ""))
        except (MediaError, OSError) as error:
            self._arrived.append((wanted, None, str(error)))

    def poll(self) -> None:
        """Hand over what has been read."""
        while self._arrived:
            wanted, samples, problem = self._arrived.popleft()
            if samples is not None:
                self._known[wanted] = samples
                self._samples += len(samples)
                while self._samples > _CACHED_SAMPLES_MAX and len(self._known) > 1:
                    self._samples -= len(self._known.popitem(last=False)[1])
            for ready in self._wanted.pop(wanted, ()):
                ready(samples, problem)


@dataclass(slots=True)
class Play:
    """One source on its way into one stream; `samples` None until it has been read, at `rate_hz`.

    `source` is None for what the worker makes itself. `over_call`: laid over what the stream hears
    anyway, instead of replacing it.
    """

    play_id: int
    repeat: bool
    source: Source | None = None
    rate_hz: int = RATE_HZ
    samples: NDArray[np.int16] | None = None
    at: int = 0
    over: bool = False
    over_call: bool = False
    under: float = 1.0
    """How loud what lies under it is now."""

    def begin(self, samples: NDArray[np.int16], at_ms: int) -> None:
        """Start with `samples`, `at_ms` into them."""
        self.samples = samples
        at = at_ms * self.rate_hz // 1000
        self.at = at % len(samples) if self.repeat else min(at, len(samples))

    def take(self, out: NDArray[np.int16]) -> None:
        """Fill `out`, a tick of int16, with what comes next; silence before and after."""
        out[:] = 0
        if self.samples is None or self.over:
            return
        filled = 0
        while filled < len(out):
            part = self.samples[self.at : self.at + len(out) - filled]
            out[filled : filled + len(part)] = part
            filled += len(part)
            self.at += len(part)
            if self.at >= len(self.samples):
                if not self.repeat:
                    self.over = True
                    return
                self.at = 0

    def lay_over(self, out: NDArray[np.int16]) -> None:
        """Put what comes next over `out`, a tick of int16, which is softer meanwhile."""
        if self.samples is None or self.over:
            return
        own = np.empty(len(out), np.int16)
        self.take(own)
        # The level glides during the first and the last tick: a step would click.
        before, self.under = self.under, 1.0 if self.over else DUCKED
        glide = np.linspace(before, self.under, len(out))
        soft_clip((np.rint(out * glide) + own).astype(np.int32)[None], out[None])
