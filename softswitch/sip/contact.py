"""Where we are reached: the Contact of our messages, and the user part it takes over."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from softswitch.sip.uri import write_host

if TYPE_CHECKING:
    from softswitch.sip.flow import Flow
    from softswitch.sip.stack_config import StackConfig
    from softswitch.sip.uri import NameAddr


def contact_at(config: StackConfig, user: str, flow: Flow) -> str:
    """The header value that leads to `user` here, for messages on `flow`."""
    host, port = config.written(flow)
    at = f"{user}@" if user else ""
    suffix = "" if flow.transport == "udp" else f";transport={flow.transport}"
    return f"<sip:{at}{written_address(host, port)}{suffix}>"


def contact_value(contact: str) -> str:
    """A URI in brackets; a header value as it is."""
    return contact if "<" in contact else f"<{contact}>"


def contact_of(config: StackConfig, contact: str | None, from_: NameAddr, flow: Flow) -> str:
    """What a request of ours on `flow` says: `contact`, or, where there is none, `from_`'s user here."""
    if contact is not None:
        return contact_value(contact)
    return contact_at(config, user_of(from_.uri_text), flow)


def user_of(uri: str) -> str:
    """The user part of a SIP URI as written, without looking closer; "" where there is none."""
    scheme, colon, rest = uri.partition(":")
    user, at, _ = rest.rpartition("@")
    user = user.partition(":")[0]
    return user if colon and at and scheme in ("sip", "sips") else ""


@lru_cache(256)
def written_address(host: str, port: int) -> str:
    """`host:port` of ours as it stands in every Via and Contact."""
    return write_host(host, port)
