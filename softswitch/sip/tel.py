"""Telephone numbers as URIs write them: tel: (RFC 3966), and the user part of a SIP URI that is a telephone
number (RFC 3261 19.1.6)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from softswitch.errors import RemoteProtocolError
from softswitch.sip.grammar import Params, find_param, parse_params
from softswitch.sip.uri import REMEMBERED_MAX, SHORT, SipUri, unescape

_SUBSCRIBER: Final = re.compile(r"(\+?+)([0-9A-Fa-f*#().\-]++)((?:;.*+)?+)")
_SEPARATORS: Final = str.maketrans("", "", "().-")
_WITH_PARAMS: Final = re.compile(r"([0-9]++)(?:;[A-Za-z0-9\-]++(?:=[^;\s]*+)?+)++")
_PLAIN: Final = re.compile(r"[0-9A-Za-z*#_]*+|\+[0-9]++")
"""What says all by itself, as nearly every user part does."""


@dataclass(frozen=True, slots=True)
class TelUri:
    """A tel: URI: `number` without visual separators, with its plus where it is a global one; `params` as
    received. A local number without phone-context, which RFC 3966 5.1.5 wants, is taken nevertheless:
    telephones write what was dialled."""

    number: str
    params: Params = ()

    @classmethod
    def parse(cls, text: str) -> TelUri:
        """Parse `text`; raises RemoteProtocolError: status_hint 416 for another scheme, 400 for bad syntax."""
        if not is_tel(text):
            raise RemoteProtocolError("not a tel URI", 416)
        return _tel_uri(text) if len(text) <= SHORT else cls._read(text)

    @classmethod
    def _read(cls, text: str) -> TelUri:
        found = _subscriber(unescape(text[4:].partition(";")[0]))
        if found is None:
            raise RemoteProtocolError("malformed telephone number")
        _, semicolon, params = text.partition(";")
        return cls(found, parse_params(semicolon + params))

    def param(self, name: str) -> str | None:
        """The value of a parameter, unescaped; "" for a flag, None where absent."""
        value = find_param(self.params, name)
        return unescape(value) if value else value


def is_tel(uri_text: str) -> bool:
    """Whether that is a tel: URI, well-formed or not."""
    return uri_text[:4].lower() == "tel:"


def number_of(uri_text: str) -> str:
    """The number, or the name, that a sip:, sips: or tel: URI is for; "" where it is for nobody.

    What a telephone number has beside its digits (visual separators, ;phone-context, ;ext, ;isub, ;cpc,
    ;npdi) is left out. Raises RemoteProtocolError: status_hint 416 for another scheme, 400 for bad syntax.
    """
    if uri_text[:3] != "sip" and is_tel(uri_text):
        return TelUri.parse(uri_text).number
    uri = SipUri.parse(uri_text)
    user = uri.user
    if user is not None and "%" in user:
        user = unescape(user)
    if user is None or _PLAIN.fullmatch(user) is not None:
        return user or ""
    if user[0] == "+" or (uri.param("user") or "").lower() == "phone":
        return _subscriber(user) or user
    # Carriers put parameters behind the number (;cpc=, ;rn=) and forget to say that it is one.
    carriers = _WITH_PARAMS.fullmatch(user)
    return carriers[1] if carriers else user


def _subscriber(text: str) -> str | None:
    """The digits of a telephone-subscriber (RFC 3966 3), its parameters left out; None for anything else."""
    match = _SUBSCRIBER.fullmatch(text)
    if match is None:
        return None
    plus, digits = match.group(1), match.group(2).translate(_SEPARATORS)
    if not digits or (plus and not digits.isdecimal()):
        return None
    return plus + digits


_tel_uri = lru_cache(REMEMBERED_MAX)(TelUri._read)
