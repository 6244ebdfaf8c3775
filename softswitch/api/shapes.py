"""What rows look like that come as they were kept: records of years ago are shown whatever is in them, and the
document says what that is."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, Field, WithJsonSchema

NAMED = "x-shape"
"""In place of a reference while the document is made: pydantic knows only its own."""


class QualityShown(BaseModel):
    """How a leg sounded: `lost` and `late` packets of those that came to us, `remote_...` what the other side
    says of ours."""

    packets_in: int | None = None
    packets_out: int | None = None
    lost: int | None = None
    late: int | None = None
    jitter_ms: float | None = None
    round_trip_ms: float | None = None
    mos: float | None = Field(default=None, examples=[4.3])
    remote_lost: float | None = None
    remote_jitter_ms: float | None = None
    remote_mos: float | None = None


class LegShown(BaseModel):
    """One party of a call. Times are there once it came to them; `by` who ended it."""

    leg: int | str = Field(examples=[1])
    role: str = Field(examples=["caller"], json_schema_extra={"enum": ["caller", "callee", ""]})
    endpoint: str = Field(examples=["extension:1001"])
    sip_call_id: str | None = Field(
        default=None,
        description="The Call-ID of its SIP messages.",
        examples=["f81d4fae-7dec@192.0.2.7"],
    )
    user_agent: str | None = Field(
        default=None,
        description="What its telephone or exchange says it is.",
        examples=["Yealink SIP-T46S 66.84.0.15"],
    )
    started_at_s: float | None = None
    ringing_at_s: float | None = None
    answered_at_s: float | None = None
    ended_at_s: float | None = None
    codec: str | None = Field(default=None, examples=["PCMA"])
    status: int | None = Field(default=None, description="Of SIP.", examples=[200])
    q850: int | None = Field(default=None, examples=[16])
    by: str | None = None
    quality: QualityShown | None = None


SHAPES: tuple[type[BaseModel], ...] = (QualityShown, LegShown)
"""What the document describes beside the models of the routes."""

Legs = Annotated[
    list[dict[str, Any]],
    WithJsonSchema({"type": "array", "items": {NAMED: "LegShown"}}),
]


def refer(schema: Any) -> None:
    """Put references in place of names, in a whole document."""
    if isinstance(schema, dict):
        name = schema.pop(NAMED, None)
        if name is not None:
            schema["$ref"] = f"#/components/schemas/{name}"
        for value in schema.values():
            refer(value)
    elif isinstance(schema, list):
        for value in schema:
            refer(value)
