"""What the document gives as examples is taken: the body of each operation is put together from its examples
and sent to an exchange that has such things."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from softswitch.apps.mailbox import Message
from tests.api.phones import live, phones, until
from tests.api.test_crawl import fill, routes, url_of, whole
from tests.api.test_resources import sound


def example_of(schema: dict[str, Any]) -> Any:
    """The value that somebody who reads the document would send; KeyError where he cannot know it."""
    if "$ref" in schema:
        schema = whole()["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    if "example" in schema:
        return schema["example"]
    if schema.get("examples"):
        return schema["examples"][0]
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    if "enum" in schema:
        return schema["enum"][0]
    for choice in schema.get("anyOf", ()):
        if choice.get("type") != "null":
            return example_of(choice)
    if schema.get("type") == "array":
        return [example_of(schema["items"])]
    if "properties" not in schema:
        raise KeyError(str(schema))
    found = {}
    for name, value in schema["properties"].items():
        try:
            found[name] = example_of(value)
        except KeyError:
            if name in schema.get("required", ()):
                raise KeyError(name) from None
    return found


OF_QUEUES = ("/requeue", "/assign", "/priority")
MORE = """
[[outbound]]
prefix = "0"
permission = "national"
trunks = ["carrier"]

[[conference]]
number = "8000"
"""
OTHERWISE = {
    "PUT /session/password": (409, "the agent's password is in the office file"),
    "POST /calls/live/{call_id}/assign": (409, "the agent is not at work"),
    "POST /config/{section}/check": (409, "the example before has made it"),
    "POST /evaluations/{evaluation_id}/appeal": (403, "that is for the agent himself"),
    "POST /evaluations/{evaluation_id}/decision": (409, "there has been no appeal"),
}
"""Operations whose example cannot be taken here, what they answer, and why."""


async def fill_more(api: Any, admin: Any) -> dict[str, str]:
    """What the examples speak of, beside two of everything."""
    made = await fill(api, admin)
    append = api.store.journal.append
    append("call-started", "c-0f3a", {"number_from": "+861065551000"}, 1_000.0)
    about = {"contact": "c-0f3a", "queue": "support", "agent": "lilei"}
    append("acd-queued", "c-0f3a", about, 1_001.0)
    append("acd-connected", "c-0f3a", about, 1_002.0)
    append("recording-started", "c-0f3a", {"name": "c-0f3a.wav"}, 1_002.0)
    append("recording-stopped", "c-0f3a", {"name": "c-0f3a.wav", "frames": 8_000 * 60}, 1_060.0)
    append("call-ended", "c-0f3a", {}, 1_060.0)
    await api.store.journal.flush()
    for number in range(6):
        await admin.post("/customers", {"name": f"customer {number}"})
        await admin.post("/tickets", {"subject": f"ticket {number}"})
    # The judgement of a conversation that has a recording.
    judged = {"scorecard_id": 1, "call_id": "c-0f3a", "agent_id": "lilei"}
    made["evaluation_id"] = str((await admin.post("/evaluations", judged))["id"])
    message = Message(
        message_id="c18c2f3a-41d9e0", box="1001", call_id="c-0f3a", number_from="1002",
        caller_name="", at_s=api.service.clock.wall_s(),
    )  # fmt: skip
    mailboxes = api.switch.catalogue.mailboxes
    mailboxes.begin(message)
    source = mailboxes.recording_path(mailboxes.recording_name(message))
    source.parent.mkdir(exist_ok=True)
    source.write_bytes(sound(2.0, 8_000))
    assert await mailboxes.keep(message) is not None
    return made


def places_of(operation: dict[str, Any]) -> dict[str, str]:
    """The parameters of its path, as its examples have them."""
    found = [one for one in operation.get("parameters", ()) if one["in"] == "path"]
    return {one["name"]: str(example_of(one["schema"])) for one in found}


def bodies() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Operations that take JSON: method, path, and what the document says of it."""
    for path, operations in routes().items():
        for method, operation in operations.items():
            content = operation.get("requestBody", {}).get("content", {})
            if "application/json" in content and not path.endswith("/files"):
                yield method.upper(), path, operation


async def nobody_calls(admin: Any) -> bool:
    """Whether all are hung up, which is asked of each."""
    going_on = (await admin.get("/calls/live"))["items"]
    for call in going_on:
        await admin.http.delete(f"/api/v1/calls/live/{call['call_id']}")
    return not going_on


async def test_every_example_of_a_body_is_taken(tmp_path: Any, running_api: Any) -> None:
    async with running_api(tmp_path, MORE) as api, phones(api, "1001", "1002", "1003") as three:
        admin = await api.as_role("admin")
        made = await fill_more(api, admin)
        refused, sent = [], 0
        for method, path, operation in bodies():
            body = example_of(operation["requestBody"]["content"]["application/json"]["schema"])
            places = places_of(operation) | made
            if "{setting_id}" in path:
                places["setting_id"] = made[path.removesuffix("/{setting_id}")]
            calling = None
            if "{call_id}" in path and path.startswith("/calls/live/"):
                calling = await three[1].call("5000" if path.endswith(OF_QUEUES) else "1003")
            elif path.startswith("/conferences/"):
                calling = await three[1].call("8000")
            if calling is not None:
                await calling.answered()
                call = await live(
                    admin,
                    "answered"
                    if path.endswith(OF_QUEUES) or path.startswith("/conf")
                    else "talking",
                )
                places["call_id"] = call["call_id"]
            url = url_of(path, places)
            answer = await admin.http.request(method, f"/api/v1{url}", json=body)
            wanted = OTHERWISE.get(f"{method} {path}", (200,))[0]
            if answer.status_code // 100 != 2 if wanted == 200 else answer.status_code != wanted:
                refused.append((method, url, body, answer.status_code, answer.text))
            sent += 1
            if calling is not None:
                await until(partial(nobody_calls, admin))
        assert not refused, "\n".join(map(str, refused))
        assert sent >= 60
