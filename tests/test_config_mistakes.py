"""The office file: what is refused, and in which words."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softswitch.config import InvalidOffice, Problem, load_office, parse_office
from softswitch.config.load import FILE_BYTES_MAX
from softswitch.errors import ConfigError

EXAMPLE = (Path(__file__).parents[1] / "examples" / "office.toml").read_text()


def problems_of(text: str) -> tuple[Problem, ...]:
    with pytest.raises(InvalidOffice) as caught:
        parse_office(text, source="office.toml")
    return caught.value.problems


def the_problem(text: str) -> Problem:
    problems = problems_of(text)
    assert len(problems) == 1, problems
    return problems[0]


# A text of the example, what it is replaced by, the key path that is named, words of the problem.
MISTAKES = [
    ('domain = "office.example"', "domain = 7", "office.domain", "not a text"),
    ('name = "Example Trading"', "name = 7", "office.name", "wrong type"),
    ('language = "en"', 'language = "fr"', "office.language", "choices"),
    ('"Asia/Shanghai"', '"Asia/Shangai"', "office.timezone", 'did you mean "Asia/Shanghai"'),
    ('"Asia/Shanghai"', '"../../etc/passwd"', "office.timezone", "no time zone"),
    ('country = "CN"', 'country = "China"', "office.country", "not understood"),
    ("[office]", "[offic]", "offic", 'did you mean "office"'),
    ('country = "CN"', 'contry = "CN"', "office.contry", 'did you mean "country"'),
    ('"udp://127.0.0.1:5060"', '"udp:127.0.0.1"', "sip.listen[0]", "not a listening"),
    ('"udp://127.0.0.1:5060"', '"udp://localhost:5060"', "sip.listen[0]", "no IP address"),
    ('"udp://127.0.0.1:5060"', '"udp://127.0.0.1:65536"', "sip.listen[0]", "no IP address"),
    ('["udp://127.0.0.1:5060"]', '"udp://127.0.0.1:5060"', "sip.listen", "wrong type"),
    ('["udp://127.0.0.1:5060"]', "[]", "sip.listen", "out of bounds"),
    (
        '["udp://127.0.0.1:5060"]',
        '["tcp://10.0.0.1:1", "tls://10.0.0.1:1"]',
        "sip.listen[1]",
        "same address",
    ),
    (
        'listen = ["udp',
        'digest = ["MD5", "MD5"]\nlisten = ["udp',
        "sip.digest[1]",
        "same as sip.digest[0]",
    ),
    ('address = "127.0.0.1"', 'address = "0.0.0.0"', "media.address", "SDP"),
    (
        'address = "127.0.0.1"',
        'address = "127.0.0.1"\nother_address = "10.0.0.1"',
        "media.other_address",
        "same family",
    ),
    (
        'address = "127.0.0.1"',
        'address = "127.0.0.1"\nother_address = "auto"',
        "media.other_address",
        "SDP",
    ),
    ('"20000-29999"', '"29999-20000"', "media.ports", "not a usable range"),
    ('"20000-29999"', '"1-80000"', "media.ports", "not a usable range"),
    ('"20000-29999"', "20000", "media.ports", "not a text"),
    ('workers = "auto"', "workers = 0", "media.workers", "not a number of workers"),
    ('workers = "auto"', "workers = true", "media.workers", "not a number of workers"),
    ('"127.0.0.1:8080"', '"8080"', "http.listen", "not an address"),
    ('directory = "var"', 'directory = ""', "storage.directory", "not a directory"),
    ('directory = "var"', 'database = "mysql://x/y"', "storage.database", "not understood"),
    ('calls = "queue"', 'calls = "some"', "recording.calls", "choices"),
    ("retain_days = 180", "retain_days = 1.5", "recording.retain_days", "wrong type"),
    ("retain_days = 180", "retain_days = -1", "recording.retain_days", "out of bounds"),
    ('password = "change-me-1001"', 'password = "short"', "extension[0].password", "too short"),
    ('password = "change-me-1001"\n', "", "extension[0].password", "missing"),
    ('number = "1003"', "number = 1003", "extension[2].number", "not a text"),
    ('number = "1003"', 'number = "١٠٠٣"', "extension[2].number", "not understood"),
    ('pin = "4712"', 'pin = "12"', "extension[1].voicemail.pin", "not understood"),
    ('"local", "national"', '"locl"', "extension[0].permissions[1]", "not understood"),
    ("after_s = 25", "after_s = 0", "extension[1].forward.after_s", "out of bounds"),
    ("after_s = 25", "after_s = nan", "extension[1].forward.after_s", "out of bounds"),
    ("after_s = 25", "after = 25", "extension[1].forward.after", 'did you mean "after_s"'),
    ('"voicemail", after', '"nowhere", after', "extension[1].forward.no_answer", "destination"),
    (
        '"voicemail", after',
        '"voicemail:1003", after',
        "extension[1].forward.no_answer",
        'extension "1003" has no voicemail',
    ),
    ('"voicemail", after', '"1002", after', "extension[1].forward.no_answer", "itself"),
    ('"1002", "1003"]', '"1002", "1009"]', "ring_group[0].members[2]", 'no extension "1009"'),
    ('"1002", "1003"]', '"1002", "1002"]', "ring_group[0].members[2]", "same as"),
    ('number = "8000"', 'number = "1001"', "conference[0].number", "extension[0].number"),
    ('number = "7000"', 'number = "5000"', "queue[0].number", "same number as ivr[0].number"),
    ('uri = "sip:127.0.0.1:5091"', 'uri = "127.0.0.1"', "trunk[1].uri", "next hop"),
    (
        '"1002", "1003"]',
        '"1002", "1003"]\notherwise = "ring_group:1100"',
        "ring_group[0].otherwise",
        "leads to itself",
    ),
    ("[codes]", "[parking]\nslots = 100\n\n[codes]", "parking.slots", "out of bounds"),
    ("[codes]", "[parking]\npatience_s = 4\n\n[codes]", "parking.patience_s", "out of bounds"),
    (
        "[codes]",
        '[parking]\nback_to = "ring_group:1109"\n\n[codes]',
        "parking.back_to",
        'no ring group "1109"',
    ),
    (
        "[codes]",
        '[[hours]]\nname = "office-hours"\nopen = {}\n\n[codes]',
        "hours[1].name",
        "same as hours[0].name",
    ),
    ('username = "office"\n', "", "trunk[0].password", "without a username"),
    (
        'uri = "sip:127.0.0.1:5091"',
        'uri = "sip:127.0.0.1:5091"\nregister = true',
        "trunk[1].register",
        "needs username",
    ),
    ('["127.0.0.1:5091"]', '["carrier.example"]', "trunk[1].from_addresses[0]", "not an IP"),
    ('["127.0.0.1:5091"]', '["127.0.0.1:5090"]', "trunk[1].from_addresses[0]", "overlaps"),
    ('["127.0.0.1:5091"]', '["127.0.0.1"]', "trunk[1].from_addresses[0]", "overlaps"),
    ('["127.0.0.1:5091"]', '["[::ffff:127.0.0.1]:5090"]', "trunk[1].from_addresses[0]", "overlaps"),
    ("strip = 1", "strip = 2", "outbound[0].strip", "more digits"),
    ('["carrier", "backup"]', '["carrier", "bakup"]', "outbound[0].trunks[1]", '"backup"'),
    ('["carrier", "backup"]', "[]", "outbound[0].trunks", "out of bounds"),
    ('permission = "national"', 'permission = "all"', "outbound[0].permission", "understood"),
    ('to = "ivr:main"', 'to = "ivr:mian"', "inbound[0].to", 'did you mean "main"'),
    ('to = "ivr:main"', 'to = "menu:main"', "inbound[0].to", "not a destination"),
    ('number = "+861065551001"', 'number = "861065551000"', "inbound[1].number", "inbound[0]"),
    ('number = "88*"', 'number = "8*8"', "inbound[2].number", "not understood"),
    ('from = "backup"\n', "", "inbound[2].from", "missing"),
    ('from = "backup"', 'from = "nobody"', "inbound[2].from", 'no trunk "nobody"'),
    ('"09:00-12:00"', '"09:00-25:00"', "hours[0].open", "no time of day"),
    ('"09:00-12:00"', '"9-12"', "hours[0].open", "not understood"),
    ('"09:00-12:00"', '"09:00-13:30"', "hours[0].open", "overlap"),
    ("sat = ", "saturday = ", "hours[0].open", 'day called "saturday"'),
    ('"2026-10-02"', '"2026-02-30"', "hours[0].holidays[1]", "not a date"),
    ('greeting = "main-menu"', 'greeting = ""', "ivr[0].greeting", "not a prompt"),
    ('"2" = "queue:billing"', '"22" = "queue:billing"', 'ivr[0].options."22"', "understood"),
    ('"2" = "queue:billing"', '"2" = "queue:bill"', 'ivr[0].options."2"', '"billing"'),
    ('"2" = "queue:billing"', '"2" = "trunk:carrier"', 'ivr[0].options."2"', "over a trunk"),
    ('closed = "voicemail:1001"', 'closed = "ivr:main"', "ivr[0].closed", "itself"),
    ('"+8621", "+8625"', '"+8621", "+8610"', "region[1].prefixes[1]", "region[0].prefixes[0]"),
    ('"+8621", "+8625"', '"+8621", "north"', "region[1].prefixes[1]", "not understood"),
    ('skill = "billing >= 2"', "skill = 2", "queue[1].skill", "wrong type"),
    ('overflow = "queue:support"', 'overflow = "queue:billing"', "queue[1].overflow", "itself"),
    ('overflow = "queue:support"', 'overflow = "queue:suport"', "queue[1].overflow", "support"),
    ('"priority", "skill"', '"skill", "skill"', "queue[1].route[1]", "same as"),
    ('skill = "" }]', 'skill = "" }, { after_s = 60 }]', "queue[0].relax[1].after_s", "later"),
    ('extension = "1003"', 'extension = "1004"', "agent[1].extension", 'no extension "1004"'),
    ('role = "supervisor"', 'role = "boss"', "agent[1].role", "choices"),
    ("billing = 2,", "billing = 101,", "agent[0].skills.billing", "out of bounds"),
    ('"lang.zh" = 5', '"lang zh" = 5', 'agent[0].skills."lang zh"', "not understood"),
    ('regions = ["east"]', 'regions = ["west"]', "agent[1].regions[0]", 'no region "west"'),
    ("priority = 5", "priority = 5.5", "customer[0].priority", "wrong type"),
    ('["+8613800000001"]', '["+86138", "86138"]', "customer[0].phone[1]", "customer[0].phone[0]"),
    ('echo_test = "*43"', 'echo_test = "*97"', "codes.voicemail", "codes.echo_test"),
    ('echo_test = "*43"', 'echo_test = "*901"', "codes.echo_test", "begins with codes.listen"),
    ('echo_test = "*43"', 'echo_test = "43"', "codes.echo_test", "not understood"),
]


@pytest.mark.parametrize(("old", "new", "key_path", "words"), MISTAKES)
def test_a_mistake_is_named_by_its_key(old: str, new: str, key_path: str, words: str) -> None:
    assert old in EXAMPLE
    problem = the_problem(EXAMPLE.replace(old, new, 1))
    assert problem.key_path == key_path
    assert words in f"{problem.problem}; {problem.allowed}"


def test_a_line_says_file_line_key_entry_and_what_is_allowed() -> None:
    text = EXAMPLE.replace('overflow = "queue:support"', 'overflow = "queue:suport"')
    line = 1 + text[: text.index('overflow = "queue:suport"')].count("\n")
    with pytest.raises(ConfigError) as caught:
        parse_office(text, source="office.toml")
    assert str(caught.value) == (
        f'office.toml:{line}: queue[1].overflow ("billing"): there is no queue "suport" '
        '(did you mean "support"?); allowed: "billing", "support"'
    )
    assert (caught.value.key_path, caught.value.allowed) == (
        "queue[1].overflow",
        '"billing", "support"',
    )


def test_all_problems_are_shown_in_the_order_of_the_file() -> None:
    text = EXAMPLE.replace('to = "ivr:main"', 'to = "ivr:a"').replace('"east"]', '"west"]')
    text = text.replace('["carrier", "backup"]', '["carrer"]')
    with pytest.raises(InvalidOffice) as caught:
        parse_office(text)
    paths = [problem.key_path for problem in caught.value.problems]
    assert paths == ["outbound[0].trunks[0]", "inbound[0].to", "agent[1].regions[0]"]
    assert str(caught.value).count("\n") == 2


def test_very_many_problems_are_cut() -> None:
    text = "\n".join(f"[[region]]\nname = 'r{i}'\nprefixes = 1" for i in range(60))
    with pytest.raises(InvalidOffice) as caught:
        parse_office(text)
    assert len(caught.value.problems) == 60
    assert str(caught.value).endswith("and 10 more")


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("[office]\nname = ", 2, 8),
        ("[office]\nname = 'a'\nname = 'b'", 3, 11),
        ("[office\n", 1, 8),
        ("x = 'never ends", 1, 16),
        ("a = 1\n\n= 2", 3, 1),
    ],
)
def test_wrong_toml_is_named_by_line_and_column(text: str, line: int, column: int) -> None:
    problem = the_problem(text)
    assert problem.key_path == f"line {line}, column {column}"
    assert problem.line == line
    assert "not TOML" in problem.problem


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 100_000,
        "a = " + "9" * 5_000,
        "\0",
        "[[queue]]\nname = 'x'\n" + "z = " + "{ y = " * 5_000,
        '"\\u0000\\u001b[31m" = 1',
        "office = 1",
        "office = []",
        "queue = { name = 1 }",
        "extension = [1]",
        "extension = [[]]",
    ],
    ids=lambda text: text[:20].encode("unicode_escape").decode(),
)
def test_odd_files_are_refused_on_printable_lines(text: str) -> None:
    for problem in problems_of(text):
        assert str(problem).isprintable()
        assert len(str(problem)) < 2_000


@pytest.mark.limit("configuration file")
def test_the_size_of_a_file_is_bounded(tmp_path: Path) -> None:
    file = tmp_path / "office.toml"
    file.write_bytes(b"#" * FILE_BYTES_MAX)
    assert load_office(file).extensions == ()
    file.write_bytes(b"#" * (FILE_BYTES_MAX + 1))
    with pytest.raises(ConfigError, match="too large"):
        load_office(file)


def test_text_in_another_encoding_is_named_by_line(tmp_path: Path) -> None:
    file = tmp_path / "office.toml"
    file.write_bytes("[office]\nname = 'Café'".encode("latin-1"))
    with pytest.raises(ConfigError, match="line 2: is not UTF-8"):
        load_office(file)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"change-me-1001"', '"secret1"'),
        ('"change-me-1001"', "['secret1']"),
        ('"change-me-1001"', '"' + "secret1" * 30 + '"'),
        ('"change-me-1001"', '"secret1'),
        ('pin = "4711"', 'pin = "secret1"'),
        ('password = "trunk-secret"', "password = ['secret1']"),
        ('directory = "var"', 'database = "postgres://user:secret1@host/db"'),
    ],
)
def test_no_message_shows_a_secret(old: str, new: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_office(EXAMPLE.replace(old, new, 1), source="office.toml")
    assert "secret1" not in str(caught.value)
    assert "secret1" not in repr(caught.value)


@pytest.mark.parametrize("seed", range(100))
def test_a_mutated_file_loads_or_is_refused_in_words(seed: int) -> None:
    rng = random.Random(seed)
    text = EXAMPLE
    for _ in range(rng.randint(1, 6)):
        text = _mutate(text, rng)
    refusal = _refusal(text)
    assert refusal is None or refusal.startswith("office.toml:")


def _refusal(text: str) -> str | None:
    """What a `ConfigError` says; any other exception is a failure."""
    try:
        parse_office(text, source="office.toml")
    except ConfigError as error:
        return str(error)
    return None


def _mutate(text: str, rng: random.Random) -> str:
    start = rng.randrange(len(text))
    end = min(len(text), start + rng.randint(1, 30))
    lines = text.split("\n")
    match rng.randrange(6):
        case 0:
            return text[:start] + text[end:]
        case 1:
            return text[:start] + text[start:end] * 2 + text[end:]
        case 2:
            junk = "".join(rng.choice("[]{}=,\"'#.\n\\0a9-+\x00\u2028é") for _ in range(4))
            return text[:start] + junk + text[start:]
        case 3:
            del lines[rng.randrange(len(lines))]
        case 4:
            i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
            lines[i], lines[j] = lines[j], lines[i]
        case _:
            values = ("1", "-1", "1e400", "nan", "true", "[]", "{}", '""', "1979-05-27", '"x"')
            i = rng.randrange(len(lines))
            if "=" in lines[i]:
                lines[i] = f"{lines[i].split('=')[0]}= {rng.choice(values)}"
    return "\n".join(lines)


_values = st.recursive(
    st.none().map(lambda _: "true")
    | st.integers().map(str)
    | st.floats().map(lambda value: str(value))
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=12).map(
        lambda text: '"' + text.replace("\\", "").replace('"', "") + '"'
    ),
    lambda inner: st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
    max_leaves=4,
)
_sections = st.sampled_from(
    ["[office]", "[sip]", "[media]", "[[extension]]", "[[queue]]", "[[trunk]]", "[[hours]]"]
)
_keys = st.sampled_from(
    ["name", "number", "listen", "ports", "open", "route", "overflow", "uri", "password", "from"]
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(_sections, st.dictionaries(_keys, _values, max_size=4)), max_size=3))
def test_any_values_anywhere_give_an_office_or_a_config_error(
    tables: list[tuple[str, dict[str, str]]],
) -> None:
    text = "\n".join(
        "\n".join([section, *(f"{key} = {value}" for key, value in values.items())])
        for section, values in tables
    )
    refusal = _refusal(text)
    assert refusal is None or refusal.startswith("office.toml:")
