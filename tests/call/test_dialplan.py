"""Where numbers lead: deny by default, local numbers, permissions, trunks."""

from __future__ import annotations

import pytest

from softswitch.call.dialplan import Dialplan, Refused, ToTrunks
from softswitch.call.identity import PhoneIdentity, TrunkIdentity
from softswitch.config import Destination, parse_office

OFFICE = parse_office(
    """
[[extension]]
number = "1001"
password = "a-long-secret-1001"
permissions = ["internal", "national"]

[[extension]]
number = "1002"
password = "a-long-secret-1002"

[[ring_group]]
number = "1100"
members = ["1001", "1002"]

[[conference]]
number = "8000"

[[trunk]]
name = "carrier"
uri = "sip:127.0.0.1:5090"
from_addresses = ["127.0.0.1:5090"]

[[trunk]]
name = "backup"
uri = "sip:127.0.0.1:5091"
from_addresses = ["127.0.0.1:5091"]

[[outbound]]
prefix = "9"
strip = 1
permission = "national"
trunks = ["carrier", "backup"]

[[inbound]]
number = "+861065551000"
to = "extension:1002"

[[inbound]]
from = "carrier"
number = "88*"
to = "trunk:backup"
""",
    source="test",
)
PLAN = Dialplan(OFFICE, frozenset({"7000"}))
PHONE, POOR_PHONE = PhoneIdentity("1001"), PhoneIdentity("1002")
CARRIER, BACKUP = TrunkIdentity("carrier"), TrunkIdentity("backup")


@pytest.mark.parametrize(
    ("number", "route"),
    [
        ("1002", Destination("extension", "1002")),
        ("1100", Destination("ring_group", "1100")),
        ("8000", Destination("conference", "8000")),
        ("*43", Destination("echo")),
        ("7000", Destination("handler", "7000")),
        ("901012345", ToTrunks(("carrier", "backup"), "01012345")),
    ],
)
def test_a_phone_reaches_what_is_written_down(number, route):
    assert PLAN.route(number, PHONE) == route


@pytest.mark.parametrize(
    ("number", "status"), [("5555", 404), ("", 484), ("9", 484), ("10 01", 404), ("../x", 404)]
)
def test_a_phone_is_told_why_not(number, status):
    route = PLAN.route(number, PHONE)
    assert isinstance(route, Refused)
    assert route.status == status


def test_no_permission_no_way_out():
    assert PLAN.route("901012345", POOR_PHONE) == Refused(403, "no permission: national")


def test_inbound_number_with_or_without_plus():
    for number in ("+861065551000", "861065551000"):
        assert PLAN.route(number, CARRIER) == Destination("extension", "1002")


def test_a_trunk_does_not_reach_local_numbers_or_other_trunks_unless_written_down():
    for number in ("1001", "901012345", "*43", "7000", "8000"):
        assert isinstance(PLAN.route(number, CARRIER), Refused)
    assert PLAN.route("8812345", CARRIER) == ToTrunks(("backup",), "8812345")
    assert isinstance(PLAN.route("8812345", BACKUP), Refused), "transit only from the trunk named"


@pytest.mark.parametrize("pattern", ["88*", "+88*", "88", "+88", "*"])
@pytest.mark.parametrize("number", ["88", "+88", "881", "+8861", "8", "+8", "98"])
def test_an_inbound_number_is_one_or_the_beginning_of_some_with_or_without_plus(pattern, number):
    rule = f'[[inbound]]\nnumber = "{pattern}"\nto = "extension:1001"\n'
    phone = '[[extension]]\nnumber = "1001"\npassword = "a-long-secret-1001"\n'
    plan = Dialplan(parse_office(phone + rule, source="test"))
    wanted, given = pattern.removeprefix("+"), number.removeprefix("+")
    fits = given.startswith(wanted[:-1]) if wanted.endswith("*") else given == wanted
    found = plan.route(number, CARRIER)
    assert found == (Destination("extension", "1001") if fits else Refused(404, "no inbound route"))
