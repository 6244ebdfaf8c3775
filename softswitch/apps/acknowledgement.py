"""Whether a letter is acknowledged: a person's new letter is, a machine's never (RFC 3834), and nobody gets
many. Pure: time is an argument."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from softswitch.store.letters import Letter

AN_ADDRESS = 3
"""Acknowledgements to one address within `ADDRESS_S`: two machines that answer each other end there."""
ADDRESS_S = 86_400.0
IN_ALL = 200
"""Within `ALL_S`: letters with forged senders must not make a fountain of mails of us."""
ALL_S = 3_600.0
ADDRESSES_MAX = 10_000
_MACHINES = frozenset(
    {"mailer-daemon", "postmaster", "noreply", "no-reply", "donotreply", "do-not-reply", "bounce"}
)


def is_told(letter: Letter, own: frozenset[str]) -> bool:
    """Whether the sender of a letter is one to be told that it has come. `own` are the office's addresses."""
    sender = letter.sender
    if letter.automatic or letter.silent or sender in own:
        return False
    return sender.partition("@")[0].partition("+")[0] not in _MACHINES


class Acknowledgements:
    """Counts what was sent to whom."""

    def __init__(self) -> None:
        self._sent: OrderedDict[str, deque[float]] = OrderedDict()
        self._all: deque[float] = deque()

    def may(self, sender: str, now_s: float) -> bool:
        """Whether one more is sent to somebody; if so it counts."""
        _forget(self._all, now_s - ALL_S)
        recent = self._sent.pop(sender, None) or deque()
        self._sent[sender] = recent
        _forget(recent, now_s - ADDRESS_S)
        if len(self._sent) > ADDRESSES_MAX:
            self._sent.popitem(last=False)
        if len(recent) >= AN_ADDRESS or len(self._all) >= IN_ALL:
            return False
        recent.append(now_s)
        self._all.append(now_s)
        return True


def _forget(times: deque[float], before_s: float) -> None:
    while times and times[0] <= before_s:
        times.popleft()
