"""The queryable tables, answers, rejections and audit records, on a real database."""

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from service.guard.document import Document
from service.ids import Subject
from service.store.database import Caller
from service.store.tables import experiments
from tests.support.data.database_rows import add_dataset
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
TABLES = {"datasets", "experiments", "frames", "query_audit", "renders", "sources"}


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
        answer = await run_query(
            alice, table=table["name"], limit=1, columns=[column["name"] for column in table["columns"]]
        )
        assert answer["columns"] == [{"name": column["name"], "type": column["type"]} for column in table["columns"]]


async def test_an_answer(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    body = {"table": "frames", "columns": ["index", "key"], "filters": {"number": 7}, "limit": 5}
    response = await alice.post(QUERY_PATH, json=body)
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
    record = await last_audit_record(api)
    assert (record["subject"], record["outcome"], record["rule"], record["row_count"]) == ("alice", "answered", None, 1)
    assert record["document"] == body and record["figures"] == answer["guardrails"]


async def test_values_are_json(alice: httpx.AsyncClient) -> None:
    row = (await run_query(alice, table="datasets"))["rows"][0]
    assert isinstance(row["id"], str) and len(row["id"]) == 36
    assert row["created_at"].endswith("Z") and "T" in row["created_at"]
    assert (row["experiment_name"], row["frame_count"], row["formats"], row["captured_from"]) == (
        "alice's secret",
        0,
        [],
        None,
    )
    render = (await run_query(alice, table="renders"))["rows"][0]
    assert render["options"]["codec"] == "h264" and render["experiment_name"] == "alice's secret"


async def test_an_aggregate(alice: httpx.AsyncClient) -> None:
    aggregates = [{"function": "count"}, {"function": "avg", "column": "index"}, {"function": "sum", "column": "size"}]
    answer = await run_query(alice, table="frames", aggregates=aggregates, group_by=["dataset_name"])
    assert answer["rows"] == [
        {
            "dataset_name": "frames",
            "count": ALICE_FRAME_COUNT,
            "avg_index": (ALICE_FRAME_COUNT - 1) / 2,
            "sum_size": ALICE_FRAME_COUNT * 100,
        }
    ]
    assert [column["type"] for column in answer["columns"]] == ["text", "integer", "number", "integer"]


async def test_a_refusal_tells_rule_limit_figure_place_and_what_to_ask(
    api: CatalogueApi, alice: httpx.AsyncClient
) -> None:
    response = await alice.post(QUERY_PATH, json={"table": "frames", "limit": 5000})
    problem = response.json()
    assert response.status_code == 422 and response.headers["Server-Timing"].startswith("policy;dur=")
    assert problem["type"] == "/problems/query-refused" and "5000 is over the limit of 1000" in problem["detail"]
    assert problem["guardrails"] == [
        {"rule": "rows", "limit": 1000, "actual": 5000, "suggestion": problem["guardrails"][0]["suggestion"]}
    ]
    assert [(error["code"], error["pointer"]) for error in problem["errors"]] == [("rows", "#/limit")]
    record = await last_audit_record(api)
    assert (record["outcome"], record["rule"], record["document"]["limit"]) == ("refused", "rows", 5000)


async def test_unknown_names_are_answered_with_those_that_exist(alice: httpx.AsyncClient) -> None:
    table = await expect_refusal(alice, {"table": "experiment"})
    assert table["errors"][0]["pointer"] == "#/table" and all(name in table["errors"][0]["detail"] for name in TABLES)
    column = await expect_refusal(
        alice, {"table": "experiments", "filters": [{"column": "nme", "op": "eq", "value": "x"}]}
    )
    assert column["errors"][0]["pointer"] == "#/filters/0/column"
    assert "did you mean name?" in column["errors"][0]["detail"] and "visibility" in column["errors"][0]["detail"]


async def test_who_may_ask(api: CatalogueApi) -> None:
    for scopes, status in ((("catalog:read",), 403), (("query:run",), 200), (("admin",), 200)):
        async with api.client("alice", *scopes) as client:
            assert (await client.post(QUERY_PATH, json={"table": "sources"})).status_code == status
            assert (await client.get("/api/database/tables")).status_code == status
    async with httpx.AsyncClient(transport=httpx.ASGITransport(api.app), base_url="http://test") as stranger:
        assert (await stranger.post(QUERY_PATH, json={"table": "sources"})).status_code == 401


async def test_json_that_nests_too_deep_spoils_nothing(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    deep: Any = []
    for _ in range(400):
        deep = [deep]
    where = experiments.c.owner == "alice"
    async with api.database.service_transaction() as connection:
        await connection.execute(update(experiments).where(where).values(metadata={"a": deep}))
    rows = (await run_query(alice, table="experiments"))["rows"]
    assert [row["metadata"] for row in rows] == ["(nested deeper than 64 levels)"]
    async with api.database.service_transaction() as connection:
        await connection.execute(update(experiments).where(where).values(metadata={"a": [{"b": None}]}))
    assert (await run_query(alice, table="experiments"))["rows"][0]["metadata"] == {"a": [{"b": None}]}


async def test_admins_see_all(api: CatalogueApi) -> None:
    async with api.client("root", "admin") as root:
        answer = await run_query(root, table="frames", aggregates=[{"function": "count"}])
        assert answer["rows"] == [{"count": ALICE_FRAME_COUNT + 3}]
        assert len((await run_query(root, table="experiments"))["rows"]) == 2


async def test_shared_and_public_rows_are_found(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    async with api.database.service_transaction() as connection:
        dataset = await add_dataset(connection, 2, owner="dora")
        where = experiments.c.id == dataset.experiment_id
        await connection.execute(update(experiments).where(where).values(visibility="shared", shared_with=["carol"]))
    document = {"table": "frames", "filters": {"dataset_id": str(dataset.id)}}
    async with api.client("carol", QUERY_SCOPE) as carol, api.client("eve", QUERY_SCOPE) as eve:
        assert (await run_query(carol, **document))["row_count"] == 2
        assert (await run_query(eve, **document))["row_count"] == 0
        async with api.database.service_transaction() as connection:
            await connection.execute(update(experiments).where(where).values(visibility="private"))
        assert (await run_query(carol, **document))["row_count"] == 0
        async with api.database.service_transaction() as connection:
            await connection.execute(experiments.delete().where(where))


async def test_refusals_are_counted_by_rule(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    async def figure(name: str) -> float:
        async with api.client("ops", "ops:read") as ops:
            lines = (await ops.get("/metrics")).text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))

    refused, answered = 'reelmill_query_refusals_total{rule="rows"}', 'reelmill_queries_total{outcome="answered"}'
    before = await figure(refused), await figure(answered), await figure("reelmill_query_seconds_count")
    await expect_refusal(alice, {"table": "frames", "limit": 1001})
    await run_query(alice, table="sources")
    assert (await figure(refused), await figure(answered)) == (before[0] + 1, before[1] + 1)
    assert await figure("reelmill_query_seconds_count") == before[2] + 2


async def test_too_many_at_once(alice: httpx.AsyncClient) -> None:
    counted = {"table": "frames", "aggregates": [{"function": "count"}]}
    together = await asyncio.gather(*(alice.post(QUERY_PATH, json=counted) for _ in range(12)))
    statuses = {response.status_code for response in together}
    assert statuses == {200, 429}
    refused = next(response for response in together if response.status_code == 429)
    assert refused.headers["Retry-After"] == "1" and refused.json()["guardrails"][0]["rule"] == "concurrency"
    assert (await alice.post(QUERY_PATH, json=counted)).status_code == 200


async def test_only_these_methods(alice: httpx.AsyncClient) -> None:
    response = await alice.get(QUERY_PATH)
    assert response.status_code == 405 and response.headers["Allow"] == "POST"
    assert (await alice.post(QUERY_PATH, content=b"table=frames")).status_code == 415


async def test_a_database_that_is_away_is_503(known: httpx.AsyncClient, token: Any) -> None:
    known.headers.update(token(QUERY_SCOPE))
    for response in (await known.post(QUERY_PATH, json={"table": "frames"}), await known.get("/api/database/tables")):
        assert response.status_code == 503 and response.headers["content-type"] == "application/problem+json"
        assert response.headers["Retry-After"]


@pytest.mark.parametrize("cursor", ["\0", "a\0b", "\u2028", "not a cursor", "W10", "a" * 60_000])
async def test_a_bad_cursor_is_refused_and_recorded(api: CatalogueApi, alice: httpx.AsyncClient, cursor: str) -> None:
    problem = await expect_refusal(alice, {"table": "sources", "cursor": cursor})
    assert [guardrail["rule"] for guardrail in problem["guardrails"]] == ["cursor"]
    record = await last_audit_record(api)
    assert (record["outcome"], record["rule"]) == ("refused", "cursor")
    assert record["document"].get("cursor", cursor) == cursor.replace("\0", "\ufffd")


async def test_a_cancelled_query_is_recorded(api: CatalogueApi) -> None:
    document = Document.model_validate({"table": "frames", "limit": 17})
    task = asyncio.create_task(api.app.state.guard.run_query(Caller(Subject("alice")), document))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    record = await last_audit_record(api)
    assert (record["outcome"], record["document"]) == ("failed", {"table": "frames", "limit": 17})
