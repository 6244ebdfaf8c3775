"""What a table of the office may hold, as JSON Schema (2020-12): for whoever shows a form of it.

The schema says what one value may be; what goes together with what is said by a check of the whole table.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from softswitch.config.overlay import SECRETS, model_of, plain


class _Schemas(GenerateJsonSchema):
    """With what our own validators say of themselves, and defaults as the file would write them."""

    def function_before_schema(
        self, schema: core_schema.BeforeValidatorFunctionSchema
    ) -> JsonSchemaValue:
        return super().function_before_schema(schema) | _said_by(schema)

    def function_plain_schema(
        self, schema: core_schema.PlainValidatorFunctionSchema
    ) -> JsonSchemaValue:
        return _said_by(schema)

    def encode_default(self, dft: Any) -> Any:
        return plain(dft)


def _said_by(schema: Any) -> JsonSchemaValue:
    return dict(getattr(schema["function"]["function"], "json_schema", {}))


@cache
def table_schema(section: str) -> dict[str, Any]:
    """The schema of one table of a section. What is secret is `writeOnly`."""
    found = model_of(section).model_json_schema(by_alias=True, schema_generator=_Schemas)
    for table in (found, *found.get("$defs", {}).values()):
        for name, value in table.get("properties", {}).items():
            value.pop("title", None)
            if name in SECRETS:
                value["writeOnly"] = True
    return {"$schema": GenerateJsonSchema.schema_dialect, **found}
