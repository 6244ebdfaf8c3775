"""The table of limits on what a stranger, or a mistake, can make us hold."""

from __future__ import annotations

from importlib import import_module

# What, where its value stands (module, attribute path), unit, what happens beyond.
_LIMITS = (
    (
        "SIP head",
        "softswitch.sip.parser",
        "DEFAULT_LIMITS.head",
        "octets",
        "513, connection closed",
    ),
    (
        "SIP body",
        "softswitch.sip.parser",
        "DEFAULT_LIMITS.body",
        "octets",
        "413, connection closed",
    ),
    ("SIP header lines", "softswitch.sip.parser", "DEFAULT_LIMITS.headers", "", "513"),
    ("Via entries", "softswitch.sip.parser", "DEFAULT_LIMITS.vias", "", "400"),
    ("subscriptions", "softswitch.sip.stack_config", "SUBSCRIPTIONS_MAX", "", "503"),
    ("SIP transactions", "softswitch.sip.stack_config", "TRANSACTIONS_MAX", "", "503"),
    ("subscriptions of an extension", "softswitch.apps.presence", "WATCHES_MAX", "", "403"),
    ("message between extensions", "softswitch.apps.messages", "OCTETS_MAX", "octets", "413"),
    ("messages under way", "softswitch.apps.messages", "PENDING_MAX", "", "503"),
    (
        "contacts of an extension",
        "softswitch.sip.registration",
        "DEFAULT_POLICY.contacts_max",
        "",
        "403",
    ),
    ("proxies on the way to a phone", "softswitch.sip.registration", "PATH_MAX", "", "400"),
    ("their addresses", "softswitch.sip.registration", "PATH_OCTETS_MAX", "octets", "400"),
    (
        "registrations",
        "softswitch.sip.registration",
        "DEFAULT_POLICY.bindings_max",
        "",
        "503, Retry-After",
    ),
    (
        "wrong passwords of a source",
        "softswitch.call.guard",
        "DEFAULT_POLICY.tries",
        "at once",
        "banned",
    ),
    (
        "sources and accounts watched",
        "softswitch.call.guard",
        "DEFAULT_POLICY.entries_max",
        "",
        "the longest unheard is forgotten",
    ),
    (
        "wrong passwords shown",
        "softswitch.call.guard",
        "DEFAULT_POLICY.shown_max",
        "sources and accounts",
        "the oldest is shown no more",
    ),
    (
        "strangers who may mean well",
        "softswitch.call.gatekeeper",
        "WELL_MEANT_PER_S",
        "a second in a crowd",
        "not read",
    ),
    (
        "messages of a class that wait",
        "softswitch.transport.intake",
        "WAITING_MAX",
        "",
        "503, dropped",
    ),
    (
        "octets of a class that wait",
        "softswitch.transport.intake",
        "OCTETS_MAX",
        "octets",
        "503, dropped",
    ),
    (
        "messages of strangers that wait",
        "softswitch.transport.intake",
        "STRANGERS_MAX",
        "",
        "the oldest is dropped",
    ),
    (
        "refused and begun calls remembered",
        "softswitch.transport.intake",
        "REMEMBERED_MAX",
        "in 16 s",
        "the oldest are forgotten",
    ),
    (
        "connections to the API",
        "softswitch.api.connection",
        "CONNECTIONS_MAX",
        "",
        "the oldest that asks nothing is closed",
    ),
    (
        "of them from one address, silent",
        "softswitch.api.connection",
        "PER_SOURCE_MAX",
        "but this machine's own",
        "closed",
    ),
    (
        "parked calls",
        "softswitch.config.office",
        "PARKED_MAX",
        "(20 unless [parking] slots says otherwise)",
        "the call goes back",
    ),
    (
        "stream connections to us",
        "softswitch.transport.limits",
        "CONNECTIONS_MAX",
        "",
        "oldest stranger closed",
    ),
    (
        "of them from one source",
        "softswitch.transport.limits",
        "CONNECTIONS_PER_SOURCE_MAX",
        "",
        "closed",
    ),
    (
        "new ones from one source",
        "softswitch.transport.limits",
        "CONNECTIONS_PER_SOURCE_PER_S",
        "a second, after as many at once",
        "closed",
    ),
    (
        "sources whose rate is remembered",
        "softswitch.transport.limits",
        "SOURCES_MAX",
        "",
        "the longest unheard is forgotten",
    ),
    (
        "message on a stream, or handshakes",
        "softswitch.transport.limits",
        "DEFAULT_STREAM_LIMITS.message_s",
        "s",
        "closed",
    ),
    (
        "silence of a stranger's stream",
        "softswitch.transport.limits",
        "DEFAULT_STREAM_LIMITS.idle_s",
        "s",
        "closed",
    ),
    (
        "unread octets of a stream",
        "softswitch.transport.limits",
        "DEFAULT_STREAM_LIMITS.unsent",
        "octets",
        "closed",
    ),
    ("stale DNS answers", "softswitch.transport.resolver", "STALE_S_MAX", "s", "trunk down"),
    (
        "names in the DNS cache",
        "softswitch.transport.resolver",
        "NAMES_MAX",
        "",
        "oldest forgotten",
    ),
    ("SDP media lines", "softswitch.sip.sdp.description", "MEDIA_MAX", "", "400"),
    ("SDP formats a line", "softswitch.sip.sdp.description", "FORMATS_MAX", "", "400"),
    (
        "SDP sections remembered",
        "softswitch.sip.sdp.description",
        "REMEMBERED_MAX",
        "",
        "the longest unused is read anew",
    ),
    ("SIP addresses remembered", "softswitch.sip.uri", "REMEMBERED_MAX", "", "likewise"),
    ("configuration file", "softswitch.config.load", "FILE_BYTES_MAX", "octets", "refused"),
    ("journal entry", "softswitch.store.entry", "ENTRY_BYTES_MAX", "octets", "data left out"),
    ("journal in memory", "softswitch.store.journal", "WAITING_MAX", "entries", "lost, alarm"),
    ("journal before database", "softswitch.store.journal", "PENDING_MAX", "entries", "read again"),
    ("journal log file", "softswitch.store.log", "SEGMENT_BYTES_MAX", "octets", "next file"),
    ("legs in a call record", "softswitch.store.record", "LEGS_MAX", "", "left out"),
    ("recordings in a call record", "softswitch.store.record", "RECORDINGS_MAX", "", "left out"),
    ("digits ahead", "softswitch.call.waiting", "DIGITS_MAX", "a call", "the oldest are forgotten"),
    ("transfers by applications", "softswitch.call.running", "TRANSFERS_MAX", "a call", "hung up"),
    ("answer to a look-up", "softswitch.call.lookup", "ANSWER_OCTETS_MAX", "octets", "none"),
    ("messages of a mailbox", "softswitch.apps.mailbox", "MESSAGES_MAX", "", "callers are told"),
    ("wrong PINs", "softswitch.apps.pin_guard", "WRONG_MAX", "an hour a phone", "locked"),
    ("wrong PINs of strangers", "softswitch.apps.pin_guard", "STRANGERS_MAX", "an hour", "locked"),
    ("mails that wait", "softswitch.apps.mailer", "WAITING_MAX", "", "the oldest is given up"),
    ("text to be spoken", "softswitch.sounds", "TEXT_MAX", "characters", "refused"),
    ("sounds made", "softswitch.sounds", "SOUNDS_MAX", "files", "the oldest is deleted"),
    (
        "reports and exports of a person",
        "softswitch.api.report_slots",
        "PER_PERSON_MAX",
        "at once",
        "waits 2 s, then 429",
    ),
    (
        "reports and exports of all",
        "softswitch.api.report_slots",
        "ALL_MAX",
        "at once",
        "waits 2 s, then 503",
    ),
    ("rows of a list as XLSX", "softswitch.api.files", "XLSX_TABLE_MAX", "", "422: take CSV"),
    (
        "regions told apart live",
        "softswitch.apps.acd_counts",
        "REGIONS_MAX",
        "a day",
        "counted as (others)",
    ),
    ("call records a page", "softswitch.store.calls", "LIST_MAX", "", "cut"),
)


def limit_rows() -> list[tuple[str, str, str]]:
    """Rows of (limit, value with unit, what happens beyond), read from where they are enforced."""
    rows = []
    for what, module, path, unit, beyond in _LIMITS:
        value: object = import_module(module)
        for attribute in path.split("."):
            value = getattr(value, attribute)
        shown = f"{int(value) if isinstance(value, float) and value.is_integer() else value:,}"
        rows.append((what, f"{shown} {unit}".strip(), beyond))
    return rows
