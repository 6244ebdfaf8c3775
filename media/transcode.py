"""A finished recording in less space: WAV to FLAC or Opus. `python -P -m media.transcode FROM TO KIND`.

A process of its own, at the lowest priority, because what it does takes seconds and no call may wait
for it. The new file appears whole or not at all: it is written beside its name, synced, read back,
and only then given the name. Marks (pauses) go into its comment.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import numpy as np
import soundfile

from media.dsp import wav
from media.errors import MediaError, WavError

KINDS = {"flac": ("FLAC", "PCM_16"), "opus": ("OGG", "OPUS")}
"""Suffix to libsndfile's container and coding. FLAC loses nothing; Opus is for listening."""

PART = ".part"
"""What a file is called besides its name while it is written."""

_BLOCK = 1 << 16
_NICE = 19
_MODE = 0o640


class TranscodeError(MediaError):
    """The recording cannot be transcoded; it stays as it is."""


def transcode(source: Path, target: Path, kind: str) -> int:
    """Write what `source` (a WAV file) holds to `target` as `kind` of `KINDS`; returns its frames.

    An existing `target` is replaced in one step. Raises `TranscodeError`; `source` is never touched.
    """
    if kind not in KINDS:
        raise TranscodeError(f"{kind}; allowed: {', '.join(KINDS)}")
    part = target.with_name(target.name + PART)
    try:
        with source.open("rb") as file:
            marks = wav.read_marks(file)
        frames = _copy(source, part, kind, marks)
        _check(part, frames, kind)
        _sync(part)
        os.chmod(part, _MODE)
        os.replace(part, target)
        _sync(target.parent)
    except (OSError, soundfile.LibsndfileError, WavError) as error:
        part.unlink(missing_ok=True)
        raise TranscodeError(f"{source.name}: {error}") from error
    return frames


def _copy(source: Path, part: Path, kind: str, marks: list[wav.Mark]) -> int:
    container, coding = KINDS[kind]
    frames = 0
    with (
        soundfile.SoundFile(source) as whole,
        soundfile.SoundFile(
            part, "w", whole.samplerate, whole.channels, coding, format=container
        ) as out,
    ):
        if marks:
            rate_hz = whole.samplerate
            out.comment = "; ".join(f"{mark.frame / rate_hz:.3f} {mark.label}" for mark in marks)
        while True:
            block: np.ndarray[tuple[int, ...], np.dtype[np.int16]] = whole.read(
                _BLOCK, dtype="int16", always_2d=True
            )
            if not len(block):
                return frames
            out.write(block)
            frames += len(block)


def _check(part: Path, frames: int, kind: str) -> None:
    """Read the new file to its end: a full disk must not cost the old one."""
    found = 0
    with soundfile.SoundFile(part) as made:
        for block in made.blocks(_BLOCK, dtype="int16"):
            found += len(block)
    if found != frames:
        raise TranscodeError(f"{frames} frames in, {found} out as {kind}")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def marks_of(comment: str) -> list[tuple[float, str]]:
    """Read the marks back from a transcoded file's comment: (seconds, label)."""
    found = re.findall(r"(?:^|; )([0-9]+\.[0-9]{3}) ([^;]+)", comment)
    return [(float(seconds), label) for seconds, label in found]


def main(arguments: list[str]) -> int:
    """Transcode one file; the frames or the problem on one line."""
    if len(arguments) != 3:
        print("media.transcode FROM TO KIND", file=sys.stderr)
        return 2
    os.nice(_NICE)
    try:
        print(transcode(Path(arguments[0]), Path(arguments[1]), arguments[2]))
    except TranscodeError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
