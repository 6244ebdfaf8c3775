"""Levels in the digital network, voice activity and silence.

Sources: ITU-T G.711 section 4 (a sine that just fills the A-law range has 3.14 dBm0), RFC 6464
section 3 and RFC 3389 section 3 (dBov: relative to the overload point, a square wave of full scale).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

OVERLOAD_DBM0 = 3.14
"""Level of a full-scale sine in dBm0 (ITU-T G.711 section 4, A-law)."""

FULL_SCALE = 32768.0
"""Peak of a full-scale int16 signal."""

SILENCE_DBOV = -127.0
"""What digital silence is said to have: the lowest level that RFC 6464 can express."""


def peak_of_dbm0(level_dbm0: float) -> float:
    """Return the peak amplitude, in int16 units, of a sine of `level_dbm0` (ITU-T G.711)."""
    return float(FULL_SCALE * 10.0 ** ((level_dbm0 - OVERLOAD_DBM0) / 20.0))


def rms_of_dbov(level_dbov: NDArray[np.floating] | float) -> NDArray[np.float64]:
    """Return the root mean square, in int16 units, of a signal of `level_dbov`; floats of any shape."""
    return np.asarray(FULL_SCALE * 10.0 ** (np.asarray(level_dbov, np.float64) / 20.0))


def to_int16(signal: NDArray[np.floating]) -> NDArray[np.int16]:
    """Round and clip floats in int16 units to int16; any shape."""
    clipped: NDArray[np.floating] = np.clip(np.rint(signal), -32768, 32767)
    return clipped.astype(np.int16)


def level_dbov(samples: NDArray[np.int16]) -> NDArray[np.float32]:
    """Return (K,) float32 dBov of each row of (K, n) int16: 0 is a full-scale square wave.

    A full-scale sine has -3.01; digital silence -127.
    """
    wide = samples.astype(np.float32)
    mean = np.einsum("ij,ij->i", wide, wide) / max(samples.shape[1], 1)
    level: NDArray[np.float32] = 10.0 * np.log10(np.maximum(mean, 1e-9) / np.float32(FULL_SCALE**2))
    return np.maximum(level, np.float32(SILENCE_DBOV))


class VoiceActivity:
    """Who speaks: one row a stream. An energy detector with a noise floor that follows the line.

    A block is speech when it stands `margin_db` above the row's noise floor and above
    `level_dbov_min`; it stays speech for `hangover_s` after the last such block, so that the ends of
    words are not cut. The floor falls at once and rises by `rise_db_per_s`.
    """

    __slots__ = ("_hold_s", "_parameters", "active", "floor_dbov", "silence_s", "speech_s")

    def __init__(
        self,
        streams: int,
        *,
        margin_db: float = 9.0,
        level_dbov_min: float = -50.0,
        hangover_s: float = 0.2,
        rise_db_per_s: float = 3.0,
    ) -> None:
        self._parameters = (margin_db, level_dbov_min, hangover_s, rise_db_per_s)
        self.active = np.zeros(streams, np.bool_)
        """(streams,) is speaking now."""
        self.floor_dbov = np.full(streams, -60.0)
        self.silence_s = np.zeros(streams)
        """(streams,) seconds of silence up to now, 0 while speaking."""
        self.speech_s = np.zeros(streams)
        """(streams,) seconds of speech up to now, 0 while silent."""
        self._hold_s = np.zeros(streams)

    def reset(self, rows: NDArray[np.integer] | int) -> None:
        """Forget what `rows`, one or (K,), said."""
        self.active[rows] = False
        self.floor_dbov[rows] = -60.0
        for clock in (self.silence_s, self.speech_s, self._hold_s):
            clock[rows] = 0.0

    def process(
        self, rows: NDArray[np.intp], samples: NDArray[np.int16], rate_hz: int = 8000
    ) -> NDArray[np.bool_]:
        """Take the next block (K, n) int16 of distinct `rows` (K,); returns their `active`."""
        margin_db, least_dbov, hangover_s, rise = self._parameters
        block_s = samples.shape[1] / rate_hz
        level = level_dbov(samples).astype(np.float64)
        floor = np.minimum(level, self.floor_dbov[rows] + rise * block_s)
        floor = np.clip(floor, -80.0, -20.0)
        self.floor_dbov[rows] = floor
        loud = (level >= floor + margin_db) & (level >= least_dbov)
        hold_s = np.where(loud, hangover_s, self._hold_s[rows] - block_s)
        active: NDArray[np.bool_] = loud | (hold_s > 0.0)
        self._hold_s[rows] = np.maximum(hold_s, 0.0)
        self.active[rows] = active
        self.speech_s[rows] = np.where(active, self.speech_s[rows] + block_s, 0.0)
        self.silence_s[rows] = np.where(active, 0.0, self.silence_s[rows] + block_s)
        return active
