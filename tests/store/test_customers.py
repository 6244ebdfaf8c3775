"""Customers: found by number among many, searched, merged, written to files and read from them."""

from __future__ import annotations

import re
import sqlite3
import time
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softswitch.call.numbering import Numbering
from softswitch.store import words
from softswitch.store.customer_files import ERRORS_MAX, read_customers, write_customers
from softswitch.store.customer_merges import brought_by, without
from softswitch.store.customer_rows import CustomerRecord, Profile
from softswitch.store.customers import CustomerFilter
from softswitch.store.ledger import Conflict, Missing, Stale
from softswitch.store.tickets import Matter

E164 = Numbering("CN").e164
WANG = Profile(
    name="王伟 Wang Wei",
    phones=["+8613800000001", "+861065551000"],
    addresses=["wang@example.com", "1 Road"],
    region="north",
    priority=5,
    tags=["vip"],
    fields={"Contract": "A-17"},
)


async def test_what_is_written_is_read(tmp_path: Path, any_store: Any) -> None:
    async with any_store.opened(tmp_path) as tools:
        customers = tools.store.customers
        added = await customers.add("user:a", WANG)
        assert added.profile == WANG
        assert await customers.get(added.id) == added
        assert await customers.find_by_phone("+861065551000") == [added]
        changed = await customers.change("user:b", added.id, {"phones": ["+8613800000009"]}, 1)
        assert changed.version == 2
        assert await customers.find_by_phone("+861065551000") == []
        with pytest.raises(Stale):
            await customers.change("user:b", added.id, {"name": "x"}, 1)
        note = await customers.add_note("user:b", added.id, "called")
        assert await customers.notes(added.id) == [note]
        await customers.remove("user:b", added.id)
        with pytest.raises(Missing):
            await customers.get(added.id)
        assert await customers.notes(added.id) == []
        assert (await customers.add("user:a", Profile(name="x"))).id > added.id
        lines = await tools.store.ledger.lines(thing=f"customer:{added.id}")
        assert [line.action.removeprefix("customer-") for line in lines] == [
            "removed",
            "noted",
            "changed",
            "added",
        ]
        assert lines[2].details == {"phones": [WANG.phones, ["+8613800000009"]]}
        await tools.journal.flush()
        told = [kind for (kind,) in any_store.sql(tmp_path, "SELECT kind FROM journal")]
        assert told == [
            f"customer-{what}" for what in ("added", "changed", "noted", "removed", "added")
        ]


QUESTIONS: dict[str, bool] = {
    "wang": True,
    "WANG wei": True,
    "we": True,  # the last word by its beginning
    "we wang": False,
    "王伟": True,
    "伟王": False,  # characters are found in their order
    "王": True,
    "wang@example.com": True,
    "example": True,
    "13800000001": False,
    "8613800000001": True,
    "0001": True,
    "a-17": True,
    "vip": True,
    '"wang': True,
    "wang* OR nobody": False,
    "NEAR(wang wei)": False,
    "!!!": False,
    "": True,
}
"""What is asked for -> whether Wang is found."""


async def test_search(tmp_path: Path, any_store: Any) -> None:
    async with any_store.opened(tmp_path) as tools:
        await tools.store.customers.add("test", WANG)
        found = {
            text: bool(await tools.store.customers.page(CustomerFilter(text=text)))
            for text in QUESTIONS
        }
        assert found == QUESTIONS


async def test_filters_and_pages(tmp_path: Path, any_store: Any) -> None:
    async with any_store.opened(tmp_path) as tools:
        customers = tools.store.customers
        for number in range(5):
            profile = Profile(name=f"n{number}", tags=["a"] if number % 2 else ["aa"], region="r")
            await customers.add("test", profile)
        first = await customers.page(CustomerFilter(), limit=3)
        rest = await customers.page(CustomerFilter(), limit=3, after=first[-1].id)
        assert [c.profile.name for c in first + rest] == ["n0", "n1", "n2", "n3", "n4"]
        assert len(await customers.page(CustomerFilter(tag="a"))) == 2
        assert len(await customers.page(CustomerFilter(tag="%"))) == 0
        assert len(await customers.page(CustomerFilter(region="r"))) == 5
        assert await customers.count() == 5


