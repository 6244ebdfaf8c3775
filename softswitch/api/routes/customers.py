"""Customers: who calls, and everything that is known of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Annotated, Any, Literal, get_args

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import Field

from softswitch.api.access import PREFIX, GuardedRoute, Me
from softswitch.api.customer_import import import_customers
from softswitch.api.files import CSV, attached
from softswitch.api.models import (
    ID_MAX,
    Body,
    Id,
    IfMatch,
    Input,
    Line,
    Output,
    Tag,
    Text,
    among,
    given,
    tag,
    version_of,
)
from softswitch.api.paging import (
    Cursor,
    Limit,
    Page,
    int_cursor,
    page_of,
    page_read,
    read_cursor,
    write_cursor,
)
from softswitch.api.problem import Fault, Refused
from softswitch.api.report_slots import SlotStream
from softswitch.api.service import Served, Service
from softswitch.api.timeline import Happening, timeline, timeline_of_numbers
from softswitch.config.centre import Customer
from softswitch.store.customer_files import write_customers
from softswitch.store.customer_merges import Merge as MergeRecord
from softswitch.store.customer_rows import CustomerRecord, Profile
from softswitch.store.customers import PHONES_MAX, TAGS_MAX, CustomerFilter
from softswitch.store.duplicates import SharedBy
from softswitch.store.ledger import Missing

router = APIRouter(prefix=PREFIX, route_class=GuardedRoute, tags=["customers"])

_EXPORT_PAGE = 500
Phone = Annotated[str, Field(pattern=r"^[+0-9(][0-9 ().-]{1,40}$")]
FilePhone = Annotated[str, Path(pattern=r"^[+0-9( ][0-9 ().-]{1,40}$", examples=["+8613800000001"])]
_CSV: dict[int | str, dict[str, Any]] = {
    200: {"description": "The file.", "content": {"text/csv": {"schema": {"type": "string"}}}}
}


class CustomerShown(Output):
    """One customer. `merged_into`: he turned out to be another one."""

    id: int = Field(examples=[12])
    name: str = Field(examples=["Wang Wei"])
    phones: list[str] = Field(examples=[["+8613800000001"]])
    addresses: list[str]
    region: str
    priority: int
    tags: list[str] = Field(examples=[["vip"]])
    fields: dict[str, str]
    merged_into: int | None
    created_at_s: float
    changed_at_s: float
    version: int
    source: Literal["api", "file"] = Field(
        default="api", description='"file": of the office file, and read-only; his `id` is 0.'
    )


class NewCustomer(Input):
    """A customer to be. Numbers are kept in E.164, however they are written here."""

    name: Line = Field(default="", examples=["Wang Wei"])
    phones: list[Phone] = Field(
        default_factory=list, max_length=PHONES_MAX, examples=[["138 0000 0001"]]
    )
    addresses: list[Line] = Field(default_factory=list, max_length=PHONES_MAX)
    region: Tag | Literal[""] = ""
    priority: int = Field(default=0, ge=0, le=100)
    tags: list[Tag] = Field(default_factory=list, max_length=TAGS_MAX)
    fields: dict[Tag, Annotated[Text, Field(max_length=1_024)]] = Field(
        default_factory=dict, max_length=64
    )


class CustomerChange(Input):
    """What is to be different; what is left out stays. Lists are replaced as a whole."""

    name: Line | None = None
    phones: list[Phone] | None = Field(default=None, max_length=PHONES_MAX)
    addresses: list[Line] | None = Field(default=None, max_length=PHONES_MAX)
    region: Tag | Literal[""] | None = None
    priority: int | None = Field(default=None, ge=0, le=100)
    tags: list[Tag] | None = Field(default=None, max_length=TAGS_MAX)
    fields: dict[Tag, Annotated[Text, Field(max_length=1_024)]] | None = Field(
        default=None, max_length=64
    )


class NewNote(Input):
    """Something to be remembered."""

    text: Body = Field(min_length=1, examples=["Prefers to be called in the morning."])


class NoteShown(Output):
    """What somebody wrote."""

    id: int = Field(examples=[1])
    at_s: float
    author: str
    text: str


class Merge(Input):
    """Who turned out to be this customer."""

    other: int = Field(ge=1, le=ID_MAX, examples=[8])


class Unmerge(Input):
    """Who is not this customer after all."""

    other: int = Field(ge=1, le=ID_MAX, examples=[8])


class MergeShown(Output):
    """Who turned out to be this customer, and what he brought that this one did not have: that goes back
    when it is undone. `notes` and `tickets` are ids."""

    id: int = Field(examples=[1])
    other: int = Field(examples=[8])
    at_s: float
    author: str
    undone_at_s: float | None
    name: str
    phones: list[str]
    addresses: list[str]
    tags: list[str]
    fields: dict[str, str]
    notes: list[int]
    tickets: list[int]


MomentKind = Literal["call", "note", "ticket", "survey", "voicemail"]
MomentKinds = Annotated[list[MomentKind], Query(max_length=5, description="Only of these kinds.")]


class Moment(Output):
    """One thing that happened with a customer. `thing` is what it is kept as."""

    at_s: float
    kind: str = Field(
        examples=["call"],
        json_schema_extra=among(get_args(MomentKind)),
    )
    thing: str = Field(examples=["call:c-0f3a"])
    summary: str = Field(examples=["inbound to 5000: answered"])
    details: dict[str, Any]


class LineMistake(Output):
    """What is wrong in a file."""

    line: int
    column: str
    detail: str


class ImportResult(Output):
    """What an import did, or would do."""

    dry_run: bool = Field(examples=[True])
    rows: int
    bad: int
    added: int
    changed: int
    skipped: int
    mistakes: list[LineMistake]


@router.get("/customers")
async def list_customers(
    service: Served,
    limit: Limit = 50,
    cursor: Cursor = None,
    text: Annotated[
        str,
        Query(
            max_length=200,
            description="In all that is known; a number is found however it is written.",
        ),
    ] = "",
    phone: Annotated[str, Query(max_length=64)] = "",
    region: Annotated[str, Query(max_length=64)] = "",
    tag: Annotated[str, Query(max_length=64)] = "",
) -> Page[CustomerShown]:
    """Customers by id."""
    if phone:
        phone = service.number_of(phone) or phone
    number = service.number_of(text) or ""
    which = CustomerFilter(text=text, phone=phone, region=region, tag=tag, or_phone=number)
    found = await service.store.customers.page(which, limit + 1, int_cursor(cursor) or 0)
    return page_read(found, limit, shown)


@router.post("/customers", status_code=201)
async def add_customer(
    body: NewCustomer, response: Response, me: Me, service: Served
) -> CustomerShown:
    """Add a customer."""
    values = body.model_dump()
    values["phones"] = _e164(service, body.phones)
    if not (body.name.strip() or body.phones or body.addresses):
        raise Refused(422, "a customer needs a name, a number or an address")
    record = await service.store.customers.add(me.actor, Profile(**values))
    tag(response, record.version)
    return shown(record)


class SharedShown(Output):
    """What several customers have: perhaps they are one who was written down twice. `value` is a number, or a
    name or e-mail address as it is compared; `phone` is the number once more. `count` says how many have it, of
    whom the first twenty are here."""

    by: SharedBy
    value: str = Field(examples=["wang wei"])
    phone: str = Field(default="", examples=["+8613800000001"])
    count: int = Field(examples=[2])
    customers: list[CustomerShown]


@router.get("/customers/duplicates")
async def list_shared(
    service: Served,
    by: Annotated[
        SharedBy,
        Query(
            description='"name": without case, accents and order of words; "address": of e-mail, without case.'
        ),
    ] = "number",
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[SharedShown]:
    """Suggestions for merging, over all customers: the numbers, names or e-mail addresses that several have.
    Where few are shared, a page may be empty and have a `next` all the same."""
    keys = read_cursor(cursor)
    if keys is not None and (len(keys) != 1 or not isinstance(keys[0], str)):
        raise Refused(422, "the cursor is none of ours")
    after = "" if keys is None else str(keys[0])
    found, more = await service.store.customers.sharing(by, limit, after)
    items = [
        SharedShown(
            by=by,
            value=one.value,
            phone=one.value if by == "number" else "",
            count=one.count,
            customers=[shown(record) for record in one.customers],
        )
        for one in found
    ]
    return Page(items=items, next=None if more is None else write_cursor(more))


@router.get("/customers/lookup")
async def look_up(
    service: Served,
    number: Annotated[str, Query(max_length=64)],
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[CustomerShown]:
    """Whose number this is, the most important first; for a screen that pops up. Also who is only in the
    office file."""
    e164 = service.number_of(number) or number
    found = await service.store.customers.find_by_phone(e164)
    listed = None if found else service.switch.control.customer_of(e164)
    if listed is not None:
        return Page(items=[_listed(listed)])
    page, more = page_of(found, lambda r: (-r.profile.priority, r.id), limit, cursor)
    return Page(items=[shown(record) for record in page], next=more)


@router.get("/customers/file/{phone}")
async def show_file_customer(phone: FilePhone, service: Served) -> CustomerShown:
    """Who has a number by the office file: what is known of him there, read-only. `lookup` tells of the
    database and the file at once."""
    return _listed(_of_file(service, phone))


@router.get("/customers/file/{phone}/timeline")
async def show_file_timeline(
    phone: FilePhone,
    service: Served,
    limit: Limit = 50,
    cursor: Cursor = None,
    kind: MomentKinds = [],  # noqa: B006
) -> Page[Moment]:
    """Everything that happened with a customer of the office file, by all of his numbers: calls, the
    tickets linked to them, voicemails, surveys; and what is kept of anybody in the database who has one of
    his numbers."""
    phones = _of_file(service, phone).phone
    before = _before(cursor)
    return _moments(await timeline_of_numbers(service, phones, limit + 1, before, kind), limit)


@router.get("/customers/export", response_class=Response, responses=_CSV)
async def export_customers(me: Me, service: Served) -> Response:
    """All customers as CSV, as `import` takes it."""
    slot = await service.reports.take(me.actor)
    try:
        names = await service.store.customers.field_names()
    except BaseException:
        slot.give_back()
        raise

    async def parts() -> AsyncIterator[bytes]:
        after, head = 0, True
        while True:
            page = await service.store.customers.page(CustomerFilter(), _EXPORT_PAGE, after)
            if page or head:
                yield await service.in_thread(write_customers, page, names, head=head)
            if len(page) < _EXPORT_PAGE:
                return
            after, head = page[-1].id, False

    service.noted(me, "customers-exported", "customers")
    answer = SlotStream(parts(), media_type=CSV, headers=attached("customers", "csv"))
    answer.slot = slot
    return answer


@router.post(
    "/customers/import",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"text/csv": {"schema": {"type": "string"}}},
        }
    },
)
async def import_file(
    request: Request,
    me: Me,
    service: Served,
    dry_run: Annotated[bool, Query(description="Only say what would be done.")] = True,
    existing: Annotated[
        Literal["skip", "change", "add"],
        Query(description="What is done with a row whose number a customer has already."),
    ] = "skip",
    skip_bad: Annotated[bool, Query(description="Import the good rows of a bad file.")] = False,
) -> ImportResult:
    """Import a CSV file with the columns name, phone, address, region, priority, tags (several values
    in a cell by ;) and field:NAME."""
    result = await import_customers(
        service.store,
        await request.body(),
        me.actor,
        service.numbering.e164,
        service.in_thread,
        dry_run=dry_run,
        existing=existing,
        skip_bad=skip_bad,
    )
    return ImportResult.model_validate(result)


@router.get("/customers/{customer_id}")
async def show_customer(customer_id: Id, response: Response, service: Served) -> CustomerShown:
    """One customer."""
    record = await service.store.customers.get(customer_id)
    tag(response, record.version)
    return shown(record)


@router.patch("/customers/{customer_id}")
async def change_customer(
    customer_id: Id,
    body: CustomerChange,
    response: Response,
    me: Me,
    service: Served,
    if_match: IfMatch = None,
) -> CustomerShown:
    """Change a customer."""
    values = {name: value for name, value in given(body).items() if value is not None}
    if body.phones is not None:
        values["phones"] = _e164(service, body.phones)
    record = await service.store.customers.change(
        me.actor, customer_id, values, version_of(if_match)
    )
    tag(response, record.version)
    return shown(record)


@router.delete("/customers/{customer_id}", status_code=204)
async def remove_customer(
    customer_id: Id, me: Me, service: Served, if_match: IfMatch = None
) -> None:
    """Delete a customer, the notes about him, and those who turned out to be him."""
    await service.store.customers.remove(me.actor, customer_id, version_of(if_match))


@router.get("/customers/{customer_id}/duplicates")
async def list_duplicates(
    customer_id: Id, service: Served, limit: Limit = 50, cursor: Cursor = None
) -> Page[CustomerShown]:
    """Others who may be the same: they share a number, the name or an e-mail address."""
    after = int_cursor(cursor) or 0
    found = await service.store.customers.duplicates(customer_id, limit + 1, after)
    return page_read(found, limit, shown)


@router.post("/customers/{customer_id}/merge")
async def merge_customers(
    customer_id: Id, body: Merge, response: Response, me: Me, service: Served
) -> CustomerShown:
    """Take over another customer's numbers, addresses, tags, fields and notes; he stays as a link."""
    record = await service.store.customers.merge(me.actor, customer_id, body.other)
    tag(response, record.version)
    return shown(record)


