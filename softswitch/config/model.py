"""The whole office as one frozen value."""

from __future__ import annotations

from pydantic import Field

from softswitch.config.centre import Agent, Customer, Region
from softswitch.config.flows import Flow, LookUp
from softswitch.config.lines import (
    Conference,
    Extension,
    Hours,
    Inbound,
    Ivr,
    Outbound,
    RingGroup,
    Trunk,
)
from softswitch.config.office import (
    Codes,
    Http,
    Imap,
    Mail,
    Media,
    OfficeInfo,
    Oidc,
    Parking,
    Recording,
    Routing,
    Sip,
    Storage,
    Telemetry,
    Tls,
    Trace,
)
from softswitch.config.queues import Queue
from softswitch.config.tickets import Tickets
from softswitch.config.values import Many, Section


class Office(Section):
    """Everything that an office file says. Arrays of tables have plural names here."""

    office: OfficeInfo = OfficeInfo()
    sip: Sip = Sip()
    tls: Tls = Tls()
    media: Media = Media()
    http: Http = Http()
    oidc: Oidc | None = None
    storage: Storage = Storage()
    recording: Recording = Recording()
    parking: Parking = Parking()
    tickets: Tickets = Tickets()
    extensions: Many[Extension] = Field(default=(), alias="extension", max_length=100_000)
    ring_groups: Many[RingGroup] = Field(default=(), alias="ring_group", max_length=10_000)
    trunks: Many[Trunk] = Field(default=(), alias="trunk", max_length=1_000)
    outbound: Many[Outbound] = Field(default=(), max_length=10_000)
    inbound: Many[Inbound] = Field(default=(), max_length=100_000)
    hours: Many[Hours] = Field(default=(), max_length=1_000)
    ivrs: Many[Ivr] = Field(default=(), alias="ivr", max_length=1_000)
    flows: Many[Flow] = Field(default=(), alias="flow", max_length=1_000)
    look_up: LookUp = LookUp()
    routing: Routing = Routing()
    regions: Many[Region] = Field(default=(), alias="region", max_length=10_000)
    queues: Many[Queue] = Field(default=(), alias="queue", max_length=1_000)
    conferences: Many[Conference] = Field(default=(), alias="conference", max_length=10_000)
    agents: Many[Agent] = Field(default=(), alias="agent", max_length=100_000)
    customers: Many[Customer] = Field(default=(), alias="customer", max_length=1_000_000)
    mail: Mail = Mail()
    imap: Imap | None = None
    trace: Trace = Trace()
    telemetry: Telemetry | None = None
    codes: Codes = Codes()
