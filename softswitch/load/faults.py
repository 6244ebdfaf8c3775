"""A bad network at the generator's own edge: the seeded fates of `softswitch.sim.link`, each way.

"Up" is towards the target. Every party and direction has its own chance, so that with the same seed the n-th
packet of a party has the same fate whatever else goes on.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from softswitch.errors import ConfigError
from softswitch.sim.link import PERFECT, Direction, Link, LinkCounters

_HELD_MAX = 200_000


class HeldPackets:
    """Packets that wait for their time; beyond a limit they are dropped, as by a full router."""

    def __init__(self) -> None:
        self.dropped = 0
        self._heap: list[tuple[int, int, int, bytes]] = []
        self._number = 0

    def out(self, at_us: int, slot: int, data: bytes) -> None:
        """Hold a packet until `at_us`."""
        if len(self._heap) >= _HELD_MAX:
            self.dropped += 1
            return
        self._number += 1
        heapq.heappush(self._heap, (at_us, self._number, slot, data))

    def due_out(self, now_us: int) -> list[tuple[int, bytes]]:
        """Slot and octets of what is due."""
        found = []
        while self._heap and self._heap[0][0] <= now_us:
            _, _, slot, data = heapq.heappop(self._heap)
            found.append((slot, data))
        return found


Batch = tuple[
    NDArray[np.intp], NDArray[np.uint8], NDArray[np.int32], NDArray[np.int64], NDArray[np.uint64]
]


class PacketFaults:
    """What becomes of the packets of all streams: `up` on the way out, `down` on the way in."""

    def __init__(self, up: Link = PERFECT, down: Link = PERFECT, seed: int = 0) -> None:
        self.up, self.down = up, down
        self.counters_up, self.counters_down = LinkCounters(), LinkCounters()
        self._seed = seed
        self._directions: dict[tuple[str, int], Direction] = {}
        self._waiting: list[tuple[int, int, int, bytes, int]] = []
        self._number = 0

    def begin(self, slot: int, identity: int) -> None:
        """From now on a slot is another party's."""
        for way in ("up", "down"):
            self._directions[way, slot] = Direction(f"{self._seed} party {identity} {way}")

    def _direction(self, way: str, slot: int) -> Direction:
        found = self._directions.get((way, slot))
        if found is None:
            found = self._directions[way, slot] = Direction(f"{self._seed} {slot} {way}")
        return found

    def outgoing(self, slot: int, now_us: int, octets: int) -> list[int]:
        """When a packet leaves, in us: no, one or two times."""
        direction = self._direction("up", slot)
        times = direction.deliveries(self.up, now_us / 1e6, self.counters_up, octets)
        return [int(at_s * 1e6) for at_s in times]

    def incoming(
        self,
        slots: NDArray[np.intp],
        packets: NDArray[np.uint8],
        lengths: NDArray[np.int32],
        at_us: NDArray[np.int64],
        keys: NDArray[np.uint64],
    ) -> Batch:
        """Take (n,) packets that came, return those whose time has come by the last of them."""
        for row, slot in enumerate(slots.tolist()):
            octets = int(min(lengths[row], packets.shape[1]))
            direction = self._direction("down", slot)
            now_s = int(at_us[row]) / 1e6
            for at_s in direction.deliveries(self.down, now_s, self.counters_down, octets):
                if len(self._waiting) >= _HELD_MAX:
                    break
                self._number += 1
                data = packets[row, :octets].tobytes()
                entry = (int(at_s * 1e6), self._number, slot, data, int(keys[row]))
                heapq.heappush(self._waiting, entry)
        now_us = int(at_us.max()) if len(at_us) else 0
        due = []
        while self._waiting and self._waiting[0][0] <= now_us:
            due.append(heapq.heappop(self._waiting))
        out = np.zeros((len(due), packets.shape[1]), np.uint8)
        for row, (_, _, _, data, _) in enumerate(due):
            out[row, : len(data)] = np.frombuffer(data, np.uint8)
        return (
            np.array([entry[2] for entry in due], np.intp),
            out,
            np.array([len(entry[3]) for entry in due], np.int32),
            np.array([entry[0] for entry in due], np.int64),
            np.array([entry[4] for entry in due], np.uint64),
        )


@dataclass(frozen=True, slots=True)
class Faults:
    """Both ways of a bad network, and how often a NAT in between forgets its bindings."""

    up: Link = PERFECT
    down: Link = PERFECT
    rebind_s: float = 0.0
    """Of the sound."""
    rebind_sip_s: float = 0.0
    """Of the signalling."""

    @property
    def worsens(self) -> bool:
        """Whether packets meet anything on their way."""
        return (self.up, self.down) != (PERFECT, PERFECT)


_UNITS = {"%": 0.01, "ms": 0.001, "s": 1.0, "kbit": 1e3, "mbit": 1e6, "": 1.0}
_NAMES = {
    "loss": "loss",
    "burst": "loss_burst",
    "duplicate": "duplicate",
    "reorder": "reorder",
    "delay": "delay_s",
    "jitter": "jitter_s",
    "bandwidth": "bandwidth_bps",
}
ALLOWED = (
    "up|down|both:loss=2%,burst=3,duplicate=1%,reorder=1%,delay=40ms,jitter=10ms,bandwidth=64kbit "
    "or rebind=20s, rebind-sip=20s"
)


def parse_faults(texts: list[str]) -> Faults:
    """Read `--fault` options, as in `ALLOWED`. Raises `ConfigError`."""
    found = Faults()
    for text in texts:
        way, colon, items = text.partition(":")
        name, _, value = text.partition("=")
        if not colon and name == "rebind":
            found = replace(found, rebind_s=_number(text, value))
            continue
        if not colon and name == "rebind-sip":
            found = replace(found, rebind_sip_s=_number(text, value))
            continue
        if way not in ("up", "down", "both"):
            raise ConfigError("fault", f"{text!r}", ALLOWED)
        values = {}
        for item in items.split(","):
            name, _, value = item.strip().partition("=")
            if name not in _NAMES:
                raise ConfigError("fault", f"{item!r} in {text!r}", ALLOWED)
            values[_NAMES[name]] = _number(text, value)
        for side in ("up", "down") if way == "both" else (way,):
            try:
                found = replace(found, **{side: replace(getattr(found, side), **values)})
            except ValueError as error:
                raise ConfigError("fault", f"{text!r}: {error}", ALLOWED) from error
    return found


def _number(text: str, value: str) -> float:
    digits = value.strip().rstrip("%abcdefghijklmnopqrstuvwxyz")
    unit = value.strip()[len(digits) :]
    try:
        return float(digits) * _UNITS[unit]
    except (ValueError, KeyError):
        raise ConfigError("fault", f"{value!r} in {text!r}", ALLOWED) from None
