"""Attacks: injection, type confusion, size, cost, settings, and every path to another caller's rows."""

import base64
import json
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from service.guard.guard import Guard
from service.guard.settings import GuardSettings
from tests.support.processes.catalogue_api import (
    ALICE_FRAME_COUNT,
    QUERY_PATH,
    QUERY_SCOPE,
    CatalogueApi,
    expect_refusal,
    last_audit_record,
    run_query,
)

pytestmark = pytest.mark.anyio
INJECTIONS = [
    "'; DROP TABLE experiments; --",
    "' OR '1'='1",
    '" OR ""="',
    "1) OR (1=1",
    "x' UNION SELECT subject FROM query_audit --",
    "$1",
    "%(param_1)s",
    ":param_1",
    "\\'; SELECT pg_sleep(10); --",
    "(SELECT 1)",
    "frames; SET ROLE postgres",
    "pg_catalog.pg_authid",
    "public.frames",
    "ask.frames",
    'frames" --',
    "*",
    "ctid",
    "tableoid",
]
EQ = {"column": "key", "op": "eq", "value": "x"}
NAME_FIELDS: dict[str, Any] = {
    "table": lambda bad: {"table": bad},
    "columns": lambda bad: {"columns": [bad]},
    "filter column": lambda bad: {"filters": [EQ | {"column": bad}]},
    "shorthand": lambda bad: {"filters": {bad: "x"}},
    "operator": lambda bad: {"filters": [EQ | {"op": bad}]},
    "order_by": lambda bad: {"order_by": [bad]},
    "order column": lambda bad: {"order_by": [{"column": bad}]},
    "direction": lambda bad: {"order_by": [{"column": "key", "direction": bad}]},
    "function": lambda bad: {"aggregates": [{"function": bad, "column": "size"}]},
    "aggregate": lambda bad: {"aggregates": [{"function": "max", "column": bad}]},
    "group_by": lambda bad: {"group_by": [bad]},
    "cursor": lambda bad: {"cursor": bad},
    "limit": lambda bad: {"limit": bad},
    "unknown field": lambda bad: {bad: 1},
}


@pytest.mark.parametrize("field", NAME_FIELDS)
async def test_injection_into_names_is_refused(alice: httpx.AsyncClient, field: str) -> None:
    for bad in INJECTIONS:
        problem = await expect_refusal(alice, {"table": "frames", **NAME_FIELDS[field](bad)})
        assert problem["errors"][0]["pointer"].startswith("#/")
        if field not in ("shorthand", "unknown field"):  # there the pointer has to name the key
            assert "SELECT" not in json.dumps(problem) and "DROP" not in json.dumps(problem), problem


@pytest.mark.parametrize("op", ["eq", "lt", "like", "ilike", "starts_with", "contains", "in", "between"])
async def test_injection_into_values_finds_nothing(alice: httpx.AsyncClient, op: str) -> None:
    for bad in INJECTIONS:
        value = {"in": [bad, bad], "between": [bad, bad]}.get(op, bad)
        response = await alice.post(
            QUERY_PATH, json={"table": "datasets", "filters": [{"column": "state", "op": op, "value": value}]}
        )
        assert response.status_code == 200, (bad, response.text)
        if op != "lt":
            assert response.json()["rows"] == [], bad


