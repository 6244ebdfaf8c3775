"""Sounds that are made at run time: texts spoken by espeak-ng, files of others converted; both kept."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import shutil
import subprocess
from pathlib import Path

from softswitch.errors import CallError

SOUND_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")
TEXT_MAX = 1024
SOUND_S_MAX = 900.0
SOUNDS_MAX = 1000
_SPEAKING_S_MAX = 20.0
_AT_ONCE_MAX = 2
_BLOCK_FRAMES = 65_536
_VOICES = {"en": ("en-us", 150), "zh": ("cmn", 170)}


class MadeSounds:
    """Makes sounds into `folder` and remembers them; the oldest leave beyond `sounds_max`.

    Parameters: `program`, the speech synthesiser: espeak-ng where it is installed; None: texts
    cannot be spoken. At most two sounds are made at once, each in a thread.
    """

    def __init__(
        self,
        folder: Path,
        *,
        program: str | None = shutil.which("espeak-ng"),
        sounds_max: int = SOUNDS_MAX,
    ) -> None:
        self._folder = folder
        self._program = program
        self._sounds_max = sounds_max
        self._known: dict[str, Path] = {}
        self._at_once = asyncio.Semaphore(_AT_ONCE_MAX)

    def spoken(self, text: str, language: str) -> Path | None:
        """The file of a text that has been spoken already."""
        return self._kept(_key("text", text, language))

    def converted(self, source: Path) -> Path | None:
        """The file that `source` has been converted to already."""
        return self._kept(_key("file", str(source)))

    def owns(self, path: Path) -> bool:
        """Whether this is a file made here."""
        return path.parent == self._folder

    def _kept(self, key: str) -> Path | None:
        path = self._known.get(key)
        return path if path is not None and path.is_file() else None

    async def speak(self, text: str, language: str) -> Path:
        """`text` as a WAV file; raises `CallError` where it cannot be spoken."""
        if self._program is None:
            raise CallError("a text cannot be spoken: espeak-ng is not installed")
        if not text or len(text) > TEXT_MAX:
            raise CallError(f"a text of {len(text)} characters is not spoken; 1 to {TEXT_MAX} are")
        key = _key("text", text, language)
        return await self._made(key, _speak, self._program, text, language)

    async def convert(self, source: Path) -> Path:
        """`source` as 16-bit mono WAV at its own rate; raises `CallError` for what is no sound, or
        one of more than `SOUND_S_MAX`."""
        return await self._made(_key("file", str(source)), convert_sound, source)

    async def _made(self, key: str, make: object, *arguments: object) -> Path:
        path = self._folder / f"{key}.wav"
        async with self._at_once:
            if self._kept(key) is None:
                await asyncio.get_running_loop().run_in_executor(
                    None, self._make, path, make, arguments
                )
                self._known[key] = path
        return path

    def _make(self, path: Path, make: object, arguments: tuple[object, ...]) -> None:
        assert callable(make)
        if path.is_file() and make is _speak:
            return  # of an earlier run: the key holds the text, so it says the same
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial = path.with_suffix(".part")
        try:
            make(partial, *arguments)
            os.replace(partial, path)
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            partial.unlink(missing_ok=True)
            raise CallError(f"the sound could not be made: {error}") from None
        self._prune()

    def _prune(self) -> None:
        files = [(entry.stat().st_mtime, entry) for entry in self._folder.glob("*.wav")]
        for _, entry in sorted(files)[: max(0, len(files) - self._sounds_max)]:
            entry.unlink(missing_ok=True)


def _key(kind: str, *parts: str) -> str:
    digest = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape"))
    return f"{kind}-{digest.hexdigest()[:32]}"


def _speak(target: Path, program: str, text: str, language: str) -> None:
    import numpy as np
    import soundfile

    voice, speed = _VOICES.get(language, _VOICES["en"])
    done = subprocess.run(  # a fixed program with the text on its standard input, no shell
        [program, "-v", voice, "-s", str(speed), "--stdin", "--stdout"],
        input=text.encode(),
        capture_output=True,
        check=True,
        timeout=_SPEAKING_S_MAX,
    )
    # Written to a pipe, its header promises more samples than there are: soundfile reads what is there.
    samples, rate = soundfile.read(io.BytesIO(done.stdout), dtype="int16")
    if not len(samples):
        raise CallError("the text says nothing")
    soundfile.write(target, np.asarray(samples), rate, format="WAV", subtype="PCM_16")


def convert_sound(target: Path, source: Path) -> None:
    """Write `source` (whatever soundfile reads) as 16-bit mono WAV at its own rate. Raises `CallError` for
    more than `SOUND_S_MAX`, `RuntimeError` (soundfile's) for what is no sound. Blocks."""
    import soundfile

    with soundfile.SoundFile(source) as file:
        if not 0 < file.frames <= SOUND_S_MAX * file.samplerate:
            raise CallError(f"{source} lasts longer than {SOUND_S_MAX:g} s, or holds no sound")
        with soundfile.SoundFile(
            target, "w", file.samplerate, 1, subtype="PCM_16", format="WAV"
        ) as made:
            for block in file.blocks(_BLOCK_FRAMES, dtype="float32", always_2d=True):
                made.write(block.mean(axis=1))
