"""What the parts of call control share: the doors to SIP, media, time and records."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from softswitch.sip.flow import Flow

if TYPE_CHECKING:
    from softswitch.call.cdr import CallRecorder
    from softswitch.call.plane import MediaPlane
    from softswitch.clock import Clock
    from softswitch.config import Office
    from softswitch.sip.stack import SipStack


@dataclass(frozen=True, slots=True)
class MediaPolicy:
    """How the media of an endpoint is treated.

    `srtp`: "off", "allow", "require". `by_source`: the peer may sit behind a NAT, so its RTP may come from
    any port of the address that its signalling came from (symmetric RTP); otherwise only from where its
    SDP says. `inband`: its keys come as sound, and are listened for in every call. `by_info`: it is told of
    keys by INFO alone.
    """

    srtp: str = "allow"
    by_source: bool = False
    inband: bool = False
    by_info: bool = False


_PHONE, _OTHER = MediaPolicy(by_source=True), MediaPolicy()


@dataclass(slots=True)
class Wiring:
    """Handed to every leg and machine adapter by the composition root.

    `pump` sends what the stack wants sent after a command from outside one of its events; `flow_to`
    gives the flow to an address over a transport, where a server of a name is (TLS); `why_unreachable`
    says what the last connection there failed by; `random(octets)` is for keys; `media` is the policy by
    endpoint label.
    """

    office: Office
    stack: SipStack
    plane: MediaPlane
    clock: Clock
    records: CallRecorder
    token: Callable[[], str]
    pump: Callable[[], None]
    flow_to: Callable[[tuple[str, int], str, str], Flow]
    random: Callable[[int], bytes]
    media: Mapping[str, MediaPolicy] = field(default_factory=dict)
    why_unreachable: Callable[[Flow], str] = field(default=lambda _: "")
    codecs: tuple[str, ...] = ("PCMA", "PCMU", "G722", "opus")
    now_s: Callable[[], float] = field(init=False)
    wall_s: Callable[[], float] = field(init=False)
    next_number: Callable[[], int] = field(init=False)
    """A number that nothing else in this process has: legs, plays, recordings, calls."""

    def __post_init__(self) -> None:
        self.now_s, self.wall_s = self.clock.monotonic_s, self.clock.wall_s
        self.next_number = itertools.count(1).__next__

    def media_policy(self, label: str) -> MediaPolicy:
        """How the media of an endpoint is treated; also of one that is in the office no more."""
        return self.media.get(label, _PHONE if label.startswith("extension:") else _OTHER)
