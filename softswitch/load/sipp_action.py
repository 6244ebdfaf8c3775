"""What SIPp's actions do with the variables of a call. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from softswitch.load.sipp_message import Received, header

KNOWN = frozenset(
    {
        "ereg", "assign", "assignstr", "todouble", "add", "subtract", "multiply", "divide", "test", "strcmp",
        "exec",
    }
)  # fmt: skip
EXECUTED = frozenset({"play_dtmf", "play_pcap_audio", "rtp_stream"})
"""Of `exec`: keys are pressed; other sound is not played, the lab's own goes on. Programs are not started."""
IGNORED = frozenset({"log", "warning", "trace"})
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "equal": lambda a, b: a == b,
    "not_equal": lambda a, b: a != b,
    "greater_than": lambda a, b: a > b,
    "less_than": lambda a, b: a < b,
    "greater_than_equal": lambda a, b: a >= b,
    "less_than_equal": lambda a, b: a <= b,
}
_PCAP_DIGIT = re.compile(r"dtmf_2833_(\d|star|pound)\.pcap$")


@dataclass(frozen=True, slots=True)
class Action:
    """`kind` is one of `KNOWN`; with its attributes."""

    kind: str
    values: Mapping[str, str]


def act(
    action: Action,
    message: Received | None,
    variables: dict[str, str],
    fill: Callable[[str], str],
) -> str:
    """Do one action on `variables`; the problem when a check has failed, else "".

    `message` is the last one received; `fill` puts keywords and variables into a text.
    """
    values = action.values
    to = values.get("assign_to", "")
    match action.kind:
        case "ereg":
            return _ereg(values, message, variables) if message is not None else ""
        case "assignstr":
            variables[to] = fill(values.get("value", ""))
        case "assign":
            variables[to] = _plain(_operand(values, variables))
        case "todouble":
            found = re.match(r"\s*[-+]?\d+(\.\d+)?", variables.get(values.get("variable", ""), ""))
            variables[to] = _plain(float(found[0])) if found else "0"
        case "add" | "subtract" | "multiply" | "divide":
            variables[to] = _plain(_reckon(action.kind, variables.get(to, ""), values, variables))
        case "test":
            compare = _COMPARE.get(values.get("compare", ""), _COMPARE["equal"])
            one = _number(variables.get(values.get("variable", ""), ""))
            other = _operand({**values, "variable": values.get("variable2", "")}, variables)
            variables[to] = "1" if compare(one, other) else ""
        case "strcmp":
            one_text = variables.get(values.get("variable", ""), "")
            other_text = fill(values.get("value", variables.get(values.get("variable2", ""), "")))
            # Not zero is "true" for `test`, so equal is empty, as in C.
            variables[to] = "" if one_text == other_text else "1"
    return ""


def digits_of(action: Action) -> str:
    """The keys that an `exec` presses: `play_dtmf`, or one of SIPp's own recordings of RFC 2833."""
    typed = action.values.get("play_dtmf", "")
    found = _PCAP_DIGIT.search(action.values.get("play_pcap_audio", ""))
    if found:
        typed = {"star": "*", "pound": "#"}.get(found[1], found[1])
    return "".join(key for key in typed if key in "0123456789*#ABCD")


def _ereg(values: Mapping[str, str], message: Received, variables: dict[str, str]) -> str:
    where = f"{message.head}\r\n\r\n{message.body}"
    if values.get("search_in") == "hdr":
        where = header(message.head, values.get("header", "").strip().rstrip(":"))
    elif values.get("search_in") == "body":
        where = message.body
    elif values.get("search_in") == "var":
        where = variables.get(values.get("variable", ""), "")
    found = re.search(posix(values.get("regexp", "")), where)
    if found is None:
        if values.get("check_it") == "true":
            return f"{values.get('regexp')!r} was not in the {message.start.split()[0]}"
        return ""
    if values.get("check_it_inverse") == "true":
        return f"{values.get('regexp')!r} was in the message"
    names = [name.strip() for name in values.get("assign_to", "").split(",")]
    groups = [found[0], *(group or "" for group in found.groups())]
    variables.update(zip(names, groups, strict=False))
    return ""


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _operand(values: Mapping[str, str], variables: Mapping[str, str]) -> float:
    if "value" in values:
        return _number(values["value"])
    return _number(variables.get(values.get("variable", ""), ""))


def _reckon(
    kind: str, before: str, values: Mapping[str, str], variables: Mapping[str, str]
) -> float:
    one, other = _number(before), _operand(values, variables)
    match kind:
        case "add":
            return one + other
        case "subtract":
            return one - other
        case "multiply":
            return one * other
        case _:
            return one / other if other else 0.0


def _plain(number: float) -> str:
    return str(int(number)) if abs(number) < 1e15 and number == int(number) else f"{number:f}"


def posix(pattern: str) -> str:
    """Character classes of POSIX, as SIPp's expressions have them, in Python's words."""
    return _SET.sub(_set, pattern)


_CLASSES = {
    "[:digit:]": "0-9",
    "[:alpha:]": "A-Za-z",
    "[:alnum:]": "A-Za-z0-9",
    "[:space:]": r"\s",
    "[:xdigit:]": "0-9A-Fa-f",
}
_SET = re.compile(r"\\.|\[\^?\]?(?:\[:[a-z]+:\]|\\.|[^\]\\])*\]", re.DOTALL)
"""What is escaped, or a set with its classes."""
_IN_SET = re.compile(r"\\.|\[:[a-z]+:\]|\[", re.DOTALL)


def _set(found: re.Match[str]) -> str:
    text = found[0]
    if text[0] == "\\":
        return text
    # A bracket within a set is itself; Python wants that said.
    inner = _IN_SET.sub(
        lambda each: _CLASSES.get(each[0], r"\[" if each[0] == "[" else each[0]), text[1:]
    )
    return "[" + inner
