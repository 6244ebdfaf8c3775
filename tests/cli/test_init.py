"""`softswitch init` and `softswitch check`."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable
from pathlib import Path
from zoneinfo import available_timezones

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from typer.testing import CliRunner, Result

from softswitch.cli.check import unserved
from softswitch.cli.init import PHONES_MAX, new_password, own_timezone, write_office
from softswitch.cli.main import build
from softswitch.config import load_office, parse_office
from softswitch.errors import SoftswitchError

Run = Callable[..., Result]
EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def run() -> Run:
    def invoke(*arguments: object) -> Result:
        environment = {"COLUMNS": "200", "NO_COLOR": "1"}
        return CliRunner(env=environment).invoke(build(), [str(a) for a in arguments])

    return invoke


def test_a_new_office_loads_is_private_and_says_what_to_enter(run: Run, tmp_path: Path) -> None:
    home = tmp_path / "office"
    done = run("init", home, "--address", "127.0.0.1", "--port", 5070)
    assert done.exit_code == 0
    file = home / "office.toml"
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    office = load_office(file)
    at = "127.0.0.1"
    assert [*map(str, office.sip.listen)] == [
        f"udp://{at}:5070",
        f"tcp://{at}:5070",
        f"tls://{at}:5071",
    ]
    assert office.media.address == "127.0.0.1"
    for extension in office.extensions:
        assert extension.voicemail is not None
        secrets = rf"{re.escape(extension.password)} +{extension.voicemail.pin}"
        assert re.search(rf"127\.0\.0\.1:5070 +{extension.number} +{secrets}", done.output)
        assert extension.permissions == ("internal",)
        assert str(extension.forward.no_answer) == f"voicemail:{extension.number}"
    assert f"softswitch serve {file}" in done.output


def test_a_new_office_has_a_certificate_that_can_be_compared(run: Run, tmp_path: Path) -> None:
    done = run("init", tmp_path / "office", "--address", "127.0.0.1")
    storage = load_office(tmp_path / "office" / "office.toml").storage.directory
    certificate = x509.load_pem_x509_certificate((storage / "tls" / "certificate.pem").read_bytes())
    assert certificate.fingerprint(SHA256()).hex(":").upper() in done.output
    assert "127.0.0.1:5061 over TLS" in done.output
    assert [stat.S_IMODE(path.stat().st_mode) for path in storage.rglob("*.pem")] == [0o600, 0o600]
    assert stat.S_IMODE(storage.stat().st_mode) == 0o700


def test_no_two_offices_have_a_secret_in_common(run: Run, tmp_path: Path) -> None:
    secrets: set[str] = set()
    for name in ("a", "b"):
        run("init", tmp_path / name, "--phones", 20)
        office = load_office(tmp_path / name / "office.toml")
        secrets |= {extension.password for extension in office.extensions}
    assert len(secrets) == 40
    assert all(re.fullmatch(r"([a-z2-9]{4}-){3}[a-z2-9]{4}", secret) for secret in secrets)


def test_a_password_has_no_letter_taken_for_another() -> None:
    drawn = "".join(new_password() for _ in range(200))
    assert not set(drawn) & set("01iloILO")


def test_what_a_new_office_suggests_is_an_office_too(run: Run, tmp_path: Path) -> None:
    run("init", tmp_path, "--address", "127.0.0.1")
    text = (tmp_path / "office.toml").read_text()
    suggested = re.sub(r"^# (?=\[|[a-z_]+ = )", "", text, flags=re.MULTILINE)
    office = parse_office(suggested, source="suggested")
    assert [queue.name for queue in office.queues] == ["support"]
    assert [agent.extension for agent in office.agents] == ["1001"]
    assert [trunk.name for trunk in office.trunks] == ["carrier"]
    assert str(office.inbound[0].to) == "queue:support"


def test_language_zone_and_country_are_given(run: Run, tmp_path: Path) -> None:
    given = ("--language", "zh", "--timezone", "Asia/Hong_Kong", "--country", "HK")
    run("init", tmp_path, *given)
    office = load_office(tmp_path / "office.toml").office
    assert (office.language, office.timezone, office.country) == ("zh", "Asia/Hong_Kong", "HK")
    for wrong in (("--language", "fr"), ("--timezone", "Asia/Nowhere"), ("--country", "China")):
        refused = run("init", tmp_path / "other", *wrong)
        assert isinstance(refused.exception, SoftswitchError)
        assert f"office.{wrong[0][2:]}" in str(refused.exception)
    assert own_timezone() in available_timezones()


def test_an_office_is_never_overwritten(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "office.toml"
    file.write_text("mine")
    done = run("init", tmp_path)
    assert isinstance(done.exception, SoftswitchError)
    assert "stays as it is" in str(done.exception)
    assert file.read_text() == "mine"


def test_the_number_of_phones_is_bounded(run: Run, tmp_path: Path) -> None:
    assert run("init", tmp_path / "a", "--phones", PHONES_MAX).exit_code == 0
    assert len(load_office(tmp_path / "a" / "office.toml").extensions) == PHONES_MAX
    assert run("init", tmp_path / "b", "--phones", PHONES_MAX + 1).exit_code == 2
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("address", ["not an address", "office.example", "0.0.0.0"])
def test_an_address_that_cannot_be_used_writes_nothing(
    run: Run, tmp_path: Path, address: str
) -> None:
    done = run("init", tmp_path / "office", "--address", address)
    assert isinstance(done.exception, SoftswitchError)
    assert not (tmp_path / "office").exists()


def test_ipv6(run: Run, tmp_path: Path) -> None:
    done = run("init", tmp_path, "--address", "::1")
    assert "[::1]:5060" in done.output
    assert load_office(tmp_path / "office.toml").sip.listen[0].host == "::1"


# -- check -----------------------------------------------------------------------------------------


def test_check_sums_up_and_shows_no_secret(run: Run) -> None:
    done = run("check", EXAMPLES / "office.toml")
    assert done.exit_code == 0
    assert "3: 1001, 1002, 1003" in done.output
    assert "udp://127.0.0.1:5060" in done.output
    assert "office.toml: good" in done.output
    assert "change-me" not in done.output


def test_check_warns_of_a_file_that_others_may_read(run: Run, tmp_path: Path) -> None:
    run("init", tmp_path, "--address", "127.0.0.1")
    file = tmp_path / "office.toml"
    assert "warning" not in run("check", file).output
    file.chmod(0o644)
    assert f"chmod 600 {file}" in run("check", file).output


def test_check_cuts_long_lists(run: Run, tmp_path: Path) -> None:
    run("init", tmp_path, "--phones", 10)
    assert (
        "10: 1001, 1002, 1003, 1004, 1005, 1006 and 4 more"
        in run("check", tmp_path / "office.toml").output
    )


def test_check_shows_every_problem(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "office.toml"
    file.write_text('[office]\nnam = "x"\n[media]\nworkers = -1\n')
    done = run("check", file)
    assert isinstance(done.exception, SoftswitchError)
    assert str(done.exception).split("\n") == [
        f'{file}:2: office.nam: is not a key that is known here (did you mean "name"?); '
        "allowed: name, domain, language, timezone, country",
        f'{file}:4: media.workers: is not a number of workers; allowed: "auto" or 1 to 256',
    ]


def test_check_prints_the_limits(run: Run) -> None:
    done = run("check", "--limits")
    assert done.exit_code == 0
    assert re.search(r"SIP head .* 65,536 octets", done.output)
    assert "good" not in done.output


def test_the_folder_of_an_office_stands_for_its_file(run: Run, tmp_path: Path) -> None:
    run("init", tmp_path / "office", "--address", "127.0.0.1")
    done = run("check", tmp_path / "office")
    assert done.exit_code == 0
    assert str(tmp_path / "office" / "office.toml") in done.output
    missing = run("check", tmp_path)
    assert isinstance(missing.exception, SoftswitchError)
    assert str(tmp_path / "office.toml") in str(missing.exception)


AGENTS = """
[[extension]]
number = "1001"
password = "0123456789ab"
[[queue]]
name = "support"
number = "5000"
skill = "support >= 2"
{relax}
[[queue]]
name = "empty"
number = "5001"
[[agent]]
id = "li"
extension = "1001"
password = "0123456789ab"
queues = ["support"]
skills = {{ support = {level} }}
"""


@pytest.mark.parametrize(
    ("level", "relax", "told"),
    [
        (1, "", ["queue support: none of its agents has the skill support >= 2"]),
        (1, 'relax = [{ after_s = 60, skill = "" }]', []),
        (2, "", []),
    ],
)
def test_a_queue_that_nobody_serves_is_told_of(level: int, relax: str, told: list[str]) -> None:
    office = parse_office(AGENTS.format(level=level, relax=relax))
    empty = "queue empty: no agent of this file has it in his `queues`"
    assert unserved(office) == [*told, empty]


def test_a_file_in_place_of_a_folder_is_told(tmp_path: Path) -> None:
    path = tmp_path / "office.toml"
    path.write_text("")
    with pytest.raises(SoftswitchError, match="is a file; name the folder to be made"):
        write_office(path, "")
