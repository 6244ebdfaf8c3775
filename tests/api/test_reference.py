"""The page of the API for people."""

from __future__ import annotations

from html import escape
from html.parser import HTMLParser
from typing import Any

from softswitch.api.reference import POLICY, page
from tests.api.documents import whole


class Seen(HTMLParser):
    """Elements and their texts, as a browser would take them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self.ever: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.ever.add(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self.open[-1], []).append(data)


def test_every_operation_is_on_the_page_with_its_role() -> None:
    document = whole()
    seen = Seen(page(document))
    assert not seen.open
    paths = [path for path, operations in document["paths"].items() for _ in operations]
    assert sorted(set(paths)) == sorted({text for text in seen.texts["code"] if text in paths})
    assert len(seen.texts["b"]) == len(paths)
    assert "admin, scope users:write" in seen.texts["span"]


def test_the_types_of_parameters_and_bodies_are_told() -> None:
    operation = {
        "description": "Add one.",
        "x-role": "admin",
        "parameters": [
            {
                "name": "limit",
                "in": "query",
                "schema": {"type": "integer", "minimum": 1, "maximum": 9},
            }
        ],
        "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/x/Phone"}}}},
        "responses": {
            "201": {"content": {"application/json": {"schema": {"$ref": "#/x/Phone"}}}},
            "404": {},
        },
    }
    fields = {
        "kind": {"enum": ["desk", "soft"]},
        "lines": {"type": "array", "items": {"type": "string"}},
        "owner": {"anyOf": [{"type": "string"}, {"type": "null"}], "description": "Who has it."},
    }
    texts = Seen(page(_document({"/phones": {"post": operation}}, fields))).texts
    for shown in ("limit (query)", "integer 1..9", "'desk' | 'soft'", "string[]", "string | null"):
        assert shown in texts["code"]
    assert "Who has it." in texts["td"]
    assert "Answer 201: " in texts["p"]
    assert not any("404" in text for text in texts["p"])


def test_what_the_document_says_is_text_and_nothing_else() -> None:
    hostile = '<script>alert(1)</script><img src=x onerror="alert(2)">'
    operation = {"description": hostile, "tags": [hostile], "responses": {}}
    made = page(_document({f"/{hostile}": {"get": operation}}, {hostile: {"description": hostile}}))
    assert escape(hostile) in made
    assert not Seen(made).ever & {"script", "img"}


def _document(paths: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    return {
        "info": {"title": "T", "version": "1", "description": "D"},
        "paths": paths,
        "components": {"schemas": {"Phone": {"properties": fields, "required": ["kind"]}}},
    }


async def test_a_browser_gets_the_page_without_logging_in(api: Any) -> None:
    answer = await api.client().http.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["content-security-policy"] == POLICY
    assert "/api/v1/calls" in answer.text
