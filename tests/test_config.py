"""The office file: what loads, and as what."""

from __future__ import annotations

import json
import os
import tomllib
from datetime import date
from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from softswitch.config import (
    Destination,
    HostPort,
    Listen,
    Office,
    PortRange,
    Prompt,
    Source,
    load_office,
    parse_office,
)
from softswitch.errors import ConfigError

EXAMPLES = Path(__file__).parents[1] / "examples"
VECTORS = Path(os.environ.get("SOFTSWITCH_VECTORS") or Path(__file__).parents[2] / "shared")
REFERENCES = [VECTORS / "office.toml", VECTORS / "tools" / "callgen" / "bench.toml"]


@pytest.mark.parametrize("file", REFERENCES, ids=lambda file: file.name)
def test_the_references_load_as_they_are(file: Path) -> None:
    if not file.is_file():
        pytest.skip(f"no {file} (set SOFTSWITCH_VECTORS)")
    office = load_office(file)
    tables = tomllib.loads(file.read_text())
    assert office.office.domain == tables["office"]["domain"]
    assert [trunk.name for trunk in office.trunks] == [t["name"] for t in tables["trunk"]]
    assert len(office.inbound) == len(tables["inbound"])


@pytest.mark.parametrize("name", ["office.toml", "bench.toml"])
def test_the_examples_load(name: str) -> None:
    assert load_office(EXAMPLES / name).trunks


def test_every_list_with_a_default_may_be_written(tmp_path: Path) -> None:
    """As a list of TOML, in every section that there is once."""
    written: dict[str, dict[str, list[str]]] = {}
    for section, field in Office.model_fields.items():
        made = field.get_default(call_default_factory=True)
        if isinstance(made, BaseModel):
            for key, value in made:
                if type(value) is tuple and value:  # not a range, which is a named one
                    written.setdefault(section, {})[key] = [str(each) for each in value]
    assert {"codecs", "listen", "digest"} <= {key for keys in written.values() for key in keys}
    lines = ['[office]\ndomain = "office.example"\n']
    for section, keys in written.items():
        lines += [f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())]
    file = tmp_path / "office.toml"
    file.write_text("\n".join(lines))
    office = load_office(file)
    for section, keys in written.items():
        for key, value in keys.items():
            assert [str(each) for each in getattr(getattr(office, section), key)] == value


def test_every_section_is_typed() -> None:
    office = load_office(EXAMPLES / "office.toml")
    assert office.sip.listen == (Listen("udp", "127.0.0.1", 5060),)
    assert office.media.ports == PortRange(20000, 29999)
    assert office.media.workers == "auto"
    assert office.http.listen == HostPort("127.0.0.1", 8080)
    first, second, _ = office.extensions
    assert first.voicemail is not None
    assert first.voicemail.pin == "4711"
    assert first.permissions == ("internal", "local", "national")
    assert second.forward.no_answer == Destination("voicemail", "1002")
    assert second.forward.after_s == 25.0
    carrier, backup = office.trunks
    assert (carrier.host, carrier.port) == ("127.0.0.1", 5090)
    assert carrier.from_addresses == (Source("127.0.0.1", 5090),)
    assert (carrier.registers, backup.username) == (False, None)
    assert office.inbound[0].to == Destination("ivr", "main")
    assert (office.inbound[2].from_trunk, office.inbound[2].number) == ("backup", "88*")
    assert office.ivrs[0].greeting == Prompt("prompt", "main-menu")
    assert office.ivrs[0].options["1"] == Destination("queue", "support")
    queue = office.queues[0]
    assert queue.relax[0].after_s == 60.0
    assert queue.callback is not None
    assert queue.callback.key == "1"
    assert queue.overflow == Destination("voicemail", "1001")
    assert office.agents[0].skills == {"support": 3, "billing": 2, "lang.zh": 5}
    assert office.customers[0].priority == 5


def test_hours_are_read_day_by_day_and_a_holiday_is_closed() -> None:
    hours = load_office(EXAMPLES / "office.toml").hours[0]
    assert hours.periods(date(2026, 10, 5)) == ((540, 720), (780, 1080))  # a Monday
    assert hours.periods(date(2026, 10, 3)) == ((600, 840),)  # a Saturday
    assert hours.periods(date(2026, 10, 4)) == ()
    assert hours.periods(date(2026, 10, 1)) == ()


