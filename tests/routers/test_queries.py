"""/api/database over a real database: answers, refusals, and attacks."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from sqlalchemy import insert, select, text, update

from service.store.tables import experiments, query_audit, sources
from tests.support.catalogue import add_dataset, add_render
from tests.support.catalogue_api import CatalogueApi, catalogue_api

pytestmark = pytest.mark.anyio
PATH = "/api/database/query"
SCOPE = "query:run"
TABLES = {"datasets", "experiments", "frames", "query_audit", "renders", "sources"}
MANY = 200_000


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def api(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[CatalogueApi]:
    """alice has a private dataset with 200 000 frames, a source and a render; bob a private one with 3 frames."""
    async with catalogue_api(postgres_url, tmp_path_factory.mktemp("home")) as api:
        async with api.database.service() as connection:
            mine = await add_dataset(connection, 0)
            many = """INSERT INTO frames (dataset_id, index, number, key, size, etag)
                SELECT :id, n, n, 'secret/' || n, 100, 'e' FROM generate_series(0, :last) n"""
            await connection.execute(text(many), {"id": mine["id"], "last": MANY - 1})
            source = {"dataset_id": mine["id"], "number": 0, "key": "secret.mp4", "size": 1, "etag": "e", "pts": b""}
            await connection.execute(insert(sources).values(**source, first_index=0, frame_count=0))
            await add_render(connection, mine | {"frame_count": 3})
            named = {"name": "alice's secret", "shared_with": ["carol"]}
            await connection.execute(
                update(experiments).where(experiments.c.id == mine["experiment_id"]).values(**named)
            )
            await add_dataset(connection, 3, owner="bob")
        async with api.database.engine.connect() as connection:
            await (await connection.execution_options(isolation_level="AUTOCOMMIT")).execute(text("ANALYZE"))
        yield api


@pytest.fixture(scope="module")
async def alice(api: CatalogueApi) -> AsyncIterator[httpx.AsyncClient]:
    async with api.client("alice", SCOPE) as client:
        yield client


@pytest.fixture(scope="module")
async def bob(api: CatalogueApi) -> AsyncIterator[httpx.AsyncClient]:
    async with api.client("bob", SCOPE) as client:
        yield client


async def _ask(client: httpx.AsyncClient, **document: Any) -> dict[str, Any]:
    response = await client.post(PATH, json=document)
    assert response.status_code == 200, response.text
    return dict(response.json())


async def _refusal(client: httpx.AsyncClient, document: Any, status: int = 422) -> dict[str, Any]:
    response = await client.post(PATH, json=document)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    return dict(response.json())


async def _audit(api: CatalogueApi) -> Any:
    async with api.database.service() as connection:
        newest = select(query_audit).order_by(query_audit.c.created_at.desc(), query_audit.c.id.desc())
        return (await connection.execute(newest.limit(1))).mappings().one()


async def test_tables_tell_what_may_be_asked(alice: httpx.AsyncClient) -> None:
    tables = {table["name"]: table for table in (await alice.get("/api/database/tables")).json()}
    assert set(tables) == TABLES and all(table["description"] and table["key"] for table in tables.values())
    frames = {column["name"]: column for column in tables["frames"]["columns"]}
    assert frames["size"] == {
        "name": "size",
        "type": "integer",
        "operators": ["eq", "ne", "lt", "le", "gt", "ge", "in", "not_in", "between", "is_null"],
        "aggregates": ["count", "min", "max", "avg", "sum"],
        "sortable": True,
    }
    named = {f"{name}.{column['name']}" for name, table in tables.items() for column in table["columns"]}
    hidden = "sources.pts experiments.shared_with renders.render_key renders.video_key renders.request frames.etag"
    assert named.isdisjoint(hidden.split())


async def test_every_told_column_can_be_asked_for(alice: httpx.AsyncClient) -> None:
    for table in (await alice.get("/api/database/tables")).json():
        answer = await _ask(
            alice, table=table["name"], limit=1, columns=[column["name"] for column in table["columns"]]
        )
        assert answer["columns"] == [{"name": column["name"], "type": column["type"]} for column in table["columns"]]


async def test_an_answer(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    body = {"table": "frames", "columns": ["index", "key"], "filters": {"number": 7}, "limit": 5}
    response = await alice.post(PATH, json=body)
    answer = response.json()
    assert answer | {"elapsed_ms": 0, "guardrails": []} == {
        "table": "frames",
        "columns": [{"name": "index", "type": "integer"}, {"name": "key", "type": "text"}],
        "rows": [{"index": 7, "key": "secret/7"}],
        "row_count": 1,
        "truncated": False,
        "next_cursor": None,
        "elapsed_ms": 0,
        "guardrails": [],
    }
    assert answer["elapsed_ms"] > 0
    assert {"rule": "rows", "limit": 1000, "actual": 5} in answer["guardrails"]
    assert {"plan_cost", "statement_ms", "result_bytes", "concurrency"} <= {
        item["rule"] for item in answer["guardrails"]
    }
    stages = [stage.partition(";dur=")[0] for stage in response.headers["Server-Timing"].split(", ")]
    assert stages == ["policy", "plan", "read", "audit", "total"]
    record = await _audit(api)
    assert (record["subject"], record["outcome"], record["rule"], record["row_count"]) == ("alice", "answered", None, 1)
    assert record["document"] == body and record["figures"] == answer["guardrails"]


async def test_values_are_json(alice: httpx.AsyncClient) -> None:
    row = (await _ask(alice, table="datasets"))["rows"][0]
    assert isinstance(row["id"], str) and len(row["id"]) == 36
    assert row["created_at"].endswith("Z") and "T" in row["created_at"]
    assert (row["experiment_name"], row["frame_count"], row["formats"], row["captured_from"]) == (
        "alice's secret",
        0,
        [],
        None,
    )
    render = (await _ask(alice, table="renders"))["rows"][0]
    assert render["options"]["codec"] == "h264" and render["experiment_name"] == "alice's secret"


async def test_an_aggregate(alice: httpx.AsyncClient) -> None:
    aggregates = [{"function": "count"}, {"function": "avg", "column": "index"}, {"function": "sum", "column": "size"}]
    answer = await _ask(alice, table="frames", aggregates=aggregates, group_by=["dataset_name"])
    assert answer["rows"] == [
        {"dataset_name": "frames", "count": MANY, "avg_index": (MANY - 1) / 2, "sum_size": MANY * 100}
    ]
    assert [column["type"] for column in answer["columns"]] == ["text", "integer", "number", "integer"]


async def test_a_refusal_tells_rule_limit_figure_place_and_what_to_ask(
    api: CatalogueApi, alice: httpx.AsyncClient
) -> None:
    response = await alice.post(PATH, json={"table": "frames", "limit": 5000})
    problem = response.json()
    assert response.status_code == 422 and response.headers["Server-Timing"].startswith("policy;dur=")
    assert problem["type"] == "/problems/query-refused" and "5000 is over the limit of 1000" in problem["detail"]
    assert problem["guardrails"] == [
        {"rule": "rows", "limit": 1000, "actual": 5000, "suggestion": problem["guardrails"][0]["suggestion"]}
    ]
    assert [(error["code"], error["pointer"]) for error in problem["errors"]] == [("rows", "#/limit")]
    record = await _audit(api)
    assert (record["outcome"], record["rule"], record["document"]["limit"]) == ("refused", "rows", 5000)


async def test_unknown_names_are_answered_with_those_that_exist(alice: httpx.AsyncClient) -> None:
    table = await _refusal(alice, {"table": "experiment"})
    assert table["errors"][0]["pointer"] == "#/table" and all(name in table["errors"][0]["detail"] for name in TABLES)
    column = await _refusal(alice, {"table": "experiments", "filters": [{"column": "nme", "op": "eq", "value": "x"}]})
    assert column["errors"][0]["pointer"] == "#/filters/0/column"
    assert "did you mean name?" in column["errors"][0]["detail"] and "visibility" in column["errors"][0]["detail"]


async def test_who_may_ask(api: CatalogueApi) -> None:
    for scopes, status in ((("catalog:read",), 403), (("query:run",), 200), (("admin",), 200)):
        async with api.client("alice", *scopes) as client:
            assert (await client.post(PATH, json={"table": "sources"})).status_code == status
            assert (await client.get("/api/database/tables")).status_code == status
    async with httpx.AsyncClient(transport=httpx.ASGITransport(api.app), base_url="http://test") as stranger:
        assert (await stranger.post(PATH, json={"table": "sources"})).status_code == 401


async def test_json_that_nests_too_deep_spoils_nothing(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    deep: Any = []
    for _ in range(400):
        deep = [deep]
    where = experiments.c.owner == "alice"
    async with api.database.service() as connection:
        await connection.execute(update(experiments).where(where).values(metadata={"a": deep}))
    rows = (await _ask(alice, table="experiments"))["rows"]
    assert [row["metadata"] for row in rows] == ["(nested deeper than 64 levels)"]
    async with api.database.service() as connection:
        await connection.execute(update(experiments).where(where).values(metadata={"a": [{"b": None}]}))
    assert (await _ask(alice, table="experiments"))["rows"][0]["metadata"] == {"a": [{"b": None}]}


async def test_admins_see_all(api: CatalogueApi) -> None:
    async with api.client("root", "admin") as root:
        answer = await _ask(root, table="frames", aggregates=[{"function": "count"}])
        assert answer["rows"] == [{"count": MANY + 3}]
        assert len((await _ask(root, table="experiments"))["rows"]) == 2


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
        problem = await _refusal(alice, {"table": "frames", **NAME_FIELDS[field](bad)})
        assert problem["errors"][0]["pointer"].startswith("#/")
        if field not in ("shorthand", "unknown field"):  # there the pointer has to name the key
            assert "SELECT" not in json.dumps(problem) and "DROP" not in json.dumps(problem), problem


@pytest.mark.parametrize("op", ["eq", "lt", "like", "ilike", "starts_with", "contains", "in", "between"])
async def test_injection_into_values_finds_nothing(alice: httpx.AsyncClient, op: str) -> None:
    for bad in INJECTIONS:
        value = {"in": [bad, bad], "between": [bad, bad]}.get(op, bad)
        response = await alice.post(
            PATH, json={"table": "datasets", "filters": [{"column": "state", "op": op, "value": value}]}
        )
        assert response.status_code == 200, (bad, response.text)
        if op != "lt":
            assert response.json()["rows"] == [], bad


async def test_injection_was_harmless(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    assert (await _ask(alice, table="frames", aggregates=[{"function": "count"}]))["rows"] == [{"count": MANY}]


def _nested(depth: int) -> Any:
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
    "50 nested groups": ({"filters": _nested(50)}, "filter_depth"),
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
    problem = await _refusal(alice, {"table": "frames", **document})
    assert [guardrail["rule"] for guardrail in problem["guardrails"]] == [rule]
    assert problem["guardrails"][0]["actual"] > problem["guardrails"][0]["limit"]
    assert (await _audit(api))["rule"] == rule


@pytest.mark.parametrize("depth", [300, 900, 5000, 100_000])
async def test_endless_nesting_is_refused(alice: httpx.AsyncClient, depth: int) -> None:
    group = '{"not":' * depth + json.dumps(EQ) + "}" * depth
    value = "[" * depth + "]" * depth
    bodies = (
        f'{{"table":"frames","filters":[{group}]}}',
        f'{{"table":"frames","filters":[{{"column":"key","op":"eq","value":{value}}}]}}',
        f'{{"table":"frames","filters":{value}}}',
    )
    for body in bodies:
        response = await alice.post(PATH, content=body, headers={"Content-Type": "application/json"})
        assert response.status_code in (400, 422), (depth, response.text[:500])
        assert response.headers["content-type"] == "application/problem+json" and len(response.content) < 20_000


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
    await _refusal(bob, {"table": "frames", **trick})
    headers = {"X-Reelmill-Admin": "on", "X-Max-Rows": "100000"}
    response = await bob.post(f"{PATH}?max_cost=1000000000&admin=on", json={"table": "frames"}, headers=headers)
    assert response.json()["row_count"] == 3


async def test_200_000_rows_of_one_caller_are_none_to_another(
    api: CatalogueApi, alice: httpx.AsyncClient, bob: httpx.AsyncClient
) -> None:
    counted = {"table": "frames", "aggregates": [{"function": "count"}]}
    assert (await _ask(alice, **counted))["rows"] == [{"count": MANY}]
    assert (await _ask(bob, **counted))["rows"] == [{"count": 3}]
    async with api.client("eve", SCOPE) as eve:
        assert (await _ask(eve, **counted))["rows"] == [{"count": 0}]
        assert (await _ask(eve, table="frames", limit=1000))["rows"] == []


async def _ids(api: CatalogueApi) -> dict[str, Any]:
    async with api.database.service() as connection:
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
    """By id, by owner, by pattern, negated, grouped, ordered: never a row, a figure or a group of alice's."""
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
        assert (await _ask(bob, **document))["rows"] == [], document
    whole = await _ask(
        bob,
        table="frames",
        aggregates=[{"function": name, "column": "index"} for name in ("count", "min", "max", "sum", "avg")],
    )
    assert whole["rows"] == [{"count_index": 3, "min_index": 0, "max_index": 2, "sum_index": 3, "avg_index": 1}]
    assert (await _ask(bob, table="query_audit", group_by=["subject"]))["rows"] == [{"subject": "bob"}]
    assert (await _ask(bob, table="experiments", group_by=["owner"]))["rows"] == [{"owner": "bob"}]


