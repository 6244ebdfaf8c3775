"""What the driver asks of a transport; UDP, TCP and the simulated network all fit it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from softswitch.sip.flow import Flow

Receive = Callable[[bytes, Flow], None]
"""Called with every datagram, or every framed message of a stream, and the flow it came by."""

Unreachable = Callable[[Flow], None]
"""Called when the far end of a flow is known not to listen (ICMP, refused or lost connection)."""

Passing = tuple[float, bool, Flow, bytes]
"""A message that passes: when, whether it was received, over what, its octets."""

Tap = Callable[[Passing], object]
"""Called with every message that passes."""

OnShed = Callable[[str, bool, float], None]
"""Called with the address of whose message or connection a limit has dropped or, if true, refused, and when."""


def nobody_asks(host: str, refused: bool, now_s: float) -> None:
    """An `OnShed` for nothing."""


class Transport(Protocol):
    """One local address of one transport protocol."""

    @property
    def name(self) -> str:
        """ "udp", "tcp", "tls", "ws" or "wss"; the `transport` of its flows."""

    @property
    def local(self) -> tuple[str, int]:
        """The bound address and port; the `local` of its flows."""

    def start(self, receive: Receive, unreachable: Unreachable) -> None:
        """Begin to receive. Called once, by the driver."""

    def send(self, data: bytes, flow: Flow) -> None:
        """Send one message to `flow.remote`. Never waits, never raises for the network's faults."""

    def prove(self, flow: Flow) -> None:
        """The sender of this flow has shown who he is: he comes before strangers."""

    def close(self) -> None:
        """Stop receiving and free the address. May be called twice."""

    def snapshot(self) -> dict[str, int]:
        """Counters and table sizes."""
