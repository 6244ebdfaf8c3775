"""A question to another program during a call: one GET with a time limit, JSON back, or nothing."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

_log = logging.getLogger("softswitch.call")

ANSWER_OCTETS_MAX = 65_536
_HEAD_OCTETS_MAX = 16_384


async def look_up(url: str, *, timeout_s: float = 2.0, **query: object) -> Any | None:
    """`fetch` with the query as keyword arguments."""
    return await fetch(url, query, timeout_s=timeout_s)


async def fetch(
    url: str, query: Mapping[str, object], *, timeout_s: float, connect_to: str = ""
) -> Any | None:
    """What `url` answers, read as JSON; None where it does not answer 200 with JSON within `timeout_s`.

    Parameters: `query`, added to the URL, percent-encoded: a caller's number cannot change where the
    question goes; `connect_to`, an address to use instead of asking the DNS (the certificate is still the
    host's). Neither redirects nor answers above `ANSWER_OCTETS_MAX` are followed. A look-up that
    fails is logged, and never ends a call: raises `ValueError` only for a URL that is none.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is not an http or https URL")
    target = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    full = "&".join(part for part in (parts.query, urlencode(query)) if part)
    if full:
        target += f"?{full}"
    try:
        async with asyncio.timeout(timeout_s):
            status, body = await _get(
                parts.scheme, parts.hostname, parts.port, target, connect_to or parts.hostname
            )
        if status == 200:
            return read_json(body)
        _log.warning("look-up at %s: answered with %d", parts.hostname, status)
    except TimeoutError:
        _log.warning("look-up at %s: no answer within %g s", parts.hostname, timeout_s)
    except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        _log.warning("look-up at %s: %s", parts.hostname, error or type(error).__name__)
    return None


async def post(
    url: str, body: bytes, headers: Mapping[str, str], *, timeout_s: float, connect_to: str
) -> int:
    """POST JSON to `url` at the address `connect_to`; the status. Redirects are answers like others, and of
    the answer at most `ANSWER_OCTETS_MAX` are read. Raises `TimeoutError`, `OSError`, `ValueError`.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is not an http or https URL")
    target = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    if parts.query:
        target += "?" + quote(parts.query, safe="/%:@!$&'()*+,;=~-._?")
    try:
        async with asyncio.timeout(timeout_s):
            status, _ = await _exchange(
                parts.scheme, parts.hostname, parts.port, target, connect_to, headers, body
            )
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        raise ValueError("the answer is none of HTTP") from None
    return status


async def _get(
    scheme: str, host: str, port: int | None, target: str, address: str
) -> tuple[int, bytes]:
    return await _exchange(scheme, host, port, target, address, {"Accept": "application/json"})


async def _exchange(
    scheme: str,
    host: str,
    port: int | None,
    target: str,
    address: str,
    headers: Mapping[str, str],
    body: bytes | None = None,
) -> tuple[int, bytes]:
    """One GET, or POST with a body, in HTTP/1.0, whose answer ends with the connection: no chunks to be
    put together."""
    tls = scheme == "https"
    where = port if port is not None else (443 if tls else 80)
    reader, writer = await asyncio.open_connection(
        address,
        where,
        ssl=tls or None,
        server_hostname=host if tls else None,
        limit=_HEAD_OCTETS_MAX,
    )
    try:
        name = f"[{host}]" if ":" in host else host
        lines = [
            f"{'GET' if body is None else 'POST'} {target} HTTP/1.0",
            f"Host: {name}{'' if port is None else f':{port}'}",
            *(f"{key}: {value}" for key, value in headers.items()),
            *([f"Content-Length: {len(body)}"] if body is not None else []),
            "Connection: close",
        ]
        writer.write("\r\n".join(lines).encode("ascii") + b"\r\n\r\n" + (body or b""))
        return await read_answer(reader)
    finally:
        writer.close()


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Status and body of an HTTP answer. Raises `ValueError`, `IncompleteReadError`, `LimitOverrunError`."""
    head = await reader.readuntil(b"\r\n\r\n")
    status_line, *answered = head.decode("latin-1").split("\r\n")
    version, _, rest = status_line.partition(" ")
    status = rest[:3]
    if not version.startswith("HTTP/1.") or not (status.isascii() and status.isdecimal()):
        raise ValueError("not an HTTP answer")
    found = {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in answered)}
    if "chunked" in found.get("transfer-encoding", "").lower():
        raise ValueError("an answer in chunks to a request in HTTP/1.0")
    return int(status), await _body(reader, found.get("content-length"))


def read_json(body: bytes) -> Any:
    """The value of an answer's body. Raises `ValueError`, also for one that is nested beyond the stack."""
    try:
        return json.loads(body)
    except RecursionError:
        raise ValueError("an answer that is nested too deeply") from None


async def _body(reader: asyncio.StreamReader, length: str | None) -> bytes:
    wanted = ANSWER_OCTETS_MAX + 1
    if length is not None:
        if not (length.isascii() and length.isdecimal()) or int(length[:9]) > ANSWER_OCTETS_MAX:
            raise ValueError("an answer that is too long")
        return await reader.readexactly(int(length))
    body = b""
    while len(body) < wanted and (piece := await reader.read(wanted - len(body))):
        body += piece
    if len(body) >= wanted:
        raise ValueError("an answer that is too long")
    return body
