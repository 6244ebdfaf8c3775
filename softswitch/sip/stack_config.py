"""Settings and limits of one SIP stack."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from softswitch.sip.validation import BODY_TYPES

if TYPE_CHECKING:
    from softswitch.sip.flow import Flow

SUBSCRIPTIONS_MAX = 20_000
# A call leaves three for 32 s and one for 5 s (Timers H, J, K, RFC 6026): of 1,400 calls a second they are
# 140,000. The last quarter is for what has begun.
TRANSACTIONS_MAX = 200_000
FORKS_MAX = 12
EVENTS_MAX = 100_000
# What registrars, callers and transferors may use besides what every INVITE of ours says.
FURTHER_EXTENSIONS = ("100rel", "path", "outbound", "norefersub")
DEFAULT_ALLOW = (
    "INVITE",
    "ACK",
    "CANCEL",
    "BYE",
    "OPTIONS",
    "INFO",
    "UPDATE",
    "PRACK",
    "REFER",
    "NOTIFY",
    "MESSAGE",
    "SUBSCRIBE",
    "PUBLISH",
    "REGISTER",
)


@dataclass(frozen=True, slots=True)
class StackConfig:
    """What a stack must be told; the defaults are RFC 3261's (table 4) and ours.

    `local_addresses`: (host, port) pairs that are us, for Route and Request-URI comparison.
    `advertised`: (host, port) to write into Via and Contact instead of the flow's local address
    (behind a port forwarding, or listening on all addresses); streams keep their own port. `secret`
    keys the To-tags of stateless answers; empty: one is drawn from `token`. `trying_after_s`: 0
    sends 100 Trying at once, else after so long without another response. `max_events`: with so
    many events not yet read, new calls and requests get 503. A subscription, to one of
    `event_packages`, lasts `subscription_min_s` to `subscription_max_s`.
    """

    local_addresses: tuple[tuple[str, int], ...] = ()
    advertised: tuple[str, int] | None = None
    user_agent: str = "Softswitch"
    allow: tuple[str, ...] = DEFAULT_ALLOW
    secret: bytes = b""
    t1_s: float = 0.5
    t2_s: float = 4.0
    t4_s: float = 5.0
    trying_after_s: float = 0.0
    session_timers: bool = True
    session_expires_s: int = 1800
    min_se_s: int = 90
    max_sessions: int = 10_000
    max_transactions: int = TRANSACTIONS_MAX
    max_forks: int = FORKS_MAX
    max_events: int = EVENTS_MAX
    max_subscriptions: int = SUBSCRIPTIONS_MAX
    event_packages: tuple[str, ...] = ()
    subscription_min_s: int = 60
    subscription_max_s: int = 3600
    allow_value: str = field(init=False, repr=False, compare=False)
    """The Allow header's value, which every call is told."""
    supported_value: str = field(init=False, repr=False, compare=False)
    """The Supported header's value, but for what is said in INVITEs only."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "allow_value", ", ".join(self.allow))
        supported = "timer, replaces" if self.session_timers else "replaces"
        object.__setattr__(self, "supported_value", supported)

    def allowed_events(self) -> tuple[tuple[str, str], ...]:
        """The header that names the event packages, where there are any."""
        return (("Allow-Events", ", ".join(self.event_packages)),) if self.event_packages else ()

    def capabilities(self) -> tuple[tuple[str, str], ...]:
        """What an answer to OPTIONS says (RFC 3261 11.2)."""
        return (
            ("Allow", self.allow_value),
            ("Accept", ", ".join(BODY_TYPES)),
            ("Accept-Encoding", "identity"),
            ("Supported", ", ".join((self.supported_value, *FURTHER_EXTENSIONS))),
            *self.allowed_events(),
        )

    def written(self, flow: Flow) -> tuple[str, int]:
        """Host and port that peers are told to reach us at, for messages on `flow`."""
        if self.advertised is None:
            return flow.local
        host, port = self.advertised
        return host, flow.local[1] if flow.reliable else port
