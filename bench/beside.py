"""What went on beside a run: whose the processors were, what the kernel dropped, and whether the generator
kept up with itself. A run in which it did not says little about the switch, and must say so. Pure."""

from __future__ import annotations

from dataclasses import dataclass

BEHIND = 0.97
"""Of what was to be offered: with less the generator was behind."""
FULL = 0.03
"""With less of its core idle the generator may have wanted more."""
OTHERS = 0.05
"""Of the switch's core: what goes on there anyway, softirqs among it, is less."""


@dataclass(frozen=True, slots=True)
class Beside:
    """Shares of the switch's core (1 is all of it) in the middle of a run: `loop`, `threads` and `media` are
    the switch's, `idle` nobody's, `stolen` the hypervisor's. `generator` and `generator_idle` are of the other
    core. `dropped` and `generator_dropped`: datagrams that the kernel threw away at their sockets during the
    whole run. `begun_per_s` of `offered_per_s` calls a second were begun."""

    loop: float
    threads: float
    media: float
    idle: float
    stolen: float
    generator: float
    generator_idle: float
    dropped: int
    generator_dropped: int
    begun_per_s: float
    offered_per_s: float

    @property
    def others(self) -> float:
        """What other programs had of the switch's core."""
        known = self.loop + self.threads + self.media + self.idle + self.stolen
        return max(0.0, 1.0 - known)

    @property
    def doubts(self) -> str:
        """Why this run does not tell of the switch alone, in words; "" where it does."""
        found = []
        if self.begun_per_s < BEHIND * self.offered_per_s:
            found.append(f"{self.begun_per_s:.0f} of {self.offered_per_s:.0f} calls a second begun")
        if self.generator_dropped:
            found.append(f"{self.generator_dropped} datagrams dropped at the generator's sockets")
        if self.generator_idle < FULL:
            found.append(f"the generator's core full, {100 * self.generator:.0f} % of it by itself")
        if self.others + self.stolen > OTHERS:
            found.append(
                f"{100 * (self.others + self.stolen):.0f} % of the switch's core taken by others"
            )
        return ", ".join(found)

    @property
    def words(self) -> str:
        """All of it, in one line."""
        core = ", ".join(
            f"{name} {100 * share:.0f}"
            for name, share in (
                ("loop", self.loop), ("threads", self.threads), ("media", self.media),
                ("idle", self.idle), ("other programs", self.others), ("stolen", self.stolen),
            )
        )  # fmt: skip
        text = (
            f"% of its core: {core}; generator {100 * self.generator:.0f} of the other, "
            f"{100 * self.generator_idle:.0f} idle; datagrams dropped here {self.dropped}, "
            f"there {self.generator_dropped}"
        )
        return f"{text}; NOT THE SWITCH ALONE: {self.doubts}" if self.doubts else text
