"""What is configured through the API, webhooks and kept answers: on every database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from softswitch.errors import StoreError
from softswitch.store.answers import KEPT_S, KeptAnswer
from softswitch.store.ledger import Conflict, Missing, Stale
from softswitch.store.office_entries import KEY_NAME, Seal
from softswitch.store.webhooks import DELIVERIES_KEPT

VALUES = {"name": "sales", "number": "5010", "password": "canary-secret"}


async def test_entries_are_kept_sealed_and_versioned(tmp_path: Path, any_store: Any) -> None:
    async with any_store.opened(tmp_path) as opened:
        entries = opened.store.office_entries
        first = await entries.add("a", "queue", "sales", VALUES)
        route = await entries.add("a", "outbound", "", {"prefix": "9"})
        assert route.name == str(route.id)
        with pytest.raises(Conflict, match="already"):
            await entries.add("a", "queue", "sales", VALUES)
        changed = await entries.change("a", first, {**VALUES, "number": "5011"}, 1)
        assert changed.version == 2
        with pytest.raises(Stale):
            await entries.change("a", first, VALUES, 1)
        with pytest.raises(Stale):
            await entries.remove("a", changed, 1)
    async with any_store.opened(tmp_path) as opened:
        entries = opened.store.office_entries
        found, problems = await entries.all()
        assert [(e.section, e.name, e.version) for e in found] == [
            ("queue", "sales", 2),
            ("outbound", route.name, 1),
        ]
        assert found[0].values["number"] == "5011"
        assert problems == []
        await entries.remove("a", found[0], 2)
        with pytest.raises(Missing):
            await entries.remove("a", found[0], None)
        lines = await opened.store.ledger.lines(thing="queue:sales")
        assert [line.action for line in reversed(lines)] == [
            "office-entry-added",
            "office-entry-changed",
            "office-entry-removed",
        ]
        assert "canary" not in str(lines)


def test_what_is_sealed_opens_as_itself_only(tmp_path: Path) -> None:
    seal = Seal(tmp_path)
    sealed = seal.close(VALUES, "queue:sales")
    assert b"canary" not in sealed
    assert seal.open(sealed, "queue:sales") == VALUES
    assert sealed != seal.close(VALUES, "queue:sales")
    for wrong, about in (
        (sealed, "queue:other"),
        (sealed[:-1], "queue:sales"),
        (sealed[:20] + bytes([sealed[20] ^ 1]) + sealed[21:], "queue:sales"),
        (b"", "queue:sales"),
    ):
        with pytest.raises(StoreError):
            seal.open(wrong, about)
    (tmp_path / KEY_NAME).write_bytes(b"short")
    with pytest.raises(StoreError, match="no key"):
        Seal(tmp_path).open(sealed, "queue:sales")


async def test_webhooks_and_their_log(tmp_path: Path, any_store: Any) -> None:
    wanted = {
        "name": "CRM",
        "url": "https://x.example/",
        "topics": ["calls"],
        "queue": "",
        "agent": "",
    }
    line = {"event": "r.1", "kind": "k", "at_s": 1.0, "attempts": 1, "status": "delivered"}
    async with any_store.opened(tmp_path) as opened:
        webhooks = opened.store.webhooks
        made = await webhooks.add("a", wanted, "s3cret")
        assert (made.secret, made.topics, made.active) == ("s3cret", ("calls",), True)
        changed = await webhooks.change("a", made, {"active": False, "disabled_because": "x"}, 1)
        assert (await webhooks.all()) == [changed]
        with pytest.raises(Stale):
            await webhooks.change("a", made, {"name": "y"}, 1)
        more = {"detail": "", "took_ms": 1.0}
        for _ in range(3):
            await webhooks.log(made.id, [{**line, **more} for _ in range(DELIVERIES_KEPT // 2)])
        kept = await webhooks.lines(made.id, 10_000)
        assert len(kept) == DELIVERIES_KEPT
        assert [k.id for k in kept] == sorted((k.id for k in kept), reverse=True)
        await webhooks.remove("a", made.id)
        assert await webhooks.lines(made.id, 10) == []
        with pytest.raises(Missing):
            await webhooks.remove("a", made.id)


async def test_answers_are_kept_for_a_day(tmp_path: Path, any_store: Any) -> None:
    now_s = 1_000_000.0
    async with any_store.opened(tmp_path, wall_s=lambda: now_s) as opened:
        answers = opened.store.answers
        answer = KeptAnswer("r", 201, [("etag", '"1"')], '{"token":"x"}')
        await answers.keep("k", answer)
        assert await answers.find("k", now_s) == answer
        assert await answers.find("k", now_s + KEPT_S) is None
        assert await answers.find("other", now_s) is None
        await answers.keep("k", KeptAnswer("r2", 201, [], ""))
        found = await answers.find("k", now_s)
        assert found is not None
        assert found.request_hash == "r2"
