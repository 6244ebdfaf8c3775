"""WAV files: headers that are right at every instant, a reader, and the repair of a cut file.

Sources: Microsoft/IBM "Multimedia Programming Interface and Data Specifications 1.0" (RIFF, WAVE,
cue points) and RFC 2361 (format codes: 1 PCM, 6 A-law, 7 u-law).

Nothing here opens a file: a caller writes `header(...)` at offset 0 whenever it wants the file to
be valid up to there (44 or 58 octets, one write), appends data, and may end with `marks(...)`.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from media.dsp import g711
from media.errors import WavError

PCM, ALAW, ULAW = 1, 6, 7
_EXTENSIBLE = 0xFFFE
_SIZE_MAX = 0xFFFFFFFF
_RATES_HZ = range(4000, 192001)
_PARTIES_MAX = 8
_CHUNKS_MAX = 1000
_TRAILER_OCTETS_MAX = 1 << 18
_DATA_OCTETS_MAX = 1 << 30


@dataclass(frozen=True, slots=True)
class WavFormat:
    """How samples are stored: `rate_hz`, `parties` side by side (2: stereo), PCM/ALAW/ULAW."""

    rate_hz: int = 8000
    parties: int = 1
    code: int = PCM

    @property
    def octets_per_sample(self) -> int:
        """Octets of one sample of one party: 2 for PCM, 1 for A-law and u-law."""
        return 2 if self.code == PCM else 1

    @property
    def octets_per_frame(self) -> int:
        """Octets of one sample of every party."""
        return self.octets_per_sample * self.parties

    @property
    def header_octets(self) -> int:
        """Octets before the first sample: 44 for PCM, 58 for A-law and u-law."""
        return 44 if self.code == PCM else 58


@dataclass(frozen=True, slots=True)
class Mark:
    """A point in a recording: `frame` counted from its start, and a short `label`."""

    frame: int
    label: str


@dataclass(frozen=True, slots=True)
class WavInfo:
    """What a file says of itself: format, where its samples start, how many octets follow."""

    format: WavFormat
    data_at: int
    data_octets: int
    whole: bool
    """Every declared size agrees with the length of the file."""
    open_ended: bool
    """Whatever follows `data_at` is samples: no chunk was announced behind them."""


def header(wav: WavFormat, data_octets: int, trailer_octets: int = 0) -> bytes:
    """Return the header for `data_octets` of samples, followed by `trailer_octets` of marks.

    Always `wav.header_octets` long, so it can be written over itself as the file grows. Sizes
    beyond what RIFF can say (4 GiB) saturate.
    """
    padded = data_octets + (data_octets & 1)
    riff = min(wav.header_octets - 8 + padded + trailer_octets, _SIZE_MAX)
    body = _description(wav)
    if wav.code != PCM:
        frames = min(data_octets // wav.octets_per_frame, _SIZE_MAX)
        body += b"fact\x04\0\0\0" + struct.pack("<I", frames)
    data = b"data" + struct.pack("<I", min(data_octets, _SIZE_MAX))
    return b"RIFF" + struct.pack("<I", riff) + b"WAVE" + body + data


@lru_cache(maxsize=64)
def _description(wav: WavFormat) -> bytes:
    """Return the chunk that says how samples are stored: the same each time a file grows."""
    frame = wav.octets_per_frame
    common = struct.pack(
        "<HHIIHH",
        wav.code,
        wav.parties,
        wav.rate_hz,
        wav.rate_hz * frame,
        frame,
        8 * wav.octets_per_sample,
    )
    if wav.code == PCM:
        return b"fmt \x10\0\0\0" + common
    # A compressed format needs the size of its extension (none) and a fact chunk.
    return b"fmt \x12\0\0\0" + common + b"\0\0"


def marks(points: Sequence[Mark]) -> bytes:
    """Return the trailing chunks (`cue ` and its labels) that name `points`; empty for none.

    Goes after the samples (padded to an even count). At most 1,000 points, labels of 80 octets.
    """
    if not points:
        return b""
    kept = points[:1000]
    cue = struct.pack("<I", len(kept))
    labels = b"adtl"
    for number, mark in enumerate(kept, start=1):
        at = min(max(mark.frame, 0), _SIZE_MAX)
        cue += struct.pack("<II4sIII", number, at, b"data", 0, 0, at)
        text = mark.label.encode("utf-8", "replace")[:80] + b"\0"
        labels += b"labl" + struct.pack("<II", 4 + len(text), number) + text
        labels += b"\0" * (len(text) & 1)
    return (
        b"cue " + struct.pack("<I", len(cue)) + cue + b"LIST" + struct.pack("<I", len(labels))
    ) + labels


def _format_of(body: bytes) -> WavFormat:
    if len(body) < 16:
        raise WavError("the format chunk is too short")
    code, parties, rate_hz, _, frame, bits = struct.unpack_from("<HHIIHH", body)
    if code == _EXTENSIBLE and len(body) >= 26:
        code = struct.unpack_from("<H", body, 24)[0]
    if code not in (PCM, ALAW, ULAW):
        raise WavError(f"format code {code} is not read; allowed: PCM, A-law, u-law")
    wav = WavFormat(rate_hz, parties, code)
    if rate_hz not in _RATES_HZ or not 1 <= parties <= _PARTIES_MAX:
        raise WavError(f"{rate_hz} Hz with {parties} tracks is not read")
    if bits != 8 * wav.octets_per_sample or frame != wav.octets_per_frame:
        raise WavError(f"{bits} bits a sample is not read; allowed: 16-bit PCM, 8-bit A-law, u-law")
    return wav


def _length(file: BinaryIO) -> int:
    return file.seek(0, 2)


def inspect(file: BinaryIO) -> WavInfo:
    """Walk the chunks of `file` (seekable, binary); raises `WavError` if no samples can be found.

    Data that the sizes do not cover, as a writer killed between two headers leaves them, is part of
    `data_octets`; `whole` is then false.
    """
    length = _length(file)
    file.seek(0)
    start = file.read(12)
    if len(start) < 12 or start[:4] != b"RIFF" or start[8:] != b"WAVE":
        raise WavError("not a RIFF/WAVE file")
    declared = struct.unpack_from("<I", start, 4)[0] + 8
    at, wav = 12, None
    for _ in range(_CHUNKS_MAX):
        file.seek(at)
        head = file.read(8)
        if len(head) < 8:
            raise WavError("no data chunk")
        size = struct.unpack_from("<I", head, 4)[0]
        if head[:4] == b"fmt ":
            wav = _format_of(file.read(min(size, 64)))
        elif head[:4] == b"data":
            if wav is None:
                raise WavError("the data chunk comes before the format chunk")
            return _data(wav, at + 8, size, declared, length)
        at += 8 + size + (size & 1)
    raise WavError(f"more than {_CHUNKS_MAX} chunks before the data")


def _data(wav: WavFormat, data_at: int, size: int, declared: int, length: int) -> WavInfo:
    whole = declared == length and data_at + size <= length and size % wav.octets_per_frame == 0
    if whole:
        return WavInfo(wav, data_at, size, True, False)
    # Sizes that end with the data are our own, cut short; chunks behind the data are a stranger's.
    own = declared <= data_at + size + 1 or data_at + size > length or size == 0
    present = length - data_at if own else size
    return WavInfo(wav, data_at, present - present % wav.octets_per_frame, False, own)


def repair(file: BinaryIO) -> WavInfo:
    """Make the sizes of a file cut short agree with what is on disk; returns what it then holds.

    `file` is open for reading and writing, at any position. Half a frame at the end is cut off.
    A file that is whole is not touched. Raises `WavError` if there is no header to go by.
    """
    info = inspect(file)
    if info.whole:
        return info
    if not info.open_ended:
        _patch(file, 4, _length(file) - 8)
        return inspect(file)
    file.seek(info.data_at + info.data_octets)
    if info.data_octets & 1:
        file.write(b"\0")
    file.truncate()
    end = file.tell()
    _patch(file, 4, end - 8)
    _patch(file, info.data_at - 4, info.data_octets)
    if info.format.code != PCM and info.data_at == info.format.header_octets:
        _patch(file, info.data_at - 12, info.data_octets // info.format.octets_per_frame)
    file.flush()
    return inspect(file)


def _patch(file: BinaryIO, at: int, value: int) -> None:
    file.seek(at)
    file.write(struct.pack("<I", min(value, _SIZE_MAX)))


def read(file: BinaryIO, *, octets_max: int = _DATA_OCTETS_MAX) -> tuple[int, NDArray[np.int16]]:
    """Read a whole file: `(rate_hz, samples)` with samples (parties, n) int16.

    16-bit PCM, A-law and u-law, any rate from 4 to 192 kHz, up to 8 tracks. A cut file is read as
    far as it goes. Raises `WavError` for anything else, also beyond `octets_max` of samples.
    """
    info = inspect(file)
    if info.data_octets > octets_max:
        raise WavError(f"{info.data_octets} octets of samples; allowed: {octets_max}")
    file.seek(info.data_at)
    raw = file.read(info.data_octets)
    raw = raw[: len(raw) - len(raw) % info.format.octets_per_frame]
    if info.format.code == PCM:
        samples = np.frombuffer(raw, "<i2").astype(np.int16)
    else:
        codes = np.frombuffer(raw, np.uint8)
        decode = g711.decode_alaw if info.format.code == ALAW else g711.decode_ulaw
        samples = decode(codes)
    return info.format.rate_hz, np.ascontiguousarray(samples.reshape(-1, info.format.parties).T)


def read_marks(file: BinaryIO) -> list[Mark]:
    """Return the marks behind the samples of `file`; none where there are none, or broken ones.

    Raises `WavError` if it is no WAV file.
    """
    info = inspect(file)
    at = info.data_at + info.data_octets + (info.data_octets & 1)
    file.seek(at)
    trailer = file.read(_TRAILER_OCTETS_MAX)
    points: dict[int, int] = {}
    labels: dict[int, str] = {}
    place = 0
    while place + 8 <= len(trailer):
        name, size = struct.unpack_from("<4sI", trailer, place)
        body = trailer[place + 8 : place + 8 + size]
        if name == b"cue ":
            for start in range(4, len(body) - 23, 24):
                number, frame = struct.unpack_from("<II", body, start)
                points[number] = frame
        elif name == b"LIST" and body[:4] == b"adtl":
            labels = _labels(body[4:])
        place += 8 + size + (size & 1)
    return [Mark(frame, labels.get(number, "")) for number, frame in sorted(points.items())]


def _labels(body: bytes) -> dict[int, str]:
    found: dict[int, str] = {}
    at = 0
    while at + 12 <= len(body):
        name, size, number = struct.unpack_from("<4sII", body, at)
        if name == b"labl":
            text = body[at + 12 : at + 8 + size].split(b"\0", 1)[0]
            found[number] = text.decode("utf-8", "replace")
        at += 8 + size + (size & 1)
    return found