async def test_merging(tmp_path: Path, any_store: Any) -> None:
    async with any_store.opened(tmp_path) as tools:
        customers = tools.store.customers
        one = await customers.add("test", WANG)
        other = await customers.add(
            "test", Profile(phones=["+861065551000", "+8613900000000"], tags=["b"], priority=9)
        )
        third = await customers.add("test", Profile(name="third"))
        await customers.add_note("test", other.id, "his")
        assert [c.id for c in await customers.duplicates(one.id)] == [other.id]
        merged = await customers.merge("test", one.id, other.id)
        assert merged.profile.phones == [*WANG.phones, "+8613900000000"]
        assert (merged.profile.tags, merged.profile.priority) == (["vip", "b"], 9)
        assert [c.id for c in await customers.find_by_phone("+8613900000000")] == [one.id]
        assert [n.text for n in await customers.notes(one.id)] == ["his"]
        gone = await customers.get(other.id)
        assert gone.merged_into == one.id
        assert await customers.count() == 2
        assert await customers.duplicates(one.id) == []
        for wrong in (
            customers.merge("test", one.id, one.id),
            customers.merge("test", one.id, other.id),
            customers.change("test", other.id, {"name": "x"}),
            customers.add_note("test", other.id, "x"),
        ):
            with pytest.raises(Conflict):
                await wrong
        await customers.merge("test", third.id, one.id)
        assert (await customers.get(other.id)).merged_into == third.id  # links do not form chains
        (_, said) = [n.text for n in await customers.notes(third.id)][::-1]
        assert said == f"Was customer {one.id} as well: name {WANG.name}; region north"
        for name in ("third", WANG.name):  # under what he was called before as well
            found = await customers.page(CustomerFilter(text=name))
            assert [one.id for one in found] == [third.id], name
        number = CustomerFilter(text="010 6555 1000", or_phone="+861065551000")
        assert [one.id for one in await customers.page(number)] == [third.id]
        await customers.remove("test", third.id)
        for gone_too in (third, one, other):
            with pytest.raises(Missing):
                await customers.get(gone_too.id)
        assert await customers.page(CustomerFilter(text=WANG.name)) == []


def fill(directory: Path, count: int) -> None:
    """Many customers, past the repository: it would take minutes."""
    rows = [(n, f"customer {n}", f"+86138{n:08d}") for n in range(count)]
    with closing(sqlite3.connect(directory / "softswitch.db")) as connection, connection:
        connection.executemany(
            "INSERT INTO customers (id, name, phones, region, priority, tags, addresses, fields,"
            " created_at_s, changed_at_s, version)"
            """ VALUES (?, ?, '["' || ? || '"]', '', 0, '[]', '[]', '{}', 0, 0, 1)""",
            rows,
        )
        connection.executemany(
            "INSERT INTO customer_phones (phone, customer_id) VALUES (?, ?)",
            [(phone, number) for number, _, phone in rows],
        )


async def test_a_number_is_found_among_a_hundred_thousand(tmp_path: Path, store_tools: Any) -> None:
    """By an index, whatever the number of customers; the time is printed, not judged."""
    async with store_tools.opened(tmp_path) as tools:
        customers = tools.store.customers
        fill(tmp_path, 100_000)
        await customers.find_by_phone("+8613800000000")
        began_s = time.perf_counter()
        for number in range(0, 100_000, 1_000):
            (found,) = await customers.find_by_phone(f"+86138{number:08d}")
            assert found.profile.name == f"customer {number}"
        print(f"{(time.perf_counter() - began_s) * 10:.2f} ms a look-up among 100,000")
        plan = store_tools.sql(
            tmp_path,
            "EXPLAIN QUERY PLAN SELECT * FROM customers JOIN customer_phones"
            " ON customer_id = customers.id WHERE phone = '+8613800000001'",
        )
        assert all("SEARCH" in row[3] for row in plan), plan


def record(profile: Profile) -> CustomerRecord:
    return CustomerRecord(1, profile, None, 0.0, 0.0, 1)


_texts = st.text(
    st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters=";\u00a0"), max_size=12
).map(str.strip)


@settings(max_examples=100, deadline=None)
@given(
    name=_texts.filter(bool),
    tags=st.lists(_texts.filter(bool), max_size=3, unique=True),
    city=_texts,
    priority=st.integers(0, 100),
)
def test_a_file_written_is_read_again(name: str, tags: list[str], city: str, priority: int) -> None:
    profile = Profile(
        name=name,
        phones=["+8613800000001"],
        tags=tags,
        priority=priority,
        fields={"City": city} if city else {},
    )
    rows = read_customers(write_customers([record(profile)]), E164)
    assert rows.mistakes == []
    assert [asdict(p) for _, p in rows.profiles] == [asdict(profile)]


