"""What of an office is only read when the exchange starts, key by key; all else is live after a reload."""

from __future__ import annotations

from typing import Any

from softswitch.config.model import Office

AT_START = (
    "office.domain",
    "sip.listen",
    "sip.digest",
    "sip.connections",
    "sip.connections_per_source",
    "sip.origins",
    "sip.nameservers",
    "media.address",
    "media.ports",
    "media.workers",
    "media.one_port_per_stream",
    "http.listen",
    "storage.directory",
    "storage.database",
)
"""Where it listens and stores, what telephones know it by, and how many processes it has."""


def held_back(read: Office, now: Office) -> tuple[Office, list[str]]:
    """`read` with what waits for a restart as it is `now`, so that all parts agree until then; and the
    keys that wait."""
    waiting: list[str] = []
    sections: dict[str, Any] = {}
    for path in AT_START:
        section, _, key = path.partition(".")
        wanted, used = sections.get(section, getattr(read, section)), getattr(now, section)
        if not key:
            if wanted != used:
                waiting.append(path)
                sections[section] = used
        elif getattr(wanted, key) != getattr(used, key):
            waiting.append(path)
            sections[section] = wanted.model_copy(update={key: getattr(used, key)})
    if ("http" in read.model_fields_set) != ("http" in now.model_fields_set):
        waiting.append("http")  # whether it is served at all
    return (read.model_copy(update=sections) if sections else read), waiting
