"""Questions of flows: where they may go, whatever a name says today."""

from __future__ import annotations

import asyncio

import pytest

from softswitch.apps.ask import GuardedAsker, is_public
from tests.apps.test_lookup import program, reply


def asker(*hosts, **names):
    asked = []

    async def addresses(name):
        asked.append(name)
        return names.get(name.replace(".", "_").replace("-", "_"), [])

    return GuardedAsker(hosts, addresses), asked


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("::ffff:10.0.0.1", False),
        ("fe80::1", False),
        ("fd00::1", False),
        ("2002:0a00:0001::1", False),
        ("2606:2800:220:1:248:1893:25c8:1946", True),
        ("crm.example", False),
    ],
)
def test_public_addresses(address, public):
    assert is_public(address) is public


async def test_a_listed_host_is_asked_by_http_at_a_private_address():
    async with program(reply(b'{"vip": true}')) as (url, asked):
        url = url.replace("127.0.0.1", "crm.office")
        ask, names = asker("CRM.office", crm_office=["127.0.0.1"])
        query = {"timeout_s": "1", "url": "x&y", "number": "+86 1"}
        assert await ask(url, timeout_s=2.0, query=query) == {"vip": True}
    assert names == ["crm.office"]
    assert "timeout_s=1&url=x%26y&number=%2B86+1" in asked[0]
    assert "Host: crm.office:" in asked[0]


@pytest.mark.parametrize(
    ("url", "names", "words"),
    [
        ("http://crm.example/", {"crm_example": ["93.184.216.34"]}, "only https"),
        ("https://crm.example/", {"crm_example": ["10.0.0.1"]}, "a private address"),
        ("https://crm.example/", {"crm_example": ["93.184.216.34", "127.0.0.1"]}, "a private"),
        ("https://crm.example/", {}, "no address"),
        ("https://127.0.0.1/", {}, "a private address"),
        ("https://[::ffff:127.0.0.1]/", {}, "a private address"),
        ("https://2130706433/", {}, "no address"),
        ("https://[::1/", {}, "no address"),
    ],
)
async def test_what_is_not_asked(url, names, words, caplog):
    ask, _ = asker(**names)
    assert await ask(url, timeout_s=1.0, query={}) is None
    assert words in caplog.text or "IPv6" in caplog.text


async def test_the_time_limit_holds_for_the_name_too(caplog):
    async def never(name):
        await asyncio.sleep(60)
        return []

    ask = GuardedAsker((), never)
    assert await ask("https://crm.example/", timeout_s=0.05, query={}) is None
    assert "no answer within 0.05 s" in caplog.text
