"""The satisfaction survey after a call: one question, one key, tied to call, agent and customer."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from softswitch.apps.catalogue import Desk
    from softswitch.call.call import Call

QUESTION = "survey-question"
_SCORES = "12345"
_TRIES = 2


class Surveys:
    """Asks callers who are still there when their agent has gone.

    The survey `name` of ``[[queue]] survey`` asks with the prompt ``survey-<name>`` where the office
    has recorded one, else with the one that is shipped.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def run(self, call: Call, name: str, *, queue: str = "", agent: str = "") -> int | None:
        """Ask; the score, 1 to 5, or None when nothing of the kind was pressed.

        What came of it is journaled as ``survey``, with a score of None also when the caller hung up
        (`CallEnded`), so that the share of answers is known.
        """
        prompts = self._desk.prompts
        question = f"survey-{name}" if prompts.has(f"survey-{name}", call.language) else QUESTION
        score: int | None = None
        try:
            for _ in range(_TRIES):
                key = await call.collect(question, terminator="")
                if key and key in _SCORES:
                    score = int(key)
                    break
        finally:
            self._note(call, name, queue, agent, score)
        if score is not None:
            await call.play("survey-thanks")
        return score

    def _note(self, call: Call, name: str, queue: str, agent: str, score: int | None) -> None:
        customer = call.customer
        self._desk.journal.append(
            "survey",
            call.call_id,
            {
                "survey": name,
                "queue": queue,
                "agent": agent,
                "caller": call.number_from,
                "customer": customer.name if customer is not None else "",
                "score": score,
            },
            self._desk.clock.wall_s(),
        )
