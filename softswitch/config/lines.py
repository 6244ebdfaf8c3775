"""Tables about the lines of an office: extensions, groups, conferences, menus, hours and trunks."""

from __future__ import annotations

import re
from datetime import date
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from softswitch.config.problems import refusal
from softswitch.config.values import (
    HANG_UP,
    Day,
    ForwardTo,
    Greeting,
    HostName,
    Key,
    Many,
    Name,
    Number,
    OpenHours,
    Outside,
    Password,
    Permission,
    Pin,
    Prompt,
    Qualify,
    Seconds,
    Section,
    SourceAddress,
    To,
    split_host_port,
    text_like,
)

Realm = Annotated[
    str, text_like(r"[ !#-\[\]-~]{1,128}", "what a challenge names, printable, without quotes")
]
_TRUNK_URI = re.compile(r"(sips?):([^@;?\s]{1,300})")


class Voicemail(Section):
    """An extension's mailbox."""

    pin: Pin = Field(repr=False)
    email: Annotated[str | None, text_like(r"[^@\s]{1,64}@[^@\s]{1,255}", "an e-mail address")] = (
        None
    )


class Forward(Section):
    """Where an extension's calls go when they cannot reach it. "voicemail" is its own mailbox; a plain
    number is dialled with the rights of the extension."""

    always: ForwardTo | None = None
    busy: ForwardTo | None = None
    no_answer: ForwardTo | None = None
    unreachable: ForwardTo | None = None
    after_s: Seconds = 25.0


class Extension(Section):
    """``[[extension]]``: a number with an account that phones register for."""

    number: Number
    name: str = Field(default="", max_length=128)
    password: Password
    permissions: Many[Permission] = ("internal",)
    caller_id: Outside | None = None
    hide_number: bool = False
    voicemail: Voicemail | None = None
    forward: Forward = Forward()
    do_not_disturb: bool = False
    call_waiting: bool = True
    ring: Literal["all", "in-order"] = "all"
    redirects: bool = True
    pick_up: Literal["all", "group", "none"] = "all"
    outside_calls: int = Field(default=10, ge=0, le=100_000)
    international_per_h: int = Field(default=20, ge=0, le=100_000)
    srtp: Literal["off", "allow", "require"] = "allow"
    qualify: Qualify | None = None
    dtmf: Literal["auto", "inband", "info"] = "auto"

    @model_validator(mode="before")
    @classmethod
    def _own_mailbox(cls, data: Any) -> Any:
        """ "voicemail" in `forward` becomes the mailbox of this number."""
        if not isinstance(data, dict) or not isinstance(data.get("forward"), dict):
            return data
        own = f"voicemail:{data.get('number')}"
        forward = {
            key: own if value == "voicemail" else value for key, value in data["forward"].items()
        }
        return {**data, "forward": forward}


class RingGroup(Section):
    """``[[ring_group]]``: a number that rings several extensions."""

    number: Number
    members: Annotated[Many[Number], Field(min_length=1, max_length=256)]
    ring: Literal["all", "in-order", "in-turn", "random"] = "all"
    ring_s: Seconds = 20.0
    otherwise: To | None = None


_OpenPin = Annotated[str, text_like(r"(?:[0-9]{1,12})?", 'digits in quotes, "" for none')]


class Conference(Section):
    """``[[conference]]``: a room that callers meet in."""

    number: Number
    pin: _OpenPin = Field(default="", repr=False)
    moderator_pin: _OpenPin = Field(default="", repr=False)
    wait_for_moderator: bool = False
    end_with_moderator: bool = False
    tones: bool = True
    announce_names: bool = False
    music: Name = "default"
    max_participants: int = Field(default=300, ge=2, le=10_000)


class Hours(Section):
    """``[[hours]]``: when the office is open, in the office's time zone."""

    name: Name
    open: OpenHours
    holidays: Many[Day] = ()

    def periods(self, day: date) -> tuple[tuple[int, int], ...]:
        """The open periods of a day, in minutes since its midnight; none on a holiday."""
        return () if day in self.holidays else self.open[day.weekday()]


