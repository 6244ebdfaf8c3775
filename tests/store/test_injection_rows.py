"""Row 19 of the reliability programme for the store: what strangers write stays text."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from softswitch.store.customer_files import read_customers, write_customers
from softswitch.store.customer_rows import Profile
from softswitch.store.sheet import Sheet, XlsxBook, to_csv
from softswitch.store.tickets import Matter
from tests.injection import STRINGS


async def test_row_19_what_is_injected_stays_text(
    tmp_path: Path, any_store: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert len(STRINGS) == 23
    caplog.set_level(logging.INFO)
    async with any_store.opened(tmp_path) as tools:
        store, append = tools.store, tools.journal.append
        for number, text in enumerate(STRINGS):
            call = f"c{number}"
            told = {"number_from": text, "caller_name": text, "number_to": "1002"}
            append("call-started", call, told, 1_000.0 + number)
            append("call-ended", call, {"user_agent": text, "sip_call_id": text}, 1_060.0)
            customer = await store.customers.add(text, Profile(name=text, fields={"F": text}))
            ticket = await store.tickets.add(text, Matter(subject=text, tags=[text[:60]]))
            await store.tickets.comment(text, ticket.id, text, public=False)
            kept = await store.attachments.add(text, ticket.id, text, "text/plain", b"x")
            assert "/" not in kept.name
            assert "\\" not in kept.name
            assert kept.name.isprintable()
            assert (await store.customers.get(customer.id)).profile.name == text
            assert (await store.tickets.get(ticket.id)).matter.subject == text
            assert (await store.tickets.comments(ticket.id))[0].text == text
            await store.customers.page(_asking(text))
        assert await tools.journal.flush()
        for number, text in enumerate(STRINGS):
            record = await store.calls.get(f"c{number}")
            assert (record.number_from, record.caller_name) == (text, text)
        customers = await store.customers.page(_asking(""), 100)
        assert len(customers) == len(STRINGS)
        data = write_customers(customers)
        cells = [c for line in csv.reader(io.StringIO(data.decode("utf-8-sig"))) for c in line]
        assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
        back = read_customers(data, lambda number: number)
        assert {p.name.strip() for _, p in back.profiles} == {t.strip() for t in STRINGS}
        sheet = Sheet("all", ["text"], [[text] for text in STRINGS])
        assert b"<f>" not in await asyncio.to_thread(_xml_of, sheet)
        assert to_csv(sheet).count(b"\r\n") >= len(STRINGS)
        lines = await store.ledger.lines(limit=1_000)
        assert all(json.dumps(line.details) for line in lines)
    assert await asyncio.to_thread(_outside, tmp_path) == []
    assert not [m for m in caplog.messages if "forged" in m and "\n" in m]


def _outside(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if not path.resolve().is_relative_to(folder)]


def _asking(text: str) -> Any:
    from softswitch.store.customers import CustomerFilter

    return CustomerFilter(text=text)


def _xml_of(sheet: Sheet) -> bytes:
    import zipfile

    book = XlsxBook()
    list(book.add(sheet))
    with zipfile.ZipFile(io.BytesIO(book.close())) as parts:
        return b"".join(parts.read(name) for name in parts.namelist())
