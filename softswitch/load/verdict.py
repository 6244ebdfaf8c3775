"""From what is known of the streams of a call to what is wrong with it, by name. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from media.dsp import emodel
from softswitch.load.streams import StreamFacts

_PACKETS_MIN = 10
"""Streams with fewer packets (0.2 s) are judged on silence only."""
_SHARE = 0.1
_PLAYOUT_MS = 40.0
_TAIL_MS = 500.0
_KIND_SHIFT = 24
_NUMBERS = (1 << _KIND_SHIFT) - 1
_AGENT, _STRANGER = 0x40, 0x80
_PTIME_MS = 20.0


@dataclass(frozen=True, slots=True)
class Limits:
    """From where on something is a fault. Times in ms, `loss` a share."""

    delay_ms: float = 30.0
    loss: float = 0.005
    jitter_ms: float = 20.0
    gap_ms: float = 200.0
    bye_ms: float = 500.0
    hanging_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault of one call: `code` is one of `CODES`, `detail` says more in a few words."""

    code: str
    detail: str


CODES = {
    "no audio": "neither party received a packet",
    "one-way audio": "one party received nothing while it was being sent to",
    "silence": "packets came, but nothing was audible in them",
    "wrong party": "somebody of another call was heard",
    "swapped legs": "two calls have exchanged a party",
    "own voice": "a party heard itself",
    "swapped channels": "both parties heard themselves and not each other",
    "unknown sound": "sound came that no party of this run has made",
    "bad SRTP": "packets were not under the key that had been agreed",
    "gaps": "the sound was interrupted",
    "cut": "the sound stopped before the call did",
    "clipping": "the sound was driven to full scale",
    "delay": "the sound arrived late",
    "loss": "packets were lost",
    "duplicates": "packets came more than once",
    "jitter": "packets came unevenly",
    "dialog leak": "a party was left in a dialog that should have ended",
    "unreachable": "hanging up could not reach a party: the network had moved it, as --fault asked for",
    "slow BYE": "hanging up was answered late",
}


def mos(facts: StreamFacts) -> float:
    """The mean opinion score of a stream by the E-model (ITU-T G.107): play-out of 40 ms assumed."""
    one_way_ms = (facts.delay_ms or 0.0) + _PTIME_MS + _PLAYOUT_MS + 2 * facts.jitter_ms
    rating = emodel.rating(facts.loss, one_way_ms, facts.codec or "PCMU")
    return float(emodel.mos(rating))


def judge_stream(facts: StreamFacts, limits: Limits, *, own_allowed: bool = False) -> list[Finding]:
    """What is wrong with a stream that has received something."""
    if facts.received < _PACKETS_MIN:
        return []
    return [*_party(facts, own_allowed), *_quality(facts, limits)]


def _party(facts: StreamFacts, own_allowed: bool) -> list[Finding]:
    found = []
    heard = facts.expected + facts.own + facts.other
    total = heard + facts.unknown
    if facts.listened and facts.silent == facts.listened and not heard:
        return [Finding("silence", f"{facts.listened} stretches of sound without any")]
    if facts.other > _SHARE * max(total, 1):
        found.append(Finding("wrong party", f"heard {', '.join(map(name, facts.others[:3]))}"))
    if facts.own > _SHARE * max(total, 1) and not own_allowed:
        found.append(Finding("own voice", f"{facts.own} of {total} times"))
    if facts.unknown > 0.5 * max(total, 1) and facts.expects:
        found.append(Finding("unknown sound", f"{facts.unknown} of {total} stretches of sound"))
    return found


def _quality(facts: StreamFacts, limits: Limits) -> list[Finding]:
    found = []
    if facts.loss > limits.loss and facts.lost > 1:
        found.append(Finding("loss", f"{facts.loss:.1%} of the packets"))
    twice = facts.duplicates + facts.replays
    if twice > 1 + limits.loss * facts.received:
        found.append(Finding("duplicates", f"{twice} of {facts.received} packets"))
    if facts.forged > 1 + limits.loss * facts.received:
        found.append(_forged(facts))
    if facts.delay_ms is not None and facts.delay_ms > limits.delay_ms + facts.own_late_ms:
        found.append(Finding("delay", f"{facts.delay_ms:.0f} ms one way"))
    if facts.jitter_ms > limits.jitter_ms + facts.own_late_ms_max / 4:
        found.append(Finding("jitter", f"{facts.jitter_ms:.0f} ms"))
    if facts.gap_ms_max > limits.gap_ms + facts.own_late_ms_max:
        found.append(Finding("gaps", f"nothing for {facts.gap_ms_max:.0f} ms"))
    if facts.tail_ms > max(limits.gap_ms, _TAIL_MS) + facts.own_late_ms_max:
        found.append(Finding("cut", f"nothing for the last {facts.tail_ms / 1000:.1f} s"))
    if facts.clipped:
        found.append(Finding("clipping", f"{facts.clipped:.0%} of the samples"))
    return found


