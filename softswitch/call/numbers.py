"""Telephone numbers of strangers: one way to write them, and what it takes to call them. Pure.

Carriers write one number in many ways (``+861065551000``, ``01065551000``, ``861065551000``). Regions,
customers and callbacks need one: E.164 with its plus.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from phonenumbers import PhoneNumber

# Digits that a person can dial; anything else ("anonymous") is nobody's number.
_DIGITS = frozenset("0123456789")
_PREMIUM = frozenset({"PREMIUM_RATE", "SHARED_COST"})


@lru_cache(maxsize=8192)
def to_e164(number: str, country: str) -> str:
    """`number` as ``+`` and digits, completed as in `country` (two letters); as it is where it is no
    telephone number."""
    parsed = _parsed(number, country)
    if parsed is None:
        return number
    import phonenumbers

    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)


@lru_cache(maxsize=8192)
def permission_for(number: str, country: str) -> str:
    """The permission that a call to this outside number takes: ``national``, ``international`` or
    ``premium``; "" where it is no telephone number."""
    parsed = _parsed(number, country)
    if parsed is None:
        return ""
    import phonenumbers

    kind = phonenumbers.number_type(parsed)
    if phonenumbers.PhoneNumberType.to_string(kind) in _PREMIUM:
        return "premium"
    home = phonenumbers.country_code_for_region(country)
    return "national" if parsed.country_code == home else "international"


def _parsed(number: str, country: str) -> PhoneNumber | None:
    digits = number[1:] if number.startswith("+") else number
    # An extension is no telephone number, and three digits are never one that is dialled from outside.
    if not 6 <= len(digits) <= 32 or not _DIGITS.issuperset(digits):
        return None
    import phonenumbers

    try:
        return phonenumbers.parse(number, country)
    except phonenumbers.NumberParseException:
        return None
