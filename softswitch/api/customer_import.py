"""Bringing a file of customers into the database, some rows at a time, so that neither the loop nor the
journal waits for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from softswitch.store.customer_files import Mistake, Rows, read_customers
from softswitch.store.customer_rows import CustomerRecord, Profile
from softswitch.store.customers import PHONES_MAX, TAGS_MAX

if TYPE_CHECKING:
    from softswitch.store import Store

ROWS_AT_ONCE = 100


@dataclass(slots=True)
class Imported:
    """What was done, or would be."""

    dry_run: bool
    rows: int = 0
    bad: int = 0
    added: int = 0
    changed: int = 0
    skipped: int = 0
    mistakes: list[Mistake] = field(default_factory=list)
    seen: set[str] = field(default_factory=set, repr=False)
    """Numbers of the rows before: a customer who is twice in the file is added once."""


async def import_customers(
    store: Store,
    data: bytes,
    actor: str,
    e164: Callable[[str], str | None],
    in_thread: Callable[..., Awaitable[Any]],
    *,
    dry_run: bool,
    existing: str,
    skip_bad: bool,
) -> Imported:
    """Import a CSV file. A file with mistakes is not imported unless `skip_bad`. `existing` says what
    is done with a row whose number a customer has: "skip" the row, "change" him, "add" another."""
    rows: Rows = await in_thread(read_customers, data, e164)
    result = Imported(dry_run, rows.rows, rows.bad, mistakes=rows.mistakes)
    if rows.mistakes and not (skip_bad and rows.profiles):
        dry_run = True
    profiles = [profile for _, profile in rows.profiles]
    for start in range(0, len(profiles), ROWS_AT_ONCE):
        await _import_some(
            store, profiles[start : start + ROWS_AT_ONCE], actor, existing, dry_run, result
        )
    if not dry_run:
        async with store.ledger.change(actor) as change:
            told = {"rows": rows.rows, "added": result.added, "changed": result.changed}
            change.note("customers-imported", "customers", **told)
    elif not result.dry_run:
        result.added = result.changed = result.skipped = 0  # nothing was done: the file is bad
    return result


async def _import_some(
    store: Store,
    profiles: list[Profile],
    actor: str,
    existing: str,
    dry_run: bool,
    result: Imported,
) -> None:
    new: list[Profile] = []
    for profile in profiles:
        known = await _known(store, profile) if existing != "add" else None
        again = existing != "add" and not result.seen.isdisjoint(profile.phones)
        result.seen.update(profile.phones)
        if known is None and not again:
            new.append(profile)
        elif existing == "skip" or known is None:
            result.skipped += 1
        else:
            if not dry_run:
                await store.customers.change(actor, known.id, _over(known.profile, profile))
            result.changed += 1
    result.added += len(new)
    if new and not dry_run:
        async with store.ledger.change(actor) as change:
            await store.customers.add_all(change, new)


async def _known(store: Store, profile: Profile) -> CustomerRecord | None:
    for phone in profile.phones:
        found = await store.customers.find_by_phone(phone)
        if found:
            return found[0]
    return None


def _over(before: Profile, row: Profile) -> dict[str, Any]:
    """What a row says beside and instead of what is known."""
    return {
        "name": row.name or before.name,
        "phones": list(dict.fromkeys([*before.phones, *row.phones]))[:PHONES_MAX],
        "addresses": list(dict.fromkeys([*before.addresses, *row.addresses]))[:PHONES_MAX],
        "region": row.region or before.region,
        "priority": row.priority or before.priority,
        "tags": list(dict.fromkeys([*before.tags, *row.tags]))[:TAGS_MAX],
        "fields": {**before.fields, **row.fields},
    }
