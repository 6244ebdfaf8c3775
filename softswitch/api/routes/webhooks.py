"""Webhooks: servers that are told what happens, signed and again until they have heard it."""

from __future__ import annotations

import secrets
from dataclasses import asdict
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from pydantic import Field

from softswitch.api.access import PREFIX, GuardedRoute, Me
from softswitch.api.models import (
    Id,
    IfMatch,
    Input,
    Line,
    Output,
    Text,
    among,
    given,
    tag,
    version_of,
)
from softswitch.api.paging import Cursor, Limit, Page, int_cursor, page_of, page_read
from softswitch.api.service import Served
from softswitch.store.webhooks import Webhook

router = APIRouter(prefix=PREFIX, route_class=GuardedRoute, tags=["events"])

Topic = Literal[
    "calls",
    "queues",
    "agents",
    "callbacks",
    "voicemails",
    "surveys",
    "customers",
    "tickets",
    "quality",
    "office",
    "alarms",
    "users",
    "security",
]
Topics = Annotated[list[Topic], Field(min_length=1, max_length=16, examples=[["calls"]])]
Url = Annotated[
    Text,
    Field(
        pattern=r"^https?://[!-~]{1,1000}$",
        examples=["https://crm.example/hooks/calls"],
        description="https and a public address, unless `[look_up] hosts` names the host.",
    ),
]


STATUSES = ("delivered", "failed", "dropped")


class WebhookShown(Output):
    """One webhook. `disabled_because`: it failed too often; set `active` to begin anew."""

    passing = frozenset({"waiting", "attempts", "trouble", "next_at_s"})
    id: int = Field(examples=[1])
    name: str = Field(examples=["CRM"])
    url: str = Field(examples=["https://crm.example/hooks/calls"])
    topics: list[str] = Field(examples=[["calls"]])
    queue: str
    agent: str
    active: bool
    disabled_because: str
    waiting: int = Field(description="Events that it has not been told yet.")
    attempts: int = Field(description="How often the first of them has been tried in vain.")
    trouble: str = Field(
        description="Why the last attempt failed; empty once one has succeeded.",
        examples=["answered 500"],
    )
    next_at_s: float | None = Field(description="When it is tried again; null: now, or nothing.")
    created_by: str
    created_at_s: float
    version: int


class WebhookMade(WebhookShown):
    """A new webhook with the secret that its signatures are made with, shown this once."""

    secret: str


class NewWebhook(Input):
    """Whom to tell what."""

    name: Line = Field(min_length=1, examples=["CRM"])
    url: Url
    topics: Topics
    queue: Line = ""
    agent: Line = ""


class WebhookChange(Input):
    """What is to be different; what is left out stays."""

    name: Line | None = None
    url: Url | None = None
    topics: Topics | None = None
    queue: Line | None = None
    agent: Line | None = None
    active: bool | None = Field(default=None, examples=[True])


class TestResult(Output):
    """What the other side answered; 0: nothing."""

    ok: bool
    status: int = Field(examples=[204])
    detail: str


class DeliveryShown(Output):
    """How telling one event went."""

    id: int = Field(examples=[1])
    event: str = Field(examples=["9f3ab1c2d4e5.1042"], description="Its position.")
    kind: str = Field(examples=["call-ended"])
    at_s: float
    attempts: int
    status: str = Field(examples=["delivered"], json_schema_extra=among(STATUSES))
    detail: str
    took_ms: float


@router.get("/webhooks")
async def list_webhooks(
    service: Served,
    limit: Limit = 200,
    cursor: Cursor = None,
    active: bool | None = None,
    topic: Topic | None = None,
) -> Page[WebhookShown]:
    """All webhooks, by id."""
    found = [
        webhook
        for webhook in service.webhooks.all()
        if active in (None, webhook.active) and topic in (None, *webhook.topics)
    ]
    page, more = page_of(found, lambda webhook: (webhook.id,), limit, cursor)
    return Page(items=[_shown(service, webhook) for webhook in page], next=more)


