"""``[tickets]``: where tickets come from, who gets them, and what happens when time passes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from softswitch.config.values import Many, Name, Number, Section

_Told = Annotated[str, Field(min_length=1, max_length=64)]


class TicketStep(Section):
    """What happens when a share of the promised time is used."""

    clock: Literal["answer", "solve"]
    percent: int = Field(ge=1, le=1_000)
    tell: Annotated[Many[_Told], Field(max_length=16)] = ("assignee",)
    priority: Literal["low", "normal", "high", "urgent"] | None = None
    queue: Name | None = None


class TicketPromise(Section):
    """What is promised for one priority, in hours of the office's open time."""

    answer_h: float = Field(gt=0, le=10_000)
    solve_h: float = Field(gt=0, le=10_000)


class Tickets(Section):
    """``[tickets]``"""

    queue: Name | None = None
    hours: Name | None = None
    promises: dict[Literal["low", "normal", "high", "urgent"], TicketPromise] = Field(
        default_factory=dict
    )
    acknowledge: str = ""
    voicemail: Annotated[Many[Number], Field(max_length=1_000)] = ()
    mail_drop: bool = False
    mail_out: bool = False
    last_agent_h: float = Field(default=720.0, ge=0, le=87_600)
    close_after_d: float = Field(default=7.0, ge=0, le=3_650)
    steps: Annotated[Many[TicketStep], Field(max_length=32)] = ()
