"""No limit is forgotten in the table that `softswitch check --limits` prints.

Whoever writes a constant with MAX in its name, or such a field of a policy, in what strangers, telephones and
programs reach, finds it here: it is printed, or it is excused by name and with a reason.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import softswitch
from softswitch.cli.limits import limit_places

ROOT = Path(softswitch.__file__).parent
REACHED = ("sip", "transport", "call", "api")
_CONSTANT = re.compile(r"(^|_)MAX(_|$)")
_FIELD = re.compile(r"(^|_)max(_|$)")

_VALUE = "a number of the protocol: what is larger is no value"
_TIME = "a time, nothing grows by it"
_TURN = "work of one turn: the rest has the next one"
_CUT = "no more of it is read; the message has its own limit"
_OWN = "of our own, or the office file's: no stranger makes it grow"
_PRINTED = "printed by the constant that it takes"
EXCUSED = {
    "sip.invite_incoming._WAITING_MAX": "requests that wait for ours in one dialog; its sender repeats them",
    "sip.message.EXPIRES_MAX_S": _VALUE,
    "sip.multipart._BOUNDARY_MAX": _VALUE,
    "sip.multipart._DEPTH_MAX": "parts in parts: not looked into, see test_multipart",
    "sip.outgoing_registration.EXPIRES_S_MAX": _TIME,
    "sip.outgoing_registration.BACKOFF_MAX_S": _TIME,
    "sip.outgoing_registration.RETRY_AFTER_S_MAX": _TIME,
    "sip.rank._METHOD_OCTETS_MAX": _CUT,
    "sip.reason._REASONS_MAX": _CUT,
    "sip.registration.RegistrationPolicy.max_expires_s": _TIME,
    "sip.reliable.RSEQ_MAX": _VALUE,
    "sip.reliable.RSEQ_FIRST_MAX": _VALUE,
    "sip.sdp.description.OCTETS_MAX": "that of a body, which is printed, comes first",
    "sip.sdp.description._REMEMBERED_OCTETS_MAX": "what is longer is read anew each time",
    "sip.stack_config.StackConfig.max_sessions": "legs of all calls, by softswitch.switch",
    "sip.stack_config.StackConfig.max_transactions": _PRINTED,
    "sip.stack_config.StackConfig.max_forks": _PRINTED,
    "sip.stack_config.StackConfig.max_events": _PRINTED,
    "sip.stack_config.StackConfig.max_subscriptions": _PRINTED,
    "sip.stack_config.StackConfig.subscription_max_s": _TIME,
    "sip.subscription.EXPIRES_MAX": _VALUE,
    "sip.subscription._BODY_MAX": _OWN,
    "sip.terse.RETRY_AFTER_MAX_S": _TIME,
    "sip.terse._HEAD_OCTETS_MAX": _CUT,
    "transport.dns_lookup._HOSTS_OCTETS_MAX": _OWN,
    "transport.driver._FLOWS_MAX": "only saves time: when it is full it is emptied",
    "transport.driver._TRANSPORTS_MAX": _OWN,
    "transport.driver._TURN_MESSAGES_MAX": _TURN,
    "transport.resolver.TTL_S_MAX": _TIME,
    "transport.resolver.TARGETS_MAX": "of the records of an answer, which are printed",
    "transport.resolver._STEP_S_MAX": _TIME,
    "transport.stream._FAILURES_MAX": "why connections that we opened to trunks failed",
    "transport.stun._OCTETS_MAX": _CUT,
    "transport.udp._DRAIN_MAX": _TURN,
    "transport.udp._AT_ONCE_MAX": _TURN,
    "transport.udp._DEFERRED_MAX": _TURN,
    "transport.udp._FLUSH_MAX": _TURN,
    "transport.udp._ERRORS_MAX": _TURN,
    "call.call.MAX_FORWARDS": _VALUE,
    "call.consultation.NUMBER_MAX": "digits that are pressed: a number is as long at most",
    "call.diversion._COUNTER_MAX": _VALUE,
    "call.diversion._NUMBER_MAX": "what is longer is no number",
    "call.guard.GuardPolicy.entries_max": "printed by DEFAULT_POLICY",
    "call.guard.GuardPolicy.shown_max": "printed by DEFAULT_POLICY",
    "call.leg_media._HOST_MAX": "an address that is longer is judged anew each time, and not remembered",
    "call.lookup._HEAD_OCTETS_MAX": _CUT,
    "call.numbering._SHORT_MAX": _VALUE,
    "call.phone_health.MISSES_MAX": "so often a telephone may be silent",
    "call.ring_timers.LANES_MAX": "durations of the office file: see test_ring_timers",
    "call.trunk_health.MISSES_MAX": "so often a trunk may be silent",
    "call.trunk_health.FAILURES_MAX": "so often a trunk may refuse",
    "call.trunk_health.TRIAL_S_MAX": _TIME,
    "call.trunk_health.RETRY_AFTER_S_MAX": _TIME,
    "call.trunk_identity._IDENTITIES_MAX": _CUT,
    "sip.registration.RegistrationPolicy.contacts_max": "printed by DEFAULT_POLICY",
    "sip.registration.RegistrationPolicy.bindings_max": "printed by DEFAULT_POLICY",
    "api.events.webhooks.BODY_KEPT_MAX": "1,000 lines a webhook; what is larger cannot be sent again",
    "api.events.missed.ENTRIES_MAX": "what is read back at a start",
    "api.accounts.PASSWORD_MAX": "of a field, checked by the schema",
    "api.admin._LINE_MAX": "who may open the admin socket may do everything",
    "api.admin._PATH_MAX": _OWN,
    "api.app.UPLOAD_BYTES_MAX": "of a body, as BODY_BYTES_MAX, for those who may upload",
    "api.events.delivery.FAILURES_MAX": "so often a webhook may fail",
    "api.events.hub.CALLS_MAX": "calls known to the events: those that are up are bounded",
    "api.events.hub.Hub.kept_max": _PRINTED,
    "api.events.reader.Reader.waiting_max": _PRINTED,
    "api.listened.KEPT_MAX": "who has listened to what, by the administrator's own people",
    "api.metrics.LABELS_MAX": "series, for the reader's sake",
    "api.metrics.FLOODS_MAX": "of those named, which are printed",
    "api.models.ID_MAX": _VALUE,
    "api.oidc._ANSWER_OCTETS_MAX": "of the issuer that the office file names",
    "api.problem._ERRORS_MAX": "mistakes told at once",
    "api.routes.callbacks.NOTE_MAX": "of a field, checked by the schema",
    "api.routes.prompts.OWN_MAX": "an administrator's own prompts",
    "api.routes.prompts.OCTETS_MAX": "an administrator's own prompts",
    "api.sessions._COOKIE_MAX": "what is longer is no cookie of ours",
    "api.timeline._READ_MAX": "of a page, which is printed",
}


def limits_of(text: str) -> Iterator[str]:
    """Names of what looks like a limit in the text of a module: constants, and fields with a default."""
    for node in ast.parse(text).body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                if _CONSTANT.search(name):
                    yield name
            case ast.Assign(targets=[ast.Tuple(elts=elements)]):
                names = [each.id for each in elements if isinstance(each, ast.Name)]
                yield from filter(_CONSTANT.search, names)
            case ast.ClassDef(name=owner, body=body):
                for line in body:
                    match line:
                        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr()):
                            if _FIELD.search(name):
                                yield f"{owner}.{name}"


def found() -> set[str]:
    """All of them in what is reached from outside, as "sip.parser.NAME"."""
    return {
        f"{'.'.join(file.relative_to(ROOT).with_suffix('').parts)}.{name}"
        for package in REACHED
        for file in (ROOT / package).rglob("*.py")
        for name in limits_of(file.read_text())
    }


def test_every_limit_is_printed_or_excused() -> None:
    printed = {place.removeprefix("softswitch.") for place in limit_places()}
    forgotten = found() - printed - EXCUSED.keys()
    assert not forgotten, "add them to softswitch/cli/limits.py with a test at N and at N+1"


def test_no_excuse_is_out_of_date() -> None:
    printed = {place.removeprefix("softswitch.") for place in limit_places()}
    assert found() >= EXCUSED.keys()
    assert not printed & EXCUSED.keys()


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("GUESTS_MAX = 7", ["GUESTS_MAX"]),
        ("MAX_GUESTS: Final = 7", ["MAX_GUESTS"]),
        ("A_S, B_MAX_S = 1, 2", ["B_MAX_S"]),
        ("class Policy:\n    guests_max: int = 3\n    name: str = ''", ["Policy.guests_max"]),
        ("MAXIMUM = 1\nmaximal = 2\ndef f():\n    X_MAX = 3", []),
    ],
)
def test_a_new_limit_is_found(text: str, names: list[str]) -> None:
    assert list(limits_of(text)) == names
