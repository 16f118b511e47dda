"""Following `next_cursor` returns every row once and in order, for every order, with nulls and ties."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import insert

from service.errors import QueryRefusal
from service.guard.document import Document
from service.guard.guard import Guard
from service.guard.settings import GuardSettings
from service.ids import Subject
from service.store.database import Caller, Database
from service.store.tables import frames
from tests.support.data.database_rows import add_dataset
from tests.support.servers.databases import fresh_database

pytestmark = pytest.mark.anyio
ALICE = Caller(Subject("alice"))


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def database(postgres_url: str) -> AsyncIterator[Database]:
    """Two datasets of 13 frames with widths, formats and problems that repeat and are null."""
    async with fresh_database(postgres_url) as database:
        async with database.service_transaction() as connection:
            for _ in range(2):
                dataset = await add_dataset(connection, 0)
                rows = [
                    {
                        "dataset_id": dataset.id,
                        "index": index,
                        "key": f"k{index % 5}",
                        "size": index % 4 + 2**60,
                        "etag": "e",
                        "width": None if index % 3 == 0 else index % 7,
                        "format": (None, "", "jpeg", "Ünï'\"\\%")[index % 4],
                    }
                    for index in range(13)
                ]
                await connection.execute(insert(frames), rows)
        yield database


async def _read_all_pages(database: Database, limit: int, **fields: Any) -> list[dict[str, Any]]:
    guard, rows, cursor = Guard(database, GuardSettings.model_construct()), list[dict[str, Any]](), None
    for _ in range(50):
        answer = await guard.run_query(ALICE, Document.model_validate({**fields, "limit": limit, "cursor": cursor}))
        assert len(answer.rows) <= limit and answer.truncated == (answer.next_cursor is not None)
        rows, cursor = rows + answer.rows, answer.next_cursor
        if cursor is None:
            return rows
    raise AssertionError("it never ends")


ORDERS: list[list[str]] = [
    [],
    ["index"],
    ["-index"],
    ["width"],
    ["-width"],
    ["width", "-format"],
    ["-format", "width", "index"],
    ["-size", "key"],
    ["key", "-dataset_name", "-index"],
]


@pytest.mark.parametrize("order", ORDERS, ids=" ".join)
@pytest.mark.parametrize("limit", [1, 4])
async def test_pages_join_to_the_whole(database: Database, order: list[str], limit: int) -> None:
    whole = await _read_all_pages(database, 100, table="frames", order_by=order)
    assert len(whole) == 26 and await _read_all_pages(database, limit, table="frames", order_by=order) == whole


GROUPS: list[dict[str, Any]] = [
    {"group_by": ["width"]},
    {"group_by": ["format", "width"], "order_by": ["-width"]},
    {"group_by": ["format"], "aggregates": [{"function": "count"}], "order_by": ["-count"]},
    {"group_by": ["width"], "aggregates": [{"function": "avg", "column": "index"}], "order_by": ["avg_index"]},
    {"group_by": ["key"], "aggregates": [{"function": "max", "column": "width"}], "order_by": ["-max_width", "key"]},
    {
        "group_by": ["dataset_id", "key"],
        "aggregates": [{"function": "min", "column": "format"}],
        "order_by": ["min_format"],
    },
    {"group_by": ["key"], "columns": ["key"], "aggregates": [{"function": "count"}], "order_by": ["count"]},
]


@pytest.mark.parametrize("fields", GROUPS)
async def test_pages_of_groups_join_to_the_whole(database: Database, fields: dict[str, Any]) -> None:
    whole = await _read_all_pages(database, 100, table="frames", **fields)
    assert len(whole) > 3 and await _read_all_pages(database, 2, table="frames", **fields) == whole


async def test_figures_are_right_and_exact(database: Database) -> None:
    aggregates = [{"function": name, "column": "size"} for name in ("count", "min", "max", "sum", "avg")]
    (row,) = await _read_all_pages(database, 5, table="frames", aggregates=aggregates, filters={"key": "k0"})
    sizes = [index % 4 + 2**60 for index in (0, 5, 10)] * 2
    assert row == {
        "count_size": 6,
        "min_size": min(sizes),
        "max_size": max(sizes),
        "sum_size": sum(sizes),
        "avg_size": 2**60 + 1,
    }


async def test_a_cursor_is_of_one_query_only(database: Database) -> None:
    guard = Guard(database, GuardSettings.model_construct())
    cursor = (await guard.run_query(ALICE, Document(table="frames", limit=1))).next_cursor
    changes: list[dict[str, Any]] = [
        {"order_by": ["index"]},
        {"columns": ["index"]},
        {"filters": {"index": 1}},
        {"table": "sources"},
        {"group_by": ["dataset_id", "index"]},
    ]
    assert (await guard.run_query(ALICE, Document(table="frames", limit=7, cursor=cursor))).rows
    for change in changes:
        with pytest.raises(QueryRefusal, match="cursor"):
            await guard.run_query(ALICE, Document.model_validate({"table": "frames", "cursor": cursor, **change}))


async def test_conditions_mean_what_they_say(database: Database) -> None:
    def of(column: str, op: str, value: Any = None) -> dict[str, Any]:
        return {"column": column, "op": op, "value": value}

    expected: list[tuple[Any, set[int]]] = [
        (of("index", "between", [3, 5]), {3, 4, 5}),
        (of("index", "in", []), set()),
        (of("index", "not_in", []), set(range(13))),
        (of("index", "not_in", list(range(11))), {11, 12}),
        (of("width", "is_null"), {0, 3, 6, 9, 12}),
        (of("width", "is_null", False), {1, 2, 4, 5, 7, 8, 10, 11}),
        (of("width", "ne", 1), {2, 4, 5, 7, 10, 11}),
        ({"not": of("width", "eq", 1)}, {0, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12}),
        (of("format", "starts_with", "Ünï'\""), {3, 7, 11}),
        (of("format", "contains", "\\%"), {3, 7, 11}),
        (of("format", "contains", "_"), set()),
        (of("format", "like", "j%"), {2, 6, 10}),
        (of("format", "like", "J%"), set()),
        (of("format", "ilike", "J%G"), {2, 6, 10}),
        (of("format", "like", r"%\\\%"), {3, 7, 11}),
        ({"any": [of("index", "eq", 1), {"all": [of("index", "ge", 9), of("index", "lt", 11)]}]}, {1, 9, 10}),
        ({"any": []}, set()),
        ({"all": []}, set(range(13))),
        ({"format": None}, {0, 4, 8, 12}),
        ({"index": 4, "key": "k4"}, {4}),
    ]
    for filters, indexes in expected:
        rows = await _read_all_pages(database, 100, table="frames", columns=["index"], filters=filters)
        assert {row["index"] for row in rows} == indexes, filters
