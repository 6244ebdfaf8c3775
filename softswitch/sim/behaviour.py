"""How a simulated party takes a call that comes in."""

from __future__ import annotations

from dataclasses import dataclass

from softswitch.sim.audio import Samples


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What a phone does with an INVITE.

    It rings (180) for `ring_s` seconds (0: no 180 is sent), then sends `status`: 200 answers,
    300 to 699 rejects with `headers`, None leaves it to the test (`call.answer()`) or to nobody.
    Once answered it says `play` (repeated with `repeat`) and hangs up after `hang_up_after_s`.
    With `early_media` the ringing is a 183 with SDP and `play` begins then. After `ring_s_max` it
    rings no more and sends 480, as telephones do.
    """

    ring_s: float = 0.0
    status: int | None = 200
    headers: tuple[tuple[str, str], ...] = ()
    early_media: bool = False
    play: Samples | None = None
    repeat: bool = False
    hang_up_after_s: float | None = None
    ring_s_max: float = 180.0

    @property
    def rings(self) -> bool:
        """Whether a provisional response is sent before the final one."""
        return self.ring_s > 0 or self.status is None or self.early_media


def answer(
    *,
    after_s: float = 0.0,
    play: Samples | None = None,
    repeat: bool = False,
    hang_up_after_s: float | None = None,
) -> Behaviour:
    """Answer, after ringing for `after_s`."""
    return Behaviour(after_s, 200, play=play, repeat=repeat, hang_up_after_s=hang_up_after_s)


def reject(
    status: int = 603, *, after_s: float = 0.0, headers: tuple[tuple[str, str], ...] = ()
) -> Behaviour:
    """Reject with `status`, after ringing for `after_s`."""
    return Behaviour(after_s, status, headers)


def busy() -> Behaviour:
    """486 at once."""
    return Behaviour(0.0, 486)


def ring() -> Behaviour:
    """Ring until the caller gives up, or for three minutes; a test may answer or reject."""
    return Behaviour(0.0, None)