@router.get("/customers/{customer_id}/merges")
async def list_merges(
    customer_id: Id, service: Served, limit: Limit = 50, cursor: Cursor = None
) -> Page[MergeShown]:
    """Who turned out to be this customer, oldest first, and what he brought; those that were undone too."""
    found = await service.store.customers.merges(customer_id)
    page, more = page_of(found, lambda one: (one.id,), limit, cursor)
    return Page(items=[_merge_shown(one) for one in page], next=more)


@router.post("/customers/{customer_id}/unmerge")
async def unmerge_customers(
    customer_id: Id, body: Unmerge, response: Response, me: Me, service: Served
) -> CustomerShown:
    """Undo a merge: the other is again what he was, and what came over with him goes back, tickets and notes
    too; so do tickets since, by calls with his numbers. What else was written since stays."""
    record = await service.store.customers.unmerge(me.actor, customer_id, body.other)
    tag(response, record.version)
    return shown(record)


@router.get("/customers/{customer_id}/notes")
async def list_notes(
    customer_id: Id, service: Served, limit: Limit = 50, cursor: Cursor = None
) -> Page[NoteShown]:
    """What was written about a customer, newest first."""
    await service.store.customers.get(customer_id)
    found = await service.store.customers.notes(customer_id, limit + 1, int_cursor(cursor))
    return page_read(found, limit, NoteShown.model_validate)


