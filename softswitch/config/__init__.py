"""The office file: TOML in, frozen typed settings out, or every problem with its key's path.

    office = load_office("office.toml")
    office.sip.listen[0].port, office.extensions[0].number, office.queues[0].overflow.kind

The tables are described in ``docs/configuration.md``.
"""

from __future__ import annotations

from softswitch.config.centre import Agent, Capacities, Customer, Membership, Region
from softswitch.config.checks import IN_CALL_CODES
from softswitch.config.flows import Case, Flow, LookUp, Step
from softswitch.config.lines import (
    Conference,
    Extension,
    Forward,
    Hours,
    Inbound,
    Ivr,
    Outbound,
    RingGroup,
    Trunk,
    Voicemail,
)
from softswitch.config.load import Check, load_office, parse_office
from softswitch.config.model import Office
from softswitch.config.office import (
    Codes,
    Http,
    Imap,
    Mail,
    Media,
    OfficeInfo,
    Parking,
    Recording,
    Sip,
    Storage,
    Tls,
)
from softswitch.config.problems import InvalidOffice, Problem
from softswitch.config.queues import (
    Announce,
    Callback,
    LastAgent,
    Queue,
    RegionWait,
    Relax,
    ServiceLevel,
)
from softswitch.config.tickets import Tickets, TicketStep
from softswitch.config.values import (
    PERMISSIONS,
    Destination,
    HostPort,
    Listen,
    Period,
    PortRange,
    Prompt,
    Source,
    parse_forward,
)

__all__ = [
    "IN_CALL_CODES",
    "PERMISSIONS",
    "Agent",
    "Announce",
    "Callback",
    "Capacities",
    "Case",
    "Check",
    "Codes",
    "Conference",
    "Customer",
    "Destination",
    "Extension",
    "Flow",
    "Forward",
    "HostPort",
    "Hours",
    "Http",
    "Imap",
    "Inbound",
    "InvalidOffice",
    "Ivr",
    "LastAgent",
    "Listen",
    "LookUp",
    "Mail",
    "Media",
    "Membership",
    "Office",
    "OfficeInfo",
    "Outbound",
    "Parking",
    "Period",
    "PortRange",
    "Problem",
    "Prompt",
    "Queue",
    "Recording",
    "Region",
    "RegionWait",
    "Relax",
    "RingGroup",
    "ServiceLevel",
    "Sip",
    "Source",
    "Step",
    "Storage",
    "TicketStep",
    "Tickets",
    "Tls",
    "Trunk",
    "Voicemail",
    "load_office",
    "parse_forward",
    "parse_office",
]
