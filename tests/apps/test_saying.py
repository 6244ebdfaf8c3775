"""What is said for numbers, times and amounts, read as words through the manifest of prompts."""

from __future__ import annotations

import tomllib
from datetime import date, datetime, time
from decimal import Decimal

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from softswitch.prompts import shipped_prompts
from softswitch.saying import NUMBER_MAX, phrase

_MANIFEST = tomllib.loads((shipped_prompts() / "manifest.toml").read_text("utf-8"))
WORDS = {**_MANIFEST["prompts"], **_MANIFEST["pieces"]}


def zh(kind, value):
    return "".join(WORDS[name]["zh"] for name in phrase(kind, value, "zh"))


def en(kind, value):
    return " ".join(WORDS[name]["en"] for name in phrase(kind, value, "en"))


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0, "零"),
        (2, "二"),
        (10, "十"),
        (12, "十二"),
        (20, "二十"),
        (22, "二十二"),
        (100, "一百"),
        (112, "一百一十二"),
        (205, "二百零五"),
        (250, "二百五十"),
        (1005, "一千零五"),
        (1050, "一千零五十"),
        (2000, "两千"),
        (2222, "两千二百二十二"),
        (10_000, "一万"),
        (10_005, "一万零五"),
        (10_010, "一万零一十"),
        (12_000, "一万两千"),
        (20_000, "两万"),
        (22_000, "两万两千"),
        (100_500, "十万零五百"),
        (101_000, "十万一千"),
        (120_000, "十二万"),
        (220_000, "二十二万"),
        (10_000_000, "一千万"),
        (200_000_000, "两亿"),
        (100_000_001, "一亿零一"),
        (110_001_000, "一亿一千万一千"),
        (-7, "负七"),
        ("3.14", "三点一四"),
        (Decimal("0.50"), "零点五零"),
    ],
)
def test_chinese_numbers(number, said):
    assert zh("number", number) == said


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        ("count", 2, "两"),
        ("count", 12, "十二"),
        ("count", 22, "二十二"),
        ("position", 2, "二位"),
        ("position", 12, "十二位"),
        ("minutes", 1, "一分钟"),
        ("minutes", 2, "两分钟"),
        ("minutes", 15, "十五分钟"),
        ("duration", 7265, "两小时一分钟五秒"),
        ("duration", 45, "四十五秒"),
        ("digits", "1012", "幺零幺二"),
        ("date", date(2026, 10, 1), "二零二六年十月一日"),
        ("day", "2026-12-31", "十二月三十一日星期四"),
        ("time", time(9, 0), "上午九点"),
        ("time", "14:02", "下午两点零二分"),
        ("time", "12:30", "中午十二点三十分"),
        ("time", "00:15", "凌晨零点十五分"),
        ("time", datetime(2026, 1, 1, 20, 20), "晚上八点二十分"),  # noqa: DTZ001
        ("amount", (2, "CNY"), "两元"),
        ("amount", ("12.5", "CNY"), "十二元五角"),
        ("amount", ("12.34", "CNY"), "十二元三角四分"),
        ("amount", ("12.05", "CNY"), "十二元零五分"),
        ("amount", ("0.20", "CNY"), "两角"),
        ("amount", ("0", "CNY"), "零元"),
        ("amount", ("2.50", "USD"), "二点五美元"),
        ("amount", ("2", "EUR"), "两欧元"),
    ],
)
def test_chinese_phrases(kind, value, said):
    assert zh(kind, value) == said


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        ("number", 0, "zero"),
        ("number", 21, "twenty one"),
        ("number", 205, "two hundred five"),
        ("number", 1_000_017, "one million seventeen"),
        (
            "number",
            999_999_999_999,
            "nine hundred ninety nine billion nine hundred ninety nine million "
            "nine hundred ninety nine thousand nine hundred ninety nine",
        ),
        ("number", "-2.05", "minus two point zero five"),
        ("position", 3, "three"),
        ("minutes", 1, "one minute"),
        ("minutes", 12, "twelve minutes"),
        ("duration", 3661, "one hour one minute one second"),
        ("duration", 0, "zero seconds"),
        ("digits", "+86 10*#", "plus eight six one zero star pound"),
        ("date", "2026-10-01", "October first twenty twenty six"),
        ("date", "2005-02-23", "February twenty third two thousand five"),
        ("date", "1900-05-30", "May thirtieth nineteen hundred"),
        ("day", "2026-12-31", "Thursday December thirty first"),
        ("time", "00:05", "twelve oh five AM"),
        ("time", "13:00", "one PM"),
        ("amount", ("1", "USD"), "one dollar"),
        ("amount", ("12.01", "USD"), "twelve dollars and one cent"),
        ("amount", ("0.99", "GBP"), "ninety nine pence"),
        ("amount", ("2.50", "CNY"), "two yuan and fifty fen"),
    ],
)
def test_english_phrases(kind, value, said):
    assert en(kind, value) == said


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("number", "twelve"),
        ("number", NUMBER_MAX + 1),
        ("number", float("nan")),
        ("number", True),
        ("count", -1),
        ("count", "1.5"),
        ("digits", "12x"),
        ("digits", "١٢"),
        ("digits", "1" * 65),
        ("date", "2026-02-30"),
        ("time", "25:00"),
        ("amount", ("1", "XYZ")),
        ("amount", ("-1", "USD")),
        ("amount", 5),
        ("position", None),
        ("number", "1e999999999"),
        ("number", "1e-999999999"),
        ("count", "1e999999999"),
        ("amount", ("1e999999999", "EUR")),
    ],
)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_cannot_be_said_is_refused(kind, value, language):
    with pytest.raises(ValueError):  # noqa: PT011  # that it is a ValueError is the contract
        phrase(kind, value, language)


