"""The keys of one session as offers and answers carry them (RFC 4568): the same ones as long as it lasts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from media.wire.srtp import choose_crypto, make_crypto

_OFFERED = ("AES_CM_128_HMAC_SHA1_80", "AEAD_AES_256_GCM")
_KEY_OCTETS = 60


class SdesKeys:
    """`random(n)` gives n fresh random octets."""

    __slots__ = ("_answered", "_offered", "_random")

    def __init__(self, random: Callable[[int], bytes]) -> None:
        self._random = random
        self._offered: tuple[str, ...] = ()
        self._answered: tuple[str, str] | None = None

    def offered(self) -> tuple[str, ...]:
        """The `a=crypto` values of our offers, made when they are first asked for."""
        if not self._offered:
            self._offered = tuple(
                str(make_crypto(tag, suite, self._random(_KEY_OCTETS)))
                for tag, suite in enumerate(_OFFERED, 1)
            )
        return self._offered

    def choose(self, offered: Sequence[str]) -> tuple[str, str] | None:
        """The peer's value that we take and ours of the same suite, None where nothing is usable; the same
        again for the same offer: a new context would take old packets once more."""
        chosen = choose_crypto(offered)
        if chosen is None:
            return None
        theirs = str(chosen)
        if self._answered is None or self._answered[0] != theirs:
            ours = make_crypto(chosen.tag, chosen.suite.name, self._random(_KEY_OCTETS))
            self._answered = (theirs, str(ours))
        return self._answered
