"""The OpenAPI document as one page to read in a browser: no script, nothing fetched from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from html import escape
from typing import Any

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "h2{margin-top:2.5rem;border-bottom:1px solid #ccc}summary{cursor:pointer;padding:.15rem 0}"
    "code{font-family:ui-monospace,monospace;font-size:.9em}b.m{display:inline-block;width:4.5rem}"
    "td,th{text-align:left;vertical-align:top;padding:.1rem 1rem .1rem 0}"
    "details>:not(summary){margin-left:4.7rem}.r{color:#666;font-size:.85em}nav a{margin-right:1rem}"
)
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; frame-ancestors 'none'"
"""The Content-Security-Policy under which the page is served: its own style and nothing more."""

Schema = dict[str, Any]


def page(document: Schema) -> str:
    """Write the page.

    Args:
        document: An OpenAPI 3.1 document as `softswitch.api.app.document` makes it.

    Returns:
        HTML, complete; what the document says is escaped.
    """
    return "".join(_page(document))


def _page(document: Schema) -> Iterator[str]:
    info = document["info"]
    title = f"{info['title']} {info['version']}: API"
    yield f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
    yield f"<style>{_STYLE}</style></head><body><h1>{escape(title)}</h1>"
    for paragraph in info["description"].strip().split("\n\n"):
        yield f"<p>{escape(paragraph)}</p>"
    yield '<p>For programs: <a href="/api/v1/openapi.json">openapi.json</a></p>'
    groups = _by_tag(document)
    yield "<nav>"
    for tag in groups:
        yield f'<a href="#{_anchor(tag)}">{escape(tag)}</a>'
    yield "</nav>"
    schemas = document.get("components", {}).get("schemas", {})
    for tag, operations in groups.items():
        yield f'<h2 id="{_anchor(tag)}">{escape(tag)}</h2>'
        for path, method, operation in operations:
            yield from _operation(path, method, operation, schemas)
    yield "</body></html>"


def _by_tag(document: Schema) -> dict[str, list[tuple[str, str, Schema]]]:
    groups: dict[str, list[tuple[str, str, Schema]]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            tag = (operation.get("tags") or ["other"])[0]
            groups.setdefault(tag, []).append((path, method.upper(), operation))
    return groups


def _anchor(tag: str) -> str:
    return escape(tag.replace(" ", "-"))


def _operation(path: str, method: str, operation: Schema, schemas: Schema) -> Iterator[str]:
    role = operation.get("x-role", "")
    scope = operation.get("x-scope", "")
    who = f"{role}, scope {scope}" if scope else role
    yield f'<details><summary><b class="m">{method}</b><code>{escape(path)}</code> '
    yield f'<span class="r">{escape(who)}</span></summary>'
    yield f"<p>{escape(operation.get('description') or operation.get('summary', ''))}</p>"
    parameters = operation.get("parameters", [])
    if parameters:
        yield from _table(
            (
                f"{found['name']} ({found['in']})",
                _kind(found.get("schema", {})),
                bool(found.get("required")),
                found.get("description", ""),
            )
            for found in parameters
        )
    body = _json_schema(operation.get("requestBody", {}).get("content", {}))
    if body:
        yield f"<p>Body: <code>{escape(_kind(body))}</code></p>"
        yield from _table(_fields(body, schemas))
    for status, response in operation.get("responses", {}).items():
        if status.startswith("2"):
            answer = _json_schema(response.get("content", {}))
            kind = _kind(answer) if answer else "no body"
            yield f"<p>Answer {escape(status)}: <code>{escape(kind)}</code></p>"
            yield from _table(_fields(answer, schemas))
    yield "</details>"


def _json_schema(content: Schema) -> Schema:
    for kind, held in content.items():
        if "json" in kind:
            found: Schema = held.get("schema", {})
            return found
    return {}


Row = tuple[str, str, bool, str]


def _fields(schema: Schema, schemas: Schema) -> Iterator[Row]:
    reference = schema.get("$ref") or schema.get("items", {}).get("$ref")
    named = schemas.get(reference.rsplit("/", 1)[-1], {}) if reference else schema
    required = named.get("required", ())
    for name, field in named.get("properties", {}).items():
        yield name, _kind(field), name in required, field.get("description", "")


def _table(rows: Iterator[Row]) -> Iterator[str]:
    found = list(rows)
    if not found:
        return
    yield "<table>"
    for name, kind, required, says in found:
        mark = "" if required else ' <span class="r">optional</span>'
        yield f"<tr><td><code>{escape(name)}</code>{mark}</td><td><code>{escape(kind)}</code></td>"
        yield f"<td>{escape(says)}</td></tr>"
    yield "</table>"


def _kind(schema: Schema) -> str:
    """The type in a few characters: ``integer 1..200``, ``Call[]``, ``string | null``."""
    if "$ref" in schema:
        return str(schema["$ref"].rsplit("/", 1)[-1])
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return " | ".join(dict.fromkeys(_kind(one) for one in schema[several]))
    if "enum" in schema:
        return " | ".join(map(repr, schema["enum"]))
    if "const" in schema:
        return repr(schema["const"])
    kind = str(schema.get("type", "any"))
    if kind == "array":
        return f"{_kind(schema.get('items', {}))}[]"
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None or high is not None:
        shown = ("" if low is None else f"{low}", "" if high is None else f"{high}")
        return f"{kind} {shown[0]}..{shown[1]}"
    return kind
