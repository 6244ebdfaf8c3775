"""The Reason header field (RFC 3326): why a request ends a call."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReasonHeader:
    """`protocol` is "Q.850" or "SIP", `cause` its number, `text` a few words for people."""

    protocol: str
    cause: int
    text: str = ""

    def __str__(self) -> str:
        if not self.text:
            return f"{self.protocol};cause={self.cause}"
        quoted = self.text.replace("\\", "\\\\").replace('"', '\\"')
        return f'{self.protocol};cause={self.cause};text="{quoted}"'

    @classmethod
    def parse(cls, value: str) -> ReasonHeader | None:
        """The first reason value of a header line, or None where it is unreadable (never raises)."""
        protocol, _, rest = value.partition(";")
        protocol = protocol.strip(" \t")
        cause = -1
        text = ""
        for name, content in _parameters(rest):
            if name == "cause" and content.isascii() and content.isdigit() and len(content) <= 5:
                cause = int(content)
            elif name == "text":
                text = content[:256]
        if not protocol or len(protocol) > 32 or cause < 0:
            return None
        return cls(protocol, cause, text)


def _parameters(rest: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    at = 0
    while at < len(rest) and len(found) < 8:
        equals = rest.find("=", at)
        if equals < 0:
            break
        name = rest[at:equals].strip(" \t;").lower()
        at = equals + 1
        if rest[at : at + 1] == '"':
            content, at = _quoted(rest, at + 1)
        else:
            end = min((i for i in (rest.find(";", at), rest.find(",", at)) if i >= 0), default=-1)
            end = len(rest) if end < 0 else end
            content, at = rest[at:end].strip(" \t"), end
        found.append((name, content))
        if rest[at : at + 1] == ",":
            break
        at += 1
    return found


def _quoted(rest: str, at: int) -> tuple[str, int]:
    letters: list[str] = []
    while at < len(rest) and rest[at] != '"':
        if rest[at] == "\\":
            at += 1
        letters.append(rest[at : at + 1])
        at += 1
    return "".join(letters), at + 1