@router.post("/customers/{customer_id}/notes", status_code=201)
async def add_note(customer_id: Id, body: NewNote, me: Me, service: Served) -> NoteShown:
    """Write something about a customer."""
    note = await service.store.customers.add_note(me.actor, customer_id, body.text)
    return NoteShown.model_validate(note)


@router.get("/customers/{customer_id}/notes/{note_id}")
async def show_note(
    customer_id: Id,
    note_id: Annotated[int, Path(ge=1, le=ID_MAX, examples=[1])],
    service: Served,
) -> NoteShown:
    """One of the things written about a customer."""
    return NoteShown.model_validate(await service.store.customers.note(customer_id, note_id))


@router.delete("/customers/{customer_id}/notes/{note_id}", status_code=204)
async def remove_note(
    customer_id: Id,
    note_id: Annotated[int, Path(ge=1, le=ID_MAX, examples=[1])],
    me: Me,
    service: Served,
) -> None:
    """Take away a note: one's own, or, for supervisors, anybody's."""
    note = await service.store.customers.note(customer_id, note_id)
    if note.author != me.actor and not me.at_least("supervisor"):
        raise Refused(403, "the notes of others are for supervisors to take away")
    await service.store.customers.remove_note(me.actor, customer_id, note_id)


@router.get("/customers/{customer_id}/timeline")
async def show_timeline(
    customer_id: Id,
    service: Served,
    limit: Limit = 50,
    cursor: Cursor = None,
    kind: MomentKinds = [],  # noqa: B006
) -> Page[Moment]:
    """Everything that happened with a customer, newest first: calls with their recordings, tickets,
    voicemails, surveys, notes. Of one who was merged: with whom he turned out to be."""
    found = await timeline(service, customer_id, limit + 1, _before(cursor), kind)
    return _moments(found, limit)


