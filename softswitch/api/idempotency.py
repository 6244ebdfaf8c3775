"""What is posted twice is done once (draft-ietf-httpapi-idempotency-key-header)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response

from softswitch.api.conditional import whole_body
from softswitch.api.problem import Refused
from softswitch.errors import StoreError
from softswitch.store.answers import BODY_MAX, KeptAnswer

if TYPE_CHECKING:
    from softswitch.store.answers import KeptAnswers

IDEMPOTENCY_HEADER = "Idempotency-Key"
_KEY = re.compile(r"[!-~]{1,128}")
_KEPT_HEADERS = frozenset({"content-type", "etag", "location"})


class Answers:
    """What was answered to which key, and which keys are being worked on."""

    def __init__(self, kept: KeptAnswers) -> None:
        self.kept = kept
        self.under_way: set[str] = set()


async def once(
    request: Request, key: str, handle: Callable[[Request], Awaitable[Response]]
) -> Response:
    """Handle a creation, or answer what was answered to the same key and body before. Keys are each
    user's own. Raises `Refused`: 422 for another body, 409 while the first is being worked on."""
    if not _KEY.fullmatch(key):
        raise Refused(422, f"{IDEMPOTENCY_HEADER} is 1 to 128 printable characters")
    service = request.app.state.service
    answers: Answers = service.answers
    actor = request.state.identity.actor
    key_hash = _hash(actor, key)
    asked = f"{request.method} {request.url.path}?{request.url.query}"
    request_hash = _hash_of(asked, await whole_body(request))
    if key_hash in answers.under_way:
        raise Refused(409, "the first request with this key is being worked on", _SOON)
    answers.under_way.add(key_hash)
    try:
        found = await answers.kept.find(key_hash, service.clock.wall_s())
        if found is not None:
            if found.request_hash != request_hash:
                raise Refused(422, f"this {IDEMPOTENCY_HEADER} was used for another request")
            headers = {**dict(found.headers), "Idempotent-Replayed": "true"}
            return Response(found.body, found.status, headers)
        response = await handle(request)
        await _keep(answers, key_hash, request_hash, response)
        return response
    finally:
        answers.under_way.discard(key_hash)


async def _keep(answers: Answers, key_hash: str, request_hash: str, response: Response) -> None:
    body = bytes(response.body)
    if response.status_code >= 300 or len(body) > BODY_MAX:
        return
    headers = [(k, v) for k, v in response.headers.items() if k in _KEPT_HEADERS]
    answer = KeptAnswer(request_hash, response.status_code, headers, body.decode())
    try:
        await answers.kept.keep(key_hash, answer)
    except StoreError:
        return  # the thing is made; only a repetition is not recognised


_PIECE = 1 << 16
_SOON = {"Retry-After": "1"}


def _hash_of(asked: str, body: bytes) -> str:
    """The hash of a request. By pieces: a file of customers may have 64 MiB."""
    found = hashlib.sha256(asked.encode("utf-8", "surrogatepass") + b"\0")
    for start in range(0, len(body), _PIECE):
        found.update(body[start : start + _PIECE].hex().encode())
    return found.hexdigest()


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
