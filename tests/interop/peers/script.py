"""Scenarios of SIPp as Python: each step a line, the headers that every message has left out."""

from __future__ import annotations

import re
from collections.abc import Sequence

SDP = """\
Content-Type: application/sdp
Content-Length: [len]

v=0
o=script 1 {version} IN IP[local_ip_type] [local_ip]
s=-
c=IN IP[media_ip_type] [media_ip]
t=0 0
m=audio [media_port] RTP/AVP 0
a=rtpmap:0 PCMU/8000
a=ptime:20
a={direction}"""
_EMPTY = "Content-Length: 0\n"
_BESIDE = """\
Content-Type: multipart/mixed;boundary=part
Content-Length: [len]

--part
Content-Type: {kind}
Content-Disposition: signal;handling=optional

01 00 20
--part
Content-Type: application/sdp

{sdp}

--part--"""
OFFICE = "[remote_ip]:[remote_port]"
_SERVICE = "sip:[service]@[remote_ip]:[remote_port]"
_AT = "[local_ip]:[local_port]"
_WORDS = {
    180: "Ringing",
    181: "Call Is Being Forwarded",
    183: "Session Progress",
    200: "OK",
    302: "Moved Temporarily",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    407: "Proxy Authentication Required",
    422: "Session Interval Too Small",
    481: "Call/Transaction Does Not Exist",
    486: "Busy Here",
    487: "Request Terminated",
    491: "Request Pending",
    503: "Service Unavailable",
}