@router.post("/webhooks", status_code=201)
async def add_webhook(body: NewWebhook, response: Response, me: Me, service: Served) -> WebhookMade:
    """Add a webhook. Each event is POSTed as JSON; `X-Softswitch-Signature` holds `t=TIME,v1=HMAC` with
    HMAC-SHA256 of `TIME.BODY` under `secret`."""
    secret = secrets.token_hex(24)
    webhook = await service.webhooks.add(me.actor, body.model_dump(), secret)
    tag(response, webhook.version)
    return WebhookMade(**_shown(service, webhook).model_dump(), secret=secret)


@router.get("/webhooks/{webhook_id}")
async def show_webhook(webhook_id: Id, response: Response, service: Served) -> WebhookShown:
    """One webhook."""
    webhook = service.webhooks.get(webhook_id)
    tag(response, webhook.version)
    return _shown(service, webhook)


@router.patch("/webhooks/{webhook_id}")
async def change_webhook(
    webhook_id: Id,
    body: WebhookChange,
    response: Response,
    me: Me,
    service: Served,
    if_match: IfMatch = None,
) -> WebhookShown:
    """Change a webhook, or switch it on or off. What waited is not told any more."""
    values = {k: v for k, v in given(body).items() if v is not None}
    webhook = await service.webhooks.change(me.actor, webhook_id, values, version_of(if_match))
    tag(response, webhook.version)
    return _shown(service, webhook)


@router.delete("/webhooks/{webhook_id}", status_code=204)
async def remove_webhook(webhook_id: Id, me: Me, service: Served, if_match: IfMatch = None) -> None:
    """Remove a webhook and its log."""
    await service.webhooks.remove(me.actor, webhook_id, version_of(if_match))


@router.post("/webhooks/{webhook_id}/test")
async def test_webhook(webhook_id: Id, me: Me, service: Served) -> TestResult:
    """Send a made-up event, once. 409 for an address that may not be told."""
    status, detail = await service.webhooks.test(service.webhooks.get(webhook_id))
    service.noted(me, "webhook-tested", f"webhook:{webhook_id}", status=status)
    return TestResult(ok=not detail, status=status, detail=detail)


@router.get("/webhooks/{webhook_id}/deliveries")
async def list_deliveries(
    webhook_id: Id,
    service: Served,
    limit: Limit = 50,
    cursor: Cursor = None,
    status: Annotated[str, Query(max_length=16, json_schema_extra=among(("", *STATUSES)))] = "",
) -> Page[DeliveryShown]:
    """How it was told, newest first; the last 1,000 are kept."""
    service.webhooks.get(webhook_id)
    before = int_cursor(cursor)
    found = await service.store.webhooks.lines(webhook_id, limit + 1, before, status)
    return page_read(found, limit, DeliveryShown.model_validate)


@router.post("/webhooks/{webhook_id}/deliveries/{delivery_id}/again", status_code=200)
async def send_again(webhook_id: Id, delivery_id: Id, me: Me, service: Served) -> DeliveryShown:
    """Send an event of the log once more, now, past what waits: with its position, so that who has heard it
    knows it. 409 for an address that may not be told, or where what it said is not kept."""
    webhook = service.webhooks.get(webhook_id)
    line = await service.webhooks.again(webhook, delivery_id)
    service.noted(me, "webhook-sent-again", f"webhook:{webhook_id}", delivery=delivery_id)
    return DeliveryShown.model_validate(line)


def _shown(service: Served, webhook: Webhook) -> WebhookShown:
    return WebhookShown(
        id=webhook.id,
        name=webhook.name,
        url=webhook.url,
        topics=list(webhook.topics),
        queue=webhook.queue,
        agent=webhook.agent,
        active=webhook.active,
        disabled_because=webhook.disabled_because,
        **asdict(service.webhooks.under_way(webhook.id)),
        created_by=webhook.created_by,
        created_at_s=webhook.created_at_s,
        version=webhook.version,
    )
