"""A query runs read-only, as the caller, and within the limits on time, cost, size and concurrency."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from service.errors import GatewayTimeout, QueryRefusal, ReelmillError, ServiceUnavailable, TooManyRequests
from service.guard.document import Document
from service.guard.execution import Stopwatch, execute, read_only_session, round_up_to_one_digit
from service.guard.guard import Guard, QueryResult
from service.guard.policy import Guardrails, QueryTimeout, validate
from service.guard.schema import QUERY_SCHEMA, QUERYABLE_TABLES
from service.guard.settings import GuardSettings
from service.ids import Subject
from service.store.database import Caller, Database
from service.store.tables import query_audit
from tests.support.data.database_rows import add_dataset
from tests.support.servers.databases import fresh_database

pytestmark = pytest.mark.anyio
ALICE, ROOT = Caller(Subject("alice")), Caller(Subject("root"), admin=True)
LIMITS = GuardSettings.model_construct()


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def database(postgres_url: str) -> AsyncIterator[Database]:
    """alice has a dataset of 20 000 frames."""
    async with fresh_database(postgres_url) as database:
        async with database.service_transaction() as connection:
            dataset = await add_dataset(connection, 0)
            many = "INSERT INTO frames (dataset_id, index, key, size, etag) SELECT :id, n, 'k' || n, n, 'e' FROM generate_series(1, 20000) n"
            await connection.execute(text(many), {"id": dataset.id})
        async with database.engine.connect() as connection:
            await (await connection.execution_options(isolation_level="AUTOCOMMIT")).execute(text("ANALYZE"))
        yield database


async def _run_query(database: Database, limits: dict[str, Any], caller: Caller = ALICE, **fields: Any) -> QueryResult:
    document = Document.model_validate({"table": "frames", **fields})
    return await Guard(database, GuardSettings.model_construct(**limits)).run_query(caller, document)


async def _rejection(
    database: Database, limits: dict[str, Any], error: type[ReelmillError], **fields: Any
) -> dict[str, Any]:
    with pytest.raises(error) as raised:
        await _run_query(database, limits, **fields)
    (guardrail,) = raised.value.extensions["guardrails"]
    assert raised.value.errors and "Server-Timing" in raised.value.headers
    return dict(guardrail)


async def _last_record(database: Database) -> Any:
    async with database.service_transaction() as connection:
        newest = select(query_audit).order_by(query_audit.c.created_at.desc()).limit(1)
        return (await connection.execute(newest)).mappings().one()


WRITES = [
    "INSERT INTO experiments (id, name, owner) VALUES (gen_random_uuid(), 'x', 'alice')",
    "UPDATE experiments SET description = 'x'",
    "DELETE FROM experiments",
    "SELECT id FROM experiments FOR UPDATE",
    "CREATE TEMPORARY TABLE t (a int)",
    "SELECT nextval('s')",
    "INSERT INTO query_audit (id, subject, document, outcome, elapsed_ms) VALUES (gen_random_uuid(), 'bob', '{}', 'answered', 0)",
    "DELETE FROM query_audit",
]


@pytest.mark.parametrize("statement", WRITES)
@pytest.mark.parametrize("caller", [ALICE, ROOT], ids=["alice", "admin"])
async def test_nothing_can_be_written(database: Database, statement: str, caller: Caller) -> None:
    """Either the transaction is read-only (25006), or the role lacks the privilege (42501)."""
    async with database.service_transaction() as connection:
        await connection.execute(text("CREATE SEQUENCE IF NOT EXISTS s"))
    with pytest.raises(DBAPIError) as refused:
        async with read_only_session(database, caller, LIMITS) as connection:
            await connection.execute(text(statement))
    assert getattr(refused.value.orig, "sqlstate", None) in ("25006", "42501")


async def test_read_only_cannot_be_taken_back(database: Database) -> None:
    with pytest.raises(DBAPIError) as refused:
        async with read_only_session(database, ALICE, LIMITS) as connection:
            await connection.execute(text("SELECT count(*) FROM experiments"))
            await connection.execute(text("SET TRANSACTION READ WRITE"))
    assert getattr(refused.value.orig, "sqlstate", None) == "25001"


async def test_the_confinement_ends_with_the_transaction(database: Database) -> None:
    async with read_only_session(database, ALICE, LIMITS) as connection:
        assert await connection.scalar(text("SHOW statement_timeout")) == "5s"
        assert await connection.scalar(text("SELECT current_user")) == "reelmill_caller"
    async with database.service_transaction() as connection:
        assert await connection.scalar(text("SHOW statement_timeout")) == "0"
        assert await connection.scalar(text("SHOW transaction_read_only")) == "off"
        assert await connection.scalar(text("SHOW jit")) == await connection.scalar(
            text("SELECT reset_val FROM pg_settings WHERE name = 'jit'")
        )


async def test_the_role_owns_nothing_and_the_views_are_its_own_rights(database: Database) -> None:
    async with database.service_transaction() as connection:
        owned = text("SELECT count(*) FROM pg_class WHERE pg_get_userbyid(relowner) = 'reelmill_caller'")
        assert await connection.scalar(owned) == 0
        views = text(
            "SELECT relname, reloptions FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = :schema"
        )
        found = {row.relname: row.reloptions for row in await connection.execute(views, {"schema": QUERY_SCHEMA})}
    assert set(found) == set(QUERYABLE_TABLES)
    assert all(options == ["security_invoker=true"] for options in found.values())


async def test_a_view_that_is_not_on_the_list_is_not_there(database: Database) -> None:
    async with database.service_transaction() as connection:
        await connection.execute(text("CREATE VIEW ask.secrets AS SELECT * FROM idempotency_keys"))
    try:
        with pytest.raises(QueryRefusal):
            await _run_query(database, {}, table="secrets")
    finally:
        async with database.service_transaction() as connection:
            await connection.execute(text("DROP VIEW ask.secrets"))


async def test_a_slow_query_is_stopped_and_recorded(database: Database) -> None:
    guardrail = await _rejection(
        database,
        {"timeout_s": 0.001},
        GatewayTimeout,
        filters=[{"column": "key", "op": "ilike", "value": "%1%2%3%"}],
        aggregates=[{"function": "count"}],
    )
    assert guardrail["rule"] == "statement_ms" and guardrail["limit"] == 1 and guardrail["actual"] > 1
    record = await _last_record(database)
    assert (record["outcome"], record["rule"], record["subject"]) == ("timed_out", "statement_ms", "alice")


async def test_a_query_that_is_slow_only_as_a_whole_is_stopped_alike(database: Database) -> None:
    """No statement of it takes too long; together, with what came before, they do."""
    guardrails = Guardrails(GuardSettings.model_construct(timeout_s=0.5))
    query = validate(Document(table="frames", limit=1), await Guard(database, LIMITS).tables(), guardrails)
    stopwatch = Stopwatch()
    await asyncio.sleep(0.6)
    with pytest.raises(QueryTimeout) as raised:
        await execute(database, ALICE, query, guardrails, stopwatch)
    assert (raised.value.status, raised.value.rule, raised.value.outcome) == (504, "statement_ms", "timed_out")


async def test_the_costliest_step_decides_whatever_the_limit(database: Database) -> None:
    scan = {"filters": [{"column": "key", "op": "contains", "value": "no"}], "limit": 1}
    guardrail = await _rejection(database, {"max_cost": 300}, QueryRefusal, **scan)
    assert guardrail["rule"] == "plan_cost" and guardrail["limit"] == 300 and guardrail["actual"] > 300
    assert (await _last_record(database))["rule"] == "plan_cost"
    answer = await _run_query(database, {}, **scan)
    assert answer.rows == []
    (cost,) = [figure for figure in answer.limit_usage if figure.rule == "plan_cost"]
    assert 300 < cost.actual <= cost.limit


async def test_a_lookup_by_key_costs_little(database: Database) -> None:
    async with database.service_transaction() as connection:
        dataset = str(await connection.scalar(text("SELECT id FROM datasets")))
    key = {"dataset_id": dataset, "index": 7}
    assert [row["key"] for row in (await _run_query(database, {"max_cost": 300}, filters=key)).rows] == ["k7"]


def test_costs_are_told_coarsely() -> None:
    assert [round_up_to_one_digit(cost) for cost in (0.0, 0.4, 1, 9.1, 10, 11, 451, 99_999.5)] == [
        0,
        1,
        1,
        10,
        10,
        20,
        500,
        100_000,
    ]


async def test_bytes_cut_the_answer_and_the_cursor_goes_on(database: Database) -> None:
    limits, fields = {"max_bytes": 300}, {"columns": ["index", "key"], "limit": 50}
    first = await _run_query(database, limits, **fields)
    assert first.truncated and 0 < len(first.rows) < 50
    second = await _run_query(database, limits, **fields, cursor=first.next_cursor)
    indexes = [row["index"] for row in first.rows + second.rows]
    assert indexes == list(range(1, len(indexes) + 1))


async def test_one_row_that_is_too_long(database: Database) -> None:
    guardrail = await _rejection(database, {"max_bytes": 20}, QueryRefusal, limit=1)
    assert guardrail["rule"] == "result_bytes" and guardrail["actual"] > guardrail["limit"] == 20


async def test_one_caller_has_so_many_queries_and_others_have_theirs(database: Database) -> None:
    guard = Guard(database, GuardSettings.model_construct(concurrency=2))
    document = Document(table="frames", limit=1)
    together = await asyncio.gather(
        *(guard.run_query(ALICE, document) for _ in range(5)), guard.run_query(ROOT, document), return_exceptions=True
    )
    refused = [error for error in together if isinstance(error, TooManyRequests)]
    assert len(refused) == 3 and isinstance(together[-1], QueryResult)
    assert refused[0].extensions["guardrails"][0] | {"suggestion": ""} == {
        "rule": "concurrency",
        "limit": 2,
        "actual": 3,
        "suggestion": "",
    }
    assert refused[0].headers["Retry-After"] == "1"
    assert len((await guard.run_query(ALICE, document)).rows) == 1


async def test_a_locked_table_is_not_waited_for(database: Database) -> None:
    async with database.service_transaction() as connection:
        await connection.execute(text("LOCK TABLE frames IN ACCESS EXCLUSIVE MODE"))
        with pytest.raises(ServiceUnavailable) as locked:
            await _run_query(database, {}, limit=1)
    assert locked.value.headers["Retry-After"]
    assert (await _last_record(database))["outcome"] == "failed"


async def test_old_records_are_let_go(database: Database) -> None:
    aged = text("UPDATE query_audit SET created_at = now() - interval '8 days'")
    async with database.service_transaction() as connection:
        await connection.execute(aged)
        before = await connection.scalar(text("SELECT count(*) FROM query_audit"))
    await _run_query(database, {"audit_days": 7}, limit=1)
    async with database.service_transaction() as connection:
        left = await connection.scalar(
            text("SELECT count(*) FROM query_audit WHERE created_at < now() - interval '1 day'")
        )
    assert before and left == max(before - 10, 0)


async def test_a_long_document_is_recorded_without_its_values(database: Database) -> None:
    await _run_query(
        database, {}, filters=[{"column": "key", "op": "in", "value": [f"{number:040}" for number in range(900)]}]
    )
    document = (await _last_record(database))["document"]
    assert document["table"] == "frames" and document["left_out_bytes"] > 36_000
    assert set(document) == {"table", "left_out_bytes"}
