"""Who has guessed too often: bans of sources and slow-down of accounts, with expiry. Pure.

Only a wrong answer to a challenge that its source really received counts against the source, so nobody
is banned for packets that somebody else has sent in his name. Whoever has proven a password from an
address and port, and trunks, which are never asked, are heard through every ban.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from softswitch.tokens import Tokens

Source = tuple[str, int]


@dataclass(frozen=True, slots=True)
class GuardPolicy:
    """`tries` wrong passwords may come at once from a source or for an account, then one in
    `refill_s`; a source that spends them is banned for `ban_s`. Tables hold `entries_max`, the longest
    unheard go first. `proven_s` is how long a proof is remembered. The last `shown_max` who were refused
    are shown for `shown_s`."""

    tries: float = 10.0
    refill_s: float = 120.0
    ban_s: float = 1200.0
    proven_s: float = 7200.0
    entries_max: int = 20_000
    events_per_s: float = 5.0
    shown_max: int = 16
    shown_s: float = 3600.0


_SPARE = 2.0
_NOTHING_SAID: Mapping[str, str] = {}
DEFAULT_POLICY = GuardPolicy()


class _Buckets:
    """Token buckets by key, bounded."""

    __slots__ = ("_levels", "_policy")

    def __init__(self, policy: GuardPolicy) -> None:
        self._policy = policy
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def level(self, key: str, now_s: float) -> float:
        tokens, since_s = self._levels.get(key, (self._policy.tries, now_s))
        return min(self._policy.tries, tokens + (now_s - since_s) / self._policy.refill_s)

    def spend(self, key: str, now_s: float) -> bool:
        """Take one; False when there was none."""
        level = self.level(key, now_s)
        self._levels.pop(key, None)
        self._levels[key] = (max(0.0, level - 1.0), now_s)
        if len(self._levels) > self._policy.entries_max:
            self._levels.popitem(last=False)
        return level >= 1.0

    def forget(self, key: str) -> None:
        self._levels.pop(key, None)

    def __len__(self) -> int:
        return len(self._levels)


class Guard:
    """Keeps the books of wrong passwords.

    `report(kind, data)` gets what is worth writing down, a few a second at most: ``security-ban``; beside bans
    ``security-wrong-password``, the first of a source for an account, and ``security-identity``, a password's
    owner who speaks for somebody else. Each with what its request `said`, as it was written: who looks for a
    telephone that does not get in knows its model, or has its trace. `account` and `claimed` are harmless
    in any log.
    """

    def __init__(
        self,
        policy: GuardPolicy | None = None,
        report: Callable[[str, dict[str, Any]], None] = lambda kind, data: None,
    ) -> None:
        self._policy = policy or DEFAULT_POLICY
        self._report = report
        self._sources = _Buckets(self._policy)
        self._accounts = _Buckets(self._policy)
        self._unanswered = _Buckets(self._policy)
        self.banned: OrderedDict[str, float] = OrderedDict()
        """Until when by host; some may be over."""
        self._refused: OrderedDict[tuple[str, str], tuple[int, float]] = OrderedDict()
        self._proven: OrderedDict[Source, float] = OrderedDict()
        self._events = Tokens(self._policy.events_per_s)

    def proved(self, source: Source, username: str, now_s: float) -> None:
        """A right password from there."""
        self._proven.pop(source, None)
        self._proven[source] = now_s + self._policy.proven_s
        if len(self._proven) > self._policy.entries_max:
            self._proven.popitem(last=False)
        if self._refused:
            self._refused.pop((source[0], _inert(username)), None)

    def is_proven(self, source: Source, now_s: float) -> bool:
        """Whether somebody has proven himself from this address and port, and not too long ago."""
        return self._proven.get(source, 0.0) > now_s

    def wrong(
        self,
        source: Source,
        username: str,
        now_s: float,
        *,
        answered: bool,
        said: Mapping[str, str] = _NOTHING_SAID,
    ) -> None:
        """A wrong password. `answered`: to a challenge that this source was given, so it is really it."""
        if not answered:
            self._unanswered.spend(username, now_s)
            return
        self._accounts.spend(username, now_s)
        host = source[0]
        who = host, _inert(username)
        count, _ = self._refused.pop(who, (0, 0.0))
        self._refused[who] = (count + 1, now_s)
        if not count:
            data = {"source": host, "account": who[1], **said}
            self._tell("security-wrong-password", data, now_s)
        if len(self._refused) > self._policy.shown_max:
            self._refused.popitem(last=False)
        if self._sources.spend(host, now_s) and self._sources.level(host, now_s) >= 1.0:
            return
        self.banned.pop(host, None)
        self.banned[host] = now_s + self._policy.ban_s
        if len(self.banned) > self._policy.entries_max:
            self.banned.popitem(last=False)
        data = {"source": host, "account": who[1], **said}
        self._tell("security-ban", data, now_s, spare=0.0)

    def posed(
        self,
        source: Source,
        username: str,
        claimed: str,
        now_s: float,
        said: Mapping[str, str] = _NOTHING_SAID,
    ) -> None:
        """Who has proven to be `username` spoke for somebody else."""
        data = {"source": source[0], "account": _inert(username), "claimed": _inert(claimed)}
        self._tell("security-identity", {**data, **said}, now_s)

    def is_banned(self, source: Source, now_s: float) -> bool:
        """Whether nothing is to be heard from there."""
        until_s = self.banned.get(source[0])
        if until_s is None:
            return False
        if until_s <= now_s:
            del self.banned[source[0]]
            return False
        return not self.is_proven(source, now_s)

    def may_guess(self, source: Source, username: str, now_s: float, *, answered: bool) -> bool:
        """Whether a password for this account is looked at at all when it comes from there."""
        if self.is_proven(source, now_s):
            return True
        books = self._accounts if answered else self._unanswered
        return books.level(username, now_s) >= 1.0

    def unban(self, host: str) -> bool:
        """Lift a ban by hand; False when there was none."""
        self._sources.forget(host)
        return self.banned.pop(host, None) is not None

    def bans(self, now_s: float) -> list[dict[str, Any]]:
        """Rows of (source, seconds left)."""
        return [
            {"source": host, "left_s": round(until_s - now_s)}
            for host, until_s in self.banned.items()
            if until_s > now_s
        ]

    def refused(self, now_s: float) -> list[dict[str, Any]]:
        """Rows of (source, account, how often, seconds since the last) of wrong passwords, the newest first,
        for whose telephone does not register. Who has proven himself since is not among them."""
        return [
            {"source": host, "account": account, "count": count, "since_s": round(now_s - at_s)}
            for (host, account), (count, at_s) in reversed(self._refused.items())
            if now_s - at_s < self._policy.shown_s
        ]

    def snapshot(self) -> dict[str, int]:
        return {
            "banned": len(self.banned),
            "proven": len(self._proven),
            "suspects": len(self._sources),
            "slowed_accounts": len(self._accounts),
        }

    def _tell(
        self, kind: str, data: dict[str, Any], now_s: float, *, spare: float = _SPARE
    ) -> None:
        """Report it, unless too much has been; `spare` of what may be told is left for bans."""
        if self._events.take(now_s, spare):
            self._report(kind, data)


def _inert(text: str) -> str:
    """A stranger's text for a log: printable ASCII, and not much of it."""
    return "".join(c if " " < c < "\x7f" else "?" for c in text[:64])
