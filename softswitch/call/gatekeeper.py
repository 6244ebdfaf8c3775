"""Admission: who a request is from, decided before anything about it is remembered. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from softswitch.call.guard import Guard, Source
from softswitch.call.identity import PhoneIdentity
from softswitch.call.overload import Overload, SourceClass
from softswitch.call.shares import Shares
from softswitch.call.trunks import Trunks, plain_host
from softswitch.errors import RemoteProtocolError
from softswitch.sip.digest import Authenticator, AuthVerdict, ha1
from softswitch.sip.flow import Flow
from softswitch.sip.gate import Admitted, Drop, Refuse, Verdict
from softswitch.sip.rank import HEAD_OCTETS_SEEN, Kind, Rank, kind_of
from softswitch.sip.software import TEXT_MAX, software_of
from softswitch.sip.tel import number_of
from softswitch.sip.terse import retry_after_s
from softswitch.tokens import Tokens

if TYPE_CHECKING:
    from softswitch.config import Office
    from softswitch.sip.message import SipRequest

# What a peer known by its address may begin; everything else it must authenticate like a stranger.
_FROM_TRUNK = frozenset({"INVITE", "OPTIONS"})
# These carry no credentials (RFC 3261 22.1): an ACK answers nothing, a CANCEL lives by its transaction.
# What a source that nobody knows may still mean well by: it speaks of a dialog, answers a
# challenge, or is one of many phones that come back after a power cut.
_WELL_MEANT = re.compile(
    rb"\AREGISTER |\r\n(?:(?:To|t)[ \t]*:[^\r\n]*;[ \t]*tag[ \t]*=|Authorization[ \t]*:)",
    re.IGNORECASE,
)
WELL_MEANT_PER_S = 4000.0
"""Of all strangers together, while they are turned away."""
_OF_PHONES = {
    Kind.WITHIN: Rank.GOING,
    Kind.BEGINNING: Rank.PHONE_CALL,
    Kind.OTHER: Rank.PHONE,
}
_NEVER_CHALLENGED: dict[str, Verdict] = {"ACK": Drop(), "CANCEL": Refuse(481)}


class Gatekeeper:
    """The exchange's policy for requests from outside any dialog.

    A trunk is its exact address; everybody else proves an extension's password, whatever the method.
    Known and unknown users get the same answer for the same work (`Authenticator`).

    Parameters: `secret` of 16 octets or more signs the nonces; `own_hosts` are the names and addresses
    that mean this exchange.
    """

    def __init__(
        self,
        office: Office,
        trunks: Trunks,
        secret: bytes,
        own_hosts: frozenset[str],
        guard: Guard | None = None,
        overload: Overload | None = None,
    ) -> None:
        realm = office.office.domain
        self._trunks = trunks
        self._own_hosts = own_hosts
        self.guard = guard or Guard()
        self.overload = overload or Overload()
        self._realm, self._algorithms = realm, office.sip.digest
        self._passwords: dict[str, str] = {}
        self._ha1: dict[tuple[str, str], str] = {}
        self.use_office(office)
        self._authenticator = Authenticator(
            realm, secret, self._ha1_of, algorithms=office.sip.digest
        )
        self._well_meant = Tokens(WELL_MEANT_PER_S)
        self._shares = Shares()
        self.refused = 0
        self.wrong = 0
        self.told_later = 0
        """Answered 503 here: INVITEs over streams while the loop was late."""

    def use_office(self, office: Office) -> list[str]:
        """Take these extensions and their passwords from now on. Returns those that are gone or have
        another password: whoever registered for them must prove himself anew."""
        passwords = {e.number: e.password for e in office.extensions}
        known = self._passwords
        lost = [number for number in known if passwords.get(number) != known[number]]
        for number in lost:
            for algorithm in self._algorithms:
                self._ha1.pop((number, algorithm), None)
        for number, password in passwords.items():
            if known.get(number) != password:
                for algorithm in self._algorithms:
                    self._ha1[number, algorithm] = ha1(number, self._realm, password, algorithm)
        self._passwords = passwords
        return lost

    def _ha1_of(self, username: str, algorithm: str) -> str | None:
        return self._ha1.get((username, algorithm))

    def hears(self, data: bytes, flow: Flow, now_s: float) -> bool:
        """Whether a message is looked at at all: while there is more than can be done nothing is spent on
        strangers, and never on who is banned. Trunks and phones that have proven a password are
        always heard here; what they may begin is `admit`'s business."""
        if not self.overload.closed[SourceClass.STRANGER] and not self.guard.banned:
            return True
        # Nothing waits: what somebody sends beyond his share is served as well.
        if self.guard.is_proven(_place_of(flow), now_s):
            return True
        return self.rank(data, flow, now_s) is not None

    def knows(self, flow: Flow, now_s: float) -> bool:
        """Whether who is there is a trunk, or has proven a password from there."""
        where = _place_of(flow)
        if self._trunks.of_flow(flow) is not None or self._trunks.reach(where):
            return True
        return self.guard.is_proven(where, now_s)

    def rank(self, data: bytes, flow: Flow, now_s: float) -> Rank | None:
        """Who goes first among those that wait; None for who is not heard (`hears`)."""
        where = _place_of(flow)
        if self._trunks.of_flow(flow) is not None or self._trunks.reach(where):
            begins = kind_of(data) is Kind.BEGINNING
            return Rank.TRUNK_CALL if begins else Rank.GOING
        if self.guard.is_proven(where, now_s):
            kind = kind_of(data)
            if self._shares.take(where, kind, now_s):
                return _OF_PHONES[kind]
        if self.guard.is_banned(where, now_s):
            return None
        crowded = self.overload.closed[SourceClass.STRANGER]
        if _WELL_MEANT.search(data, 0, HEAD_OCTETS_SEEN) is not None:
            if not crowded or self._well_meant.take(now_s):
                return Rank.WELL_MEANT
        elif not crowded:
            return Rank.STRANGER
        self.overload.turned_away += 1
        return None

    def admit(self, request: SipRequest, flow: Flow, now_s: float) -> Verdict:
        """Whether and as whom this request may enter."""
        if request.method in _NEVER_CHALLENGED:
            return _NEVER_CHALLENGED[request.method]
        if request.method in _FROM_TRUNK:
            trunk = self._trunks.of_flow(flow)
            if trunk is not None:
                if request.method == "INVITE" and self._too_late(SourceClass.TRUNK, flow):
                    return self._busy(request)
                return trunk.admission
        where = _place_of(flow)
        source = where[0]
        turned_away = self._turned_away(request, flow, where, now_s)
        if turned_away is not None:
            return turned_away
        result = self._authenticator.check(
            request.headers.get_all("Authorization"),
            request.method,
            request.uri,
            now_s,
            source,
        )
        username = result.username
        # The password of an account that is being guessed counts no more than a wrong one, but the
        # work was the same: neither the answer nor its time tells.
        allowed = username is None or self.guard.may_guess(
            where, username, now_s, answered=result.answered
        )
        if not result.ok or not allowed:
            self.refused += 1
            if result.verdict is AuthVerdict.WRONG and username is not None:
                self.wrong += 1
                said = _said(request, username)
                self.guard.wrong(where, username, now_s, answered=result.answered, said=said)
            stale = result.verdict is AuthVerdict.STALE and allowed
            challenges = self._authenticator.challenges(now_s, source, stale=stale)
            return Refuse(401, [("WWW-Authenticate", challenge) for challenge in challenges])
        assert username is not None
        self.guard.proved(where, username, now_s)
        return self._owner(request, username, where, now_s)

    def _turned_away(
        self, request: SipRequest, flow: Flow, where: tuple[str, int], now_s: float
    ) -> Verdict | None:
        """Bans and overload, before any work is done: strangers hear nothing unless they answer a challenge,
        phones that have proven themselves are asked to come back, and may always register."""
        if self.guard.is_banned(where, now_s):
            return Drop()
        if not self.guard.is_proven(where, now_s):
            # What `hears` has let through: a phone that comes back, an answer to a challenge.
            known = request.method == "REGISTER" or "Authorization" in request.headers
            return None if known or self.overload.admits(SourceClass.STRANGER) else Drop()
        if request.method == "REGISTER" or not self._too_late(SourceClass.PROVEN, flow):
            return None
        return self._busy(request)

    def _too_late(self, source: SourceClass, flow: Flow) -> bool:
        """Whether the loop's lateness turns this away. What comes by datagrams waits where it is measured
        itself, and is refused there when its own queue stands: that a processor was taken from us for a
        moment is no reason to."""
        return flow.reliable and not self.overload.admits(source)

    def _busy(self, request: SipRequest) -> Refuse:
        self.told_later += 1
        call_id = (request.headers.get("Call-ID") or "").encode("utf-8", "surrogateescape")
        return Refuse(503, [("Retry-After", str(retry_after_s(call_id)))])

    def _owner(self, request: SipRequest, username: str, where: Source, now_s: float) -> Verdict:
        """The digest's user must be the one the request speaks for (RFC 3261 10.3 (4), 22.1)."""
        try:
            if request.method == "REGISTER":
                claimed = request.to.uri.username
            else:
                claimed = number_of(request.from_.uri_text)
            if claimed != username:
                said = _said(request, username)
                self.guard.posed(where, username, claimed or "", now_s, said)
                return Refuse(403)
            # A preloaded route to elsewhere would make us a relay.
            if any(route.uri.host.lower() not in self._own_hosts for route in request.routes):
                return Refuse(403)
        except RemoteProtocolError:
            return Refuse(400)
        return Admitted(PhoneIdentity(username))

    def snapshot(self) -> dict[str, int]:
        return {
            "refused": self.refused,
            "wrong_password": self.wrong,
            "told_later": self.told_later,
            "beyond_share": self._shares.exceeded,
            **self.guard.snapshot(),
        }


def _said(request: SipRequest, username: str) -> dict[str, str]:
    """What a request that does not get in says of itself, word for word."""
    call_id = request.headers.get("Call-ID") or ""
    return {
        "username": username[:TEXT_MAX],
        "sip_call_id": call_id[:TEXT_MAX],
        "user_agent": software_of(request),
    }


def _place_of(flow: Flow) -> Source:
    """Where a request is from, its host in canonical form: what the flow says, in most cases."""
    host, port = flow.remote
    plain = plain_host(host)
    return flow.remote if plain == host else (plain, port)
