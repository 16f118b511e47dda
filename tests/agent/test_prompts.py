"""The prompts' examples can be written and are allowed, and what cannot be used is refused without being repeated."""

import json
from datetime import UTC, datetime
from functools import partial

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.agent.document_schema import document_schema
from service.agent.drafts import describe_refusal, parse_document, parse_output
from service.agent.facts.facts import Facts
from service.agent.ollama_client import UnusableOutput
from service.agent.prompts import Asker, document_prompt
from service.agent.renders.requests import RenderIntent
from service.errors import FieldProblem, QueryRefusal
from service.guard.policy import Guardrails, validate
from service.guard.settings import GuardSettings
from service.ids import Subject
from tests.agent.conftest import Lab

LIMITS = GuardSettings.model_construct()


@pytest.mark.anyio
async def test_the_examples_in_the_prompt_fit_and_are_allowed(lab: Lab) -> None:
    tables = await lab.guard.tables()
    asker = Asker(Subject("alice"), datetime.now(UTC), 100)
    prompt = document_prompt("?", tables["renders"], Facts(), asker)
    examples = [json.loads(line) for line in prompt.system.splitlines() if line.startswith('{"table"')]
    assert len(examples) >= 3
    for example in examples:
        schema = document_schema(tables[example["table"]], 100, Facts())
        jsonschema.Draft202012Validator(schema).validate(example)
        assert validate(parse_document(json.dumps(example)), tables, Guardrails(LIMITS))


@given(st.text(max_size=300) | st.from_regex(r'[{}\[\]":,a-z0-9\\\\]{0,40}'))
def test_anything_else_is_unusable_and_never_repeated(text: str) -> None:
    for parse in (parse_document, partial(parse_output, RenderIntent)):
        with pytest.raises(UnusableOutput) as refused:
            parse(text + "!")
        assert 0 < len(str(refused.value)) < 2000


def test_a_refusal_is_told_with_places_and_hints() -> None:
    rule = {"rule": "columns", "limit": 0, "actual": 1, "suggestion": "use others"}
    places = tuple(FieldProblem("no such column", "unknown", pointer=f"#/columns/{number}") for number in range(99))
    told = describe_refusal(QueryRefusal("columns: wrong", places, extensions={"guardrails": [rule]}))
    assert "#/columns/9: no such column" in told and "#/columns/10" not in told and "use others" in told
