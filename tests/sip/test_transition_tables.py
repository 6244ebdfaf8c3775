"""The transition tables of the machines, printed by walking states x inputs and kept as golden
files: a change of an automaton is a diff there. UPDATE_GOLDEN=1 rewrites them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from softswitch.sip.dialog import Dialog
from softswitch.sip.effects import (
    STARTED,
    TRANSPORT_FAILED,
    Clocking,
    RequestArrived,
    ResponseArrived,
    ResponseGiven,
    TimerFired,
)
from softswitch.sip.flow import Flow
from softswitch.sip.invite_incoming import IncomingInviteSession
from softswitch.sip.invite_outgoing import OutgoingCall, OutgoingInviteSession
from softswitch.sip.message import SipRequest
from softswitch.sip.reason import ReasonHeader
from softswitch.sip.session_core import Purpose, SessionTerms
from softswitch.sip.session_effects import (
    Accept,
    AcceptReoffer,
    AckArrived,
    AckWith,
    AnswerArrived,
    CancelArrived,
    DialogRequestArrived,
    HangUp,
    InviteArrived,
    Progress,
    Reject,
    RejectReoffer,
    Reoffer,
    RequestLost,
    SendInDialog,
    StartCall,
)
from softswitch.sip.stack_config import StackConfig
from softswitch.sip.transaction.invite_client import InviteClientTransaction
from softswitch.sip.transaction.invite_server import InviteServerTransaction
from softswitch.sip.transaction.non_invite_client import NonInviteClientTransaction
from softswitch.sip.transaction.non_invite_server import NonInviteServerTransaction

GOLDEN = Path(__file__).parent / "golden"
FLOW = Flow("udp", ("10.0.0.1", 5060), ("10.0.0.2", 5060))
SDP = b"v=0\r\n"


def request(method, cseq=1, *, to_tag="", from_tag="them", sdp=None, branch="z9hG4bK1"):
    tag = f";tag={to_tag}" if to_tag else ""
    made = SipRequest(method, "sip:us@10.0.0.1")
    for name, value in (
        ("Via", f"SIP/2.0/UDP 10.0.0.2;branch={branch}"),
        ("From", f"<sip:them@10.0.0.2>;tag={from_tag}"),
        ("To", f"<sip:us@10.0.0.1>{tag}"),
        ("Call-ID", "call"),
        ("CSeq", f"{cseq} {method}"),
        ("Contact", "<sip:them@10.0.0.2>"),
    ):
        made.headers.add(name, value)
    if sdp is not None:
        made.headers.add("Content-Type", "application/sdp")
        made.body = sdp
    return made


def response(to, status, sdp=None, tag="them"):
    made = to.response(status, to_tag=tag)
    made.headers.add("Contact", "<sip:them@10.0.0.2>")
    if sdp is not None:
        made.headers.add("Content-Type", "application/sdp")
        made.body = sdp
    return made


def walk(make, paths, inputs, label):
    """One line for each state and input: what comes out and where the machine goes.

    `paths` leads from a fresh machine to each state; `inputs` are named functions of the machine.
    """
    lines = []
    for state, path in paths.items():
        for name, event in inputs.items():
            machine = make()
            for step in path:
                machine.handle(inputs[step](machine), 0.0)
            assert machine.state.name == state.partition(" ")[0], (state, machine.state)
            try:
                out = [label(effect) for effect in machine.handle(event(machine), 0.0)]
            except Exception as error:
                out = [f"{type(error).__name__}"]
            after = machine.state.name
            if out or after != state.partition(" ")[0]:
                lines.append(f"{state:<22} {name:<22} -> {after:<11} {'; '.join(out)}".rstrip())
        lines.append("")
    return "\n".join(lines)


def transaction_effect(effect):
    name = type(effect).__name__
    match name:
        case "Send":
            return f"Send {effect.data.split(b' ')[0 if effect.data[:3] != b'SIP' else 1].decode()}"
        case "SetTimer" | "Linger":
            return f"{name} {effect.name} {effect.after_s:g}"
        case "ClearTimer":
            return f"ClearTimer {effect.name}"
        case "PassRequest":
            return f"PassRequest {effect.request.method}"
        case "PassResponse":
            return f"PassResponse {effect.response.status}"
        case "Fail":
            return f"Fail {effect.status}"
    return name


def fire(name):
    return lambda machine: TimerFired(name)


def give(status):
    return lambda machine: ResponseGiven(status, f"SIP/2.0 {status} x".encode())


def answers(*statuses):
    return {
        f"response {status}": lambda machine, status=status: ResponseArrived(
            response(machine.request, status)
        )
        for status in statuses
    }


def client_table(machine_type, method, timers, paths, reliable):
    def make():
        return machine_type(request(method), reliable, Clocking())

    inputs = {"start": lambda machine: STARTED}
    inputs |= answers(100, 180, 200, 486)
    inputs |= {f"timer {name}": fire(name) for name in timers}
    inputs["transport failed"] = lambda machine: TRANSPORT_FAILED
    return walk(make, paths, inputs, transaction_effect)


def server_table(machine_type, methods, timers, paths, reliable):
    inputs = {
        f"request {name}": lambda machine, name=name: RequestArrived(request(name))
        for name in methods
    }
    inputs |= {f"answer {status}": give(status) for status in (100, 180, 200, 486)}
    inputs |= {f"timer {name}": fire(name) for name in timers}
    inputs["transport failed"] = lambda machine: TRANSPORT_FAILED
    return walk(lambda: machine_type(reliable, Clocking()), paths, inputs, transaction_effect)


def invite_client(reliable):
    paths = {"IDLE": [], "CALLING": ["start"], "PROCEEDING": ["start", "response 180"]}
    if not reliable:
        paths["COMPLETED"] = ["start", "response 486"]
    paths["ACCEPTED"] = ["start", "response 200"]
    paths["TERMINATED"] = ["start", "timer B"]
    return client_table(InviteClientTransaction, "INVITE", "ABDM", paths, reliable)


def invite_server(reliable):
    paths = {
        "IDLE": [],
        "PROCEEDING": ["request INVITE"],
        "PROCEEDING (180)": ["request INVITE", "answer 180"],
        "COMPLETED": ["request INVITE", "answer 486"],
    }
    if not reliable:
        paths["CONFIRMED"] = ["request INVITE", "answer 486", "request ACK"]
    paths["ACCEPTED"] = ["request INVITE", "answer 200"]
    paths["TERMINATED"] = ["request INVITE", "answer 486", "timer H"]
    return server_table(InviteServerTransaction, ("INVITE", "ACK"), "GHIL", paths, reliable)


def non_invite_client(reliable):
    paths = {"IDLE": [], "TRYING": ["start"], "PROCEEDING": ["start", "response 100"]}
    if not reliable:
        paths["COMPLETED"] = ["start", "response 200"]
    paths["TERMINATED"] = ["start", "timer F"]
    return client_table(NonInviteClientTransaction, "OPTIONS", "EFK", paths, reliable)


def non_invite_server(reliable):
    paths = {
        "IDLE": [],
        "TRYING": ["request OPTIONS"],
        "PROCEEDING": ["request OPTIONS", "answer 100"],
    }
    if not reliable:
        paths["COMPLETED"] = ["request OPTIONS", "answer 200"]
    paths["TERMINATED"] = ["request OPTIONS", "transport failed"]
    return server_table(NonInviteServerTransaction, ("OPTIONS",), "J", paths, reliable)


def session_effect(effect):
    name = type(effect).__name__
    match name:
        case "SendRequest":
            return f"Send {effect.request.method} {effect.request.cseq.number}"
        case "SendAck":
            return "Send ACK" + (" with SDP" if effect.request.body else "")
        case "Respond":
            return f"{effect.response.status} to {effect.response.cseq.method}"
        case "SetTimer":
            return f"SetTimer {effect.name} {effect.after_s:g}"
        case "ClearTimer":
            return f"ClearTimer {effect.name}"
        case "Notify":
            return f"Notify {type(effect.event).__name__}"
        case "HandleDone":
            return f"HandleDone {effect.status}"
    return name


def terms():
    return SessionTerms(
        1, StackConfig(), FLOW, "<sip:us@10.0.0.1>", lambda: "token", lambda low, high: low
    )


def in_dialog(method, sdp=None):
    def make(machine):
        machine_cseq = 2 if machine.dialog is None else (machine.dialog.remote_cseq or 1) + 1
        made = request(method, machine_cseq, to_tag="us", sdp=sdp)
        return DialogRequestArrived(made, "other transaction", FLOW)

    return make


def answered(purpose, method, status, sdp=None):
    def make(machine):
        sent = request(method, 5, from_tag="us", to_tag="them" if method != "INVITE" else "")
        current = getattr(machine, "_invite", None)
        if purpose is Purpose.INVITE and current is not None:
            sent = current
        return AnswerArrived(purpose, sent, response(sent, status, sdp))

    return make


def lost(purpose, method):
    to_tag = "them" if method != "INVITE" else ""
    return lambda machine: RequestLost(purpose, request(method, to_tag=to_tag), 408)


def constant(event):
    return lambda machine: event


COMMON = {
    "INVITE": in_dialog("INVITE", SDP),
    "UPDATE": in_dialog("UPDATE", SDP),
    "UPDATE empty": in_dialog("UPDATE"),
    "INFO": in_dialog("INFO"),
    "REFER": in_dialog("REFER"),
    "BYE": in_dialog("BYE"),
    "hang up": constant(HangUp(ReasonHeader("Q.850", 16))),
    "reoffer": constant(Reoffer(SDP)),
    "accept reoffer": constant(AcceptReoffer(SDP)),
    "reject reoffer": constant(RejectReoffer(488)),
    "ack with": constant(AckWith(SDP)),
    "send INFO": constant(SendInDialog("INFO", (), b"", None, None)),
    "re-INVITE 100": answered(Purpose.REINVITE, "INVITE", 100),
    "re-INVITE 200": answered(Purpose.REINVITE, "INVITE", 200, SDP),
    "re-INVITE 488": answered(Purpose.REINVITE, "INVITE", 488),
    "re-INVITE 491": answered(Purpose.REINVITE, "INVITE", 491),
    "re-INVITE 481": answered(Purpose.REINVITE, "INVITE", 481),
    "re-INVITE lost": lost(Purpose.REINVITE, "INVITE"),
    "BYE 200": answered(Purpose.BYE, "BYE", 200),
    "BYE lost": lost(Purpose.BYE, "BYE"),
    "refresh 200": answered(Purpose.REFRESH, "UPDATE", 200),
    "refresh 481": answered(Purpose.REFRESH, "UPDATE", 481),
    "refresh lost": lost(Purpose.REFRESH, "UPDATE"),
    "timer refresh": fire("refresh"),
    "timer expire": fire("expire"),
    "timer glare": fire("glare"),
    "timer reoffer": fire("reoffer"),
    "timer abandon": fire("abandon"),
}


def outgoing_session():
    def make():
        call = OutgoingCall("sip:them@x", "<sip:us@x>;tag=us", "<sip:them@x>", "call", [], (), SDP)
        return OutgoingInviteSession.of(terms(), call)

    inputs = {
        "start": constant(StartCall(60.0, 2.0)),
        "100": answered(Purpose.INVITE, "INVITE", 100),
        "180": answered(Purpose.INVITE, "INVITE", 180),
        "200": answered(Purpose.INVITE, "INVITE", 200, SDP),
        "486": answered(Purpose.INVITE, "INVITE", 486),
        "401": answered(Purpose.INVITE, "INVITE", 401),
        "422": answered(Purpose.INVITE, "INVITE", 422),
        "INVITE lost": lost(Purpose.INVITE, "INVITE"),
        "timer answer": fire("answer"),
        "timer silence": fire("silence"),
        **COMMON,
    }
    paths = {
        "IDLE": [],
        "CALLING": ["start"],
        "PROCEEDING": ["start", "180"],
        "CANCELLING": ["start", "180", "hang up"],
        "CANCELLING (unheard)": ["start", "hang up"],
        "CONFIRMED": ["start", "200"],
        "CONFIRMED (offering)": ["start", "200", "reoffer"],
        "CONFIRMED (glare)": ["start", "200", "reoffer", "re-INVITE 491"],
        "CONFIRMED (offered)": ["start", "200", "INVITE"],
        "ENDING": ["start", "200", "hang up"],
        "ENDING (offering)": ["start", "200", "reoffer", "BYE"],
        "ENDED": ["start", "486"],
    }
    return walk(make, paths, inputs, session_effect)


def incoming_session():
    invite = request("INVITE", sdp=SDP)
    inputs = {
        "arrive": constant(InviteArrived(invite, "transaction")),
        "progress": constant(Progress(180, None, None, ())),
        "accept": constant(Accept(SDP, ())),
        "reject": constant(Reject(486, None, ())),
        "ACK": constant(AckArrived(request("ACK", 1, to_tag="us"))),
        "CANCEL": constant(CancelArrived(request("CANCEL"), "transaction")),
        "timer trying": fire("trying"),
        "timer again": fire("again"),
        "timer 2xx": fire("2xx"),
        "timer no-ack": fire("no-ack"),
        **COMMON,
    }
    paths = {
        "IDLE": [],
        "INCOMING": ["arrive"],
        "INCOMING (180)": ["arrive", "progress"],
        "ANSWERED": ["arrive", "accept"],
        "ANSWERED (bye wanted)": ["arrive", "accept", "hang up"],
        "CONFIRMED": ["arrive", "accept", "ACK"],
        "CONFIRMED (offered)": ["arrive", "accept", "ACK", "INVITE"],
        "ENDING": ["arrive", "accept", "ACK", "hang up"],
        "ENDED": ["arrive", "reject"],
    }
    return walk(lambda: IncomingInviteSession.of(terms(), "us"), paths, inputs, session_effect)


TABLES = {
    "invite_client": lambda: invite_client(False),
    "invite_client_reliable": lambda: invite_client(True),
    "invite_server": lambda: invite_server(False),
    "invite_server_reliable": lambda: invite_server(True),
    "non_invite_client": lambda: non_invite_client(False),
    "non_invite_client_reliable": lambda: non_invite_client(True),
    "non_invite_server": lambda: non_invite_server(False),
    "non_invite_server_reliable": lambda: non_invite_server(True),
    "outgoing_session": outgoing_session,
    "incoming_session": incoming_session,
}


@pytest.mark.parametrize("name", TABLES)
def test_transition_table(name):
    table = TABLES[name]()
    golden = GOLDEN / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(table)
    assert table == golden.read_text()


def test_dialog_is_made_the_same_from_both_ends():
    invite = request("INVITE")
    invite.headers.add("Record-Route", "<sip:p1;lr>, <sip:p2;lr>")
    ok = invite.response(200, to_tag="us")
    ok.headers.add("Contact", "<sip:us@10.0.0.1>")
    server = Dialog.of_server(invite, "us", FLOW)
    client = Dialog.of_client(invite, ok, FLOW)
    assert [str(r) for r in server.routes] == ["<sip:p1;lr>", "<sip:p2;lr>"]
    assert [str(r) for r in client.routes] == ["<sip:p2;lr>", "<sip:p1;lr>"]
    assert (server.local_tag, server.remote_tag) == (client.remote_tag, client.local_tag)
    assert (server.local, server.remote) == (client.remote, client.local)
