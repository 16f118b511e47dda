"""What a grammar admits, the guard accepts; and only what exists is in it."""

import json
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.agent.document_schema import document_schema, render_intent_schema
from service.agent.drafts import keep_accepted, parse_document, parse_output
from service.agent.facts.facts import Amount, Facts, FoundName, TimeRange
from service.agent.prompts import MAX_INTENT_TOKENS, MAX_KIND_TOKENS
from service.agent.renders.requests import RenderIntent
from service.guard.policy import Guardrails, validate
from service.guard.schema import Tables
from service.guard.settings import GuardSettings
from tests.agent.conftest import ALICE, Lab
from tests.agent.drawing import matching

NOW = datetime(2026, 11, 30, 20, tzinfo=UTC)
NAME = FoundName("experiment", 'Plant "3"', "0197a3c2-9a44-7b1e-8d0a-61c3ab0be0d4")
FOUND = Facts((NAME,), (TimeRange("today", NOW, NOW + timedelta(days=1)),), (Amount("2 GB", 2 * 10**9, "bytes"),), (7,))
LIMITS = GuardSettings.model_construct()
MAX_ROWS = 100


@pytest.mark.anyio
@pytest.mark.parametrize("facts", [Facts(), FOUND], ids=["nothing found", "facts"])
async def test_whatever_it_admits_the_guard_accepts(lab: Lab, facts: Facts) -> None:
    tables = await lab.guard.tables()
    assert len(tables) == 6
    for table in tables.values():
        schema = document_schema(table, MAX_ROWS, facts)
        jsonschema.Draft202012Validator.check_schema(schema)
        check_all_accepted(tables, schema)


def check_all_accepted(tables: Tables, schema: dict[str, Any]) -> None:
    validator = jsonschema.Draft202012Validator(schema)

    @settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
    @given(matching(schema))
    def check(draft: dict[str, Any]) -> None:
        validator.validate(draft)
        assert validate(parse_document(json.dumps(draft)), tables, Guardrails(LIMITS))

    check()


@pytest.mark.anyio
async def test_what_the_real_guard_runs(lab: Lab) -> None:
    """Not only accepted: PostgreSQL runs it, and its planner finds it cheap enough in a small catalogue."""
    tables = await lab.guard.tables()
    for table in tables.values():
        for draft in draw_some(document_schema(table, MAX_ROWS, FOUND), 12):
            assert (await lab.guard.run_query(ALICE, parse_document(json.dumps(draft)))).table == table.name


def draw_some(schema: dict[str, Any], count: int) -> list[dict[str, Any]]:
    drawn: list[dict[str, Any]] = []

    @settings(max_examples=count, deadline=None, database=None, derandomize=True)
    @given(matching(schema))
    def draw(draft: dict[str, Any]) -> None:
        drawn.append(draft)

    draw()
    return drawn


@pytest.mark.anyio
async def test_it_has_what_exists_and_nothing_else(lab: Lab) -> None:
    validator = jsonschema.Draft202012Validator(document_schema((await lab.guard.tables())["renders"], 7, Facts()))
    good = {"table": "renders", "filters": [], "columns": ["status"], "order_by": [], "limit": 7}
    condition = {"column": "status", "op": "eq", "value": "failed"}
    times = {"column": "created_at", "op": "ge", "value": "2024-02-28T00:00:00Z"}
    for right in (good, good | {"filters": [condition, times, {"any": [condition, times]}]}):
        assert validator.is_valid(right), right
    for wrong in (
        good | {"table": "frames"},
        good | {"columns": ["dataset_name"]},
        good | {"columns": []},
        good | {"limit": 8},
        good | {"cursor": "x"},
        good | {"filters": {"status": "failed"}},
        good | {"filters": [condition | {"op": "="}]},
        good | {"filters": [condition | {"value": "broken"}]},
        good | {"filters": [condition | {"op": "lt"}]},
        good | {"filters": [times | {"value": "2026-02-30T00:00:00Z"}]},
        good | {"filters": [times | {"value": "yesterday"}]},
        good | {"filters": [{"column": "video_bytes", "op": "gt", "value": "2 GB"}]},
        good | {"filters": [{"column": "options", "op": "eq", "value": {}}]},
        good | {"order_by": [{"column": "options", "direction": "asc"}]},
        {"table": "renders", "filters": [], "aggregates": [{"function": "sum", "column": "status"}]},
        {"table": "renders", "filters": [], "aggregates": [{"function": "sum"}]},
    ):
        assert not validator.is_valid(wrong), wrong


@pytest.mark.anyio
async def test_what_was_found_is_all_there_is_to_choose_from(lab: Lab) -> None:
    validator = jsonschema.Draft202012Validator(document_schema((await lab.guard.tables())["renders"], 7, FOUND))

    def admits(column: str, op: str, value: Any) -> bool:
        condition = {"column": column, "op": op, "value": value}
        return validator.is_valid(
            {"table": "renders", "filters": [condition], "columns": ["id"], "order_by": [], "limit": 1}
        )

    assert admits("experiment_name", "eq", 'Plant "3"') and not admits("experiment_name", "eq", "Plant 4")
    assert admits("created_at", "ge", "2026-11-30T20:00:00Z") and not admits("created_at", "ge", "2026-11-01T00:00:00Z")
    assert admits("video_bytes", "gt", 2 * 10**9) and admits("video_bytes", "gt", 7)
    assert not admits("video_bytes", "gt", 2)


