"""How calls may show a telephone number."""

from __future__ import annotations

from collections.abc import Iterable

import phonenumbers


def spelt(phones: Iterable[str]) -> tuple[str, ...]:
    """All spellings of numbers in E.164."""
    return tuple(sorted({form for phone in phones for form in spellings(phone)}))


def spellings(phone: str) -> list[str]:
    """How calls may show a number in E.164: whole, without the plus, and as its own country dials it."""
    forms = [phone, phone.removeprefix("+")]
    try:
        parsed = phonenumbers.parse(phone, None)
    except phonenumbers.NumberParseException:
        return forms
    national = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.NATIONAL)
    return list(dict.fromkeys([*forms, "".join(c for c in national if c.isdigit())]))
