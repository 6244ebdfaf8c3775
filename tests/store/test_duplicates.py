"""Customers who may be one: found by what they share, page by page."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from softswitch.store import duplicates
from softswitch.store.customer_rows import Profile
from softswitch.store.customers import Customers
from softswitch.store.duplicates import address_key, keys_of, name_key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Wang Wei", "WEI, WANG"),
        ("Müller, Jörg", "jorg muller"),
        ("Straße Nord", "nord STRASSE"),
        ("王伟", " 王伟 "),
        ("O'Brien Ltd.", "ltd o brien"),
        ("王伟 (Beijing)", "beijing 王伟"),
    ],
)
def test_names_that_are_the_same(one: str, other: str) -> None:
    assert name_key(one) == name_key(other) != ""


@pytest.mark.parametrize(
    ("one", "other"),
    [("王伟", "伟王"), ("王伟", "王维"), ("Meyer", "Meier"), ("Wang Wei", "Wang"), ("a b", "ab")],
)
def test_names_that_are_not(one: str, other: str) -> None:
    assert name_key(one) != name_key(other)


def test_what_has_no_key() -> None:
    assert [name_key(name) for name in ("", " ", "-", "?!")] == [""] * 4
    postal = ("1 Main Street", "c/o b@c, 1 Main Street", "@home", "me@")
    assert [address_key(address) for address in postal] == [""] * 4
    assert address_key(" Wang@Example.COM ") == "wang@example.com"
    assert len(name_key("x" * 5_000)) == len(address_key("x" * 5_000 + "@y")) == duplicates.KEY_MAX
    assert keys_of("-", ["1 Main Street"]) == frozenset()


async def _all(
    customers: Customers, by: Any, limit: int
) -> tuple[list[tuple[str, list[int]]], int]:
    """What all pages together tell, and how many there were."""
    found, pages, after = [], 0, ""
    while True:
        some, more = await customers.sharing(by, limit, after)
        pages += 1
        assert len(some) <= limit
        found += [(one.value, [customer.id for customer in one.customers]) for one in some]
        if more is None:
            return found, pages
        assert more > after
        after = more


@pytest.mark.parametrize("looked_at", [1, 4, 7, 20_000])
async def test_all_pages_together_tell_every_group_once(
    tmp_path: Path, any_store: Any, monkeypatch: pytest.MonkeyPatch, looked_at: int
) -> None:
    monkeypatch.setattr(duplicates, "LOOKED_AT", looked_at)
    rng = random.Random(looked_at)
    async with any_store.opened(tmp_path) as tools:
        customers = tools.store.customers
        profiles = [
            Profile(
                name=rng.choice(["Li Lei", "lei LI", f"n{rng.randint(0, 30):02}", "same"]),
                phones=[f"+86138000000{rng.randint(0, 30):02}"],
                addresses=[f"a{rng.randint(0, 30):02}@example.com"],
            )
            for _ in range(40)
        ]
        async with tools.store.ledger.change("test") as change:
            ids = await customers.add_all(change, profiles)
        # Some turn out to be others, some are other people than was thought, some go.
        await customers.merge("test", ids[0], ids[1])
        await customers.change("test", ids[2], {"name": "Somebody Else", "addresses": []})
        await customers.remove("test", ids[3])
        left = [await customers.get(i) for i in ids if i not in (ids[1], ids[3])]
        for by, of in (
            ("number", lambda p: p.phones),
            ("name", lambda p: [name_key(p.name)]),
            ("address", lambda p: p.addresses),
        ):
            groups: dict[str, list[int]] = {}
            for record in left:
                for value in of(record.profile):
                    groups.setdefault(value, []).append(record.id)
            wanted = [(v, who[: duplicates.GROUP_MAX]) for v, who in groups.items() if len(who) > 1]
            for limit in (1, 3, 100):
                found, pages = await _all(customers, by, limit)
                assert sorted(found) == sorted(wanted), (by, limit)
                assert pages <= len(groups) + len(wanted) + 1
        others = await customers.duplicates(left[-1].id)
        mine = left[-1]
        assert {other.id for other in others} == {
            r.id
            for r in left[:-1]
            if {*r.profile.phones, *r.profile.addresses, name_key(r.profile.name)}
            & {*mine.profile.phones, *mine.profile.addresses, name_key(mine.profile.name)}
        }


async def test_a_page_tells_a_bounded_number_of_customers(
    tmp_path: Path, any_store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duplicates, "GROUP_MAX", 3)
    monkeypatch.setattr(duplicates, "CUSTOMERS_MAX", 6)
    async with any_store.opened(tmp_path) as tools:
        customers = tools.store.customers
        async with tools.store.ledger.change("test") as change:
            await customers.add_all(change, [Profile(name=f"n{n % 5}") for n in range(25)])
        page, more = await customers.sharing("name", 50)
        assert [(one.value, one.count, len(one.customers)) for one in page] == [
            ("n0", 5, 3),
            ("n1", 5, 3),
        ]
        assert more == "n1"
        assert [value for value, _ in (await _all(customers, "name", 50))[0]] == [
            f"n{n}" for n in range(5)
        ]


async def test_customers_of_an_older_version_get_their_keys_in_steps(
    tmp_path: Path, any_store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duplicates, "_STEP", 2)
    async with any_store.opened(tmp_path) as tools:
        customers = tools.store.customers
        for n in range(5):
            await customers.add("test", Profile(name=f"Wang {n % 3}"))
        found = await customers.sharing("name")
        async with tools.journal.exclusive, tools.store._database.transaction() as writer:
            await writer.execute(sa.text("DELETE FROM customer_keys"))
            told = "INSERT INTO facts (name, value) VALUES ('customer-keys-told-to', '0')"
            await writer.execute(sa.text(told))
        assert await customers.sharing("name") == ([], None)
        # Who is changed meanwhile is not noted twice.
        await customers.change("test", 1, {"name": "Wang, 0"})
        steps = 0
        while await customers.note_keys():
            steps += 1
        assert steps == 2
        again, more = await customers.sharing("name")
        assert more is None
        assert (
            [one.value for one in again] == [one.value for one in found[0]] == ["0 wang", "1 wang"]
        )
        query = "SELECT count(*) FROM facts WHERE name = 'customer-keys-told-to'"
        assert any_store.sql(tmp_path, query)[0][0] == 0
        assert not await customers.note_keys()
