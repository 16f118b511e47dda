"""Each rule at its limit and just above it."""

from collections.abc import Callable
from typing import Any

import pytest

from service.guard.document import Document
from service.guard.policy import RULE_STAGES, DisallowedQuery, Guardrails, LimitUsage, QueryRejected, validate
from service.guard.schema import Tables
from service.guard.settings import GuardSettings

LIMITS = GuardSettings.model_construct(
    max_rows=10,
    max_depth=3,
    max_conditions=4,
    max_values=5,
    max_names=6,
    max_value_bytes=20,
    max_pattern=8,
    max_wildcards=2,
)
EQ = {"column": "size", "op": "eq", "value": 1}
KEY = {"column": "key"}


def _reject(tables: Tables, limits: GuardSettings, **fields: Any) -> QueryRejected:
    with pytest.raises(DisallowedQuery) as raised:
        validate(Document.model_validate({"table": "frames", **fields}), tables, Guardrails(limits))
    return raised.value


def _nest(depth: int) -> Any:
    """A condition with `depth` groups around it, the list included."""
    inner: Any = EQ
    for _ in range(depth - 1):
        inner = {"not": inner}
    return [inner]


SIZES: dict[str, tuple[int, Callable[[int], dict[str, Any]], str]] = {
    "rows": (10, lambda n: {"limit": n}, "#/limit"),
    "filter_depth": (3, lambda n: {"filters": _nest(n)}, "#/filters/0/not/not/not"),
    "conditions": (4, lambda n: {"filters": [EQ] * n}, "#/filters"),
    "listed_values": (
        5,
        lambda n: {"filters": [{"column": "size", "op": "in", "value": [1] * n}]},
        "#/filters/0/value",
    ),
    "names": (
        6,
        lambda n: {"columns": ["index", "key", "number", "size", "width", "height"], "order_by": ["index"] * (n - 6)},
        "#/columns",
    ),
    "value_bytes": (
        20,
        lambda n: {"filters": [KEY | {"op": "eq", "value": "é" * 9 + "x" * (n - 18)}]},
        "#/filters/0/value",
    ),
    "pattern_length": (8, lambda n: {"filters": [KEY | {"op": "like", "value": "x" * n}]}, "#/filters/0/value"),
    "pattern_wildcards": (
        2,
        lambda n: {"filters": [KEY | {"op": "ilike", "value": r"\%\_" + "%_%"[:n]}]},
        "#/filters/0/value",
    ),
}


@pytest.mark.parametrize("rule", SIZES)
def test_a_size_at_its_limit_and_beyond(tables: Tables, rule: str) -> None:
    limit, build, pointer = SIZES[rule]
    guardrails = Guardrails(LIMITS)
    validate(Document.model_validate({"table": "frames", "limit": 5, **build(limit)}), tables, guardrails)
    assert LimitUsage(rule, limit, limit) in guardrails.usage
    rejected = _reject(tables, LIMITS, **{"limit": 5, **build(limit + 1)})
    (violation,) = rejected.violations
    assert rejected.rule == rule and violation.usage == LimitUsage(rule, limit, limit + 1)
    assert [problem.pointer for problem in violation.problems] == [pointer]
    assert violation.suggestion


