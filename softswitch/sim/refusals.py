"""What every refusal must bring with it, so that who is refused can do better (RFC 3261 20 and 21, RFC 4028,
RFC 6665): checked in whatever the exchange says in a scenario."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from softswitch.sim.datagram import Address
from softswitch.sim.sip_trace import TraceEntry

WITH: Final[dict[int, tuple[str, ...]]] = {
    401: ("WWW-Authenticate",),  # 22.1
    407: ("Proxy-Authenticate",),
    405: ("Allow",),  # 21.4.6
    415: ("Accept|Accept-Encoding|Accept-Language",),  # 21.4.13
    420: ("Unsupported",),  # 21.4.15
    421: ("Require",),
    422: ("Min-SE",),  # RFC 4028 6
    423: ("Min-Expires",),  # 21.4.17
    488: ("Warning",),  # 21.4.26
    489: ("Allow-Events",),  # RFC 6665 8.4
    501: ("Allow",),
    # Retry-After would keep all calls away from us (21.5.4): of what is beyond us, a trunk, Reason tells.
    503: ("Retry-After|Reason",),
    606: ("Warning",),
}
"""Status: the headers that must be there; where several will do, with a bar between."""


def check_refusals(trace: Iterable[TraceEntry], source: Address) -> list[str]:
    """Refusals that `source` sent without what belongs to them."""
    found = []
    for entry in trace:
        if entry.status is not None and entry.status >= 300 and entry.source == source:
            for wanted in WITH.get(entry.status, ()):
                if not any(entry.header(name) for name in wanted.split("|")):
                    found.append(f"a {entry.status} to {entry.method} without {wanted}: {entry}")
    return found
