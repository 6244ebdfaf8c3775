"""The rows of each report, as the document describes them. They are written by `Report.json`, a row at a time:
these models say what it writes, and a test holds the two together."""

from __future__ import annotations

from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from softswitch.api.models import Output


class RatioShown(BaseModel):
    """A share or a mean with what it is made of; null where there is nothing to divide by."""

    model_config = ConfigDict(extra="forbid")

    value: float | None = Field(examples=[0.8])
    numerator: float = Field(examples=[8])
    denominator: float = Field(examples=[10])


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    period: str = Field(
        description='The part of the time, by `by`: "all" for the whole of it.', examples=["all"]
    )


class _OfTeam(_Row):
    """Which one of what `per` tells apart; "" for all of them and for none."""

    all: str | None = Field(default=None, description="With `per=all`: always empty.")
    queue: str | None = Field(default=None, description="With `per=queue`.", examples=["support"])
    agent: str | None = Field(default=None, description="With `per=agent`.", examples=["lilei"])
    region: str | None = Field(default=None, description="With `per=region`.")
    skill: str | None = Field(default=None, description="With `per=skill`: what queues ask for.")


class QueueRow(_OfTeam):
    """Volume, waits, service level and handle time. With `formula=all` a service level by each formula."""

    entered: int
    answered: int
    answered_in_time: int
    abandoned: int
    abandoned_in_time: int
    overflowed: int
    withdrawn: int
    callbacks: int
    requeued: int
    lost: int
    waiting: int
    service_level: RatioShown | None = None
    service_level_answered: RatioShown | None = None
    service_level_short_abandons_good: RatioShown | None = Field(
        default=None, alias="service_level_short-abandons-good"
    )
    service_level_short_abandons_out: RatioShown | None = Field(
        default=None, alias="service_level_short-abandons-out"
    )
    service_level_offered: RatioShown | None = None
    service_level_offered_and_flowed_out: RatioShown | None = Field(
        default=None, alias="service_level_offered-and-flowed-out"
    )
    abandonment: RatioShown
    average_answer_s: RatioShown
    average_wait_s: RatioShown
    longest_wait_s: float
    handled: int
    talk_s: float
    hold_s: float
    wrap_up_s: float
    average_handle_s: RatioShown


class AgentRow(_OfTeam):
    """What agents did."""

    offered: int
    accepted: int
    missed: int
    rejected: int
    handled: int
    talk_s: float
    hold_s: float
    wrap_up_s: float
    average_handle_s: RatioShown
    online_s: float
    available_s: float
    unavailable_s: float
    occupancy: RatioShown
    utilisation: RatioShown
    unavailable_reasons: str = Field(examples=["lunch 1800 s, none 60 s"])


class OutcomeRow(_OfTeam):
    """Whether it helped."""

    known: int
    resolved: int
    handled: int
    transferred: int
    asked: int
    rated: int
    good: int
    first_contact: RatioShown
    transfers: RatioShown
    satisfaction: RatioShown
    mean_score: RatioShown
    response: RatioShown


class TicketRow(_OfTeam):
    """Tickets opened and solved, and how long that took."""

    department: str | None = Field(default=None, description="With `per=department`.")
    assignee: str | None = Field(default=None, description="With `per=assignee`.")
    priority: str | None = Field(default=None, description="With `per=priority`.")
    kind: str | None = Field(default=None, description="With `per=kind`.")
    source: str | None = Field(default=None, description="With `per=source`.")
    opened: int
    solved: int
    late: int
    average_solve_s: RatioShown
    average_open_time_s: RatioShown
    in_time: RatioShown


class AdherenceRow(_OfTeam):
    """How agents kept to their plans."""

    planned_s: float
    planned_work_s: float
    adherent_s: float
    worked_s: float
    adherence: RatioShown
    conformance: RatioShown


Row = TypeVar("Row", bound=BaseModel)


class ReportShown(Output, Generic[Row]):
    """Rows with the same keys, those that `columns` names. A ratio is an object of value, numerator and
    denominator."""

    name: str = Field(examples=["queues"])
    start_s: float
    end_s: float
    columns: list[str]
    rows: list[Row]
