"""One call of a SIPp script as a machine without I/O: messages and time in, octets and waits out."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from softswitch.load.sipp_action import act, digits_of
from softswitch.load.sipp_message import Received, header, headers, received
from softswitch.load.sipp_xml import Script, Step
from softswitch.sip.digest import answer_challenge
from softswitch.sip.stack import Credentials

JUMPS_MAX = 100_000
_T1_S, _T2_S, _GIVE_UP_S = 0.5, 4.0, 32.0
_KEYWORD = re.compile(r"\[([^\[\]\r\n]{1,300})\]")


@dataclass(frozen=True, slots=True)
class Play:
    """What a call wants done: octets to `send`, `wait_s` until `SippCall.timer` (None: for a message
    only), or the end: `done` with `cause` "" when all went well."""

    send: tuple[bytes, ...] = ()
    wait_s: float | None = None
    done: bool = False
    cause: str = ""
    digits: str = ""
    """Keys to press."""
    timed: tuple[tuple[str, float], ...] = ()
    """What the script's own timers (`start_rtd`, `rtd`) have measured, in seconds."""


@dataclass(slots=True)
class SippCall:
    """One call of a script. `keywords` are those that do not change (`remote_ip`, `call_id`, ...)."""

    script: Script
    keywords: dict[str, str]
    fields: Sequence[str] = ()
    rng: random.Random = field(default_factory=random.Random)
    credentials: Credentials | None = None
    step: int = 0
    answered: bool = False
    variables: dict[str, str] = field(default_factory=dict)
    _cseq: int = 0
    _branch: int = 0
    _last: Received | None = None
    _routes: str = ""
    _next_url: str = ""
    _peer_tag: str = ""
    _sent: bytes = b""
    _resend_s: float = 0.0
    _due_s: float | None = None
    _due_what: str = ""
    _give_up_s: float = 0.0
    _replies: dict[int, bytes] = field(default_factory=dict)
    _heard: int = 0
    _jumps: int = 0
    _over: bool = False
    _digits: str = ""
    _began: dict[str, float] = field(default_factory=dict)
    _begun_s: float = 0.0
    _timed: list[tuple[str, float]] = field(default_factory=list)

    def begin(self, now_s: float) -> Play:
        """Go on to the first wait."""
        self._begun_s = now_s
        return self._go(now_s)

    def receive(self, data: bytes, now_s: float) -> Play:
        """A message of this call has come."""
        message = received(data)
        again = self._replies.get(hash(data))
        if again is not None:  # a retransmission: so is our reply, also after the end
            return Play((again,) if again else (), self._left(now_s), self._over)
        if message is None or self._over:
            return Play(wait_s=self._left(now_s), done=self._over)
        place = self._wanted(message)
        if place is None:
            if (message.status and message.status < 200) or self._is_late(message):
                return Play(wait_s=self._left(now_s))
            expected = self._expected()
            said = str(message.status) if message.status else message.method
            return self._end(f"unexpected {said} instead of {expected}")
        self._heard = hash(data)
        self._replies[self._heard] = b""
        self._take(message, self.script.steps[place])
        self._clock(self.script.steps[place], now_s)
        problem = self._act(self.script.steps[place], message)
        if problem:
            return self._end(problem)
        self._sent = b""
        self.step = self._after(place)
        return self._go(now_s)

    def timer(self, now_s: float) -> Play:
        """The wait is over."""
        if self._over or self._due_s is None or now_s < self._due_s - 1e-6:
            return Play(wait_s=self._left(now_s))
        match self._due_what:
            case "pause":
                self.step += 1
                return self._go(now_s)
            case "timeout":
                label = self.script.steps[self.step].values.get("ontimeout")
                if label:
                    self.step = self.script.labels[label]
                    return self._go(now_s)
                return self._end(f"no {self._expected()} within its time")
            case _:
                if now_s >= self._give_up_s:
                    return self._end(f"no {self._expected()} within {_GIVE_UP_S:.0f} s")
                self._resend_s = min(2 * self._resend_s, _T2_S)
                self._due_s = min(now_s + self._resend_s, self._give_up_s)
                return Play((self._sent,) if self._sent else (), self._left(now_s))

    # -- the steps ---------------------------------------------------------------------------------

    def _go(self, now_s: float) -> Play:
        out: list[bytes] = []
        while True:
            self._jumps += 1
            if self._jumps > JUMPS_MAX:
                return self._end("the scenario goes round in circles", out)
            if self.step >= len(self.script.steps):
                return self._end("", out)
            step = self.script.steps[self.step]
            if self._passes_over(step):
                self.step += 1
                continue
            if step.kind != "recv":
                self._clock(step, now_s)
            match step.kind:
                case "send":
                    data = self._fill(step)
                    out.append(data)
                    if self._heard:
                        self._replies[self._heard] = data
                    request = not step.text.startswith("SIP/2.0")
                    ack = step.text.startswith("ACK ")
                    self._sent = data if (request and not ack) or "retrans" in step.values else b""
                    self.step = self._after(self.step)
                case "recv":
                    return self._wait_for_message(step, now_s, out)
                case "pause":
                    self._due_s, self._due_what = now_s + self._pause_s(step), "pause"
                    self._sent = b""
                    return self._play(out, now_s)
                case _:
                    problem = self._act(step, self._last)
                    if problem:
                        return self._end(problem, out)
                    self.step = self._after(self.step)

    def _wait_for_message(self, step: Step, now_s: float, out: list[bytes]) -> Play:
        limit = step.values.get("timeout")
        self._give_up_s = now_s + _GIVE_UP_S
        if limit and limit.isdecimal():
            self._due_s, self._due_what = now_s + int(limit) / 1000, "timeout"
        else:
            self._resend_s = _T1_S
            waits = _T1_S if self._sent else _GIVE_UP_S
            self._due_s, self._due_what = now_s + waits, "resend"
        return self._play(out, now_s)

    def _play(self, out: Sequence[bytes], now_s: float) -> Play:
        digits, self._digits = self._digits, ""
        timed, self._timed = tuple(self._timed), []
        return Play(tuple(out), self._left(now_s), digits=digits, timed=timed)

    def _clock(self, step: Step, now_s: float) -> None:
        """The script's own timers; one that nothing starts runs from the beginning of the call."""
        for name in filter(None, step.values.get("rtd", "").split(",")):
            name = "1" if name == "true" else name
            self._timed.append((name, now_s - self._began.get(name, self._begun_s)))
        for name in filter(None, step.values.get("start_rtd", "").split(",")):
            self._began["1" if name == "true" else name] = now_s

    def _passes_over(self, step: Step) -> bool:
        """Whether `condexec` says that this step is not for now."""
        condition = step.values.get("condexec")
        if condition is None:
            return False
        holds = bool(self.variables.get(condition))
        return holds == (step.values.get("condexec_inverse") == "true")

    def _left(self, now_s: float) -> float | None:
        return max(0.0, self._due_s - now_s) if self._due_s is not None else None

    def _end(self, cause: str, out: Sequence[bytes] = ()) -> Play:
        self._over = True
        timed, self._timed = tuple(self._timed), []
        return Play(tuple(out), None, True, cause, timed=timed)

    def _after(self, place: int) -> int:
        """Where to go on: the next step, or a label if its conditions hold."""
        values = self.script.steps[place].values
        label = values.get("next")
        if label is None:
            return place + 1
        test, chance = values.get("test"), values.get("chance")
        if test is not None and not self.variables.get(test):
            return place + 1
        if chance is not None and self.rng.random() >= float(chance):
            return place + 1
        return self.script.labels[label]

    def _wanted(self, message: Received) -> int | None:
        for place in range(self.step, len(self.script.steps)):
            step = self.script.steps[place]
            if step.kind != "recv":
                return None
            if step.fits(message.status, message.method, message.cseq_method):
                return place
            if not step.optional:
                return None
        return None

    def _is_late(self, message: Received) -> bool:
        """An optional message of a moment ago that comes once more, or an ACK."""
        if message.method == "ACK":
            return True
        for place in range(self.step - 1, -1, -1):
            step = self.script.steps[place]
            if step.kind != "recv":
                return False
            if step.fits(message.status, message.method, message.cseq_method):
                return True
        return False

    def _expected(self) -> str:
        for step in self.script.steps[self.step :]:
            if step.kind == "recv" and not step.optional:
                return step.values.get("response") or step.values.get("request") or "a message"
        return "a message"

    def _pause_s(self, step: Step) -> float:
        values = step.values
        kind = values.get("distribution", "fixed")
        if "variable" in values:
            return float(self.variables.get(values["variable"], "0") or 0) / 1000

        def number(key: str, default: str = "0") -> float:
            return float(values.get(key, default))

        if "milliseconds" in values:
            return number("milliseconds") / 1000
        match kind:
            case "uniform":
                drawn = self.rng.uniform(number("min"), number("max"))
            case "normal":
                drawn = self.rng.normalvariate(number("mean"), number("stdev"))
            case "exponential":
                drawn = self.rng.expovariate(1 / max(number("mean"), 1e-9))
            case _:
                drawn = number("value", self.keywords.get("pause_ms", "0"))
        return max(0.0, drawn) / 1000

    # -- what is kept of a message ---------------------------------------------------------------------

    def _take(self, message: Received, step: Step) -> None:
        self._last = message
        if message.status and 200 <= message.status < 300 and message.cseq_method == "INVITE":
            self.answered = True
        to = header(message.head, "To") if message.status else header(message.head, "From")
        tag = re.search(r";[ \t]*tag=([^;>\s]+)", to)
        if tag:
            self._peer_tag = tag[1]
        if step.values.get("rrs") == "true":
            routes = headers(message.head, "Record-Route")
            ordered = routes[::-1] if message.status else routes
            self._routes = f"Route: {', '.join(ordered)}" if ordered else ""
            contact = re.search(r"<([^>]+)>", header(message.head, "Contact"))
            self._next_url = contact[1] if contact else ""

    def _act(self, step: Step, message: Received | None) -> str:
        for action in step.actions:
            if action.kind == "exec":
                self._digits += digits_of(action)
            problem = act(action, message, self.variables, self._replaced)
            if problem:
                return problem
        return ""

    # -- messages out ----------------------------------------------------------------------------------

    def _fill(self, step: Step) -> bytes:
        text = step.text
        if not text.startswith("SIP/2.0") and not text.startswith("ACK "):
            self._cseq += 1 if "[cseq]" in text else 0
        if not text.startswith("ACK ") or self.answered:
            self._branch += 1
        head, _, body = text.partition("\r\n\r\n")
        body = self._replaced(body)
        method = text.partition(" ")[0]
        uri = text.split(" ", 2)[1] if " " in text else ""
        octets = str(len(body.encode("utf-8", "surrogateescape")))
        lines = []
        for line in head.split("\r\n"):
            made = self._replaced(line, octets, method, uri)
            if made or not line:
                lines.append(made)
        return "\r\n".join([*lines, "", body]).encode("utf-8", "surrogateescape")

    def _replaced(self, text: str, octets: str = "0", method: str = "", uri: str = "") -> str:
        return _KEYWORD.sub(lambda found: self._word(found[1], found[0], octets, method, uri), text)

    def _word(self, word: str, whole: str, octets: str, method: str, uri: str) -> str:
        name, _, rest = word.partition(" ")
        if name.startswith("$"):
            return self.variables.get(name[1:], "")
        if name.startswith("last_"):
            return self._last_header(word[5:])
        if re.fullmatch(r"field[0-9]+", name):
            place = int(name[5:])
            return self.fields[place] if place < len(self.fields) else ""
        base, plus, offset = name.partition("+")
        match base:
            case "len":
                return octets
            case "cseq":
                number = max(self._cseq, 1)
                return str(number + (int(offset) if plus and offset.isdecimal() else 0))
            case "branch":
                return f"z9hG4bK-{self.keywords['call_id']}-{self._branch}"
            case "peer_tag_param":
                return f";tag={self._peer_tag}" if self._peer_tag else ""
            case "routes":
                return self._routes
            case "next_url":
                return self._next_url
            case "authentication":
                return self._authentication(rest, method, self._replaced(uri))
            case "media_port" | "auto_media_port":
                port = int(self.keywords.get("media_port", "0"))
                return str(port + (int(offset) if plus and offset.isdecimal() else 0))
            case _:
                return self.keywords.get(base, whole)

    def _last_header(self, name: str) -> str:
        if self._last is None:
            return ""
        wanted = name.strip().rstrip(":*")
        found = headers(self._last.head, wanted)
        return "\r\n".join(f"{wanted}: {value}" for value in found)

    def _authentication(self, rest: str, method: str, uri: str) -> str:
        given = dict(re.findall(r"(\w+)=(\S+)", self._replaced(rest)))
        user, word = given.get("username"), given.get("password")
        own = Credentials(user, word or "") if user else self.credentials
        if self._last is None or own is None:
            return ""
        for theirs, ours in (
            ("WWW-Authenticate", "Authorization"),
            ("Proxy-Authenticate", "Proxy-Authorization"),
        ):
            challenges = headers(self._last.head, theirs)
            if challenges:
                cnonce = f"{self.rng.getrandbits(64):016x}"
                answer = answer_challenge(challenges, own, method, uri, cnonce=cnonce)
                return f"{ours}: {answer}" if answer else ""
        return ""