class Ivr(Section):
    """``[[ivr]]``: a menu spoken to callers."""

    name: Name
    number: Number | None = None
    hours: Name | None = None
    greeting: Greeting = Prompt("prompt", "main-menu")
    options: dict[Key, To] = Field(default_factory=dict)
    dial_extension: bool = True
    invalid_max: int = Field(default=3, ge=1, le=100)
    timeout_s: Seconds = 6.0
    otherwise: To = HANG_UP
    closed: To = HANG_UP


def _check_uri(value: Any) -> Any:
    what = '"sip:host" or "sip:host:port"'
    matched = _TRUNK_URI.fullmatch(value) if isinstance(value, str) else None
    if matched is None:
        raise refusal("is not the address of a next hop", what)
    found = split_host_port(matched[2])
    if found is None or found[1] == 0:
        raise refusal("has no host, or a port that does not exist", what)
    return value


class Trunk(Section):
    """``[[trunk]]``: a carrier or another exchange, known by its addresses."""

    name: Name
    uri: Annotated[str, BeforeValidator(_check_uri)]
    transport: Literal["udp", "tcp", "tls"] = "udp"
    username: str | None = Field(default=None, min_length=1, max_length=128)
    password: str | None = Field(default=None, min_length=1, max_length=128, repr=False)
    realms: Annotated[Many[Realm], Field(max_length=8)] = ()
    # Not `register`: that name belongs to the metaclass of every model (ABCMeta.register).
    registers: bool = Field(default=False, alias="register")
    from_addresses: Many[SourceAddress] = ()
    caller_id: Outside | None = None
    max_calls: int = Field(default=30, ge=1, le=100_000)
    max_calls_per_s: float = Field(default=10.0, gt=0, le=100_000)
    srtp: Literal["off", "allow", "require"] = "allow"
    health_check_s: float = Field(default=30.0, ge=0, le=86_400)
    media_from: Literal["sdp", "source"] = "sdp"
    dtmf: Literal["auto", "inband", "info"] = "auto"
    asserted_identity: bool = True
    diversion: Literal["diversion", "history-info", "none"] = "diversion"
    numbers: Literal["as-dialled", "e164", "e164-digits"] = "as-dialled"
    from_user: Literal["number", "account"] = "number"
    from_domain: HostName | None = None

    @property
    def transport_given(self) -> bool:
        """Whether the office says which transport; else RFC 3263 decides for a host name."""
        return "transport" in self.model_fields_set

    @property
    def secure(self) -> bool:
        """A ``sips:`` URI: TLS and nothing else."""
        return self.uri.startswith("sips:")

    @property
    def host(self) -> str:
        """The next hop's host name or address."""
        return self._target[0]

    @property
    def port(self) -> int | None:
        """The next hop's port; None lets RFC 3263 decide."""
        return self._target[1]

    @cached_property
    def _target(self) -> tuple[str, int | None]:
        found = split_host_port(self.uri.partition(":")[2])
        assert found is not None
        return found


class Outbound(Section):
    """``[[outbound]]``: numbers that leave by trunks; the first match wins."""

    prefix: Annotated[str, text_like(r"[0-9*#+]{0,32}", 'keys in quotes, as in "9"')]
    strip: int = Field(default=0, ge=0, le=32)
    permission: Permission | None = None
    trunks: Annotated[Many[Name], Field(min_length=1, max_length=32)]
    weights: Annotated[Many[Annotated[int, Field(ge=0, le=1000)]], Field(max_length=32)] = ()


class Inbound(Section):
    """``[[inbound]]``: where calls that trunks bring go; the first match wins."""

    from_trunk: Name | None = Field(default=None, alias="from")
    number: Annotated[
        str, text_like(r"\+?[0-9]{1,32}\*?|\*", 'a number or a prefix with *, as in "88*"')
    ]
    to: To
