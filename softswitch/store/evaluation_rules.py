"""What may become of an evaluation. Pure: time is an argument.

draft --publish--> published --acknowledge--> acknowledged
                       |  \\___________________    |
                       +--appeal--> appealed --decide--> decided
An evaluation may be appealed for `APPEAL_S` after it was published, acknowledged or not, once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from softswitch.store.ledger import Conflict

STATUSES = ("draft", "published", "acknowledged", "appealed", "decided")
VISIBLE = frozenset(STATUSES) - {"draft"}
"""What the agent sees."""
APPEAL_S = 14 * 86_400.0


@dataclass(frozen=True, slots=True)
class Life:
    """Where an evaluation is in its life. `upheld`: what was decided of the appeal."""

    status: str = "draft"
    published_at_s: float | None = None
    acknowledged_at_s: float | None = None
    appeal: str = ""
    appealed_at_s: float | None = None
    decision: str = ""
    decided_by: str = ""
    decided_at_s: float | None = None
    upheld: bool | None = None


def publish(life: Life, now_s: float, open_items: tuple[str, ...]) -> Life:
    """Show it to the agent. Raises `Conflict` where it is not complete or not a draft."""
    if life.status != "draft":
        raise Conflict("the evaluation was published already")
    if open_items:
        raise Conflict(f"not answered yet: {', '.join(open_items[:10])}")
    return replace(life, status="published", published_at_s=now_s)


def acknowledge(life: Life, now_s: float) -> Life:
    """The agent has read it. Raises `Conflict` before it was published."""
    if life.status == "draft":
        raise Conflict("the evaluation was not published")
    if life.acknowledged_at_s is not None:
        return life
    status = "acknowledged" if life.status == "published" else life.status
    return replace(life, status=status, acknowledged_at_s=now_s)


def appeal(life: Life, now_s: float, text: str) -> Life:
    """The agent says that it is wrong. Raises `Conflict`: once, and in time."""
    if life.status not in ("published", "acknowledged") or life.published_at_s is None:
        raise Conflict(f"an evaluation that is {life.status} cannot be appealed")
    if now_s > life.published_at_s + APPEAL_S:
        raise Conflict(f"the time for an appeal ({APPEAL_S / 86_400:.0f} days) is over")
    return replace(life, status="appealed", appeal=text, appealed_at_s=now_s)


def decide(
    life: Life, now_s: float, text: str, *, upheld: bool, by: str, evaluator: str, agent: str
) -> Life:
    """Answer an appeal; `upheld`: the evaluation stays as it was. Raises `Conflict`: nobody judges in his
    own cause."""
    if life.status != "appealed":
        raise Conflict("there is no appeal to be decided")
    if by == evaluator:
        raise Conflict("an appeal is decided by somebody else than the evaluator")
    if by == agent:
        raise Conflict("an appeal is decided by somebody else than who has made it")
    return replace(
        life, status="decided", decision=text, decided_by=by, decided_at_s=now_s, upheld=upheld
    )