@pytest.mark.anyio
async def test_a_grammar_of_it_stays_small(lab: Lab) -> None:
    """Measured: llama.cpp's converter makes two to three bytes of grammar from one of schema."""
    for table in (await lab.guard.tables()).values():
        text = json.dumps(document_schema(table, MAX_ROWS, Facts()))
        assert len(text) < 12_000, table.name
        assert "uniqueItems" not in text and "minLength" not in text and '"{}"' not in text


@pytest.mark.parametrize("facts", [Facts(), FOUND], ids=["nothing found", "facts"])
def test_whatever_it_admits_can_be_rendered(facts: Facts) -> None:
    schema = render_intent_schema(facts)

    @settings(max_examples=100, deadline=None)
    @given(matching(schema))
    def check(draft: dict[str, Any]) -> None:
        jsonschema.Draft202012Validator(schema).validate(draft)
        intent = parse_output(RenderIntent, json.dumps(draft))
        assert intent.experiment and (not facts.names or intent.experiment == NAME.name)

    check()


def test_no_name_is_of_white_space_alone() -> None:
    validator = jsonschema.Draft202012Validator(render_intent_schema(Facts()))
    characters = [chr(code) for code in range(sys.maxunicode + 1) if not chr(code).strip()]
    assert len(characters) > 25
    for name in [*characters, " \N{IDEOGRAPHIC SPACE}"]:
        assert not validator.is_valid({"experiment": name, "fps": 1, "decimation_factor": 1}), ascii(name)
    assert validator.is_valid({"experiment": "中 文", "fps": 1, "decimation_factor": 1})


@given(st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=6))
def test_what_is_named_twice_is_named_once(names: list[str]) -> None:
    orders = [
        {"column": name, "direction": direction} for name, direction in zip(names, ["asc", "desc"] * 3, strict=False)
    ]
    draft = {"table": "t", "filters": [], "columns": names, "order_by": orders, "limit": 1}
    document = parse_document(json.dumps(draft))
    assert document.columns == tuple(dict.fromkeys(names))
    assert [order.column for order in document.order_by] == list(dict.fromkeys(names))


@pytest.mark.parametrize(
    ("order", "column", "direction"),
    [("largest", "max_size", "desc"), ("smallest", "max_size", "asc"), ("by_group", "format", "asc")],
)
def test_the_order_of_groups(order: str, column: str, direction: str) -> None:
    figures = [{"function": "max", "column": "size"}, {"function": "count"}, {"function": "count"}]
    draft = {
        "table": "frames",
        "filters": [],
        "aggregates": figures,
        "group_by": ["format"],
        "order": order,
        "limit": 5,
    }
    document = parse_document(json.dumps(draft))
    assert [(each.column, each.direction) for each in document.order_by] == [(column, direction)]
    assert [figure.name for figure in document.aggregates] == ["max_size", "count"]


def test_a_number_that_no_computer_holds() -> None:
    text = '{"table":"query_audit","filters":[{"column":"elapsed_ms","op":"lt","value":1e999}],"limit":1}'
    document = parse_document(text)
    assert document.filters[0].value == 1e300  # type: ignore[index, union-attr]


def test_a_correction_keeps_what_was_accepted() -> None:
    shape = {"properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}, "required": ["a", "b"]}
    schema = {"anyOf": [shape], "$defs": {}}
    kept = keep_accepted(schema, '{"a": 1, "b": 2}', ["#/b/0/value"])
    assert kept["anyOf"][0]["properties"] == {"a": {"const": 1}, "b": {"type": "integer"}} and kept["$defs"] == {}
    for text, pointers in (("no", ["#/a"]), ("[]", ["#/a"]), ('{"a": 1, "b": 2}', []), ('{"a": 1}', ["#/a"])):
        assert keep_accepted(schema, text, pointers) == schema
    assert keep_accepted(schema, '{"a": 1, "b": 2}', ["#"]) == schema, "all of it was refused"


def test_no_render_is_too_long_to_be_written() -> None:
    """The longest one that the grammar admits, with all blanks that llama.cpp lets a model put between its parts: it is cut
    at so many tokens, and a token has a byte at least."""
    name, blanks = '"' + "\U00010348" * 80 + '"', "\n" + "\t" * 20
    parts = ["{", '"experiment"', ":", name, ",", '"fps"', ":", "240", ",", '"decimation_factor"', ":", "100000", "}"]
    assert jsonschema.Draft202012Validator(render_intent_schema(Facts())).is_valid(json.loads("".join(parts)))
    assert len(blanks.join(parts).encode()) <= MAX_INTENT_TOKENS
    kind = blanks.join(["{", '"kind"', ":", '"query_audit"', "}"])
    assert len(kind.encode()) <= MAX_KIND_TOKENS
