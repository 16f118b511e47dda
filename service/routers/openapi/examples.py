"""Compose example requests and responses from the examples of the models."""

from typing import Any

from service.routers.http.fields import EXAMPLE_EXPERIMENT_ID

Json = dict[str, Any]
# Returned if a required part has no example.
NO_EXAMPLE = object()
_EXAMPLE_BY_FORMAT = {
    "uuid": EXAMPLE_EXPERIMENT_ID,
    "date-time": "2026-03-01T10:00:00Z",
    "uri": "https://lab.example/hook",
}
_EXAMPLE_BY_TYPE: dict[str, Any] = {"boolean": False, "null": None, "integer": 0, "number": 0}


def restore_nulls(schemas: Json) -> None:
    """FastAPI removes every null from the document, also from examples. Restore those of required properties."""
    for schema in schemas.values():
        if schema.get("examples"):
            schema["examples"] = [_add_nulls(example, schema, schemas) for example in schema["examples"]]


def _add_nulls(example: Any, schema: Any, schemas: Json) -> Any:
    schema = _resolve_reference(schema, schemas)
    if isinstance(example, list):
        return [_add_nulls(item, schema.get("items"), schemas) for item in example]
    if not isinstance(example, dict) or "properties" not in schema:
        return example
    names = {*example, *schema.get("required", ())}
    parts = {name: part for name, part in schema["properties"].items() if name in names}
    return example | {name: _add_nulls(example.get(name), part, schemas) for name, part in parts.items()}


def _resolve_reference(schema: Any, schemas: Json) -> Json:
    if not isinstance(schema, dict):
        return {}
    return schemas.get(schema["$ref"].rpartition("/")[2], {}) if "$ref" in schema else schema


def example_of(schema: Any, components: Json) -> Any:
    """The example of the schema, or one composed from its parts. NO_EXAMPLE if a required part has none."""
    if not isinstance(schema, dict):
        return NO_EXAMPLE
    if schema.get("examples"):
        return schema["examples"][0]
    for key in ("example", "const"):
        if key in schema:
            return schema[key]
    if "$ref" in schema:
        return example_of(components.get(schema["$ref"].rpartition("/")[2]), components)
    branches: list[Any] = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf") or []
    for branch in branches:
        if (example := example_of(branch, components)) is not NO_EXAMPLE:
            return example
    return _example_of_type(schema, components)


def _example_of_type(schema: Json, components: Json) -> Any:
    kind = schema.get("type")
    if kind == "array":
        item = example_of(schema.get("items"), components)
        return [] if item is NO_EXAMPLE else [item]
    if kind == "object":
        return _example_of_object(schema, components)
    if "enum" in schema:
        return schema["enum"][0]
    if kind == "string":
        return _EXAMPLE_BY_FORMAT.get(schema.get("format", ""), NO_EXAMPLE)
    return schema.get("minimum", schema.get("default", _EXAMPLE_BY_TYPE.get(str(kind), NO_EXAMPLE)))


def _example_of_object(schema: Json, components: Json) -> Any:
    parts = {name: example_of(part, components) for name, part in schema.get("properties", {}).items()}
    if any(parts.get(name) is NO_EXAMPLE for name in schema.get("required", ())):
        return NO_EXAMPLE
    return {name: part for name, part in parts.items() if part is not NO_EXAMPLE}