def test_every_mistake_has_its_line() -> None:
    text = (
        "name,phone,priority,tags\r\n"
        "Wang,138 0000 0001,5,vip;old\r\n"
        "Li,nonsense,5,\r\n"
        ",,5,\r\n"
        "Zhao,13800000002,high,\r\n"
        '"Two\nlines",13800000003;13800000004,,\r\n'
        "short\r\n"
        "\r\n"
        "=cmd,13800000005,1,\r\n"
    )
    rows = read_customers(text.encode(), E164)
    assert [(m.line, m.column) for m in rows.mistakes] == [
        (3, "phone"),
        (4, ""),
        (5, "priority"),
        (8, ""),
    ]
    assert (rows.rows, rows.bad) == (7, 4)
    found = dict(rows.profiles)
    assert found[2].phones == ["+8613800000001"]
    assert found[2].tags == ["vip", "old"]
    assert found[7].phones == ["+8613800000003", "+8613800000004"]


@pytest.mark.parametrize(
    ("data", "line", "words"),
    [
        (b"name\n\xff", 2, "UTF-8"),
        (b"name\na\0", 2, "NUL"),
        (b"name,name\na,b", 1, "twice"),
        (b"name,colour\na,b", 1, "no column"),
        (b"region\na", 1, "neither"),
        (b"", 1, "neither"),
        (b'name\n"open', 2, "no CSV"),
    ],
)
def test_files_that_cannot_be_read(data: bytes, line: int, words: str) -> None:
    (mistake,) = read_customers(data, E164).mistakes
    assert mistake.line == line
    assert words in mistake.detail


def test_mistakes_are_bounded() -> None:
    for count in (ERRORS_MAX, ERRORS_MAX + 1):
        rows = read_customers(b"phone\n" + b"x\n" * count, E164)
        assert len(rows.mistakes) == ERRORS_MAX
        assert rows.bad == count


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=40))
def test_questions_are_words_only(text: str) -> None:
    for dialect in ("sqlite", "postgresql"):
        asked = words.question(text, dialect)
        if asked is not None:
            rest = re.sub(r"\'[^\W_]+\'" if dialect == "postgresql" else r"[^\W_]+", "", asked)
            assert not set(rest) - set("()<->&:* " if dialect == "postgresql" else '"* ')


async def test_a_merge_is_undone_and_what_came_over_goes_back(
    tmp_path: Path, any_store: Any
) -> None:
    async with any_store.opened(tmp_path) as tools:
        customers, tickets = tools.store.customers, tools.store.tickets
        his = Profile(
            name="Li Na",
            phones=["+861065551000", "+8613900000000"],
            addresses=["li@example.com"],
            region="south",
            tags=["b"],
            priority=9,
            fields={"size": "L"},
        )
        one, other, third = [
            await customers.add("test", profile)
            for profile in (WANG, his, Profile(name="third", phones=["+8613900000000"]))
        ]
        note = await customers.add_note("test", other.id, "his")
        ticket = await tickets.add("test", Matter(subject="x", customer_id=other.id))
        own = await tickets.add("test", Matter(subject="y", customer_id=one.id))
        await customers.merge("test", other.id, third.id)
        await customers.merge("test", one.id, other.id)
        await customers.change("test", one.id, {"tags": ["vip", "b", "since"]})
        later = await customers.add_note("test", one.id, "since")
        with pytest.raises(Conflict, match=f"into {other.id}, and he into {one.id}: undo that"):
            await customers.unmerge("test", one.id, third.id)
        with pytest.raises(Conflict, match=f"{other.id} was merged into {one.id}"):
            await customers.unmerge("test", other.id, one.id)
        kept = await customers.unmerge("test", one.id, other.id)
        assert kept.profile == Profile(**{**asdict(WANG), "tags": ["vip", "since"]})
        back = await customers.get(other.id)
        assert (back.profile, back.merged_into) == (his, None)
        assert [c.id for c in await customers.find_by_phone("+8613900000000")] == [other.id]
        assert {c.id for c in await customers.duplicates(one.id)} == {
            other.id
        }  # one number is both's
        assert [n.id for n in await customers.notes(one.id)] == [later.id]
        assert note.id in [n.id for n in await customers.notes(other.id)]
        for of, whose in ((ticket, other), (own, one)):
            assert (await tickets.get(of.id)).matter.customer_id == whose.id
        assert (await customers.get(third.id)).merged_into == other.id
        await customers.unmerge("test", other.id, third.id)
        (since, *_) = await tools.store.ledger.lines(action="customer-unmerged")
        assert (since.object, since.details) == (f"customer:{third.id}", {"other": other.id})
        with pytest.raises(Conflict, match="was not merged"):
            await customers.unmerge("test", other.id, third.id)
        assert [m.undone_at_s is None for m in await customers.merges(one.id)] == [False]
        await customers.merge("test", one.id, other.id)  # and once more
        await customers.remove("test", one.id)
        with pytest.raises(Missing):
            await customers.merges(one.id)


