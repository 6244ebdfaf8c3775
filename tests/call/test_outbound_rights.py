"""What it takes to dial out, how carriers write our numbers, and how trunks share calls."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from softswitch.call.dialplan import Dialplan, Refused, ToTrunks, weighted_order
from softswitch.call.identity import PhoneIdentity, TrunkIdentity
from softswitch.config import Destination, parse_office
from softswitch.errors import ConfigError

TEXT = """
[[extension]]
number = "1001"
password = "a-long-secret-1001"
permissions = ["internal", "local", "national"]

[[extension]]
number = "1002"
password = "a-long-secret-1002"
permissions = ["internal", "international"]

[[extension]]
number = "1003"
password = "a-long-secret-1003"
permissions = ["internal"]

[[trunk]]
name = "a"
uri = "sip:192.0.2.1"

[[trunk]]
name = "b"
uri = "sip:192.0.2.2"

[[outbound]]
prefix = "7"
strip = 1
trunks = ["a"]

[[outbound]]
prefix = "80044"
strip = 1
permission = "national"
trunks = ["b"]

[[outbound]]
prefix = "8"
strip = 1
permission = "national"
trunks = ["a", "b"]
weights = [3, 1]

[[inbound]]
number = "+861065551000"
to = "extension:1001"

[[inbound]]
number = "01065551001"
to = "extension:1002"

[[customer]]
phone = ["+8613800000001"]
name = "Wang Wei"
"""
PLAN = Dialplan(parse_office(TEXT), frozenset(), random.Random(1).random)


def outcome(number: str, extension: str) -> str:
    route = PLAN.route(number, PhoneIdentity(extension))
    return route.why if isinstance(route, Refused) else "goes"


@pytest.mark.parametrize(
    ("number", "extension", "result"),
    [
        ("701065551234", "1001", "goes"),
        ("7013900000000", "1003", "no permission: national"),
        ("70014155552671", "1001", "no permission: international"),
        ("70014155552671", "1002", "goes"),
        ("70019005552671", "1002", "no permission: premium"),
        ("7110", "1003", "goes"),
        ("710086", "1001", "goes"),
        ("801065551234", "1001", "goes"),
        ("8110", "1003", "goes"),
        ("80014155552671", "1001", "no permission: international"),
        ("80019005552671", "1001", "no permission: premium"),
        ("80014155552671", "1002", "no permission: national"),
        ("800442079460018", "1001", "goes"),
    ],
)
def test_what_it_takes(number: str, extension: str, result: str) -> None:
    assert outcome(number, extension) == result


@pytest.mark.parametrize(
    ("written", "extension"),
    [
        ("+861065551000", "1001"),
        ("01065551000", "1001"),
        ("1065551000", "1001"),
        ("00861065551001", "1002"),
        ("+861065551001", "1002"),
        ("861065551001", "1002"),
    ],
)
def test_carriers_write_our_numbers_as_they_like(written: str, extension: str) -> None:
    route = PLAN.route(written, TrunkIdentity("a"))
    assert route == Destination("extension", extension)


@pytest.mark.parametrize("written", ["+8613800000001", "13800000001", "013800000001"])
def test_customers_are_known_however_they_are_shown(written: str) -> None:
    customer = PLAN.customer_of(written)
    assert customer is not None
    assert customer.name == "Wang Wei"


def test_trunks_share_by_weight() -> None:
    first: Counter[str] = Counter()
    for _ in range(4000):
        route = PLAN.route("801065551234", PhoneIdentity("1001"))
        assert isinstance(route, ToTrunks)
        assert sorted(route.trunks) == ["a", "b"]
        first[route.trunks[0]] += 1
    assert first["a"] / 4000 == pytest.approx(0.75, abs=0.03)


def test_weight_0_comes_last_and_weights_fit_the_trunks() -> None:
    chance = random.Random(2).random
    for _ in range(100):
        assert weighted_order(("x", "y", "z"), (0, 5, 0), chance) == ("y", "x", "z")
    with pytest.raises(ConfigError, match="weights"):
        parse_office(TEXT.replace("[3, 1]", "[3]"))
