"""Who is heard where notes do not get through: sound is kept for 2.5 s and searched for signatures."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from media.wire.rtp import timestamp_delta
from softswitch.load import signature
from softswitch.load.streams import StreamBook

RING = 20_480
"""Samples kept of a stream: 2.56 s."""
ROWS_MAX = 2048
_EVERY_SAMPLES = 16_000
_LEAST_SAMPLES = 6_400
_AT_ONCE = 16
_KNOWN_MAX = 4096
_SEARCH_US = 1_500_000
_FRAME = 160
_FORGET_US = 50.0
_CLIPPED = 31_000
_CLIPPED_SHARE = 0.02
_AUDIBLE = 3e-5  # -45 dBFS


class Listener:
    """Rings for the streams of `book` that carry no notes, given out when they are needed."""

    def __init__(self, book: StreamBook) -> None:
        self.known: Callable[[], Sequence[int]] = list
        self._directory: signature.Directory | None = None
        self.mixed = False
        self.unheard = 0
        """Packets that no ring was left for."""
        self._book = book
        capacity = book.capacity
        self._rings: NDArray[np.int16] = np.zeros((64, RING), np.int16)
        self._free = list(range(63, -1, -1))
        self._row = np.full(capacity, -1, np.int32)
        self._base = np.zeros(capacity, np.uint32)
        self._end = np.zeros(capacity, np.int64)
        self._transit = np.zeros(capacity, np.float64)
        self._searched = np.zeros(capacity, np.int64)
        self._facts: dict[int, dict[str, float]] = {}
        self._due: list[int] = []

    @property
    def directory(self) -> signature.Directory:
        """Everybody who may be heard; made of `known` when it is first asked after `renew`."""
        if self._directory is None:
            self._directory = signature.Directory(self.known()[:_KNOWN_MAX])
        return self._directory

    def renew(self) -> None:
        """Other people may be there now."""
        self._directory = None

    def reset(self, slot: int) -> None:
        """Forget a slot's sound."""
        row = int(self._row[slot])
        if row >= 0:
            self._free.append(row)
            self._row[slot] = -1
        self._facts.pop(slot, None)

    def _open(self, slots: NDArray[np.intp], timestamp: NDArray[np.uint32]) -> None:
        for slot, first in zip(slots.tolist(), timestamp.tolist(), strict=True):
            if not self._free:
                have = len(self._rings)
                if have >= ROWS_MAX:
                    return
                more = min(have, ROWS_MAX - have)
                self._rings = np.concatenate([self._rings, np.zeros((more, RING), np.int16)])
                self._free = list(range(have + more - 1, have - 1, -1))
            row = self._free.pop()
            self._rings[row] = 0
            self._row[slot], self._base[slot] = row, first
            self._end[slot] = self._searched[slot] = 0
            self._transit[slot] = np.nan

    def hear(
        self,
        slots: NDArray[np.intp],
        pcm: NDArray[np.int16],
        timestamp: NDArray[np.uint32],
        at_us: NDArray[np.int64],
    ) -> None:
        """Keep (n, 160) samples, at most one packet of each stream; `timestamp` in samples."""
        new = self._row[slots] < 0
        if new.any():
            self._open(slots[new], timestamp[new])
        kept = np.flatnonzero(self._row[slots] >= 0)
        self.unheard += len(slots) - len(kept)
        slots, timestamp, at_us, pcm = slots[kept], timestamp[kept], at_us[kept], pcm[kept]
        at = timestamp_delta(timestamp, self._base[slots])
        end = self._end[slots]
        # A clock that jumps, or another source, begins a new recording.
        broken = (at < end - RING) | (at > end + RING)
        if broken.any():
            again = slots[broken]
            self._base[again] = timestamp[broken]
            self._end[again] = self._searched[again] = 0
            self._transit[again] = np.nan
            at, end = np.where(broken, 0, at), np.where(broken, 0, end)
        for place in np.flatnonzero(at > end).tolist():
            self._silence(int(slots[place]), int(end[place]), int(at[place]))
        rows = self._row[slots][:, None]
        self._rings[rows, (at[:, None] + np.arange(_FRAME)) % RING] = pcm
        self._end[slots] = np.maximum(end, at + _FRAME)
        transit = at_us - at * 125.0
        before = self._transit[slots]
        # The fastest packet counts: what our own pacer is late by now and then is no delay of theirs.
        self._transit[slots] = np.fmin(before + _FORGET_US, transit)
        due = slots[self._end[slots] - self._searched[slots] >= _EVERY_SAMPLES + slots % 4096]
        if due.size:
            self._searched[due] = self._end[due]
            self._due.extend(due[self._end[due] >= _EVERY_SAMPLES].tolist())

    def _silence(self, slot: int, start: int, end: int) -> None:
        places = np.arange(start, min(end, start + RING)) % RING
        self._rings[self._row[slot], places] = 0

    def work(self, now_us: int) -> None:
        """Search some of the recordings that are ready; what is left has its turn next time."""
        if self._due:
            some, self._due = self._due[:_AT_ONCE], self._due[_AT_ONCE:]
            self._search([slot for slot in some if self._row[slot] >= 0])

    def _search(self, slots: list[int]) -> None:
        if not slots:
            return
        where = np.array(slots, np.intp)
        length = int(min(RING, self._end[where].min()))
        first = self._end[where] - length
        places = (first[:, None] + np.arange(length)) % RING
        pcm = self._rings[self._row[where][:, None], places]
        share, level = signature.spectrogram(pcm)
        first_us = (self._transit[where] + first * 125.0).astype(np.int64)
        expects = self._book.expects[where]
        scores, delays = signature.align(
            share, signature.hops(np.maximum(expects, 0)), first_us, _SEARCH_US
        )
        clipped = (np.abs(pcm.astype(np.int32)) >= _CLIPPED).mean(axis=1)
        for number, slot in enumerate(slots):
            facts = self._facts.setdefault(slot, dict.fromkeys(_FACTS, 0.0))
            facts["listened"] += 1
            facts["clipped"] = max(facts["clipped"], float(clipped[number]))
            audible = float((level[number] > _AUDIBLE).mean()) > 0.1
            least = signature.SCORE_MIXED if self.mixed else signature.SCORE_ALONE
            if not audible:
                facts["silent"] += 1
            elif expects[number] and scores[number] >= least:
                self._book.expected[slot] += 1
                speaker_us = signature.phase_us(int(expects[number]))
                self._note_delay(facts, int(delays[number]) - speaker_us)
                if self.mixed:
                    self._others(slot, share[number], facts, first_us[number], least)
            else:
                self._others(slot, share[number], facts, first_us[number], least)

    def _others(
        self,
        slot: int,
        share: signature.Power,
        facts: dict[str, float],
        first_us: int,
        least: float,
    ) -> None:
        """Somebody else is heard, or nobody that we know."""
        own, expects = int(self._book.identity[slot]), int(self._book.expects[slot])
        found = self.directory.who(share, least)
        for heard in found[:8]:
            if heard.identity == own:
                self._book.own[slot] += 1
                delay = signature.delay_us(int(first_us), heard.said_us)
                self._note_delay(facts, delay - signature.phase_us(own))
            elif expects == 0:
                self._book.expected[slot] += 1
                delay = signature.delay_us(int(first_us), heard.said_us)
                self._note_delay(facts, delay - signature.phase_us(heard.identity))
            elif heard.identity != expects:
                self._book.other[slot] += 1
                self._book.note_other(slot, heard.identity)
        if not found:
            facts["unknown"] += 1

    @staticmethod
    def _note_delay(facts: dict[str, float], delay_us: int) -> None:
        facts["delays"] += 1
        facts["delay_sum_us"] += delay_us
        facts["delay_max_us"] = max(facts["delay_max_us"], delay_us)

    def finish(self, slot: int) -> None:
        """A stream ends: what has not been listened to yet is, if there is enough of it."""
        if self._row[slot] >= 0 and slot not in self._facts and self._end[slot] >= _LEAST_SAMPLES:
            self._search([slot])

    def facts(self, slot: int) -> dict[str, object]:
        """What listening adds to a stream's facts."""
        facts = self._facts.get(slot)
        if facts is None:
            return {}
        found: dict[str, object] = {
            "listened": int(facts["listened"]),
            "unknown": int(facts["unknown"]),
            "silent": int(facts["silent"]),
            "clipped": facts["clipped"] if facts["clipped"] >= _CLIPPED_SHARE else 0.0,
        }
        if facts["delays"] and not self._book.stamped[slot]:
            found["delay_ms"] = facts["delay_sum_us"] / facts["delays"] / 1000
            found["delay_max_ms"] = facts["delay_max_us"] / 1000
        return found


_FACTS = ("listened", "unknown", "silent", "clipped", "delays", "delay_sum_us", "delay_max_us")
