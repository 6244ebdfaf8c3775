"""Webhooks: told in order, signed, again until heard, never inside the private network."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softswitch.api.events import delivery as machine
from softswitch.api.events.delivery import (
    FAILURES_MAX,
    PAUSES_S,
    WAITING_MAX,
    Answered,
    Delivery,
    Happened,
    Log,
    Pause,
    PauseOver,
    Send,
    SwitchOff,
    Telling,
    Unreached,
    signature,
)
from softswitch.ports import free_port

GOOD, BAD = Answered(204, 1.0), Answered(500, 1.0)


def happened(number: int) -> Happened:
    return Happened(Telling(f"r.{number}", "call-ended", b"{}"))


def test_one_at_a_time_in_order() -> None:
    told = Delivery()
    (send,) = told.handle(happened(1))
    assert send == Send(Telling("r.1", "call-ended", b"{}"), 1)
    assert told.handle(happened(2)) == []
    log, following = told.handle(GOOD)
    assert isinstance(log, Log)
    assert (log.telling.event, log.status, log.attempts) == ("r.1", "delivered", 1)
    assert isinstance(following, Send)
    assert following.telling.event == "r.2"


def test_again_with_growing_pauses_and_then_given_up() -> None:
    told = Delivery()
    told.handle(happened(1))
    pauses = []
    while True:
        effects = told.handle(BAD)
        if not isinstance(effects[0], Pause):
            break
        pauses.append(effects[0].after_s)
        (send,) = told.handle(PauseOver())
        assert isinstance(send, Send)
        assert send.attempt == len(pauses) + 1
    assert tuple(pauses) == PAUSES_S
    (log,) = effects
    assert isinstance(log, Log)
    assert (log.status, log.attempts) == ("failed", len(PAUSES_S) + 1)
    assert told.waiting == 0


def test_switched_off_after_so_many_failures_in_a_row() -> None:
    told = Delivery()
    for number in range(10):
        told.handle(happened(number))
    found: list[Any] = []
    for _ in range(FAILURES_MAX - 1):
        found += told.handle(Unreached("refused", 1.0))
        told.handle(PauseOver())
    assert not any(isinstance(effect, SwitchOff) for effect in found)
    assert isinstance(told.handle(BAD)[-1], SwitchOff)
    assert told.off
    assert told.handle(happened(99)) == told.handle(GOOD) == []
    assert isinstance(Delivery().handle(happened(1))[0], Send)


def test_what_waits_when_it_ends_is_said_to_be_dropped() -> None:
    told = Delivery()
    for number in range(3):
        told.handle(happened(number))
    told.handle(BAD)
    assert (told.attempts, told.trouble, told.waiting) == (1, "answered 500", 3)
    effects = told.handle(Answered(410, 1.0)) if told.handle(PauseOver()) else []
    assert [(e.telling.event, e.status) for e in effects if isinstance(e, Log)] == [
        ("r.0", "failed"),
        ("r.1", "dropped"),
        ("r.2", "dropped"),
    ]
    other = Delivery()
    other.handle(happened(7))
    (log,) = other.end("the exchange stopped")
    assert (log.telling.event, log.status, log.detail) == ("r.7", "dropped", "the exchange stopped")
    assert other.handle(GOOD) == other.end("again") == []


def test_gone_is_gone() -> None:
    told = Delivery()
    told.handle(happened(1))
    assert isinstance(told.handle(Answered(410, 1.0))[-1], SwitchOff)


@pytest.mark.limit("events that wait for a webhook")
def test_what_waits_is_bounded_and_says_what_it_drops() -> None:
    told = Delivery()
    for number in range(WAITING_MAX):
        assert all(isinstance(e, Send) for e in told.handle(happened(number)))
    (log,) = told.handle(happened(WAITING_MAX))
    assert isinstance(log, Log)
    assert (log.telling.event, log.status) == ("r.1", "dropped")
    assert told.waiting == WAITING_MAX


@given(st.lists(st.sampled_from(["happened", "good", "bad", "lost", "timer"]), max_size=200))
def test_every_event_has_one_end_and_one_is_sent_at_a_time(steps: list[str]) -> None:
    told, number, sending, ended = Delivery(), 0, False, []
    for step in steps:
        if step == "happened":
            number += 1
            effects = told.handle(happened(number))
        elif step == "timer" and not sending:
            effects = told.handle(PauseOver())
        elif step in ("good", "bad", "lost") and sending:
            sending = False
            effects = told.handle({"good": GOOD, "bad": BAD}.get(step, Unreached("x", 1.0)))
        else:
            continue
        for effect in effects:
            if isinstance(effect, Send):
                assert not sending
                sending = True
            elif isinstance(effect, Log):
                ended.append(effect.telling.event)
    assert len(set(ended)) == len(ended)
    if not told.off:
        assert len(ended) + told.waiting == number


def test_the_signature_is_what_others_compute() -> None:
    # printf '1700000000.{}' | openssl dgst -sha256 -hmac s
    mac = "e9232c9945da8456c2dea6b39da7786c07b00bca7a64d5dd1283674713a7b72a"
    assert signature("s", b"{}", 1_700_000_000) == f"t=1700000000,v1={mac}"


# -- over the wire -------------------------------------------------------------------------------


class Hook:
    """A server that answers as it is told and remembers what came."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.heard: list[tuple[dict[str, str], bytes]] = []
        self.came = asyncio.Event()
        self.url = ""
        self.elsewhere = "http://127.0.0.1:1/"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        lines = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
        body = await reader.readexactly(int(lines["Content-Length"]))
        self.heard.append((lines, body))
        self.came.set()
        status = self.statuses.pop(0) if self.statuses else 204
        more = f"Location: {self.elsewhere}\r\n" if 300 <= status < 400 else ""
        writer.write(f"HTTP/1.1 {status} x\r\n{more}Content-Length: 0\r\n\r\n".encode())
        writer.close()


