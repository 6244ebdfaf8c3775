"""G.722: ITU-T's own sequences for the band coders; the three engines agree; speech survives."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from media.dsp import g722, g722_bands, g722_plain, tones
from media.dsp.g722 import G722Decoder, G722Encoder

ROOT = Path(os.environ.get("SOFTSWITCH_VECTORS") or Path(__file__).parents[3] / "shared")
VECTORS = next((path for path in (ROOT / "vectors/g722", ROOT / "g722") if path.is_dir()), None)
needs_vectors = pytest.mark.skipif(
    VECTORS is None, reason="needs the ITU-T G.722 sequences: set SOFTSWITCH_VECTORS"
)
needs_extension = pytest.mark.skipif(
    not g722.extension_found(), reason="needs the extension module G722 from PyPI"
)


def words(name: str) -> np.ndarray:
    """The words of a test sequence, as signed 16 bits, with the reset words left out."""
    assert VECTORS is not None
    values = np.frombuffer((VECTORS / name).read_bytes(), ">i2").astype(int)
    return values[np.frombuffer((VECTORS / reset_of(name)).read_bytes(), ">i2") & 1 == 0]


def reset_of(name: str) -> str:
    # The encoder's reference and the decoder's outputs carry the reset bits of their input.
    return {"bt3l1": "bt2r1.cod", "bt3l2": "bt2r2.cod", "bt3l3": "bt1d3.cod"}.get(name[:5]) or {
        "bt3h1": "bt2r1.cod", "bt3h2": "bt2r2.cod", "bt3h3": "bt1d3.cod",
    }.get(name[:5], name)  # fmt: skip


def octets(name: str) -> np.ndarray:
    values = words(name)
    return (((values >> 14) & 3) << 6 | ((values >> 8) & 63)).astype(np.uint8)


@needs_vectors
@pytest.mark.parametrize("number", [1, 2])
def test_encoder_sequences(number) -> None:
    samples = words(f"bt1c{number}.xmt") >> 1
    wanted = octets(f"bt2r{number}.cod")
    assert len(samples) == len(wanted) > 700
    low, high = g722_plain.Band(), g722_plain.Band()
    assert g722_plain.encode(low, high, samples.tolist(), samples.tolist()) == wanted.tolist()
    three = np.tile(samples.astype(np.int32), (3, 1))
    assert (g722_bands.encode(g722_bands.Bands(3), three, three) == wanted).all()


@needs_vectors
@pytest.mark.parametrize("mode", [1, 2, 3])
@pytest.mark.parametrize(("number", "source"), [(1, "bt2r1"), (2, "bt2r2"), (3, "bt1d3")])
def test_decoder_sequences(number, source, mode) -> None:
    codes = octets(f"{source}.cod")
    low, high = words(f"bt3l{number}.rc{mode}") >> 1, words(f"bt3h{number}.rc0") >> 1
    bits = 9 - mode
    got = g722_plain.decode(g722_plain.Band(), g722_plain.Band(), codes.tolist(), bits)
    assert got == (low.tolist(), high.tolist())
    lows, highs = g722_bands.decode(g722_bands.Bands(3), np.tile(codes, (3, 1)), bits)
    assert (lows == low).all()
    assert (highs == high).all()


def material(streams: int = 5) -> np.ndarray:
    rng = np.random.default_rng(4)
    rows = [
        tones.sines((400.0, 1000.0, 3100.0, 6500.0), 960, rate_hz=16000),
        rng.integers(-32768, 32768, 960),
        rng.normal(0, 500, 960),
        np.zeros(960),
        np.where(np.arange(960) // 40 % 2, 32767, -32768),
    ]
    return np.stack([tones.to_int16(np.asarray(row, float)) for row in rows[:streams]])


def test_many_streams_equal_one_at_a_time_whatever_the_block() -> None:
    audio = material()
    rows = np.arange(5)
    together, alone = G722Encoder(5, False), G722Encoder(5, False)
    back, back_alone = G722Decoder(5, False), G722Decoder(5, False)
    blocks = [audio[:, at : at + 320] for at in range(0, 960, 320)]
    codes = np.concatenate([together.encode(rows, block) for block in blocks], axis=1)
    heard = np.concatenate(
        [back.decode(rows, codes[:, at : at + 96]) for at in (0, 96, 192, 288, 384)], axis=1
    )
    for row in range(5):
        one = np.array([row])
        code = np.concatenate(
            [alone.encode(one, audio[one, at : at + 160]) for at in range(0, 960, 160)], axis=1
        )
        assert (code[0] == codes[row]).all()
        assert (back_alone.decode(one, code)[0] == heard[row]).all()


@needs_extension
def test_the_extension_gives_the_same_octets_and_samples() -> None:
    audio = material()
    rows = np.arange(5)
    codes = G722Encoder(5, True).encode(rows, audio)
    assert (codes == G722Encoder(5, False).encode(rows, audio)).all()
    assert (
        G722Decoder(5, True).decode(rows, codes) == G722Decoder(5, False).decode(rows, codes)
    ).all()


@pytest.mark.parametrize("extension", [False, pytest.param(True, marks=needs_extension)])
def test_speech_band_comes_back_22_samples_later(extension) -> None:
    audio = tones.to_int16(tones.sines((300.0, 1100.0, 2900.0, 5200.0), 3200, rate_hz=16000))
    rows = np.array([3])
    codes = G722Encoder(4, extension).encode(rows, audio[None])
    assert codes.shape == (1, 1600)
    heard = G722Decoder(4, extension).decode(rows, codes)[0].astype(float)
    sent, got = audio[800:2400].astype(float), heard[822:2422]
    noise = got - sent
    assert 10 * np.log10((sent**2).sum() / (noise**2).sum()) > 20


@pytest.mark.parametrize("extension", [False, pytest.param(True, marks=needs_extension)])
def test_reset_starts_a_row_anew(extension) -> None:
    audio = material()
    rows = np.arange(5)
    encoder, decoder = G722Encoder(5, extension), G722Decoder(5, extension)
    codes = encoder.encode(rows, audio)
    heard = decoder.decode(rows, codes)
    encoder.reset(2)
    decoder.reset(2)
    again = encoder.encode(rows, audio)
    assert (again[2] == codes[2]).all()
    assert not (again[1] == codes[1]).all()
    assert (decoder.decode(rows, codes)[2] == heard[2]).all()


def test_an_odd_number_of_samples_is_refused() -> None:
    with pytest.raises(ValueError, match="pairs"):
        G722Encoder(1, False).encode(np.array([0]), np.zeros((1, 319), np.int16))


def test_any_octets_decode_within_range() -> None:
    rng = np.random.default_rng(9)
    codes = rng.integers(0, 256, (8, 400)).astype(np.uint8)
    codes[0], codes[1] = 0, 0xFF
    heard = G722Decoder(8, False).decode(np.arange(8), codes)
    assert heard.dtype == np.int16
    assert heard.shape == (8, 800)
