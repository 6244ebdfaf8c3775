"""Figures that documents tell are those of the code: a limit that is moved moves its page along."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
WORDS = {
    2: "two",
    3: "three",
    5: "five",
    9: "nine",
    10: "ten",
    20: "twenty",
    30: "thirty",
    60: "sixty",
}

SAID = [
    ("api.md", "{} connections that have asked nothing yet", "softswitch.api.connection.PER_SOURCE_MAX", 1),
    ("api.md", "of {} the oldest that asks nothing", "softswitch.api.connection.CONNECTIONS_MAX", 1),
    ("api.md", "after {word} seconds, a body", "softswitch.api.connection.HEAD_S", 1),
    ("api.md", "a body goes on every {word}", "softswitch.api.connection.BODY_S", 1),
    ("api.md", "is read on every {word}", "softswitch.api.connection.READ_S", 1),
    ("api.md", "Bodies are at most {} MiB", "softswitch.api.app.BODY_BYTES_MAX", 1 << 20),
    ("api.md", "files {} MiB", "softswitch.api.app.UPLOAD_BYTES_MAX", 1 << 20),
    ("call-centre.md", "left alone for {word} seconds", "softswitch.apps.callers.REST_S", 1),
    ("events.md", "There may be {} subscriptions", "softswitch.api.events.reader.SUBSCRIPTIONS_MAX", 1),
    ("events.md", "The last {} events are kept", "softswitch.api.events.hub.KEPT_MAX", 1),
    ("events.md", "too slowly: {} messages waited", "softswitch.api.events.reader.WAITING_MAX", 1),
    ("events.md", "none within {} s, is a failure", "softswitch.api.events.webhooks.TIMEOUT_S", 1),
    ("events.md", "{} failures in a row", "softswitch.api.events.delivery.FAILURES_MAX", 1),
    ("events.md", "At most {} events wait", "softswitch.api.events.delivery.WAITING_MAX", 1),
    ("ivr.md", "JSON of at most {} KiB", "softswitch.call.lookup.ANSWER_OCTETS_MAX", 1 << 10),
    ("ivr.md", "at most {} steps in a call", "softswitch.apps.flow_machine.STEPS_MAX", 1),
    ("phones.md", "each waited for {} s", "softswitch.call.phone_health.ANSWER_S", 1),
    ("phones.md", "After {word} OPTIONS without an answer", "softswitch.call.phone_health.MISSES_MAX", 1),
    ("reports.md", "More than {} stretches", "softswitch.store.plans_kept.PIECES_MAX", 1),
    ("security.md", "{} of one address", "softswitch.api.connection.PER_SOURCE_MAX", 1),
    ("tracing.md", "The last {} messages", "softswitch.trace.MESSAGES", 1),
    ("tracing.md", "legs of the last {} calls", "softswitch.traced_calls.CALLS_MAX", 1),
    ("transports.md", "{} connections a source", "softswitch.transport.limits.CONNECTIONS_PER_SOURCE_MAX", 1),
    ("transports.md", "{} in all", "softswitch.transport.limits.CONNECTIONS_MAX", 1),
    ("transports.md", "gets {} new ones", "softswitch.transport.limits.CONNECTIONS_PER_SOURCE_PER_S", 1),
    ("transports.md", "datagram ({} octets", "softswitch.sip.transaction_layer.LARGE_OCTETS", 1),
    ("trunks.md", "`half-open` after {} s", "softswitch.call.trunk_health.TRIAL_FIRST_S", 1),
    ("trunks.md", "{word} misses and the trunk", "softswitch.call.trunk_health.MISSES_MAX", 1),
    ("voicemail.md", "A box holds {} messages", "softswitch.apps.mailbox.MESSAGES_MAX", 1),
    ("voicemail.md", "after {word} in an hour from one phone", "softswitch.apps.pin_guard.WRONG_MAX", 1),
    ("voicemail.md", "or {word} from all phones", "softswitch.apps.pin_guard.STRANGERS_MAX", 1),
]  # fmt: skip


@pytest.mark.parametrize(
    ("page", "phrase", "where", "unit"), SAID, ids=[f"{one[0]}: {one[1]}" for one in SAID]
)
def test_a_figure_is_that_of_the_code(page: str, phrase: str, where: str, unit: int) -> None:
    module, _, name = where.rpartition(".")
    value = int(getattr(import_module(module), name) / unit)
    said = phrase.format(f"{value:,}", word=WORDS.get(value))
    assert said in " ".join((DOCS / page).read_text().split())