def _before(cursor: str | None) -> tuple[float, str] | None:
    keys = read_cursor(cursor)
    if keys is None:
        return None
    if len(keys) != 2 or not isinstance(keys[0], int | float) or not isinstance(keys[1], str):
        raise Refused(422, "the cursor is none of ours")
    return float(keys[0]), keys[1]


def _moments(found: list[Happening], limit: int) -> Page[Moment]:
    items = [Moment.model_validate(moment) for moment in found[:limit]]
    last = items[-1] if items else None
    more = write_cursor(last.at_s, last.thing) if last and len(found) > limit else None
    return Page(items=items, next=more)


def shown(record: CustomerRecord) -> CustomerShown:
    """A customer as the API shows him."""
    return CustomerShown(
        **asdict(record.profile),
        id=record.id,
        merged_into=record.merged_into,
        created_at_s=record.created_at_s,
        changed_at_s=record.changed_at_s,
        version=record.version,
    )


def _merge_shown(one: MergeRecord) -> MergeShown:
    it = one.brought
    return MergeShown(
        id=one.id,
        other=one.other_id,
        at_s=one.at_s,
        author=one.author,
        undone_at_s=one.undone_at_s,
        name=it.name,
        phones=it.phones,
        addresses=it.addresses,
        tags=it.tags,
        fields=it.fields,
        notes=it.notes,
        tickets=it.tickets,
    )


