"""What a transport reports."""

from __future__ import annotations

from softswitch.sip.flow import Flow


class Inbox:
    """Collects what a transport reports."""

    def __init__(self) -> None:
        self.messages: list[tuple[bytes, Flow]] = []
        self.gone: list[Flow] = []

    def receive(self, data: bytes, flow: Flow) -> None:
        self.messages.append((data, flow))

    def unreachable(self, flow: Flow) -> None:
        self.gone.append(flow)
