"""Prompts by id: where their WAV files are, in the office's language."""

from __future__ import annotations

from pathlib import Path

from softswitch.errors import CallError

FALLBACK_LANGUAGE = "en"


def shipped_prompts() -> Path:
    """The folder of prompts: inside the installed package, or at the root of a source checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "_data" / "prompts"
    return installed if installed.is_dir() else package.parent / "prompts"


class Prompts:
    """Finds prompts in the office's own folder first, then among those that are shipped.

    Parameters: `language`, "en" or "zh"; `own`, a folder of the office's recordings laid out the same
    way (``<language>/<id>.wav``), or None.
    """

    def __init__(self, language: str, own: Path | None = None, shipped: Path | None = None) -> None:
        self._language = language
        self._roots = [root for root in (own, shipped or shipped_prompts()) if root is not None]
        self._found: dict[str, Path] = {}

    def find(self, prompt: str) -> Path:
        """The WAV file of a prompt's id (``main-menu``) or of a path; raises `CallError`."""
        known = self._found.get(prompt)
        if known is not None:
            return known
        path = self._look(prompt)
        if path is None:
            raise CallError(f"prompt {prompt} does not exist in {self._language} or as a file")
        self._found[prompt] = path
        return path

    def music(self, name: str) -> Path:
        """Music on hold by name (``default``), from the folder ``music``; raises `CallError`."""
        for root in self._roots:
            path = root / "music" / f"{name}.wav"
            if "/" not in name and path.is_file():
                return path
        raise CallError(f"music {name} does not exist")

    def _look(self, prompt: str) -> Path | None:
        if prompt.endswith(".wav"):
            path = Path(prompt)
            return path if path.is_file() else None
        if "/" in prompt or prompt.startswith("."):
            return None
        for language in dict.fromkeys((self._language, FALLBACK_LANGUAGE)):
            for root in self._roots:
                path = root / language / f"{prompt}.wav"
                if path.is_file():
                    return path
        return None
