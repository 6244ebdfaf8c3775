"""A confirmed session as plain data, for the journal: a new process takes the dialog over.

What is written at the time of the ACK is enough: sequence numbers may have moved on since, so a
restored dialog leaves a gap in ours (RFC 3261 12.2.2 allows any step up) and takes the peer's next
number whatever it is above the last one written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from softswitch.errors import LocalProtocolError, RemoteProtocolError
from softswitch.sip.dialog import Dialog
from softswitch.sip.flow import Flow
from softswitch.sip.invite_session import InviteSession
from softswitch.sip.session_core import State
from softswitch.sip.session_effects import SessionRestored
from softswitch.sip.session_timer import SessionTimer
from softswitch.sip.uri import NameAddr

_CSEQ_GAP = 1000


def save(machine: InviteSession) -> dict[str, Any] | None:
    """What `restore` needs, in JSON types; None unless the session is confirmed and not ending."""
    dialog = machine.dialog
    if dialog is None or machine.state is not State.CONFIRMED:
        return None
    flow, timer = dialog.flow, machine.session_timer
    return {
        "call_id": dialog.call_id,
        "local": dialog.local,
        "remote": dialog.remote,
        "local_tag": dialog.local_tag,
        "remote_tag": dialog.remote_tag,
        "local_cseq": dialog.local_cseq,
        "remote_cseq": dialog.remote_cseq,
        "routes": [str(route) for route in dialog.routes],
        "target": dialog.target,
        "flow": [flow.transport, *flow.local, *flow.remote],
        "contact": machine.terms.contact,
        "called_out": machine.called_out,
        "session_timer": None
        if timer is None
        else [timer.interval_s, timer.we_refresh, timer.mutual],
        "peer_takes_update": machine.peer_takes_update,
        "local_sdp": None if machine.local_sdp is None else machine.local_sdp.decode("latin-1"),
    }


def flow_of(state: Mapping[str, Any]) -> Flow:
    """The flow of a saved session; a stream's connection has died with the old process.

    Raises LocalProtocolError.
    """
    try:
        transport, host, port, remote_host, remote_port = state["flow"]
    except (KeyError, TypeError, ValueError) as error:
        raise LocalProtocolError(f"not a saved session: {error}") from None
    return Flow(transport, (host, port), (remote_host, remote_port))


def restored(state: Mapping[str, Any], flow: Flow) -> SessionRestored:
    """The input that puts a fresh machine where the saved one was.

    Raises LocalProtocolError when the data is not what `save` wrote.
    """
    try:
        dialog = Dialog(
            call_id=state["call_id"],
            local=state["local"],
            remote=state["remote"],
            local_tag=state["local_tag"],
            remote_tag=state["remote_tag"],
            local_cseq=state["local_cseq"] + _CSEQ_GAP,
            remote_cseq=state["remote_cseq"],
            routes=[NameAddr.parse(route) for route in state["routes"]],
            target=state["target"],
            flow=flow,
        )
        timer, sdp = state["session_timer"], state["local_sdp"]
        return SessionRestored(
            dialog,
            None if timer is None else SessionTimer(*timer),
            None if sdp is None else sdp.encode("latin-1"),
            bool(state["peer_takes_update"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError, RemoteProtocolError) as error:
        raise LocalProtocolError(f"not a saved session: {error}") from None
