"""Convert one JSON Schema of OpenAPI 3.1 (draft 2020-12) to the OpenAPI 3.0 dialect. Where 3.0 cannot express a
constraint, the result accepts more, never less.
"""

from collections.abc import Callable
from typing import Any

Schema = dict[str, Any]

# A branch that allows only null: 3.0 has no null type, and `nullable` beside anyOf, oneOf or allOf has no effect.
NULL: Schema = {"type": "string", "nullable": True, "enum": [None]}
_SUPPORTED_KEYWORDS = (
    {"title", "description", "default", "type", "format", "enum", "multipleOf", "maximum", "minimum", "maxLength"}
    | {"minLength", "pattern", "maxItems", "minItems", "uniqueItems", "maxProperties", "minProperties", "required"}
    | {"readOnly", "writeOnly", "deprecated", "discriminator", "xml", "externalDocs", "example"}
)
_COMBINATORS = ("anyOf", "oneOf", "allOf")


def schema_30(schema: Schema | bool) -> Schema:
    """A copy of `schema` in the OpenAPI 3.0.3 dialect."""
    if isinstance(schema, bool):
        return {} if schema else {"not": {}}
    if "$ref" in schema:
        return _convert_reference(schema)
    out = {key: value for key, value in schema.items() if key in _SUPPORTED_KEYWORDS or key.startswith("x-")}
    for step in _CONVERSIONS:
        step(schema, out)
    return out


def _convert_reference(schema: Schema) -> Schema:
    """Move a `$ref` that has siblings into an `allOf`, because 3.0 ignores the siblings."""
    reference = {"$ref": schema["$ref"]}
    siblings = schema_30({key: value for key, value in schema.items() if key != "$ref"})
    if not siblings:
        return reference
    return {**siblings, "allOf": [reference, *siblings.get("allOf", [])]}


def _convert_subschemas(schema: Schema, out: Schema) -> None:
    """Convert all nested schemas. Property names are kept, even if they equal a keyword."""
    for key in _COMBINATORS:
        if key in schema:
            out[key] = [schema_30(part) for part in schema[key]]
    if "not" in schema:
        out["not"] = schema_30(schema["not"])
    if "properties" in schema:
        out["properties"] = {name: schema_30(part) for name, part in schema["properties"].items()}
    if isinstance(schema.get("items"), dict | bool):
        out["items"] = schema_30(schema["items"])


def _convert_additional_properties(schema: Schema, out: Schema) -> None:
    """Turn `patternProperties` into additional properties that match any of the patterns' schemas."""
    further, patterns = schema.get("additionalProperties"), schema.get("patternProperties")
    if patterns and further is False:
        shapes = [schema_30(part) for part in patterns.values()]
        out["additionalProperties"] = shapes[0] if len(shapes) == 1 else {"anyOf": shapes}
    elif not patterns and further is not None:
        out["additionalProperties"] = further if isinstance(further, bool) else schema_30(further)


def _convert_tuple(schema: Schema, out: Schema) -> None:
    """Turn `prefixItems` into items that match any of their schemas."""
    if "prefixItems" in schema:
        shapes = [schema_30(part) for part in schema["prefixItems"]]
        rest = schema.get("items", True)
        out["items"] = {"anyOf": shapes + ([schema_30(rest)] if rest is not False else [])}
        if rest is False:
            out["maxItems"] = min(len(shapes), schema.get("maxItems", len(shapes)))


def _convert_const(schema: Schema, out: Schema) -> None:
    if "const" in schema:
        out["enum"] = [schema["const"]]


def _convert_example(schema: Schema, out: Schema) -> None:
    if schema.get("examples"):
        out["example"] = schema["examples"][0]


def _convert_bounds(schema: Schema, out: Schema) -> None:
    """Exclusive bounds are flags in 3.0. If a schema has both kinds of bound, the stricter one is kept."""
    for plain, exclusive, stricter in (("minimum", "exclusiveMinimum", max), ("maximum", "exclusiveMaximum", min)):
        if (bound := schema.get(exclusive)) is not None:
            strictest = bound if plain not in schema else stricter(bound, schema[plain])
            out[plain] = strictest
            if strictest == bound:
                out[exclusive] = True


def _convert_content_encoding(schema: Schema, out: Schema) -> None:
    if schema.get("contentEncoding") == "base64":
        out["format"] = "byte"
    elif schema.get("contentMediaType") == "application/octet-stream":
        out["format"] = "binary"


def _convert_types(schema: Schema, out: Schema) -> None:
    """Split a list of types, because 3.0 allows only one type."""
    names = schema.get("type")
    if names == "null":
        out.update(NULL)
    if not isinstance(names, list):
        return
    others = [name for name in names if name != "null"]
    if len(others) == 1:
        out["type"] = others[0]
        if "null" in names:
            out["nullable"] = True
    else:
        del out["type"]
        out.setdefault("allOf", []).append({"anyOf": [schema_30({"type": name}) for name in names]})


def _merge_nullable(_schema: Schema, out: Schema) -> None:
    """Turn an anyOf of one simple schema and null into that schema with `nullable`."""
    branches = out.get("anyOf", [])
    others = [branch for branch in branches if branch != NULL]
    if len(branches) == 2 and len(others) == 1 and _is_simple(others[0]):
        del out["anyOf"]
        inner = {key: value for key, value in others[0].items() if key not in out}
        if set(others[0]) - set(inner) - {"title", "description", "default", "example"}:
            out["anyOf"] = branches
            return
        out.update(inner, nullable=True)
        if "enum" in out:
            out["enum"] = [*out["enum"], None]


def _is_simple(schema: Schema) -> bool:
    return isinstance(schema.get("type"), str) and not any(key in schema for key in (*_COMBINATORS, "not", "nullable"))


def _require_items(_schema: Schema, out: Schema) -> None:
    """3.0 requires `items` for `type: array`."""
    if out.get("type") == "array":
        out.setdefault("items", {})


# Steps of schema_30: each converts some keywords of `schema` and writes them into `out`.
_CONVERSIONS: tuple[Callable[[Schema, Schema], None], ...] = (
    _convert_subschemas,
    _convert_additional_properties,
    _convert_tuple,
    _convert_const,
    _convert_example,
    _convert_bounds,
    _convert_content_encoding,
    _convert_types,
    _merge_nullable,
    _require_items,
)
