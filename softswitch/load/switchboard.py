"""Who calls whom: accounts in turn, numbers to dial, and the two ends of each call found together."""

from __future__ import annotations

import contextlib
from collections import defaultdict, deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from softswitch.errors import SoftswitchError
from softswitch.load.agent import Account, Reception
from softswitch.load.caller import Caller, Pair
from softswitch.load.leg import Leg
from softswitch.load.plan import Plan
from softswitch.load.verdict import callee_identity, caller_identity, stranger_identity
from softswitch.sim.behaviour import Behaviour

if TYPE_CHECKING:
    from softswitch.sip.message import SipRequest

MARK = "X-Load-Call"
"""The header that tells which call of ours an INVITE belongs to, where it comes through."""


class Switchboard:
    """The calls of generator `index`; `answer_after` draws how long a callee lets it ring."""

    def __init__(self, plan: Plan, index: int, answer_after: Callable[[], float]) -> None:
        self.free_callees: deque[Account] = deque()
        self.special: Callable[[SipRequest], Reception | None] | None = None
        """Asked first how a call that comes in is taken (agents of a queue)."""
        self._plan = plan
        self._index = index
        self._answer_after = answer_after
        self._accounts = plan.caller_accounts[index :: plan.processes] or [Account("load")]
        self._waiting: dict[str, deque[Caller]] = defaultdict(deque)
        self._pair_of: dict[int, Pair] = {}
        self._unpaired = 0

    # -- whom ------------------------------------------------------------------------------------

    def account_of(self, number: int) -> Account:
        """The account that makes call `number`."""
        return self._accounts[(number // self._plan.processes) % len(self._accounts)]

    def next_callee(self) -> Account:
        """The registered callee whose turn it is. Raises `SoftswitchError` when there are none."""
        if not self.free_callees:
            raise SoftswitchError("this scenario needs --callees that register")
        self.free_callees.rotate(-1)
        return self.free_callees[-1]

    def number_to_dial(self, caller: Caller) -> str:
        """`--dial` filled in, or the next callee that is free. Raises `SoftswitchError`."""
        key = f"dial_{caller.role.replace('-', '_')}"
        text = self._plan.option(key, self._plan.dial) or "{callee}"
        callee = self.next_callee().number if self.free_callees and "{callee}" in text else ""
        number = (
            text.replace("{callee}", callee)
            .replace("{process2}", f"{self._index:02d}")
            .replace("{process}", str(self._index))
            .replace("{call}", f"{caller.number:06d}")
            .replace("{caller}", caller.account.number)
        )
        if not number:
            raise SoftswitchError("nobody to call: --dial NUMBER or --callees")
        return number

    # -- the two ends -----------------------------------------------------------------------------

    def called(self, caller: Caller, leg: Leg) -> None:
        """A caller has sent an INVITE; what comes of it will be his."""
        caller.pair.legs.append(leg)
        self._pair_of[leg.identity] = caller.pair
        self._waiting[user_of(leg.number)].append(caller)

    def expect_call(self, number: str, caller: Caller) -> None:
        """The next call to `number` will be a part of this caller's (after a transfer)."""
        caller.awaited.append(number)
        self._waiting[number].append(caller)

    def receive(self, request: SipRequest) -> Reception:
        """Who is being called by whom: by our mark where it has come through, else by the number."""
        if self.special is not None:
            found = self.special(request)
            if found is not None:
                return found
        behaviour = Behaviour(ring_s=self._answer_after())
        leg = self._caller_of(request)
        if leg is None:
            self._unpaired += 1
            number = (self._index << 18) + self._unpaired
            return Reception(stranger_identity(number), 0, behaviour)
        pair = self._pair_of[leg.identity]
        identity = callee_identity(leg.identity, len(pair.taken))
        if leg.stream is not None and not leg.stream.sampled:
            leg.stream.expect(identity)
        self._pair_of[identity] = pair
        return Reception(identity, leg.identity, behaviour)

    def _caller_of(self, request: SipRequest) -> Leg | None:
        mark = request.headers.get(MARK)
        if mark is not None and mark.isdecimal() and len(mark) < 10:
            pair = self._pair_of.get(caller_identity(int(mark)))
            if pair is not None:
                return pair.legs[-1]
        waiting = self._waiting.get(request.request_uri.user or "")
        if not waiting:
            return None
        return waiting.popleft().pair.legs[-1]

    def took(self, leg: Leg) -> Pair | None:
        """A call that came in is being taken; whose it is, None for a stranger's."""
        pair = self._pair_of.get(leg.identity)
        if pair is not None:
            pair.taken.append(leg)
        return pair

    def forget(self, caller: Caller) -> None:
        """A caller's calls are over."""
        for leg in (*caller.pair.legs, *caller.pair.taken):
            self._pair_of.pop(leg.identity, None)
        for number in (*caller.awaited, *(user_of(leg.number) for leg in caller.pair.legs)):
            waiting = self._waiting.get(number)
            if waiting is not None:
                with contextlib.suppress(ValueError):
                    waiting.remove(caller)
                if not waiting:
                    del self._waiting[number]


def user_of(number: str) -> str:
    """The user part of a number or SIP URI."""
    user = number.removeprefix("sip:").removeprefix("sips:")
    return user.partition("@")[0].partition(";")[0]
