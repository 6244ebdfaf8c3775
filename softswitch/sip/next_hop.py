"""Where an in-dialog request leaves for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softswitch.errors import RemoteProtocolError
from softswitch.sip.flow import Flow
from softswitch.sip.uri import SipUri

if TYPE_CHECKING:
    from softswitch.sip.dialog import Dialog

_DEFAULT_PORTS = {"tls": 5061, "wss": 443, "ws": 80}


def next_hop(dialog: Dialog, follow_contact: bool) -> Flow:
    """The flow the dialog was learned on (symmetric, so it passes any NAT), or with
    `follow_contact` the first route or remote target, where that is an address literal.

    A target given by name stays on the flow: resolving is not the core's business, and the peer
    just proved that the flow works.
    """
    flow = dialog.flow
    if not follow_contact:
        return flow
    try:
        uri = SipUri.parse(dialog.routes[0].uri_text if dialog.routes else dialog.target)
    except RemoteProtocolError:
        return flow
    host = uri.host
    if not _is_address(host):
        return flow
    remote = (host, uri.port or _DEFAULT_PORTS.get(flow.transport, 5060))
    if remote == flow.remote or flow.transport in ("ws", "wss"):
        return flow  # nobody listens at a browser
    return Flow(flow.transport, flow.local, remote, 0, flow.server_name)


def _is_address(host: str) -> bool:
    return ":" in host or (host.count(".") == 3 and not host.strip("0123456789."))
