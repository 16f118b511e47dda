"""The schema for the model allows all valid documents, and the guard can parse all that it allows."""

import json
import re
from datetime import UTC, datetime
from typing import Any

import jsonschema
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from service.agent.ollama_client import UnusableOutput
from service.agent.prompts import describe_refusal, document_prompt, document_schema, parse_output
from service.agent.render_requests import RenderIntent
from service.errors import FieldProblem, QueryRefusal
from service.guard.document import Document
from service.guard.policy import Guardrails, validate
from service.guard.schema import Tables
from service.guard.settings import GuardSettings
from service.ids import Subject
from tests.agent.conftest import Lab
from tests.support.data.query_documents import valid_documents

LIMITS = GuardSettings.model_construct()


@pytest.mark.anyio
async def test_sound_documents_can_be_written(lab: Lab) -> None:
    tables = await lab.guard.tables()
    check_documents_match_schema(tables)


def check_documents_match_schema(tables: Tables) -> None:
    validator = jsonschema.Draft202012Validator(document_schema(tables, 5000))

    @settings(max_examples=60, deadline=None)
    @given(valid_documents(tables))
    def fits(document: dict[str, Any]) -> None:
        assume(not _has_nested_lists(document))
        validator.validate(document)

    fits()


def _has_nested_lists(part: Any) -> bool:
    """Whether a value contains lists or objects in a list, which models are not asked to write."""
    if isinstance(part, list):
        return any(map(_has_nested_lists, part))
    if not isinstance(part, dict):
        return False
    value = part.get("value")
    inside = value if isinstance(value, list) else list(value.values()) if isinstance(value, dict) else []
    return any(isinstance(item, list | dict) for item in inside) or any(map(_has_nested_lists, part.values()))


@pytest.mark.anyio
async def test_the_schema_names_what_exists_and_nothing_else(lab: Lab) -> None:
    tables = await lab.guard.tables()
    schema = document_schema(tables, 7)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    good = {"table": "frames", "filters": [{"not": {"column": "size", "op": "in", "value": [1, 2]}}], "limit": 7}
    assert validator.is_valid(good)
    for wrong in (
        {"table": "tasks"},
        {"table": "frames", "columns": ["etag"]},
        {"table": "frames", "columns": []},
        {"table": "frames", "limit": 8},
        {"table": "frames", "cursor": "x"},
        {"table": "frames", "filters": {"size": 1}},
        {"table": "frames", "filters": [{"column": "size", "op": "=", "value": 1}]},
        {"table": "frames", "order_by": ["-size"]},
    ):
        assert not validator.is_valid(wrong), wrong
    assert "{}" not in json.dumps(schema) and not re.search(r'"(max|min)Length"', json.dumps(schema))


@pytest.mark.anyio
async def test_the_examples_in_the_prompt_fit_and_are_allowed(lab: Lab) -> None:
    tables = await lab.guard.tables()
    prompt = document_prompt("?", tables, 100, Subject("alice"), datetime.now(UTC))
    examples = [json.loads(line) for line in prompt.system.splitlines() if line.startswith('{"table"')]
    assert len(examples) >= 3
    for example in examples:
        jsonschema.Draft202012Validator(prompt.schema).validate(example)
        assert validate(Document.model_validate(example), tables, Guardrails(LIMITS))


@given(st.text(max_size=300) | st.from_regex(r'[{}\[\]":,a-z0-9\\\\]{0,40}'))
def test_anything_else_is_unusable_and_never_repeated(text: str) -> None:
    for kind in (Document, RenderIntent):
        with pytest.raises(UnusableOutput) as refused:
            parse_output(kind, text + "!")
        assert 0 < len(str(refused.value)) < 2000


def test_a_refusal_is_told_with_places_and_hints() -> None:
    rule = {"rule": "columns", "limit": 0, "actual": 1, "suggestion": "use others"}
    places = tuple(FieldProblem("no such column", "unknown", pointer=f"#/columns/{number}") for number in range(99))
    told = describe_refusal(QueryRefusal("columns: wrong", places, extensions={"guardrails": [rule]}))
    assert "#/columns/9: no such column" in told and "#/columns/10" not in told and "use others" in told
