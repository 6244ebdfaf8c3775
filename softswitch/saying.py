"""Numbers, times and amounts in words: from a value to the ids of the prompts that say it.

Pure. English and Chinese have a grammar each; the words themselves are recorded pieces
(``prompts/manifest.toml``). Chinese follows GB/T 15835 in how numerals are read: one 零 for a gap, 十二
but 一百一十二, 两 before counters and before 千, 万 and 亿, and 二 in ordinals and before 十 and 百.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal[
    "number", "count", "digits", "position", "minutes", "duration", "date", "day", "time", "amount"
]
Value: TypeAlias = int | float | str | Decimal | date | time | tuple[str | int | Decimal, str]

NUMBER_MAX = 10**12 - 1
DIGITS_MAX = 64
_DECIMALS_MAX = 6
_PLACES_MAX = 64


def phrase(kind: Kind, value: Value, language: str) -> list[str]:
    """The ids of the prompts that say `value`.

    Parameters: `kind`, one of ``number`` (whole or with decimals), ``count`` (a number that a thing
    follows: 两), ``digits`` (a telephone number, key by key), ``position`` (in a line), ``minutes``,
    ``duration`` (seconds in, in hours, minutes and seconds), ``date`` (with the year), ``day`` (weekday,
    month and day), ``time`` (of day) and ``amount`` (a pair of value and currency: CNY, USD, EUR, GBP);
    `language`, "zh" or else English.

    Raises `ValueError` for a value that is not of the kind or beyond `NUMBER_MAX`.
    """
    english, chinese = _PHRASES[kind]
    say = chinese if language == "zh" else english
    try:
        return say(value)
    except (TypeError, AttributeError, InvalidOperation):
        raise ValueError(f"{value!r} cannot be said as {kind}") from None


# -- values -----------------------------------------------------------------------------------------


def _bounded(value: Value) -> Decimal | None:
    """None for what is none of ours to say: "1e999999999" has as many digits once it is written out, and so
    has "1e-999999999"."""
    number = Decimal(str(value))
    if not number.is_finite() or not -_PLACES_MAX <= number.adjusted() <= _PLACES_MAX:
        return None
    return number if abs(number) <= NUMBER_MAX else None


def _whole(value: Value) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal | float):
        raise TypeError
    number = _bounded(value)
    if number is None or number != int(number):
        raise ValueError(f"{value!r} is no whole number up to {NUMBER_MAX}")
    return int(number)


def _natural(value: Value) -> int:
    number = _whole(value)
    if number < 0:
        raise ValueError(f"{value!r} is below zero")
    return number


def _split(value: Value) -> tuple[bool, int, str]:
    """(below zero, whole part, decimals as written)."""
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal | float):
        raise TypeError
    number = _bounded(value)
    if number is None:
        raise ValueError(f"{value!r} is no number up to {NUMBER_MAX}")
    whole, _, decimals = f"{abs(number):f}".partition(".")
    return number < 0, int(whole), decimals[:_DECIMALS_MAX]


def _money(value: Value) -> tuple[Decimal, str]:
    if not isinstance(value, tuple):
        raise TypeError
    amount, currency = Decimal(str(value[0])), str(value[1]).upper()
    if currency not in _MAIN or not amount.is_finite() or not 0 <= amount <= NUMBER_MAX:
        raise ValueError(f"{value!r} is no amount of {', '.join(_MAIN)}")
    return amount.quantize(Decimal("0.01")), currency


def _seconds(value: Value) -> tuple[int, int, int]:
    seconds = _natural(round(value) if isinstance(value, float) else value)
    return seconds // 3600, seconds // 60 % 60, seconds % 60


def _day_of(value: Value) -> date:
    if isinstance(value, str):
        return date.fromisoformat(value)
    if not isinstance(value, date):
        raise TypeError
    return value


def _time_of(value: Value) -> time:
    if isinstance(value, str):
        return time.fromisoformat(value)
    if isinstance(value, datetime):
        return value.time()
    if not isinstance(value, time):
        raise TypeError
    return value


def _keys(value: Value, one: str) -> list[str]:
    text = str(value)
    if not isinstance(value, int | str) or isinstance(value, bool) or len(text) > DIGITS_MAX:
        raise TypeError
    names = {"*": "star", "#": "pound", "+": "plus", "1": one}
    keys = [names.get(key, key) for key in text if key not in " -()"]
    if not all(key in names.values() or (len(key) == 1 and key in "0123456789") for key in keys):
        raise ValueError(f"{value!r} holds more than keys")
    return keys


# -- English ----------------------------------------------------------------------------------------

_EN_GROUPS = ((10**9, "billion"), (10**6, "million"), (1000, "thousand"))


def _en_cardinal(number: int) -> list[str]:
    words: list[str] = []
    for size, name in _EN_GROUPS:
        if number >= size:
            words += [*_en_cardinal(number // size), name]
            number %= size
    if number >= 100:
        words += [str(number // 100), "hundred"]
        number %= 100
    if number > 20 and number % 10:
        words += [str(number - number % 10), str(number % 10)]
    elif number or not words:
        words.append(str(number))
    return words


def _en_number(value: Value) -> list[str]:
    negative, whole, decimals = _split(value)
    words = [*(["minus"] if negative else []), *_en_cardinal(whole)]
    return [*words, "point", *decimals] if decimals else words


def _en_units(number: int, one: str, many: str) -> list[str]:
    return [*_en_cardinal(number), one if number == 1 else many]


def _en_duration(value: Value) -> list[str]:
    hours, minutes, seconds = _seconds(value)
    words = _en_units(hours, "hour", "hours") if hours else []
    words += _en_units(minutes, "minute", "minutes") if minutes else []
    if seconds or not words:
        words += _en_units(seconds, "second", "seconds")
    return words


def _en_year(year: int) -> list[str]:
    high, low = divmod(year, 100)
    if year < 1000 or (high % 10 == 0 and low < 10):
        return _en_cardinal(year)  # two thousand five
    if low == 0:
        return [*_en_cardinal(high), "hundred"]
    return [*_en_cardinal(high), *(["oh"] if low < 10 else []), *_en_cardinal(low)]


def _en_month_day(day: date) -> list[str]:
    tens = day.day - day.day % 10
    if day.day > 20 and day.day % 10:
        return [f"month-{day.month}", str(tens), f"ordinal-{day.day % 10}"]
    return [f"month-{day.month}", f"ordinal-{day.day}"]


def _en_date(value: Value) -> list[str]:
    day = _day_of(value)
    return [*_en_month_day(day), *_en_year(day.year)]


def _en_day(value: Value) -> list[str]:
    day = _day_of(value)
    return [f"weekday-{day.isoweekday()}", *_en_month_day(day)]


def _en_time(value: Value) -> list[str]:
    at = _time_of(value)
    words = [str(at.hour % 12 or 12)]
    if at.minute:
        words += [*(["oh"] if at.minute < 10 else []), *_en_cardinal(at.minute)]
    return [*words, "am" if at.hour < 12 else "pm"]


_MAIN = {
    "CNY": ("yuan", "yuan"),
    "USD": ("dollar", "dollars"),
    "EUR": ("euro", "euros"),
    "GBP": ("pound-money", "pounds-money"),
}
_SUB = {
    "CNY": ("fen", "fen"),
    "USD": ("cent", "cents"),
    "EUR": ("cent", "cents"),
    "GBP": ("penny", "pence"),
}


def _en_amount(value: Value) -> list[str]:
    amount, currency = _money(value)
    whole, hundredths = divmod(int(amount * 100), 100)
    words = _en_units(whole, *_MAIN[currency]) if whole or not hundredths else []
    if hundredths:
        words += [*(["and"] if words else []), *_en_units(hundredths, *_SUB[currency])]
    return words


# -- Chinese ----------------------------------------------------------------------------------------

_TWO = "two-of"  # 两
_ZH_GROUPS = ((10**8, "hundred-million"), (10**4, "ten-thousand"), (1, ""))
_ZH_PLACES = ((1000, "thousand"), (100, "hundred"), (10, "10"))


def _zh_group(number: int, *, leads: bool) -> list[str]:
    """A number from 1 to 9999; a leading 一十 is 十 alone, one 零 stands for any gap."""
    words: list[str] = []
    gap = False
    for size, name in _ZH_PLACES:
        digit, number = divmod(number, size)
        if not digit:
            gap = bool(words)
            continue
        if gap:
            words.append("0")
        gap = False
        if size == 1000 and digit == 2:
            words += [_TWO, name]
        elif size == 10 and digit == 1 and leads and not words:
            words.append(name)
        else:
            words += [str(digit), name]
    if number:
        words += ["0", str(number)] if gap else [str(number)]
    return words


def _zh_cardinal(number: int) -> list[str]:
    if number == 0:
        return ["0"]
    words: list[str] = []
    gap = False
    for size, name in _ZH_GROUPS:
        group, number = divmod(number, size)
        if not group:
            gap = bool(words)
            continue
        if words and (gap or group < 1000):
            words.append("0")
        gap = False
        if group == 2 and name:
            words += [_TWO, name]
        else:
            words += [*_zh_group(group, leads=not words), *([name] if name else [])]
    return words


def _zh_number(value: Value) -> list[str]:
    negative, whole, decimals = _split(value)
    words = [*(["minus"] if negative else []), *_zh_cardinal(whole)]
    return [*words, "point", *decimals] if decimals else words


def _zh_count(number: int) -> list[str]:
    return [_TWO] if number == 2 else _zh_cardinal(number)


def _zh_duration(value: Value) -> list[str]:
    hours, minutes, seconds = _seconds(value)
    words = [*_zh_count(hours), "hours"] if hours else []
    words += [*_zh_count(minutes), "minutes"] if minutes else []
    if seconds or not words:
        words += [*_zh_count(seconds), "seconds"]
    return words


def _zh_month_day(day: date) -> list[str]:
    return [*_zh_cardinal(day.month), "month-mark", *_zh_cardinal(day.day), "day-mark"]


def _zh_date(value: Value) -> list[str]:
    day = _day_of(value)
    return [*str(day.year), "year-mark", *_zh_month_day(day)]


def _zh_day(value: Value) -> list[str]:
    day = _day_of(value)
    return [*_zh_month_day(day), f"weekday-{day.isoweekday()}"]


def _zh_period(hour: int) -> str:
    for end, name in ((6, "small-hours"), (12, "morning"), (13, "noon"), (18, "afternoon")):
        if hour < end:
            return name
    return "evening"


def _zh_time(value: Value) -> list[str]:
    at = _time_of(value)
    hour = at.hour if at.hour <= 12 else at.hour - 12
    words = [_zh_period(at.hour), *_zh_count(hour), "o-clock"]
    if at.minute:
        gap = ["0"] if at.minute < 10 else []
        words += [*gap, *_zh_cardinal(at.minute), "minute-mark"]
    return words


def _zh_amount(value: Value) -> list[str]:
    amount, currency = _money(value)
    whole, hundredths = divmod(int(amount * 100), 100)
    if currency != "CNY":
        decimals = f"{hundredths:02}".rstrip("0")
        said = [*_zh_cardinal(whole), "point", *decimals] if decimals else _zh_count(whole)
        return [*said, _MAIN[currency][0]]
    words = [*_zh_count(whole), "yuan"] if whole or not hundredths else []
    jiao, fen = divmod(hundredths, 10)
    if jiao:
        words += [*_zh_count(jiao), "jiao"]
    elif words and fen:
        words.append("0")
    return (
        [*words, *(_zh_count(fen) if words == [] else _zh_cardinal(fen)), "fen"] if fen else words
    )


_Say: TypeAlias = Callable[[Value], list[str]]

_PHRASES: dict[str, tuple[_Say, _Say]] = {
    "number": (_en_number, _zh_number),
    "count": (lambda v: _en_cardinal(_natural(v)), lambda v: _zh_count(_natural(v))),
    "digits": (lambda v: _keys(v, "1"), lambda v: _keys(v, "one-key")),
    "position": (
        lambda v: _en_cardinal(_natural(v)),
        lambda v: [*_zh_cardinal(_natural(v)), "position-counter"],
    ),
    "minutes": (
        lambda v: _en_units(_natural(v), "minute", "minutes"),
        lambda v: [*_zh_count(_natural(v)), "minutes"],
    ),
    "duration": (_en_duration, _zh_duration),
    "date": (_en_date, _zh_date),
    "day": (_en_day, _zh_day),
    "time": (_en_time, _zh_time),
    "amount": (_en_amount, _zh_amount),
}