values = st.one_of(
    st.tuples(st.sampled_from(["number"]), st.integers(-NUMBER_MAX, NUMBER_MAX)),
    st.tuples(st.sampled_from(["number"]), st.decimals(-(10**9), 10**9, places=3)),
    st.tuples(st.sampled_from(["count", "position", "minutes"]), st.integers(0, NUMBER_MAX)),
    st.tuples(st.just("duration"), st.integers(0, 10**7)),
    st.tuples(st.just("digits"), st.text("0123456789*#+", max_size=20)),
    st.tuples(st.sampled_from(["date", "day"]), st.dates(date(1000, 1, 1))),
    st.tuples(st.just("time"), st.times()),
    st.tuples(
        st.just("amount"),
        st.tuples(st.decimals(0, 10**9, places=2), st.sampled_from(["CNY", "USD", "EUR", "GBP"])),
    ),
)


@given(values, st.sampled_from(["en", "zh"]))
def test_whatever_is_said_has_been_recorded(value, language):
    for name in phrase(*value, language):
        assert WORDS[name][language], name


def value_of(text):
    """A number read back from Chinese, by place values: independent of how it was made."""
    digits = {d: n for n, d in enumerate("零一二三四五六七八九")} | {"两": 2}
    places = {"十": 10, "百": 100, "千": 1000}
    total = group = digit = 0
    for sign in text:
        if sign in digits:
            digit = digits[sign]
        elif sign in places:
            group += (digit or 1) * places[sign]
            digit = 0
        else:
            total += (group + digit) * {"万": 10**4, "亿": 10**8}[sign]
            group = digit = 0
    return total + group + digit


@given(st.integers(0, NUMBER_MAX - 1))
def test_chinese_numbers_mean_what_they_say(number):
    said = zh("number", number)
    assert value_of(said) == number
    assert "零零" not in said
    assert number == 0 or not said.endswith("零")
    assert "二千" not in said
    assert not said.startswith(("二万", "二亿"))


def value_of_english(words):
    names = {WORDS[str(n)]["en"]: n for n in [*range(21), *range(30, 100, 10)]}
    scales = {"thousand": 10**3, "million": 10**6, "billion": 10**9}
    total = group = 0
    for word in words.split():
        if word == "hundred":
            group *= 100
        elif word in scales:
            total, group = total + group * scales[word], 0
        else:
            group += names[word]
    return total + group


@given(st.integers(0, NUMBER_MAX))
def test_english_numbers_mean_what_they_say(number):
    assert value_of_english(en("number", number)) == number


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_prompt_of_the_manifest_is_there(language):
    for name, words in WORDS.items():
        path = shipped_prompts() / language / f"{name}.flac"
        assert path.is_file() == bool(words[language]), path
    for name in _MANIFEST["sounds"]:
        assert (shipped_prompts() / "sounds" / f"{name}.flac").is_file()


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_prompt_is_as_loud_as_the_manifest_says_and_starts_at_once(language):
    wanted_dbov = _MANIFEST["languages"][language]["loudness_dbov"]
    for name, words in WORDS.items():
        if not words[language]:
            continue
        path = shipped_prompts() / language / f"{name}.flac"
        samples, rate_hz = soundfile.read(path, dtype="float64", always_2d=True)
        assert (rate_hz, samples.shape[1]) == (16_000, 1), path
        frames = samples[: len(samples) // 320 * 320].reshape(-1, 320)
        power = (frames**2).mean(axis=1)
        active = power > power.max() * 1e-3
        level_dbov = 10 * np.log10(power[active].mean())
        assert level_dbov == pytest.approx(wanted_dbov, abs=2.5), path  # peaks bound a few
        assert np.abs(samples).max() < 0.86, path
        assert np.flatnonzero(active)[0] <= 8, (
            path
        )  # at most 160 ms of silence before the first word