def test_a_week_may_be_written_round_its_end_and_until_midnight() -> None:
    text = '[[hours]]\nname = "night"\nopen = { sat-mon = ["22:00-24:00"], mon = ["00:00-06:00"] }'
    week = parse_office(text).hours[0].open
    assert week[0] == ((0, 360), (1320, 1440))
    assert week[5] == week[6] == ((1320, 1440),)
    assert week[1:5] == ((), (), (), ())


def test_an_empty_file_is_an_office_with_the_defaults() -> None:
    office = parse_office("")
    assert office.codes.echo_test == "*43"
    assert office.recording.calls == "queue"
    assert office.extensions == ()
    assert office.office.zone.key == "Asia/Shanghai"


def test_defaults_give_no_rights() -> None:
    text = (
        '[[extension]]\nnumber = "1"\npassword = "12345678"\n[[trunk]]\nname = "t"\nuri = "sip:a"'
    )
    office = parse_office(text)
    assert office.extensions[0].permissions == ("internal",)
    assert office.extensions[0].voicemail is None
    assert office.trunks[0].from_addresses == ()
    assert office.http.listen.host == "127.0.0.1"


@pytest.mark.parametrize(
    ("listen", "expected"),
    [
        ("udp://127.0.0.1", Listen("udp", "127.0.0.1", 5060)),
        ("tls://10.0.0.1", Listen("tls", "10.0.0.1", 5061)),
        ("wss://[::1]:8443", Listen("wss", "::1", 8443)),
        ("udp://[::ffff:10.0.0.1]:5060", Listen("udp", "10.0.0.1", 5060)),
        ("udp://0.0.0.0:0", Listen("udp", "0.0.0.0", 0)),
    ],
)
def test_listening_addresses(listen: str, expected: Listen) -> None:
    office = parse_office(f'[sip]\nlisten = ["{listen}"]')
    assert office.sip.listen == (expected,)
    assert parse_office(f'[sip]\nlisten = ["{expected}"]').sip.listen == (expected,)


@pytest.mark.parametrize(
    ("greeting", "expected"),
    [
        ("main-menu", Prompt("prompt", "main-menu")),
        ("sounds/hello.wav", Prompt("file", "sounds/hello.wav")),
        ('text:"Good morning."', Prompt("text", "Good morning.")),
        ("text:您好", Prompt("text", "您好")),
    ],
)
def test_prompts(greeting: str, expected: Prompt) -> None:
    text = f"[[ivr]]\nname = 'm'\ngreeting = '{greeting}'"
    assert parse_office(text).ivrs[0].greeting == expected


def test_the_office_is_frozen_and_keeps_secrets_out_of_its_text() -> None:
    office = load_office(EXAMPLES / "office.toml")
    with pytest.raises(ValidationError):
        office.office.name = "other"  # type: ignore[misc]
    for secret in ("change-me-1001", "4711", "trunk-secret", "change-me-lilei"):
        assert secret not in repr(office)


def test_the_directory_is_found_from_the_file(tmp_path: Path) -> None:
    file = tmp_path / "office.toml"
    file.write_text('[storage]\ndirectory = "kept"')
    assert load_office(file).storage.directory == tmp_path / "kept"
    file.write_text('[storage]\ndirectory = "/srv/kept"')
    assert load_office(file).storage.directory == Path("/srv/kept")


@pytest.mark.parametrize("file", ["nothing.toml", ".", "\0"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, file: str) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_office(tmp_path / file)


def test_an_office_can_be_made_in_python() -> None:
    made = parse_office('[[conference]]\nnumber = "8000"')
    again = Office(conferences=made.conferences, sip=made.sip, hours=made.hours)
    assert again.conferences == made.conferences


def test_a_further_check_joins_in() -> None:
    from softswitch.config import Problem

    def complain(office: Office) -> list[Problem]:
        return [Problem("queue[0].skill", "is no expression", entry=office.queues[0].name)]

    with pytest.raises(ConfigError, match=r'3: queue\[0\]\.skill \("q"\): is no expression'):
        parse_office('[[queue]]\nname = "q"\nskill = "((("', checks=[complain])
