"""What people wrote outlives a damaged database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from softswitch.store.customer_rows import Profile
from softswitch.store.customers import CustomerFilter


def damage(path: Path, holding: bytes) -> int:
    """Spoil the first leaf page that holds some octets; how many pages there were."""
    with path.open("r+b") as stream:
        data = stream.read()
        pages = [data[at : at + 4_096] for at in range(0, len(data), 4_096)]
        number = next(n for n, page in enumerate(pages) if page[:1] == b"\x0d" and holding in page)
        stream.seek(4_096 * number)
        stream.write(b"\xa5" * 4_096)
    return len(pages)


@pytest.mark.parametrize("where", [b"call-started", b"customer 150"])
async def test_customers_users_and_the_audit_log_are_rescued(
    tmp_path: Path, store_tools: Any, where: bytes
) -> None:
    async with store_tools.opened(tmp_path) as tools:
        tools.calls.whole("c1")
        profiles = [Profile(name=f"customer {n}", phones=[f"+86138{n:08d}"]) for n in range(300)]
        async with tools.store.ledger.change("test") as change:
            await tools.store.customers.add_all(change, profiles)
            change.note("customers-imported", "customers")
        await tools.store.customers.remove("test", 300)
        await tools.store.users.add("test", name="zhao", role="admin", password_hash="x")
        await tools.store.tokens.add("test", name="t", role="agent", scopes=["*"])
    damage(tmp_path / "softswitch.db", where)
    async with store_tools.opened(tmp_path) as tools:
        store = tools.store
        count = await store.customers.count()
        assert (count == 299) if where == b"call-started" else (200 < count < 299)
        for number in (0, 298):
            (found,) = await store.customers.find_by_phone(f"+86138{number:08d}")
            assert found.profile.name == f"customer {number}"
        (found,) = await store.customers.page(CustomerFilter(text="customer 298"))
        assert found.id == 299
        assert [user.name for user in await store.users.all()] == ["zhao"]
        assert len(await store.tokens.all()) == 1
        assert len(await store.ledger.lines()) == 4
        assert await store.calls.count() == 1
        new = await store.customers.add("test", Profile(name="new"))
        assert new.id >= 300
    assert store_tools.sql(tmp_path, "PRAGMA integrity_check") == [("ok",)]