AGGREGATE = {"function": "max", "column": "size"}
MISTAKES: list[tuple[str, str, dict[str, Any], list[str]]] = [
    ("unknown table", "table", {"table": "tasks"}, ["#/table"]),
    ("table of the service", "table", {"table": "idempotency_keys"}, ["#/table"]),
    ("system table", "table", {"table": "pg_shadow"}, ["#/table"]),
    ("schema and table", "table", {"table": "public.frames"}, ["#/table"]),
    ("quoted", "table", {"table": '"frames"'}, ["#/table"]),
    ("other case", "table", {"table": "Frames"}, ["#/table"]),
    ("unknown columns", "columns", {"columns": ["index", "nope", "*"]}, ["#/columns/1", "#/columns/2"]),
    ("internal column", "columns", {"table": "renders", "columns": ["render_key"]}, ["#/columns/0"]),
    ("who it is shared with", "columns", {"table": "experiments", "columns": ["shared_with"]}, ["#/columns/0"]),
    ("packed times", "columns", {"table": "sources", "columns": ["pts"]}, ["#/columns/0"]),
    ("system column", "columns", {"columns": ["ctid"]}, ["#/columns/0"]),
    ("expression", "columns", {"columns": ["count(*)"]}, ["#/columns/0"]),
    ("in a filter", "columns", {"filters": [{"any": [EQ | {"column": "size; --"}]}]}, ["#/filters/0/any/0/column"]),
    ("in the shorthand", "columns", {"filters": {"siz": 1}}, ["#/filters/siz"]),
    ("in the order", "columns", {"order_by": ["index", "-random()"]}, ["#/order_by/1"]),
    ("in an aggregate", "columns", {"aggregates": [AGGREGATE | {"column": "owner"}]}, ["#/aggregates/0/column"]),
    ("in group_by", "columns", {"group_by": ["1"]}, ["#/group_by/0"]),
    ("aggregate that was not asked", "columns", {"aggregates": [AGGREGATE], "order_by": ["count"]}, ["#/order_by/0"]),
    ("pattern of a number", "operators", {"filters": [EQ | {"op": "like", "value": "1"}]}, ["#/filters/0/op"]),
    (
        "order of uuids",
        "operators",
        {"filters": [{"column": "dataset_id", "op": "lt", "value": "x"}]},
        ["#/filters/0/op"],
    ),
    ("equal json", "operators", {"table": "datasets", "filters": {"gaps": []}}, ["#/filters/gaps"]),
    ("average of text", "shape", {"aggregates": [{"function": "avg", "column": "key"}]}, ["#/aggregates/0/function"]),
    ("sum of nothing", "shape", {"aggregates": [{"function": "sum"}]}, ["#/aggregates/0/column"]),
    ("column beside figures", "shape", {"aggregates": [AGGREGATE], "columns": ["key"]}, ["#/columns/0"]),
    ("order beside figures", "shape", {"aggregates": [AGGREGATE], "order_by": ["key"]}, ["#/order_by/0"]),
    ("groups of json", "shape", {"table": "datasets", "group_by": ["sizes"]}, ["#/group_by/0"]),
    ("order of lists", "shape", {"table": "datasets", "order_by": ["formats"]}, ["#/order_by/0"]),
    ("named twice", "shape", {"columns": ["key", "key"]}, ["#/columns/1"]),
    ("asked twice", "shape", {"aggregates": [AGGREGATE, AGGREGATE]}, ["#/aggregates/1"]),
    ("ordered twice", "shape", {"order_by": ["key", "-key"]}, ["#/order_by/1"]),
    ("escape of nothing", "pattern_escape", {"filters": [KEY | {"op": "like", "value": "a\\"}]}, ["#/filters/0/value"]),
    ("odd escapes", "pattern_escape", {"filters": [KEY | {"op": "ilike", "value": "\\\\\\"}]}, ["#/filters/0/value"]),
    ("cursor of nothing", "cursor", {"cursor": "nonsense"}, ["#/cursor"]),
    ("cursor of a single row", "cursor", {"aggregates": [AGGREGATE], "cursor": "W10"}, ["#/cursor"]),
]


@pytest.mark.parametrize(
    ("rule", "fields", "pointers"), [row[1:] for row in MISTAKES], ids=[row[0] for row in MISTAKES]
)
def test_mistakes(tables: Tables, rule: str, fields: dict[str, Any], pointers: list[str]) -> None:
    (violation,) = _reject(tables, GuardSettings.model_construct(), **fields).violations
    assert violation.usage == LimitUsage(rule, 0, len(pointers))
    assert [problem.pointer for problem in violation.problems] == pointers


