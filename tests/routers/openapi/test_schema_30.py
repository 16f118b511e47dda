"""A converted schema accepts everything that the original schema accepts."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from openapi_schema_validator import OAS30Validator

from service.routers.openapi.schema_30 import NULL, schema_30


@pytest.mark.parametrize(
    ("native", "older"),
    [
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, {"type": "string", "nullable": True}),
        ({"type": ["integer", "null"]}, {"type": "integer", "nullable": True}),
        ({"type": "null"}, NULL),
        (
            {"anyOf": [{"$ref": "#/components/schemas/A"}, {"type": "null"}]},
            {"anyOf": [{"$ref": "#/components/schemas/A"}, NULL]},
        ),
        (
            {"$ref": "#/components/schemas/A", "description": "d"},
            {"description": "d", "allOf": [{"$ref": "#/components/schemas/A"}]},
        ),
        ({"$ref": "#/components/schemas/A"}, {"$ref": "#/components/schemas/A"}),
        ({"const": "square", "type": "string"}, {"type": "string", "enum": ["square"]}),
        ({"exclusiveMinimum": 0}, {"minimum": 0, "exclusiveMinimum": True}),
        ({"exclusiveMaximum": 5, "maximum": 4}, {"maximum": 4}),
        ({"exclusiveMaximum": 5, "maximum": 5}, {"maximum": 5, "exclusiveMaximum": True}),
        ({"type": "string", "examples": ["a", "b"]}, {"type": "string", "example": "a"}),
        (
            {"type": "string", "contentMediaType": "application/octet-stream"},
            {"type": "string", "format": "binary"},
        ),
        ({"type": "string", "contentEncoding": "base64"}, {"type": "string", "format": "byte"}),
        (
            {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "items": False},
            {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "integer"}]}, "maxItems": 2},
        ),
        ({"type": "array"}, {"type": "array", "items": {}}),
        (
            {"type": "object", "patternProperties": {"^a": {"type": "integer"}}, "additionalProperties": False},
            {"type": "object", "additionalProperties": {"type": "integer"}},
        ),
        ({"type": "object", "patternProperties": {"^a": {"type": "integer"}}}, {"type": "object"}),
        (
            {"type": "object", "properties": {"const": {"const": 1}, "examples": True}},
            {"type": "object", "properties": {"const": {"enum": [1]}, "examples": {}}},
        ),
        ({"if": {"type": "string"}, "then": False, "$comment": "c", "x-mine": {"const": 1}}, {"x-mine": {"const": 1}}),
        (False, {"not": {}}),
    ],
)
def test_each_keyword(native: Any, older: Any) -> None:
    assert schema_30(native) == older


names = st.sampled_from(["const", "examples", "type", "$ref", "plain"])
scalars = st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["", "a", "abc"])
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3), max_leaves=6
)
simple = st.one_of(
    st.fixed_dictionaries({"type": st.sampled_from(["string", "integer", "boolean", "null", "number"])}),
    st.fixed_dictionaries(
        {
            "type": st.lists(
                st.sampled_from(["string", "integer", "null", "boolean"]), min_size=1, max_size=3, unique=True
            )
        }
    ),
    st.fixed_dictionaries(
        {"type": st.just("integer")},
        optional={
            "exclusiveMinimum": st.integers(-3, 3),
            "minimum": st.integers(-3, 3),
            "exclusiveMaximum": st.integers(-3, 3),
            "maximum": st.integers(-3, 3),
        },
    ),
    st.fixed_dictionaries({"const": st.sampled_from(["a", 3])}),
    st.fixed_dictionaries(
        {"type": st.just("string"), "enum": st.lists(st.sampled_from(["a", "abc"]), min_size=1, unique=True)}
    ),
)


def combine(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.fixed_dictionaries(
            {"anyOf": st.lists(inner, min_size=1, max_size=3)},
            optional={"title": st.just("t"), "description": st.just("d")},
        ),
        st.fixed_dictionaries({"allOf": st.lists(inner, min_size=1, max_size=2)}),
        st.fixed_dictionaries({"not": inner}),
        st.fixed_dictionaries({"type": st.just("array"), "items": inner}, optional={"maxItems": st.integers(0, 3)}),
        st.fixed_dictionaries(
            {"type": st.just("object"), "properties": st.dictionaries(names, inner, max_size=3)},
            optional={
                "required": st.lists(names, max_size=2, unique=True),
                "additionalProperties": inner | st.booleans(),
            },
        ),
    )


schemas = st.recursive(simple, combine, max_leaves=6)


@settings(max_examples=300, deadline=None)
@given(schemas, st.lists(values, min_size=1, max_size=5))
def test_both_dialects_accept_the_same(native: Any, instances: list[Any]) -> None:
    older = schema_30(native)
    for instance in instances:
        assert Draft202012Validator(native).is_valid(instance) == OAS30Validator(older).is_valid(instance), older