def _of_file(service: Service, phone: str) -> Customer:
    """Whose number this is by the office file. Raises `Missing`."""
    e164 = service.number_of(phone) or phone
    found = service.switch.control.customer_of(e164)
    if found is None:
        raise Missing(f"the office file has no customer with the number {e164}")
    return found


def _listed(customer: Customer) -> CustomerShown:
    """A customer of the office file."""
    return CustomerShown(
        id=0,
        name=customer.name,
        phones=list(customer.phone),
        addresses=[],
        region="",
        priority=customer.priority,
        tags=list(customer.tags),
        fields={},
        merged_into=None,
        created_at_s=0.0,
        changed_at_s=0.0,
        version=0,
        source="file",
    )


def _e164(service: Service, phones: list[str]) -> list[str]:
    """Numbers in E.164. Raises `Refused` for what is no number."""
    found = [service.number_of(phone) for phone in phones]
    country = service.office.office.country
    faults = [
        Fault(
            pointer=f"/phones/{place}",
            detail=f"{phone} is no telephone number: write it with + and its country, "
            f"or as it is dialled in {country}",
        )
        for place, (phone, number) in enumerate(zip(phones, found, strict=True))
        if number is None
    ]
    if faults:
        raise Refused(422, faults[0].detail, faults=faults)
    return list(dict.fromkeys(number for number in found if number is not None))