WRONG_VALUES: list[tuple[str, str, str, Any]] = (
    [
        ("frames", "size", "eq", wrong)
        for wrong in ("1", 1.0, True, None, [], {}, 2**63, -(2**63) - 1, 10**4000, "1; DROP TABLE frames")
    ]
    + [
        ("frames", "dataset_id", "eq", wrong)
        for wrong in (
            "x",
            7,
            "{0197a3c2-9a44-7b1e-8d0a-61c3ab0be0d4}",
            "0197a3c29a447b1e8d0a61c3ab0be0d4",
            "urn:uuid:0197a3c2-9a44-7b1e-8d0a-61c3ab0be0d4",
            "0197a3c2-9a44-7b1e-8d0a-61c3ab0be0d4\n",
        )
    ]
    + [
        ("frames", "captured_at", "ge", wrong)
        for wrong in (
            "2026-03-01",
            "2026-03-01T10:00:00",
            "now",
            "infinity",
            "today",
            0,
            "0001-01-01T00:00:00+14:00",
            "9999-12-31T23:59:59-14:00",
            "10000-01-01T00:00:00Z",
        )
    ]
    + [
        ("frames", "key", "eq", 7),
        ("frames", "key", "like", ["%"]),
        ("frames", "key", "in", "abc"),
        ("frames", "key", "in", ["a", None]),
        ("frames", "key", "between", ["a"]),
        ("frames", "key", "between", ["a", "b", "c"]),
        ("frames", "key", "is_null", "yes"),
        ("frames", "key", "contains", {"a": 1}),
        ("datasets", "formats", "contains", ["jpeg"]),
        ("datasets", "gaps", "contains", "text"),
        ("query_audit", "elapsed_ms", "lt", 10**309),
        ("query_audit", "elapsed_ms", "lt", "1"),
        ("query_audit", "elapsed_ms", "lt", False),
    ]
)


@pytest.mark.parametrize(("table", "column", "op", "value"), WRONG_VALUES)
def test_values_of_another_type(tables: Tables, table: str, column: str, op: str, value: Any) -> None:
    filters = [{"column": column, "op": op, "value": value}]
    rejected = _reject(tables, GuardSettings.model_construct(), table=table, filters=filters)
    assert {violation.usage.rule for violation in rejected.violations} == {"values"}
    assert all(
        problem.pointer and problem.pointer.startswith("#/filters/0/value")
        for problem in rejected.violations[0].problems
    )


def test_the_names_that_exist_are_told_and_the_one_sent_is_not(tables: Tables) -> None:
    detail = _reject(tables, GuardSettings.model_construct(), table="frame_x").violations[0].problems[0].detail
    assert "did you mean frames?" in detail and "frame_x" not in detail
    assert all(name in detail for name in tables)


def test_sizes_are_measured_before_anything_that_takes_long(tables: Tables) -> None:
    rejected = _reject(tables, GuardSettings.model_construct(), columns=[f"nope_{number}" for number in range(50_000)])
    assert [violation.usage for violation in rejected.violations] == [LimitUsage("names", 100, 50_000)]


def test_what_was_measured_is_told_in_order(tables: Tables) -> None:
    """Every value of the stages up to the one that rejects the query, and no later one."""
    rejected = _reject(tables, GuardSettings.model_construct(), columns=["nope"])
    names = [rule.name for stage in RULE_STAGES for rule in stage]
    assert [usage.rule for usage in rejected.limit_usage] == names
    rejected = _reject(tables, GuardSettings.model_construct(), limit=2000)
    assert [usage.rule for usage in rejected.limit_usage] == [rule.name for rule in RULE_STAGES[0]]


def test_every_rule_has_a_name_of_its_own() -> None:
    names = [rule.name for stage in RULE_STAGES for rule in stage]
    assert len(set(names)) == len(names)
