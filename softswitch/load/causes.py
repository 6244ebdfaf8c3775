"""Why calls failed: what the target said, and what is usually wrong then. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from softswitch.sip.reason import ReasonHeader
from softswitch.sip.status import reason_of

if TYPE_CHECKING:
    from softswitch.load.plan import Plan
    from softswitch.sip.message import SipResponse

_WORDS_MAX = 100
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_STATUS = re.compile(r"[3-6][0-9][0-9]\b")


def refusal(status: int, response: SipResponse | None) -> str:
    """A final status in the target's own words, with what its Warning or Reason adds (RFC 3261 20.43, RFC
    3326)."""
    if response is None:
        return f"{status} {reason_of(status)}"
    words = f"{response.status} {response.reason}".strip()
    more = ""
    warning = response.headers.get("Warning")
    reason = response.headers.get("Reason")
    if warning is not None:
        quoted = _QUOTED.search(warning)
        more = quoted[1] if quoted is not None else ""
    elif reason is not None:
        parsed = ReasonHeader.parse(reason)
        more = parsed.text if parsed is not None else ""
    if more and more.casefold() not in words.casefold():
        words += f" ({more})"
    return words[:_WORDS_MAX]


def hints(causes: Iterable[str], plan: Plan) -> list[str]:
    """What to try, once for each kind of failure; `causes` are texts that begin with a status, or tell why
    nothing came back."""
    found = [_hint(cause, plan) for cause in causes]
    return [hint for hint in dict.fromkeys(found) if hint]


def _hint(cause: str, plan: Plan) -> str:
    if cause.startswith("nothing came back"):
        return _silence(cause, plan)
    accounts = "--callers 1001-1050:secret"
    domain = f"--domain (now {plan.domain or plan.target[0]})"
    status = _STATUS.search(cause)
    kind = "488" if "description cannot be used" in cause else ""
    match status[0] if status is not None else kind:
        case "401" | "407" if not any(password for _, password in plan.callers):
            return f"the target asks who calls: {accounts}"
        case "401" | "407":
            return f"the target does not take the password; is it right, and is the {domain}?"
        case "403" if not plan.callers:
            return f"the target refuses unknown callers: {accounts}, or an address of ours that it knows: --own"
        case "403":
            return f"the target refuses these callers: are numbers, passwords and {domain} right?"
        case "404" | "484" | "604":
            return f"the target does not know the number: are --dial and {domain} right?"
        case "480":
            return "nobody is registered there: --callees 1051-1100:secret are telephones of ours"
        case "488" | "415" | "606":
            by = "SRTP (--no-srtp)" if plan.srtp else "plain RTP (--srtp)"
            return f"offered were {', '.join(plan.codecs)} (--codec) by {by}"
        case _:
            return ""


def _silence(cause: str, plan: Plan) -> str:
    spoken = plan.transport.upper()
    if "mismatch" in cause:
        return "call the target by the name or address that its certificate is for"
    if "certificate" in cause:
        return "--trust FILE.pem names the authority, or the very certificate, of the target"
    if plan.transport in ("tls", "wss"):
        return f"does it speak {spoken} on port {plan.target[1]}?"
    if any(words in cause for words in ("nobody listens", "refused", "connect call failed")):
        return (
            f"nothing listens on {spoken} port {plan.target[1]} there: "
            "--target sip:HOST:PORT;transport=udp (tcp, tls, ws, wss)"
        )
    return (
        f"is {plan.target[0]} to be reached by {spoken} from {plan.host}? Servers say nothing, too, to a "
        f"--domain that is not theirs (now {plan.domain or plan.target[0]}) and to whom they have banned"
    )
