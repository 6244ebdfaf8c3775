"""Who calls and who is called, as trunks write it: P-Asserted-Identity, Privacy. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from softswitch.call.diversion import Diversion, diversion_lines, history_lines
from softswitch.errors import RemoteProtocolError
from softswitch.sip.tel import is_tel, number_of
from softswitch.sip.uri import NameAddr, SipUri

if TYPE_CHECKING:
    from softswitch.config import Trunk
    from softswitch.sip.message import SipRequest

ANONYMOUS = "anonymous"
_ANONYMOUS_HOST = "anonymous.invalid"
_HIDING = frozenset({"id", "user"})
_IDENTITIES_MAX = 4


class Caller(msgspec.Struct, frozen=True):
    """Who calls: `hidden` when he does not want to be shown."""

    number: str
    name: str
    hidden: bool = False


def wants_privacy(request: SipRequest) -> bool:
    """Whether the caller asks for his number to be kept from the callee (RFC 3323, RFC 3325 7)."""
    wanted = request.headers.get("Privacy")
    if wanted is None:
        return False
    return not _HIDING.isdisjoint(wanted.lower().replace(" ", "").split(";"))


def caller_of(request: SipRequest, trunk: Trunk) -> Caller:
    """The caller of a call that a trunk brings: its P-Asserted-Identity where it is believed, else
    From. One who hides himself is nobody.

    Raises `RemoteProtocolError` where From cannot be read.
    """
    from_ = request.from_
    number, name = number_of(from_.uri_text), from_.display_name or ""
    hidden = wants_privacy(request)
    if trunk.asserted_identity:
        asserted = _asserted(request)
        if asserted is not None:
            number, name = asserted
    nowhere = not is_tel(from_.uri_text) and from_.uri.host == _ANONYMOUS_HOST
    if hidden or number == ANONYMOUS or nowhere:
        return Caller(ANONYMOUS, "", True)
    return Caller(number, name)


def _asserted(request: SipRequest) -> tuple[str, str] | None:
    """Number and name of the first P-Asserted-Identity that has a number (RFC 3325 9.1)."""
    for value in request.headers.values("P-Asserted-Identity")[:_IDENTITIES_MAX]:
        try:
            identity = NameAddr.parse(value)
            number = number_of(identity.uri_text)
        except RemoteProtocolError:
            continue
        if number:
            return number, identity.display_name or ""
    return None


def called_of(request: SipRequest, trunk: Trunk) -> str:
    """The number that a trunk wants to reach.

    The Request-URI's; but a carrier that we are registered at sends calls to our contact, and then the
    number stands in P-Called-Party-ID or To. Raises `RemoteProtocolError`.
    """
    called = request.called
    if not trunk.registers or called != trunk.username:
        return called
    party = request.headers.get("P-Called-Party-ID")
    if party is not None:
        return number_of(NameAddr.parse(party).uri_text)
    return number_of(request.to.uri_text) or called


class Presented(msgspec.Struct, frozen=True):
    """What a trunk is told: From, and further header lines."""

    from_: NameAddr
    headers: tuple[tuple[str, str], ...]


def present(
    trunk: Trunk,
    domain: str,
    number: str,
    name: str,
    *,
    hidden: bool = False,
    diversions: Sequence[Diversion] = (),
    target: SipUri | None = None,
) -> Presented:
    """How a caller is shown to a trunk.

    Parameters: `number` and `name` are what the office vouches for; `hidden` keeps them out of From
    (RFC 3323 4.1) and tells only a trunk that is trusted with identities; `diversions` are those
    who have sent the call on, the latest first, and `target` where it goes now.
    """
    anonymous = hidden or not number or number == ANONYMOUS
    headers: list[tuple[str, str]] = []
    host = trunk.from_domain or domain
    shown = NameAddr(str(SipUri("sip", number, host)), name or None)
    account = trunk.username if trunk.from_user == "account" else None
    if account:
        from_ = NameAddr(str(SipUri("sip", account, host)), None if anonymous else name or None)
    elif anonymous:
        from_ = NameAddr(f"sip:{ANONYMOUS}@{_ANONYMOUS_HOST}", "Anonymous")
    else:
        from_ = shown
    known = bool(number) and number != ANONYMOUS
    if trunk.asserted_identity and known:
        headers.append(("P-Asserted-Identity", str(shown)))
        if anonymous:
            headers.append(("Privacy", "id"))
    elif account and known and not anonymous:
        # We are its customer, not its peer: what we say of the number is a wish (RFC 3325 9.2).
        headers.append(("P-Preferred-Identity", str(shown)))
    elif anonymous and hidden:
        headers.append(("Privacy", "user"))
    told = [each for each in diversions if trunk.asserted_identity or not each.hidden]
    if told and trunk.diversion == "diversion":
        headers += diversion_lines(told, domain)
    elif told and trunk.diversion == "history-info" and target is not None:
        headers += history_lines(told, domain, target)
    return Presented(from_, tuple(headers))