class Script:
    """A scenario in the making; every method adds a step and returns the script.

    A step that waits takes `header=regex` pairs in `check`, of which SIPp looks at the first line only, and in
    `message` a regex for the whole of it: what does not match fails the call. `domain`
    stands in From: `OFFICE` for a telephone's calls; `called` is the URI of who is called.
    """

    def __init__(self, name: str, *, domain: str = _AT, called: str = _SERVICE) -> None:
        self.name = name
        self._domain = domain
        self._called = called
        self._steps: list[str] = []
        self._tag = "[pid]s[call_number]"
        self._beside = ""

    def text(self) -> str:
        """The scenario file."""
        body = "\n".join(self._steps)
        assigned = set(re.findall(r'assign_to="([^"]*)"', body))
        names = ",".join(sorted({name for each in assigned for name in each.split(",")}))
        reference = f'<Reference variables="{names}"/>\n' if names else ""
        return (
            '<?xml version="1.0" encoding="ISO-8859-1" ?>\n'
            f'<scenario name="{self.name}">\n{body}\n'
            f"{reference}</scenario>\n"
        )

    def add(self, script: Script) -> Script:
        """All steps of another."""
        self._domain, self._called = script._domain, script._called
        self._steps += script._steps
        return self

    # -- either side --------------------------------------------------------------------------------

    def pause(self, ms: int | None = None) -> Script:
        """Wait so long; for the duration that SIPp is given if that is left out."""
        return self._add("<pause/>" if ms is None else f'<pause milliseconds="{ms}"/>')

    def receive(
        self,
        what: str | int,
        *,
        check: dict[str, str] | None = None,
        keep: dict[str, str] | None = None,
        body: str = "",
        message: str = "",
        never: Sequence[str] = (),
        optional: bool = False,
        routes: bool = False,
        timeout_ms: int = 0,
        auth: bool = False,
    ) -> Script:
        """Wait for a request or a status. `body` is a regex for its content; `keep` names what whole header
        fields are remembered as; header fields of `never` must not be there."""
        kind = "response" if isinstance(what, int) else "request"
        actions = [_match(value, f"{name}:") for name, value in (check or {}).items()]
        actions += [
            f'<ereg regexp="[^ ].*" search_in="hdr" header="{name}:" check_it="true" assign_to="{kept}"/>'
            for name, kept in (keep or {}).items()
        ]
        actions += [
            f'<ereg regexp="{name}:" search_in="msg" check_it_inverse="true" assign_to="all"/>'
            for name in never
        ]
        if body:
            actions.append(
                f'<ereg regexp="{_xml(body)}" search_in="body" check_it="true" assign_to="all"/>'
            )
        if message:
            actions.append(
                f'<ereg regexp="{_xml(message)}" search_in="msg" check_it="true" assign_to="all"/>'
            )
        if what == "INVITE":
            actions += _remember()
        attributes = "".join(
            f' {name}="{value}"'
            for name, value, wanted in (
                ("optional", "true", optional),
                ("rrs", "true", routes),
                ("timeout", timeout_ms, timeout_ms),
                ("auth", "true", auth),
            )
            if wanted
        )
        inner = f"<action>{''.join(actions)}</action>" if actions else ""
        return self._add(f'<recv {kind}="{what}"{attributes}>{inner}</recv>')

    # -- who is called ------------------------------------------------------------------------------

    def answer(
        self, status: int, *headers: str, sdp: bool = False, tag: str = "", again: bool = True
    ) -> Script:
        """Answer the INVITE, whatever has come since; with `tag` as another who was forked to."""
        lines = [
            f"SIP/2.0 {status} {_WORDS[status]}",
            "Via: [$via]",
            "From: [$them]",
            f"To: [$us];tag={tag or self._tag}",
            "Call-ID: [call_id]",
            "CSeq: [$cseq]",
            f"Contact: <sip:{_AT};transport=[transport]>",
            *headers,
        ]
        return self._send(lines, sdp=sdp, again=again and status >= 300)

    def confirm(self, status: int = 200, *headers: str, sdp: bool = False) -> Script:
        """Answer the last request, one inside the dialog."""
        lines = [
            f"SIP/2.0 {status} {_WORDS[status]}",
            "[last_Via:]",
            "[last_From:]",
            "[last_To:]",
            "[last_Call-ID:]",
            "[last_CSeq:]",
            f"Contact: <sip:{_AT};transport=[transport]>",
            *headers,
        ]
        return self._send(lines, sdp=sdp, again=False)

    def asks(self, method: str, cseq: int, *headers: str, sdp: bool = False) -> Script:
        """A request of who was called."""
        lines = [
            f"{method} [$contact] SIP/2.0",
            _via(cseq, method),
            f"From: [$us];tag={self._tag}",
            "To: [$them]",
            "Call-ID: [call_id]",
            f"CSeq: {cseq} {method}",
            f"Contact: <sip:{_AT}>",
            "Max-Forwards: 70",
            *headers,
        ]
        return self._send(lines, sdp=sdp, again=method != "ACK")

    def is_left(self) -> Script:
        """Wait for the BYE and for what may be repeated of it."""
        return self.receive("BYE").confirm()

    # -- outside a call -----------------------------------------------------------------------------

    def outside(self, method: str, cseq: int, *headers: str, body: str = "") -> Script:
        """A request that begins no call, as [caller] to [service]."""
        to = f"<{self._called}>"
        return self._asks(self._called, to, method, cseq, headers, body=body)

    # -- who calls ----------------------------------------------------------------------------------

    def invite(
        self,
        *headers: str,
        cseq: int = 1,
        direction: str = "sendrecv",
        beside: str = "",
        sdp: bool = True,
    ) -> Script:
        """The first INVITE, as [caller] to [service]; with a part of the type `beside` before its SDP."""
        to = f"<{self._called}>"
        self._beside = beside
        return self._asks(self._called, to, "INVITE", cseq, headers, sdp=sdp, direction=direction)

    def refused(self, cseq: int = 1) -> Script:
        """ACK a refusal of the first INVITE."""
        to = f"<{self._called}>[peer_tag_param]"
        return self._asks(self._called, to, "ACK", cseq, (), branch="INVITE")

    def cancels(self, *headers: str, cseq: int = 1) -> Script:
        """CANCEL the first INVITE."""
        return self._asks(
            self._called, f"<{self._called}>", "CANCEL", cseq, headers, branch="INVITE"
        )

    def within(
        self,
        method: str,
        cseq: int,
        *headers: str,
        sdp: bool = False,
        direction: str = "sendrecv",
        refused: bool = False,
    ) -> Script:
        """A request of who calls, inside the dialog; with `refused` the ACK of an INVITE that was."""
        to, branch = f"<{self._called}>[peer_tag_param]", "INVITE" if refused else method
        return self._asks(
            "[next_url]", to, method, cseq, headers, sdp=sdp, branch=branch, direction=direction
        )

    def leaves(self, cseq: int) -> Script:
        """BYE, and its answer."""
        return self.within("BYE", cseq).receive(200)

    # -- text ---------------------------------------------------------------------------------------

    def _asks(
        self,
        uri: str,
        to: str,
        method: str,
        cseq: int,
        headers: Sequence[str],
        *,
        sdp: bool = False,
        branch: str = "",
        direction: str = "sendrecv",
        body: str = "",
    ) -> Script:
        lines = [
            f"{method} {uri} SIP/2.0",
            _via(cseq, branch or method),
            "Max-Forwards: 70",
            f"From: <sip:[caller]@{self._domain}>;tag=[pid]c[call_number]",
            f"To: {to}",
            "Call-ID: [call_id]",
            f"CSeq: {cseq} {method}",
            f"Contact: <sip:[caller]@{_AT}>",
            *headers,
        ]
        again = method != "ACK"
        return self._send(lines, sdp=sdp, again=again, version=cseq, direction=direction, body=body)

    def _send(
        self,
        lines: Sequence[str],
        *,
        sdp: bool,
        again: bool,
        version: int = 1,
        direction: str = "sendrecv",
        body: str = "",
    ) -> Script:
        content = f"Content-Length: [len]\n\n{body}" if body else _EMPTY
        if sdp:
            content = SDP.format(version=version, direction=direction)
        if sdp and self._beside:
            content = _BESIDE.format(kind=self._beside, sdp=content.partition("\n\n")[2])
            self._beside = ""
        text = "\n".join([*lines, content])
        attributes = ' retrans="500"' if again else ""
        return self._add(f"<send{attributes}><![CDATA[\n{text}\n]]></send>")

    def _add(self, step: str) -> Script:
        self._steps.append(step)
        return self


def _via(cseq: int, method: str) -> str:
    """The same branch again for the ACK of a refused INVITE (RFC 3261 17.1.1.3)."""
    return (
        f"Via: SIP/2.0/[transport] {_AT};branch=z9hG4bK-[pid]-[call_number]-{cseq}-{method};rport"
    )


def _xml(text: str) -> str:
    return (
        text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
    )


def _match(regex: str, header: str) -> str:
    return (
        f'<ereg regexp="{_xml(regex)}" search_in="hdr" header="{header}" '
        'check_it="true" assign_to="all"/>'
    )


def _remember() -> list[str]:
    """What responses to the INVITE and requests of the called repeat."""
    whole = {"Via": "via", "From": "them", "To": "us", "CSeq": "cseq"}
    kept = [
        f'<ereg regexp="[^ ].*" search_in="hdr" header="{name}:" assign_to="{variable}"/>'
        for name, variable in whole.items()
    ]
    uri = _xml("<(sip:[^>]+)>")
    kept.append(f'<ereg regexp="{uri}" search_in="hdr" header="Contact:" assign_to="all,contact"/>')
    return kept