@asynccontextmanager
async def hooked() -> AsyncIterator[Hook]:
    hook = Hook()
    server = await asyncio.start_server(hook.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    hook.url = f"http://127.0.0.1:{port}/hook?x=1"
    async with server:
        yield hook


TRUSTED = '[look_up]\nhosts = ["127.0.0.1"]\n'


async def test_events_arrive_signed_after_a_failure(
    tmp_path: Any, running_api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "PAUSES_S", (0.02,) * 5)
    async with hooked() as hook, running_api(tmp_path, TRUSTED) as api:
        admin = await api.as_role("admin")
        body = {"name": "CRM", "url": hook.url, "topics": ["calls"]}
        made = await admin.post("/webhooks", body)
        url = f"/webhooks/{made['id']}"
        assert "secret" not in await admin.get(url)
        hook.statuses = [500, 302]
        for number in range(3):
            api.store.journal.append("call-started", f"c{number}", {"n": number}, 1.0)
        api.store.journal.append("ticket-added", None, {"object": "ticket:1"}, 1.0)
        async with asyncio.timeout(10):
            while len(hook.heard) < 5:
                hook.came.clear()
                await hook.came.wait()
        assert [json.loads(b)["call_id"] for _, b in hook.heard] == ["c0", "c0", "c0", "c1", "c2"]
        head, content = hook.heard[0]
        at_s = int(head["X-Softswitch-Signature"].split(",")[0].removeprefix("t="))
        assert head["X-Softswitch-Signature"] == signature(made["secret"], content, at_s)
        assert head["X-Softswitch-Event"] == "call-started"
        for _ in range(200):
            lines = (await admin.get(f"{url}/deliveries"))["items"]
            if len(lines) == 3:
                break
            await asyncio.sleep(0.02)
        assert [(line["status"], line["attempts"]) for line in lines] == [
            ("delivered", 1),
            ("delivered", 1),
            ("delivered", 3),
        ]
        assert (await admin.post(f"{url}/test", expect=200))["ok"] is True
        hook.statuses = [404]
        assert (await admin.post(f"{url}/test", expect=200))["detail"] == "answered 404"
        await admin.delete(url)
        await admin.get(url, 404)
    assert not any(made["secret"].encode() in path.read_bytes() for path in files_of(tmp_path)), (
        "the secret is sealed"
    )


async def test_what_was_not_delivered_is_sent_again_by_command(
    tmp_path: Any, running_api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "PAUSES_S", ())
    async with hooked() as hook, running_api(tmp_path, TRUSTED) as api:
        admin = await api.as_role("admin")
        made = await admin.post("/webhooks", {"name": "x", "url": hook.url, "topics": ["calls"]})
        url = f"/webhooks/{made['id']}"
        hook.statuses = [500]
        api.store.journal.append("call-started", "c1", {"n": 1}, 1.0)
        api.store.journal.append("call-ended", "c1", {}, 2.0)
        async with asyncio.timeout(10):
            while len(hook.heard) < 2:
                hook.came.clear()
                await hook.came.wait()
        await api.service.webhooks.written()
        (line,) = (await admin.get(f"{url}/deliveries?status=failed"))["items"]
        assert (line["kind"], line["detail"]) == ("call-started", "answered 500")
        again = f"{url}/deliveries/{line['id']}/again"
        hook.statuses = [503, 200]
        told = await admin.post(again, expect=200)
        assert (told["status"], told["attempts"], told["detail"]) == (
            "failed",
            2,
            "sent again: answered 503",
        )
        told = await admin.post(again, expect=200)
        assert (told["status"], told["detail"]) == ("delivered", "sent again: 200")
        assert hook.heard[0][1] == hook.heard[-1][1]
        assert hook.heard[0][0]["X-Softswitch-Position"] == line["event"]
        assert hook.heard[-1][0]["X-Softswitch-Position"] == line["event"]
        assert (await admin.get(f"{url}/deliveries?status=failed"))["items"] == []
        await admin.post(f"{url}/deliveries/999/again", expect=404)
        # Back-off is seen, and what waits when it is changed is in the log and can be sent still.
        monkeypatch.setattr(machine, "PAUSES_S", (600.0,))
        hook.statuses = [500]
        api.store.journal.append("call-started", "c2", {}, 3.0)
        for _ in range(200):
            shown = await admin.get(url)
            if shown["next_at_s"] is not None:
                break
            await asyncio.sleep(0.02)
        assert (shown["waiting"], shown["attempts"], shown["trouble"]) == (1, 1, "answered 500")
        assert shown["next_at_s"] - api.service.clock.wall_s() > 590
        await admin.patch(url, {"name": "y"})
        await api.service.webhooks.written()
        (line,) = (await admin.get(f"{url}/deliveries?status=dropped"))["items"]
        assert line["detail"] == "the webhook was changed"
        await admin.post(f"{url}/deliveries/{line['id']}/again", expect=200)
        assert json.loads(hook.heard[-1][1])["call_id"] == "c2"


async def test_the_receiver_of_the_documentation_takes_what_is_sent(
    tmp_path: Any, running_api: Any
) -> None:
    """As it is printed, with the address and the secret put in."""
    text = (Path(__file__).parents[2] / "docs/events.md").read_text()
    (recipe,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    async with running_api(tmp_path, TRUSTED) as api:
        admin = await api.as_role("admin")
        port = free_port()
        url = f"http://127.0.0.1:{port}/hook"
        made = await admin.post("/webhooks", {"name": "x", "url": url, "topics": ["calls"]})
        for secret, good in ((made["secret"], True), ("another", False)):
            program = recipe.replace("9000", str(port)).replace("SECRET_THAT_WAS_SHOWN", secret)
            receiver = await asyncio.create_subprocess_exec(sys.executable, "-c", program)
            try:
                for _ in range(200):
                    answer = await admin.post(f"/webhooks/{made['id']}/test", expect=200)
                    if answer["status"]:
                        break
                    await asyncio.sleep(0.05)
                assert (answer["ok"], answer["status"]) == (good, 204 if good else 400)
            finally:
                receiver.terminate()
                await receiver.wait()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_a_failure_and_leads_nowhere(
    tmp_path: Any, running_api: Any, status: int
) -> None:
    async with hooked() as hook, hooked() as other, running_api(tmp_path, TRUSTED) as api:
        admin = await api.as_role("admin")
        made = await admin.post("/webhooks", {"name": "x", "url": hook.url, "topics": ["calls"]})
        hook.elsewhere, hook.statuses = other.url, [status]
        answer = await admin.post(f"/webhooks/{made['id']}/test", expect=200)
        assert (answer["ok"], answer["detail"]) == (False, f"answered {status}")
        assert (len(hook.heard), other.heard) == (1, [])


async def test_the_address_that_was_judged_is_the_one_that_is_told(
    tmp_path: Any, running_api: Any
) -> None:
    """A name that leads elsewhere when it is asked for again (DNS rebinding) gains nothing."""
    async with (
        hooked() as hook,
        running_api(tmp_path, '[look_up]\nhosts = ["crm.example"]\n') as api,
    ):
        answers = [["127.0.0.1"], ["192.0.2.1"]]
        asked: list[str] = []

        async def resolve(host: str) -> list[str]:
            asked.append(host)
            return answers.pop(0)

        api.service.guard._addresses = resolve
        admin = await api.as_role("admin")
        url = hook.url.replace("127.0.0.1", "crm.example")
        made = await admin.post("/webhooks", {"name": "x", "url": url, "topics": ["calls"]})
        assert (await admin.post(f"/webhooks/{made['id']}/test", expect=200))["ok"] is True
        assert asked == ["crm.example"], "asked once: what is connected to is that answer"
        assert hook.heard[0][0]["Host"].startswith("crm.example")


def files_of(directory: Any) -> list[Any]:
    return [path for path in directory.rglob("*") if path.is_file()]


async def test_one_that_fails_for_long_is_switched_off_with_an_alarm_and_on_again(
    tmp_path: Any, running_api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "PAUSES_S", (0.001,) * 30)
    async with hooked() as hook, running_api(tmp_path, TRUSTED) as api:
        admin = await api.as_role("admin")
        made = await admin.post("/webhooks", {"name": "x", "url": hook.url, "topics": ["calls"]})
        url = f"/webhooks/{made['id']}"
        hook.statuses = [500] * FAILURES_MAX
        api.store.journal.append("call-started", "c1", {}, 1.0)
        for _ in range(500):
            if not (found := await admin.get(url))["active"]:
                break
            await asyncio.sleep(0.02)
        assert "20 attempts in a row failed" in found["disabled_because"]
        assert "webhook.1" in api.switch.alarms
        assert (await admin.patch(url, {"active": True}))["disabled_because"] == ""
        assert "webhook.1" not in api.switch.alarms
        await admin.patch(url, {"name": "y"}, 412, headers={"If-Match": '"1"'})


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://169.254.169.254/latest/meta-data",
        "https://10.1.2.3/",
        "https://0.0.0.0/",
        "http://93.184.216.34/",
        "https://localhost/",
    ],
)
async def test_private_addresses_are_refused_at_once(api: Any, url: str) -> None:
    admin = await api.as_role("admin")
    body = {"name": "x", "url": url, "topics": ["calls"]}
    answer = await admin.post("/webhooks", body, 422)
    assert "look_up.hosts" in answer["detail"]
    made = await admin.post("/webhooks", {**body, "url": "https://crm.example/"})
    await admin.patch(f"/webhooks/{made['id']}", {"url": url}, 422)