async def test_a_cursor_of_another_caller_shows_nothing(
    api: CatalogueApi, alice: httpx.AsyncClient, bob: httpx.AsyncClient
) -> None:
    document = {"table": "frames", "order_by": ["key"], "limit": 2, "columns": ["key"]}
    cursor = (await _ask(alice, **document))["next_cursor"]
    found = await _ask(bob, **document, cursor=cursor)
    assert not any(row["key"].startswith("secret") for row in found["rows"])


async def test_cursors_that_were_made_up(bob: httpx.AsyncClient) -> None:
    document = {"table": "frames", "order_by": ["-captured_at", "key"], "limit": 1}
    good = (await _ask(bob, **document))["next_cursor"]
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
        problem = await _refusal(bob, {**document, "cursor": cursor})
        assert problem["errors"][0]["pointer"] == "#/cursor", cursor[:50]


async def test_shared_and_public_rows_are_found(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    async with api.database.service() as connection:
        dataset = await add_dataset(connection, 2, owner="dora")
        where = experiments.c.id == dataset["experiment_id"]
        await connection.execute(update(experiments).where(where).values(visibility="shared", shared_with=["carol"]))
    document = {"table": "frames", "filters": {"dataset_id": str(dataset["id"])}}
    async with api.client("carol", SCOPE) as carol, api.client("eve", SCOPE) as eve:
        assert (await _ask(carol, **document))["row_count"] == 2
        assert (await _ask(eve, **document))["row_count"] == 0
        async with api.database.service() as connection:
            await connection.execute(update(experiments).where(where).values(visibility="private"))
        assert (await _ask(carol, **document))["row_count"] == 0
        async with api.database.service() as connection:
            await connection.execute(experiments.delete().where(where))


async def test_costs_do_not_tell_apart_what_may_not_be_seen(bob: httpx.AsyncClient) -> None:
    """The planner knows of alice's rows; the figure that is told has one digit."""
    for owner in ("alice", "nobody"):
        answer = await _ask(bob, table="experiments", filters={"owner": owner})
        (cost,) = [item["actual"] for item in answer["guardrails"] if item["rule"] == "plan_cost"]
        assert len(str(cost).rstrip("0")) == 1


async def test_refusals_are_counted_by_rule(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    async def figure(name: str) -> float:
        async with api.client("ops", "ops:read") as ops:
            lines = (await ops.get("/metrics")).text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))

    refused, answered = 'reelmill_query_refusals_total{rule="rows"}', 'reelmill_queries_total{outcome="answered"}'
    before = await figure(refused), await figure(answered), await figure("reelmill_query_seconds_count")
    await _refusal(alice, {"table": "frames", "limit": 1001})
    await _ask(alice, table="sources")
    assert (await figure(refused), await figure(answered)) == (before[0] + 1, before[1] + 1)
    assert await figure("reelmill_query_seconds_count") == before[2] + 2


async def test_too_many_at_once(alice: httpx.AsyncClient) -> None:
    counted = {"table": "frames", "aggregates": [{"function": "count"}]}
    together = await asyncio.gather(*(alice.post(PATH, json=counted) for _ in range(12)))
    statuses = {response.status_code for response in together}
    assert statuses == {200, 429}
    refused = next(response for response in together if response.status_code == 429)
    assert refused.headers["Retry-After"] == "1" and refused.json()["guardrails"][0]["rule"] == "concurrency"
    assert (await alice.post(PATH, json=counted)).status_code == 200


async def test_only_these_methods(alice: httpx.AsyncClient) -> None:
    response = await alice.get(PATH)
    assert response.status_code == 405 and response.headers["Allow"] == "POST"
    assert (await alice.post(PATH, content=b"table=frames")).status_code == 415


async def test_a_database_that_is_away_is_503(known: httpx.AsyncClient, token: Any) -> None:
    known.headers.update(token(SCOPE))
    for response in (await known.post(PATH, json={"table": "frames"}), await known.get("/api/database/tables")):
        assert response.status_code == 503 and response.headers["content-type"] == "application/problem+json"
        assert response.headers["Retry-After"]
