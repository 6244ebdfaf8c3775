"""What all bodies of the API have in common: texts a database takes, numbers that fit, nothing unknown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, ClassVar

from fastapi import Header, Path, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from softswitch.api.problem import Refused

TAG_PATTERN = r'^(\*|(W/)?"[!#-~]{0,60}")$'
"""One ETag, or any, as ``If-Match`` has it (RFC 9110)."""
ID_MAX = (1 << 53) - 1
"""What JavaScript can count to."""


def _storable(text: str) -> str:
    if "\0" in text or not _encodable(text):
        raise ValueError("holds NUL or half a surrogate pair")
    return text


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


Text = Annotated[str, AfterValidator(_storable)]
Line = Annotated[Text, Field(max_length=256)]
"""One line."""
Body = Annotated[Text, Field(max_length=20_000)]
"""Some paragraphs."""
Tag = Annotated[Text, Field(min_length=1, max_length=64)]
Epoch = Annotated[float, Field(ge=0, le=2e11, description="Seconds since 1970, UTC.")]
Id = Annotated[int, Path(ge=1, le=ID_MAX, examples=[1])]
NamePath = Annotated[str, Path(pattern=r"^[A-Za-z0-9_.+:@-]{1,128}$", examples=["lilei"])]


class Input(BaseModel):
    """What is sent to us."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Output(BaseModel):
    """What we answer."""

    model_config = ConfigDict(from_attributes=True)

    passing: ClassVar[frozenset[str]] = frozenset()
    """Fields that only say how long something has lasted, or count what happened today: they are no part of
    its ETag, or nobody could change with `If-Match` what he has just read."""


IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        max_length=64,
        json_schema_extra={"pattern": TAG_PATTERN},
        description="The `ETag` that was read; the change is refused (412) if it is no longer it.",
    ),
]


def among(words: Iterable[str]) -> dict[str, Any]:
    """For ``json_schema_extra``: which words there are. What another version has kept is shown all the same."""
    return {"enum": list(words)}


def version_of(if_match: str | None) -> int | None:
    """The version that a change expects; None for any, and for one of several, which `conditional` has looked
    at. Raises `Refused` for what is none of ours."""
    if if_match is None or if_match == "*" or "," in if_match:
        return None
    digits = if_match.removeprefix("W/").strip('"')
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= 15):
        raise Refused(412, "the ETag is none of ours")
    return int(digits)


def tag(response: Response, version: int) -> None:
    """Say which version an answer shows."""
    response.headers["ETag"] = f'"{version}"'


def given(model: BaseModel) -> dict[str, Any]:
    """The fields that were sent."""
    return model.model_dump(exclude_unset=True)
