"""For any document: it is validated or rejected, none of its text gets into the statement, and what is allowed runs."""

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects import postgresql

from service.guard.document import Document
from service.guard.execution import Explain
from service.guard.guard import Guard
from service.guard.policy import Guardrails, QueryRejected, ValidatedQuery, validate
from service.guard.schema import Tables
from service.guard.settings import GuardSettings
from service.guard.statement import compile_query
from service.ids import Subject
from service.store.database import Caller, Database
from service.store.settings import DatabaseSettings
from tests.support.data.query_documents import arbitrary_documents, valid_documents

LIMITS = GuardSettings.model_construct()
MANY = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
WORDS = re.compile(r"[a-z_][a-z_0-9]*")
SQL_WORDS = set(
    WORDS.findall(
        "explain format json select from where and or not is null true false in any all like ilike escape between as"
        " group by order asc desc limit count min max avg sum coalesce lower ask figures"
        " uuid varchar text bigint integer numeric timestamp with time zone boolean jsonb"
    )
)


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def guard(loop: asyncio.Runner, guard_url: str) -> Iterator[Guard]:
    database = Database(guard_url, DatabaseSettings.model_construct())
    yield Guard(database, LIMITS)
    loop.run(database.close())


def _statement(query: ValidatedQuery) -> str:
    dialect = postgresql.asyncpg.dialect()  # type: ignore[attr-defined]
    return str(Explain(compile_query(query).statement).compile(dialect=dialect))


def _assert_only_our_words(sql: str, tables: Tables) -> None:
    """The statement consists of known words, parameters, operators and the escape character."""
    known = SQL_WORDS | set(tables) | {column for table in tables.values() for column in table.columns}
    bare = re.sub(r"\$\d+(::[A-Z ]+(\[\])?)?", "", sql)
    words = set(WORDS.findall(bare.lower()))
    figures = {word for word in words if re.fullmatch("(min|max|avg|sum|count)_[a-z_0-9]+|key_[0-9]+", word)}
    assert {re.sub("^(min|max|avg|sum|count)_", "", word) for word in figures if not word.startswith("key_")} <= known
    assert words - figures <= known, words - figures - known
    assert re.fullmatch(r"[\w\s.,*()<>=!|@\"'/%\[\]]*", bare, re.ASCII), bare
    assert set(re.findall("'[^']*'", bare)) <= {"'/'", "'%'"}


@MANY
@given(data=st.data())
def test_the_policy_is_total_and_refusals_tell_figures(data: st.DataObject, tables: Tables) -> None:
    document = Document.model_validate(data.draw(arbitrary_documents(tables)))
    guardrails = Guardrails(LIMITS)
    try:
        query = validate(document, tables, guardrails)
    except QueryRejected as rejected:
        violations, suggestions = rejected.violations, rejected.extensions["guardrails"]
        assert violations and all(violation.usage.actual > violation.usage.limit for violation in violations)
        problems = [problem for violation in violations for problem in violation.problems]
        assert all(problem.pointer and problem.pointer.startswith("#/") for problem in problems)
        assert all(item["suggestion"] for item in suggestions)
        return
    assert all(usage.actual <= usage.limit for usage in guardrails.usage)
    _assert_only_our_words(_statement(query), tables)


@MANY
@given(data=st.data())
def test_sound_documents_are_allowed_and_only_parameters_hold_their_values(data: st.DataObject, tables: Tables) -> None:
    document = Document.model_validate(data.draw(valid_documents(tables)))
    try:
        query = validate(document, tables, Guardrails(LIMITS))
    except QueryRejected as rejected:  # long values and many wildcards come by chance
        chance = {"pattern_wildcards", "filter_depth", "value_bytes"}
        assert {violation.usage.rule for violation in rejected.violations} <= chance
        return
    _assert_only_our_words(_statement(query), tables)


@settings(MANY, max_examples=150)
@given(data=st.data())
def test_what_is_allowed_runs(data: st.DataObject, tables: Tables, guard: Guard, loop: asyncio.Runner) -> None:
    """No document that passes the rules makes PostgreSQL raise an error."""
    document = Document.model_validate(data.draw(valid_documents(tables)))
    try:
        validate(document, tables, Guardrails(LIMITS))
    except QueryRejected:
        return
    answer = loop.run(guard.run_query(Caller(Subject("alice"), admin=True), document))
    assert len(answer.rows) <= document.limit
    names: list[Any] = [name for name, _ in answer.columns]
    assert all(list(row) == names for row in answer.rows)