async def test_injection_was_harmless(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    assert (await run_query(alice, table="frames", aggregates=[{"function": "count"}]))["rows"] == [
        {"count": ALICE_FRAME_COUNT}
    ]


def _nest(depth: int) -> Any:
    filters: Any = EQ
    for _ in range(depth):
        filters = {"not": filters}
    return [filters]


ATTACKS: dict[str, tuple[dict[str, Any], str]] = {
    "10 000 conditions": ({"filters": [EQ] * 10_000}, "conditions"),
    "100 000 listed values": (
        {"filters": [{"column": "size", "op": "in", "value": list(range(100_000))}]},
        "listed_values",
    ),
    "many medium lists": (
        {"filters": [{"column": "size", "op": "in", "value": list(range(900))}] * 20},
        "listed_values",
    ),
    "10 000 empty groups": ({"filters": [{"any": []}] * 10_000}, "conditions"),
    "50 nested groups": ({"filters": _nest(50)}, "filter_depth"),
    "a bomb of wildcards": ({"filters": [EQ | {"op": "like", "value": "%a" * 60 + "b"}]}, "pattern_wildcards"),
    "a bomb of singles": ({"filters": [EQ | {"op": "ilike", "value": "_%" * 90}]}, "pattern_wildcards"),
    "a long pattern": ({"filters": [EQ | {"op": "like", "value": "a" * 4000}]}, "pattern_length"),
    "a long value": ({"filters": [EQ | {"op": "contains", "value": "a" * 100_000}]}, "value_bytes"),
    "10 000 columns": ({"columns": [f"c{number}" for number in range(10_000)]}, "names"),
    "10 000 groups": ({"group_by": ["key"] * 10_000}, "names"),
    "a billion rows": ({"limit": 10**9}, "rows"),
    "more rows than numbers": ({"limit": 10**300}, "rows"),
    "a number in text": ({"filters": [EQ | {"value": 7}]}, "values"),
    "text in a number": ({"filters": {"size": "7"}}, "values"),
    "an object in text": ({"filters": [EQ | {"value": {"$ne": None}}]}, "values"),
    "a list in text": ({"filters": {"key": ["a"]}}, "values"),
    "a number beyond 64 bits": ({"filters": {"size": 2**64}}, "values"),
    "truth in a number": ({"filters": {"size": True}}, "values"),
}


@pytest.mark.parametrize("attack", ATTACKS)
async def test_attacks_are_refused_by_name(api: CatalogueApi, alice: httpx.AsyncClient, attack: str) -> None:
    document, rule = ATTACKS[attack]
    problem = await expect_refusal(alice, {"table": "frames", **document})
    assert [guardrail["rule"] for guardrail in problem["guardrails"]] == [rule]
    assert problem["guardrails"][0]["actual"] > problem["guardrails"][0]["limit"]
    assert (await last_audit_record(api))["rule"] == rule


@pytest.mark.parametrize("depth", [80, 120, 126, 127, 128, 200, 250, 254, 255, 300, 900, 5000, 100_000])
async def test_endless_nesting_is_refused(alice: httpx.AsyncClient, depth: int) -> None:
    group = '{"not":' * depth + json.dumps(EQ) + "}" * depth
    value = "[" * depth + "]" * depth
    bodies = (
        f'{{"table":"frames","filters":[{group}]}}',
        f'{{"table":"frames","filters":[{{"column":"key","op":"eq","value":{value}}}]}}',
        f'{{"table":"frames","filters":{value}}}',
    )
    for body in bodies:
        response = await alice.post(QUERY_PATH, content=body, headers={"Content-Type": "application/json"})
        assert response.status_code in (400, 422), (depth, response.text[:500])
        assert response.headers["content-type"] == "application/problem+json" and len(response.content) < 20_000


EXPENSIVE_QUERIES: dict[str, tuple[dict[str, Any], int, str]] = {
    "a scan": ({"filters": [{"column": "number", "op": "gt", "value": 5}], "limit": 1}, 422, "plan_cost"),
    "a scan for nothing": ({"filters": [EQ | {"op": "ilike", "value": "%no%such%key%"}]}, 422, "plan_cost"),
    "a sort": ({"order_by": ["-captured_at"], "limit": 1}, 422, "plan_cost"),
    "a count": ({"aggregates": [{"function": "count"}]}, 422, "plan_cost"),
    "every value": ({"group_by": ["key"], "limit": 1}, 422, "plan_cost"),
}


@pytest.mark.parametrize("attack", EXPENSIVE_QUERIES)
async def test_costly_queries_are_refused_before_they_run(
    api: CatalogueApi, alice: httpx.AsyncClient, attack: str
) -> None:
    document, status, rule = EXPENSIVE_QUERIES[attack]
    before, api.app.state.guard = api.app.state.guard, Guard(api.database, GuardSettings.model_construct(max_cost=3000))
    try:
        problem = await expect_refusal(alice, {"table": "frames", **document}, status)
    finally:
        api.app.state.guard = before
    assert [guardrail["rule"] for guardrail in problem["guardrails"]] == [rule]
    assert (await last_audit_record(api))["outcome"] == "refused"


async def test_a_slow_query_is_a_504_with_its_figures(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    before = api.app.state.guard
    api.app.state.guard = Guard(api.database, GuardSettings.model_construct(timeout_s=0.01))
    try:
        scan = {"table": "frames", "filters": [EQ | {"op": "ilike", "value": "%1%2%3%4%"}], "order_by": ["-key"]}
        problem = await expect_refusal(alice, scan, 504)
    finally:
        api.app.state.guard = before
    assert problem["type"] == "/problems/timed-out" and problem["guardrails"][0]["rule"] == "statement_ms"
    assert (await last_audit_record(api))["outcome"] == "timed_out"


SETTINGS: list[dict[str, Any]] = [
    {"settings": {"max_rows": 10**9}},
    {"statement_timeout": 0},
    {"max_cost": 10**9},
    {"role": "postgres"},
    {"caller": "bob"},
    {"subject": "bob"},
    {"admin": True},
    {"reelmill.admin": "on"},
    {"columns": ["current_setting('reelmill.subject')"]},
    {"columns": ["set_config('reelmill.admin','on',true)"]},
    {"filters": [{"column": "set_config('role','postgres',true)", "op": "is_null"}]},
]


@pytest.mark.parametrize("trick", SETTINGS)
async def test_settings_cannot_be_changed(bob: httpx.AsyncClient, trick: dict[str, Any]) -> None:
    await expect_refusal(bob, {"table": "frames", **trick})
    headers = {"X-Reelmill-Admin": "on", "X-Max-Rows": "100000"}
    response = await bob.post(f"{QUERY_PATH}?max_cost=1000000000&admin=on", json={"table": "frames"}, headers=headers)
    assert response.json()["row_count"] == 3


async def test_200_000_rows_of_one_caller_are_none_to_another(
    api: CatalogueApi, alice: httpx.AsyncClient, bob: httpx.AsyncClient
) -> None:
    counted = {"table": "frames", "aggregates": [{"function": "count"}]}
    assert (await run_query(alice, **counted))["rows"] == [{"count": ALICE_FRAME_COUNT}]
    assert (await run_query(bob, **counted))["rows"] == [{"count": 3}]
    async with api.client("eve", QUERY_SCOPE) as eve:
        assert (await run_query(eve, **counted))["rows"] == [{"count": 0}]
        assert (await run_query(eve, table="frames", limit=1000))["rows"] == []


async def _ids(api: CatalogueApi) -> dict[str, Any]:
    async with api.database.service_transaction() as connection:
        row = (
            await connection.execute(
                text(
                    "SELECT d.id, d.experiment_id FROM datasets d JOIN experiments e ON e.id = d.experiment_id WHERE e.owner = 'alice'"
                )
            )
        ).one()
        render = await connection.scalar(text("SELECT id FROM renders"))
    return {"dataset": str(row.id), "experiment": str(row.experiment_id), "render": str(render)}


async def test_another_ones_rows_by_every_path(api: CatalogueApi, bob: httpx.AsyncClient) -> None:
    """By id, owner or pattern, negated, grouped or ordered: no row, aggregate or group is ever alice's."""
    ids = await _ids(api)
    count = [{"function": "count"}]
    paths: list[dict[str, Any]] = [
        {"table": "experiments", "filters": {"id": ids["experiment"]}},
        {"table": "experiments", "filters": {"owner": "alice"}},
        {"table": "experiments", "filters": [{"column": "name", "op": "ilike", "value": "%secret%"}]},
        {"table": "experiments", "filters": [{"not": {"column": "owner", "op": "eq", "value": "bob"}}]},
        {
            "table": "experiments",
            "filters": [
                {"any": [{"all": []}, {"column": "owner", "op": "ne", "value": "bob"}]},
                {"column": "owner", "op": "ne", "value": "bob"},
            ],
        },
        {"table": "experiments", "filters": {"owner": "alice"}, "group_by": ["name"], "aggregates": count},
        {"table": "datasets", "filters": {"id": ids["dataset"]}},
        {"table": "datasets", "filters": {"experiment_id": ids["experiment"]}},
        {"table": "datasets", "filters": {"experiment_name": "alice's secret"}},
        {"table": "frames", "filters": {"dataset_id": ids["dataset"]}},
        {"table": "frames", "filters": {"dataset_id": ids["dataset"], "index": 7}},
        {"table": "frames", "filters": [{"column": "key", "op": "starts_with", "value": "secret"}]},
        {"table": "frames", "filters": [{"column": "number", "op": "gt", "value": 10}], "order_by": ["-number"]},
        {"table": "frames", "filters": {"dataset_id": ids["dataset"]}, "group_by": ["dataset_id"], "aggregates": count},
        {"table": "sources"},
        {"table": "renders"},
        {"table": "renders", "filters": {"id": ids["render"]}},
        {"table": "renders", "filters": {"owner": "alice"}},
        {"table": "query_audit", "filters": {"subject": "alice"}},
        {"table": "query_audit", "filters": [{"column": "subject", "op": "ne", "value": "bob"}]},
        {
            "table": "query_audit",
            "filters": [
                {"column": "document", "op": "contains", "value": {"table": "frames"}},
                {"column": "subject", "op": "ne", "value": "bob"},
            ],
        },
    ]
    for document in paths:
        assert (await run_query(bob, **document))["rows"] == [], document
    whole = await run_query(
        bob,
        table="frames",
        aggregates=[{"function": name, "column": "index"} for name in ("count", "min", "max", "sum", "avg")],
    )
    assert whole["rows"] == [{"count_index": 3, "min_index": 0, "max_index": 2, "sum_index": 3, "avg_index": 1}]
    assert (await run_query(bob, table="query_audit", group_by=["subject"]))["rows"] == [{"subject": "bob"}]
    assert (await run_query(bob, table="experiments", group_by=["owner"]))["rows"] == [{"owner": "bob"}]


async def test_a_cursor_of_another_caller_shows_nothing(
    api: CatalogueApi, alice: httpx.AsyncClient, bob: httpx.AsyncClient
) -> None:
    document = {"table": "frames", "order_by": ["key"], "limit": 2, "columns": ["key"]}
    cursor = (await run_query(alice, **document))["next_cursor"]
    found = await run_query(bob, **document, cursor=cursor)
    assert not any(row["key"].startswith("secret") for row in found["rows"])


async def test_cursors_that_were_made_up(bob: httpx.AsyncClient) -> None:
    document = {"table": "frames", "order_by": ["-captured_at", "key"], "limit": 1}
    good = (await run_query(bob, **document))["next_cursor"]
    digest, *place = json.loads(base64.urlsafe_b64decode(good + "=" * (-len(good) % 4)))
    assert len(place) == 4
    forged = [
        [],
        {},
        "x",
        [digest],
        [digest, *place, 1],
        ["0" * 16, *place],
        [None, *place],
        [digest, "now", *place[1:]],
        [digest, 1e308, *place[1:]],
        [digest, place[0], None, *place[2:]],
        [digest, place[0], "a\0b", *place[2:]],
        [digest, place[0], "\ud800", *place[2:]],
        [digest, place[0], {"a": 1}, *place[2:]],
        [digest, place[0], place[1], "' OR 1=1", place[3]],
        [digest, place[0], place[1], place[2], 2**63],
        [digest, place[0], place[1], place[2], True],
        [digest, place[0], place[1], place[2], "0"],
    ]
    encoded = [base64.urlsafe_b64encode(json.dumps(item).encode()).decode() for item in forged]
    for cursor in [
        *encoded,
        "é",
        "=",
        "a",
        "[" * 60_000,
        base64.urlsafe_b64encode(b"[" * 40_000).decode(),
        good[:-1],
        good + "A",
        good + " ",
    ]:
        problem = await expect_refusal(bob, {**document, "cursor": cursor})
        assert problem["errors"][0]["pointer"] == "#/cursor", cursor[:50]


async def test_costs_do_not_tell_apart_what_may_not_be_seen(bob: httpx.AsyncClient) -> None:
    """The planner's statistics cover alice's rows, so the cost has one significant digit only."""
    for owner in ("alice", "nobody"):
        answer = await run_query(bob, table="experiments", filters={"owner": owner})
        (cost,) = [item["actual"] for item in answer["guardrails"] if item["rule"] == "plan_cost"]
        assert len(str(cost).rstrip("0")) == 1