async def test_one_that_was_made_before_is_not_told_either(api: Any) -> None:
    admin = await api.as_role("admin")
    url = "https://2130706433/"
    made = await admin.post("/webhooks", {"name": "x", "url": url, "topics": ["calls"]})
    answer = await admin.post(f"/webhooks/{made['id']}/test", expect=409)
    assert url in answer["detail"]
    known = api.service.webhooks._known
    for inside in ("https://10.1.2.3/", "http://93.184.216.34/", "https://0.0.0.0/"):
        known[made["id"]] = replace(known[made["id"]], url=inside)
        answer = await admin.post(f"/webhooks/{made['id']}/test", expect=409)
        assert inside in answer["detail"]


async def test_a_name_that_leads_inside_is_refused_after_the_dns(api: Any) -> None:
    guard = api.service.guard
    asked: list[str] = []

    async def resolve(host: str) -> list[str]:
        asked.append(host)
        return ["93.184.216.34", "192.168.1.1"]

    guard._addresses = resolve
    admin = await api.as_role("admin")
    body = {"name": "x", "url": "https://crm.example/hook", "topics": ["calls"]}
    made = await admin.post("/webhooks", body)
    await admin.post(f"/webhooks/{made['id']}/test", expect=409)
    assert asked == ["crm.example"]
