"""Session timers (RFC 4028): who keeps the session alive, how often, and when it is dead."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from msgspec import Struct

from softswitch.errors import RemoteProtocolError
from softswitch.sip.grammar import find_param, parse_number, parse_params

if TYPE_CHECKING:
    from softswitch.sip.message import SipMessage, SipRequest, SipResponse
    from softswitch.sip.stack_config import StackConfig

MIN_SE_FLOOR_S = 90
_LARGEST_S = 7 * 86_400


class SessionTimer(Struct, frozen=True):
    """A session interval and whether refreshing it is our part. `mutual` is False for a peer that knows no
    session timers: we refresh to find out whether he is there, and any answer says that he is."""

    interval_s: int
    we_refresh: bool
    mutual: bool = True

    @property
    def refresh_after_s(self) -> float:
        """Half the interval (RFC 4028 section 10)."""
        return self.interval_s / 2

    @property
    def expires_after_s(self) -> float:
        """When to end the call: the waiting side a little early (section 10), we at the end."""
        if self.we_refresh:
            return float(self.interval_s)
        return self.interval_s - min(32.0, self.interval_s / 3)


def interval_of(message: SipMessage) -> tuple[int, str] | None:
    """Session-Expires: (seconds, "uac" | "uas" | ""), None where absent or unreadable."""
    value = message.headers.first.get("Session-Expires")
    if value is None:
        return None
    return _interval(value) if len(value) <= 64 else _interval.__wrapped__(value)


@lru_cache(256)
def _interval(value: str) -> tuple[int, str] | None:
    number, semicolon, params = value.partition(";")
    interval_s = parse_number(number.strip(" \t"), _LARGEST_S)
    if interval_s is None:
        return None
    try:
        refresher = (find_param(parse_params(semicolon + params), "refresher") or "").lower()
    except RemoteProtocolError:
        refresher = ""
    return interval_s, refresher if refresher in ("uac", "uas") else ""


def min_se_of(message: SipMessage) -> int:
    """Min-SE in seconds, 0 where absent or unreadable."""
    value = message.headers.first.get("Min-SE")
    return (parse_number(value, _LARGEST_S) or 0) if value else 0


def supports_timer(message: SipMessage) -> bool:
    """Whether the peer lists `timer` in Supported (or demands it)."""
    headers = message.headers
    return headers.lists("Supported", "timer") or headers.lists("Require", "timer")


def too_small(request: SipRequest, config: StackConfig) -> int | None:
    """The Min-SE for a 422 when the peer asks for less than we bear, else None (section 9)."""
    asked = interval_of(request)
    if not config.session_timers or asked is None or asked[0] >= config.min_se_s:
        return None
    return config.min_se_s if supports_timer(request) else None


def offered(config: StackConfig, current: SessionTimer | None, min_se_s: int) -> dict[str, str]:
    """Session timer headers for an INVITE or UPDATE of ours (section 7)."""
    if not config.session_timers:
        return {}
    if current is None:
        lines = {"Session-Expires": str(max(config.session_expires_s, min_se_s))}
    else:
        # Inside the dialog the roles stay what they are: the sender of this request is its uac.
        role = "uac" if current.we_refresh else "uas"
        lines = {"Session-Expires": f"{max(current.interval_s, min_se_s)};refresher={role}"}
    if min_se_s > MIN_SE_FLOOR_S:
        lines["Min-SE"] = str(min_se_s)
    return lines


def granted(
    request: SipRequest, config: StackConfig, min_se_s: int = 0
) -> tuple[SessionTimer | None, dict[str, str]]:
    """What our 2xx to the peer's INVITE or UPDATE grants, and its headers (section 9); `min_se_s` is what it
    has wanted at least before, by a 422."""
    if not config.session_timers:
        return None, {}
    asked = interval_of(request)
    supported = supports_timer(request)
    floor_s = max(min_se_of(request), config.min_se_s, min_se_s)
    interval_s = max(config.session_expires_s, floor_s)
    role = ""
    if asked is not None:
        # Never more than was asked, never less than either side's minimum.
        interval_s = max(min(asked[0], interval_s), min(floor_s, asked[0]), 1)
        role = asked[1]
    if not supported:
        role = "uas"  # a peer without the extension will not refresh
    elif not role:
        role = "uac"
    lines = {"Session-Expires": f"{interval_s};refresher={role}"}
    if role == "uac":
        lines["Require"] = "timer"
    return SessionTimer(interval_s, role == "uas", supported), lines


def agreed(response: SipResponse, config: StackConfig) -> SessionTimer | None:
    """What the peer's 2xx to our INVITE or UPDATE agreed to. Nothing of the kind in it: we ask ourselves from
    time to time, as a proxy would have it done (section 8.2), for who vanishes while he is held is missed by
    nobody. None: the session never expires."""
    if not config.session_timers:
        return None
    answer = interval_of(response)
    if answer is None:
        return SessionTimer(max(config.session_expires_s, MIN_SE_FLOOR_S), True, False)
    interval_s, role = answer
    return SessionTimer(max(interval_s, MIN_SE_FLOOR_S), role != "uas")