def _forged(facts: StreamFacts) -> Finding:
    return Finding("bad SRTP", f"{facts.forged} packets could not be opened")


def judge_loose(facts: StreamFacts, limits: Limits, talk_s: float) -> list[Finding]:
    """What is wrong with one end of a call whose other end is not known."""
    if talk_s < 0.5:
        return []
    if not facts.received:
        deaf = Finding("one-way audio", "a callee heard nothing")
        return [_forged(facts) if facts.forged else deaf]
    return judge_stream(facts, limits)


def judge_call(
    caller: StreamFacts,
    callee: StreamFacts | None,
    limits: Limits,
    *,
    own_allowed: bool = False,
    talk_s: float = 1.0,
) -> list[Finding]:
    """What is wrong with a call that was up for `talk_s`; `callee` None: the other end is not ours."""
    if talk_s < 0.5:
        return []
    if callee is None:
        if not caller.received:
            if caller.forged:
                return [_forged(caller)]
            return [
                Finding("one-way audio" if caller.sent else "no audio", "the caller heard nothing")
            ]
        return judge_stream(caller, limits, own_allowed=own_allowed)
    deaf = [facts.received < 1 for facts in (caller, callee)]
    forged = [facts for facts in (caller, callee) if not facts.received and facts.forged]
    if forged:
        return [_forged(forged[0])]
    if all(deaf):
        return [Finding("no audio", "neither party received a packet")]
    if any(deaf):
        who = "caller" if deaf[0] else "callee"
        other = callee if deaf[0] else caller
        return [Finding("one-way audio", f"the {who} heard nothing"), *judge_stream(other, limits)]
    found = [*judge_stream(caller, limits), *judge_stream(callee, limits)]
    if sum(finding.code == "own voice" for finding in found) == 2:
        found = [finding for finding in found if finding.code != "own voice"]
        found.append(Finding("swapped channels", "both parties heard themselves"))
    return list({(finding.code): finding for finding in found}.values())


def name(identity: int) -> str:
    """An identity of the sound in words; `caller_identity` and `callee_identity` make them."""
    kind, number = identity >> _KIND_SHIFT, identity & ((1 << _KIND_SHIFT) - 1)
    if kind & _AGENT:
        return f"agent {number}"
    if kind & _STRANGER:
        return f"callee {number}, whose caller is not known"
    call, side = divmod(number - 2, 2)
    return f"the {'callee' if side else 'caller'} of call {call}" if number >= 2 else "nobody"


def caller_identity(call: int, leg: int = 0) -> int:
    """Who the caller of a call is in the sound; `leg` counts what he dials."""
    return ((leg & 0xF) << _KIND_SHIFT) | ((2 * call + 2) & _NUMBERS)


def callee_identity(caller: int, leg: int = 0) -> int:
    """Who is called by `caller_identity`; `leg` counts those who take the call one after the other."""
    return (((caller >> _KIND_SHIFT) + leg & 0xF) << _KIND_SHIFT) | (caller & _NUMBERS) | 1


def agent_identity(number: int) -> int:
    """Who an agent of a queue is."""
    return (_AGENT << _KIND_SHIFT) | (number & _NUMBERS)


def stranger_identity(number: int) -> int:
    """Who answers a call whose caller is not known."""
    return (_STRANGER << _KIND_SHIFT) | (number & _NUMBERS)


def swapped(wrong: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Pairs of parties that were exchanged, from (expected, heard) of every listener who heard a wrong
    one."""
    pairs = set(wrong)
    return sorted((a, b) for a, b in pairs if a < b and (b, a) in pairs)