_some = st.builds(
    Profile,
    name=st.sampled_from(["", "a", "b"]),
    phones=st.lists(st.sampled_from(["1", "2", "3", "4"]), unique=True),
    tags=st.lists(st.sampled_from(["x", "y"]), unique=True),
    priority=st.integers(0, 3),
    fields=st.dictionaries(st.sampled_from(["f", "g"]), st.sampled_from(["1", "2"])),
)


@given(_some, st.lists(_some, max_size=3), st.randoms())
def test_merges_undone_in_any_order_leave_what_was(
    mine: Profile, others: list[Profile], order: Any
) -> None:
    now, brought = replace(mine), []
    for his in others:
        brought.append(brought_by(now, his, brought))
        now = replace(
            now,
            name=now.name or his.name,
            phones=list(dict.fromkeys([*now.phones, *his.phones])),
            tags=list(dict.fromkeys([*now.tags, *his.tags])),
            priority=max(now.priority, his.priority),
            fields={**his.fields, **now.fields},
        )
    while brought:
        gone = brought.pop(order.randrange(len(brought)))
        now = replace(now, **without(now, gone, brought))
    assert now == mine


def test_words_of_any_script() -> None:
    assert (
        words.words_of(["Été naïve", "订单 ABC订单123", "a_b"])
        == "ete naive 订 单 abc 订 单 123 a b"
    )


async def test_numbers_of_several_are_suggested_and_tickets_follow_a_merge(
    tmp_path: Path, any_store: Any
) -> None:
    async with any_store.opened(tmp_path) as tools:
        customers, tickets = tools.store.customers, tools.store.tickets
        made = [
            await customers.add("test", Profile(name=f"n{n}", phones=[f"+86138000000{n % 3:02}"]))
            for n in range(5)
        ]
        found, more = await customers.sharing()
        assert more is None
        assert [(s.value, s.count, [c.profile.name for c in s.customers]) for s in found] == [
            ("+8613800000000", 2, ["n0", "n3"]),
            ("+8613800000001", 2, ["n1", "n4"]),
        ]
        assert await customers.sharing("number", 1) == (found[:1], found[0].value)
        assert await customers.sharing("number", 1, found[0].value) == (found[1:], None)
        ticket = await tickets.add("test", Matter(subject="x", customer_id=made[3].id))
        await customers.merge("test", made[0].id, made[3].id)
        assert await customers.sharing() == (found[1:], None)
        assert (await tickets.get(ticket.id)).matter.customer_id == made[0].id
        await customers.remove("test", made[0].id)
        assert (await tickets.get(ticket.id)).matter.customer_id is None


CHINESE = 'name,phone,tags\n王伟,13800000001,重要\n李娜,13800000002,"重要;老客户"\n'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
@pytest.mark.parametrize("divider", [",", ";", "\t"])
def test_what_excel_saves_is_read_as_it_was_written(encoding: str, divider: str) -> None:
    """In China as GB18030, elsewhere in Europe with semicolons, as "Unicode text" with tabs."""
    text = CHINESE.replace(",", divider).replace("\n", "\r\n")
    rows = read_customers(text.encode(encoding), E164)
    assert rows.mistakes == []
    found = [(line, profile.name, profile.tags) for line, profile in rows.profiles]
    assert found == [(2, "王伟", ["重要"]), (3, "李娜", ["重要", "老客户"])]


def test_a_rare_character_is_read_and_latin_text_is_not_taken_for_chinese() -> None:
    rows = read_customers("name,phone\n朱镕基,13900000001\n".encode("gb18030"), E164)
    assert rows.profiles[0][1].name == "朱镕基"
    for text in ("name\nJörg Müller\n", "name\nJosé Peña\n", "name\nŁukasz\n"):
        encoding = "cp1250" if "Ł" in text else "latin-1"
        (mistake,) = read_customers(text.encode(encoding), E164).mistakes
        assert (mistake.line, mistake.detail[:17]) == (2, "is not UTF-8 text")
    assert read_customers(b"\xff\xfen\x00a", E164).mistakes, "half a character"
