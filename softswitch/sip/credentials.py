"""What we may answer a challenge with."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Credentials:
    """User name and password for one trunk, valid for one realm.

    With `realm` None the first realm that the trunk names is taken; the caller gives credentials
    only with requests to that trunk, so no other host ever sees a digest.
    """

    username: str
    password: str = field(repr=False)
    realm: str | None = None
