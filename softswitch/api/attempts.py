"""How often a password may be tried: a pure machine, bounded in memory.

Two budgets at once: of the source (a guesser with one address) and of the account (one with many). A
source that has logged in to the account before is not held up by what others try there. A browser that has,
and proves it with the cookie that it was given then, has a budget of its own, wherever it is: neither those
who guess at its account nor those behind the same address can lock its owner out.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from softswitch.config.values import plain_ip

SOURCE_TRIES = 10
SOURCE_EVERY_S = 6.0
ACCOUNT_TRIES = 10
ACCOUNT_EVERY_S = 30.0
KEPT_MAX = 10_000


def asker(peer: str, said: Iterable[str], proxies: Collection[str]) -> str:
    """Who asks: the peer of a connection or, where that is a proxy of ours, the last of those it names
    (``X-Forwarded-For``) who is none. What stands before him he may have made up himself."""
    named = [each.strip() for line in said for each in line.split(",")]
    while named and plain_ip(peer) in proxies:
        before = plain_ip(named.pop())
        if before is None:
            break
        peer = before
    return peer


@dataclass(slots=True)
class _Budget:
    left: float
    at_s: float


class _Budgets:
    """Tries per key: `tries` at once, one more every `every_s`; the least recently used key goes."""

    def __init__(self, tries: int, every_s: float, kept_max: int) -> None:
        self._tries = tries
        self._every_s = every_s
        self._kept_max = kept_max
        self._known: OrderedDict[str, _Budget] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def wait_s(self, key: str, now_s: float) -> float:
        """How long until the next try; 0 for now."""
        budget = self._known.get(key)
        if budget is None:
            return 0.0
        left = self._left(budget, now_s)
        return 0.0 if left >= 1 else (1 - left) * self._every_s

    def take(self, key: str, now_s: float) -> None:
        budget = self._known.get(key)
        if budget is None:
            self._known[key] = _Budget(self._tries - 1, now_s)
        else:
            budget.left, budget.at_s = max(0.0, self._left(budget, now_s) - 1), now_s
            self._known.move_to_end(key)
        while len(self._known) > self._kept_max:
            self._known.popitem(last=False)

    def forget(self, key: str) -> None:
        self._known.pop(key, None)

    def _left(self, budget: _Budget, now_s: float) -> float:
        gained = max(0.0, now_s - budget.at_s) / self._every_s
        return min(float(self._tries), budget.left + gained)


class Attempts:
    """Counts attempts to log in. `now_s` is monotonic."""

    def __init__(self, *, kept_max: int = KEPT_MAX) -> None:
        self._sources = _Budgets(SOURCE_TRIES, SOURCE_EVERY_S, kept_max)
        self._accounts = _Budgets(ACCOUNT_TRIES, ACCOUNT_EVERY_S, kept_max)
        self._devices = _Budgets(ACCOUNT_TRIES, ACCOUNT_EVERY_S, kept_max)
        self._friends: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._kept_max = kept_max

    def wait_s(self, source: str, account: str, now_s: float, device: str = "") -> float:
        """Seconds until `source` may try a password of `account`; 0 for now. To be asked before any
        work is done. `device`: a browser that has proven to know the account."""
        if device:
            return self._devices.wait_s(device, now_s)
        wait_s = self._sources.wait_s(source, now_s)
        if (source, account) not in self._friends:
            wait_s = max(wait_s, self._accounts.wait_s(account, now_s))
        return wait_s

    def begin(self, source: str, account: str, now_s: float, device: str = "") -> None:
        """A try is made: it counts until it turns out to be good."""
        if device:
            self._devices.take(device, now_s)
            return
        self._sources.take(source, now_s)
        if (source, account) not in self._friends:
            self._accounts.take(account, now_s)

    def succeeded(self, source: str, account: str, device: str = "") -> None:
        """The password was right."""
        self._devices.forget(device)
        self._sources.forget(source)
        self._friends[source, account] = None
        self._friends.move_to_end((source, account))
        while len(self._friends) > self._kept_max:
            self._friends.popitem(last=False)

    def snapshot(self) -> dict[str, int]:
        return {
            "sources": len(self._sources),
            "accounts": len(self._accounts),
            "devices": len(self._devices),
            "friends": len(self._friends),
        }
