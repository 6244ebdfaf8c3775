"""Prompts by id: where their files are, in the language of the call."""

from __future__ import annotations

from pathlib import Path

from media.dsp import wav
from media.errors import WavError
from softswitch.errors import CallError
from softswitch.sounds import SOUND_SUFFIXES, MadeSounds

FALLBACK_LANGUAGE = "en"
PROMPT_SUFFIXES = (".wav", ".flac")
"""What the media plane plays as it is; an office's own recording may be either."""

TEXT_PREFIX = "text:"
SOUNDS = "sounds"
"""The folder of sounds without words: beeps."""


def shipped_prompts() -> Path:
    """The folder of prompts: inside the installed package, or at the root of a source checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "_data" / "prompts"
    return installed if installed.is_dir() else package.parent / "prompts"


class Prompts:
    """Finds prompts in the office's own folder first, then among those that are shipped.

    Parameters: `language`, "en" or "zh", where none is asked for; `own`, a folder of the office's
    recordings laid out the same way (``<language>/<id>.wav`` or ``.flac``), or None; `made`, which speaks
    ``text:...`` and converts files that cannot be played as they are.
    """

    def __init__(
        self,
        language: str,
        own: Path | None = None,
        shipped: Path | None = None,
        made: MadeSounds | None = None,
    ) -> None:
        self._language = language
        self._own = own
        self._made = made
        self._roots = [root for root in (own, shipped or shipped_prompts()) if root is not None]
        self._found: dict[tuple[str, str], Path] = {}
        self._odd: set[Path] = set()

    def use_language(self, language: str) -> None:
        """Another language where none is asked for."""
        self._language = language

    def find(self, prompt: str, language: str | None = None) -> Path:
        """The file of a prompt's id (``main-menu``) or of a path; raises `CallError`.

        A text to be spoken, or a file in another format, is found after `make`.
        """
        language = language or self._language
        known = self._found.get((prompt, language))
        if known is not None:
            return known
        path = self._look(prompt, language)
        if path is None:
            raise CallError(f"prompt {prompt} does not exist in {language} or as a file")
        if self._made is None or not self._made.owns(path):  # what was made may be pruned
            self._found[prompt, language] = path
        return path

    def has(self, prompt: str, language: str | None = None) -> bool:
        """Whether `find` finds it."""
        try:
            self.find(prompt, language)
        except CallError:
            return False
        return True

    def names(self) -> set[str]:
        """The ids of all prompts that there are in some language."""
        paths = (path for root in self._roots for path in root.glob("*/*"))
        return {path.stem for path in paths if path.suffix in PROMPT_SUFFIXES}

    @property
    def own(self) -> Path | None:
        """The office's own folder."""
        return self._own

    @property
    def roots(self) -> tuple[Path, ...]:
        """The folders of prompts, the office's own first."""
        return tuple(self._roots)

    def has_shipped(self, prompt: str) -> bool:
        """Whether a prompt or music of this name comes with the program."""
        folders = (folder for folder in self._roots[-1].iterdir() if folder.is_dir())
        return any(recording_in(folder, prompt) is not None for folder in folders)

    def forget(self, prompt: str) -> None:
        """The prompt is another one now, or gone: look for it anew."""
        self._found = {key: path for key, path in self._found.items() if key[0] != prompt}

    def music(self, name: str) -> Path:
        """Music on hold by name (``default``), from the folder ``music``; raises `CallError`."""
        for root in self._roots if "/" not in name else ():
            path = recording_in(root / "music", name)
            if path is not None:
                return path
        raise CallError(f"music {name} does not exist")

    def needs_making(self, prompt: str, language: str | None = None) -> bool:
        """Whether it must be spoken or converted first."""
        if (prompt, language or self._language) in self._found or self._made is None:
            return False
        if prompt.startswith(TEXT_PREFIX):
            text = text_of(prompt)
            return self._made.spoken(text, language or self._language) is None
        file = self._file(prompt)
        return file is not None and self._made.converted(file) is None and not _playable(file)

    async def make(self, prompt: str, language: str | None = None) -> None:
        """Speak or convert a prompt that needs it; raises `CallError`."""
        if self._made is None:
            raise CallError(f"{prompt} cannot be made here")
        if prompt.startswith(TEXT_PREFIX):
            await self._made.speak(text_of(prompt), language or self._language)
            return
        file = self._file(prompt)
        if file is None:
            raise CallError(f"{prompt} does not exist")
        await self._made.convert(file)

    def _file(self, prompt: str) -> Path | None:
        if not prompt.lower().endswith(SOUND_SUFFIXES) or "\0" in prompt:
            return None
        for root in (Path(), *([self._own] if self._own is not None else [])):
            if (root / prompt).is_file():
                return root / prompt
        return None

    def _look(self, prompt: str, language: str) -> Path | None:
        if prompt.startswith(TEXT_PREFIX):
            return self._made.spoken(text_of(prompt), language) if self._made else None
        if prompt.lower().endswith(SOUND_SUFFIXES):
            file = self._file(prompt)
            converted = self._made.converted(file) if file is not None and self._made else None
            return converted or file
        if "/" in prompt or prompt.startswith("."):
            return None
        for folder in dict.fromkeys((language, self._language, FALLBACK_LANGUAGE, SOUNDS)):
            for root in self._roots:
                path = recording_in(root / folder, prompt)
                if path is not None:
                    return path
        return None


def recording_in(folder: Path, name: str) -> Path | None:
    """The file of a prompt or of music in one folder."""
    for suffix in PROMPT_SUFFIXES:
        path = folder / f"{name}{suffix}"
        if path.is_file():
            # Uploads are links to files of ever new names: what plays files remembers them.
            return path.resolve() if path.is_symlink() else path
    return None


def text_of(prompt: str) -> str:
    """The words of ``text:...``, with or without quotes around them."""
    text = prompt.removeprefix(TEXT_PREFIX).strip()
    if len(text) >= 2 and text[0] == text[-1] == '"':
        text = text[1:-1].strip()
    return text


def _playable(file: Path) -> bool:
    """Whether the media plane plays this file as it is."""
    try:
        with file.open("rb") as stream:
            wav.inspect(stream)
    except (WavError, OSError):
        return False
    return True
