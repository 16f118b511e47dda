"""The guarded document as a model writes it: a schema it is held to, and the reading of what it wrote."""

import re
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from service.agent.models import Unusable
from service.agent.renders import RenderWish, faults
from service.errors import ReelmillError
from service.guard.document import Document
from service.guard.tables import Tables

Draft = TypeVar("Draft", bound=BaseModel)
FENCE = re.compile(r"\A```(?:json)?\s*(.*?)\s*```\Z", re.DOTALL)
PROSE = ("title", "description", "examples", "default", "minLength", "maxLength", "discriminator")
"""Keywords a model needs not, and lengths, which Ollama's grammars unroll (2000 at most)."""
SCALARS = [{"type": "string"}, {"type": "number"}, {"type": "boolean"}, {"type": "null"}]
VALUE = {"anyOf": [*SCALARS, {"type": "array", "items": {"anyOf": SCALARS}}, {"type": "object"}]}
"""Spelled out: for a schema that allows anything, older grammars of llama.cpp allow objects only."""


def document_schema(tables: Tables, most_rows: int) -> dict[str, Any]:
    """The guard's document with only the names that exist, one way to write each thing, and no cursor."""
    schema: dict[str, Any] = bare(Document.model_json_schema())
    columns = sorted({name for table in tables.values() for name in table.columns})
    fields, parts = schema["properties"], schema["$defs"]
    del fields["cursor"]
    fields["table"] = {"type": "string", "enum": list(tables)}
    fields["limit"]["maximum"] = most_rows
    fields["filters"] = next(way for way in fields["filters"]["anyOf"] if way["type"] == "array")
    fields["order_by"]["items"] = {"$ref": "#/$defs/Order"}
    named = {"type": "string", "enum": columns}
    fields["columns"] = {"type": "array", "items": named, "minItems": 1}
    fields["group_by"] = {"type": "array", "items": named}
    parts["JsonValue"] = VALUE
    parts["Condition"]["properties"]["column"] = named
    parts["Aggregate"]["properties"]["column"] = {"anyOf": [named, {"type": "null"}]}
    return schema


def wish_schema() -> dict[str, Any]:
    """That of a render wish."""
    schema: dict[str, Any] = bare(RenderWish.model_json_schema())
    return schema | {"required": list(schema["properties"])}


def reason(error: ReelmillError) -> str:
    """A refusal, told to a model: each place, and what to write instead."""
    places = [f"{place.pointer or place.parameter}: {place.detail}" for place in error.errors[:10]]
    hints = [f"{rule['rule']}: {rule['suggestion']}" for rule in error.extensions.get("guardrails", ())]
    return "; ".join((error.detail, *places, *hints))[:2000]


def read(kind: type[Draft], text: str) -> Draft:
    """What a model wrote. Raises Unusable with what is wrong where."""
    try:
        return kind.model_validate_json(FENCE.sub(r"\1", text))
    except ValidationError as error:
        raise Unusable(faults(error)) from error


def bare(schema: Any) -> Any:
    """Without prose and lengths. A property may be called like a keyword, so that those names are kept."""
    if isinstance(schema, list):
        return [bare(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    return {
        key: {name: bare(part) for name, part in value.items()} if key in ("properties", "$defs") else bare(value)
        for key, value in schema.items()
        if key not in PROSE
    }
