"""What we may answer a challenge with."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Credentials:
    """User name and password for one trunk.

    `realms` are those that may ask for them (RFC 3261 22.1); none: whatever the trunk names, on its own behalf
    or on that of who is behind it. The caller gives credentials only with requests to that trunk, so no other
    host ever sees a digest.
    """

    username: str
    password: str = field(repr=False)
    realms: tuple[str, ...] = ()

    def are_for(self, realm: str) -> bool:
        """Whether a challenge of this realm may be answered."""
        return not self.realms or realm in self.realms
