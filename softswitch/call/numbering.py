"""Telephone numbers as the world writes them: E.164 and classes of cost, by Google's phonenumbers."""

from __future__ import annotations

import re
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from phonenumbers import PhoneNumber

_CACHED = 10_000
_NUMBER = re.compile(r"\+?[0-9]{1,32}")
_SHORT_MAX = 6
NATIONAL = "national"


class Numbering:
    """Reads numbers as somebody in `country` (two letters) dials them.

    Pure, and remembers the last 10,000 answers of each kind. What is no telephone number is answered,
    never with an exception.
    """

    def __init__(self, country: str) -> None:
        self._country = country
        self.e164 = lru_cache(_CACHED)(self._e164)
        self.permission = lru_cache(_CACHED)(self._permission)

    def _e164(self, number: str) -> str | None:
        """``+`` and the whole number, however it was dialled or shown; None where it cannot be told, as
        for extensions and short codes."""
        import phonenumbers

        parsed = self._parse(number)
        if parsed is None:
            return None
        good = (
            phonenumbers.is_possible_number(parsed)
            if number.startswith("+")
            else phonenumbers.is_valid_number(parsed)
        )
        if not good:
            return None
        return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)

    def _permission(self, number: str) -> str | None:
        """What somebody needs to dial `number` (without any prefix of the office): "local", "national",
        "international" or "premium"; None for emergency numbers, which everybody may dial.

        A number that cannot be read but begins as an international one is "premium": nobody knows what
        it costs.
        """
        import phonenumbers

        if not _NUMBER.fullmatch(number):
            return NATIONAL
        if len(number) <= _SHORT_MAX:
            return self._short(number)
        parsed = self._parse(number)
        if parsed is None or not phonenumbers.is_possible_number(parsed):
            return "premium" if self._beyond_prefix(number) is not None else NATIONAL
        if phonenumbers.number_type(parsed) == phonenumbers.PhoneNumberType.PREMIUM_RATE:
            return "premium"
        return NATIONAL if parsed.country_code == self._country_code else "international"

    def _short(self, number: str) -> str | None:
        from phonenumbers import ShortNumberCost, shortnumberinfo

        if shortnumberinfo.is_emergency_number(number, self._country):
            return None
        parsed = self._parse(number)
        if parsed is None or not shortnumberinfo.is_valid_short_number_for_region(
            parsed, self._country
        ):
            return NATIONAL
        cost = shortnumberinfo.expected_cost_for_region(parsed, self._country)
        return "premium" if cost == ShortNumberCost.PREMIUM_RATE else "local"

    def names_country(self, prefix: str) -> bool:
        """Whether numbers that begin so are all of other countries: a rule for them says by itself what
        it is for."""
        return bool(self._beyond_prefix(prefix))

    def _beyond_prefix(self, number: str) -> str | None:
        """What follows ``+`` or the prefix for calls abroad; None where there is neither."""
        if number.startswith("+"):
            return number[1:]
        matched = self._abroad.match(number)
        return number[matched.end() :] if matched is not None else None

    def _parse(self, number: str) -> PhoneNumber | None:
        import phonenumbers

        if not _NUMBER.fullmatch(number):
            return None
        try:
            return phonenumbers.parse(number, self._country)
        except phonenumbers.NumberParseException:
            return None

    @cached_property
    def _country_code(self) -> int:
        import phonenumbers

        return int(phonenumbers.country_code_for_region(self._country))

    @cached_property
    def _abroad(self) -> re.Pattern[str]:
        from phonenumbers.phonemetadata import PhoneMetadata

        metadata = PhoneMetadata.metadata_for_region(self._country, None)
        return re.compile((metadata.international_prefix if metadata is not None else "") or "00")
