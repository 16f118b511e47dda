"""The guarded document as a model writes it: a schema it is held to, and the reading of what it wrote."""

import re
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from service.agent.models import UnusableOutput
from service.agent.renders import RenderIntent, describe_validation_error
from service.errors import ReelmillError
from service.guard.document import Document
from service.guard.tables import Tables

Draft = TypeVar("Draft", bound=BaseModel)
CODE_FENCE = re.compile(r"\A```(?:json)?\s*(.*?)\s*```\Z", re.DOTALL)
PROSE_KEYWORDS = ("title", "description", "examples", "default", "minLength", "maxLength", "discriminator")
"""Keywords a model needs not, and lengths, which Ollama's grammars unroll (2000 at most)."""
SCALAR_SCHEMAS = [{"type": "string"}, {"type": "number"}, {"type": "boolean"}, {"type": "null"}]
VALUE_SCHEMA = {"anyOf": [*SCALAR_SCHEMAS, {"type": "array", "items": {"anyOf": SCALAR_SCHEMAS}}, {"type": "object"}]}
"""Spelled out: for a schema that allows anything, older grammars of llama.cpp allow objects only."""


def document_schema(tables: Tables, max_rows: int) -> dict[str, Any]:
    """The guard's document with only the names that exist, one way to write each thing, and no cursor."""
    schema: dict[str, Any] = strip_prose(Document.model_json_schema())
    columns = sorted({name for table in tables.values() for name in table.columns})
    fields, parts = schema["properties"], schema["$defs"]
    del fields["cursor"]
    fields["table"] = {"type": "string", "enum": list(tables)}
    fields["limit"]["maximum"] = max_rows
    fields["filters"] = next(way for way in fields["filters"]["anyOf"] if way["type"] == "array")
    fields["order_by"]["items"] = {"$ref": "#/$defs/Order"}
    named = {"type": "string", "enum": columns}
    fields["columns"] = {"type": "array", "items": named, "minItems": 1}
    fields["group_by"] = {"type": "array", "items": named}
    parts["JsonValue"] = VALUE_SCHEMA
    parts["Condition"]["properties"]["column"] = named
    parts["Aggregate"]["properties"]["column"] = {"anyOf": [named, {"type": "null"}]}
    return schema


def render_intent_schema() -> dict[str, Any]:
    """That of a render wish."""
    schema: dict[str, Any] = strip_prose(RenderIntent.model_json_schema())
    return schema | {"required": list(schema["properties"])}


def describe_refusal(error: ReelmillError) -> str:
    """A refusal, told to a model: each place, and what to write instead."""
    places = [f"{place.pointer or place.parameter}: {place.detail}" for place in error.errors[:10]]
    hints = [f"{rule['rule']}: {rule['suggestion']}" for rule in error.extensions.get("guardrails", ())]
    return "; ".join((error.detail, *places, *hints))[:2000]


def parse_output(model: type[Draft], text: str) -> Draft:
    """What a model wrote. Raises Unusable with what is wrong where."""
    try:
        return model.model_validate_json(CODE_FENCE.sub(r"\1", text))
    except ValidationError as error:
        raise UnusableOutput(describe_validation_error(error)) from error


def strip_prose(schema: Any) -> Any:
    """Without prose and lengths. A property may be called like a keyword, so that those names are kept."""
    if isinstance(schema, list):
        return [strip_prose(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    return {
        key: {name: strip_prose(part) for name, part in value.items()}
        if key in ("properties", "$defs")
        else strip_prose(value)
        for key, value in schema.items()
        if key not in PROSE_KEYWORDS
    }
