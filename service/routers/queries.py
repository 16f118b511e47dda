"""Routes and models of guarded queries: list the tables, run a query. The request body is the guard's `Document`."""

import re
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Response
from pydantic import BaseModel, ConfigDict, Field

from service.guard.document import AggregateFunction, Document, Operator
from service.guard.guard import QueryResult
from service.guard.schema import ColumnDescription, ColumnTypeName, TableDescription
from service.routers.http.dependencies import CallerDep, GuardDep, require_scope
from service.routers.http.problems import error_responses


class AskableColumn(BaseModel):
    """A column, and the operators and aggregates it supports."""

    name: str = Field(examples=["captured_at"])
    type: ColumnTypeName = Field(examples=["timestamp"])
    operators: list[Operator] = Field(description="of conditions in `filters`")
    aggregates: list[AggregateFunction]
    sortable: bool = Field(description="whether it may be in `order_by` and `group_by`")

    @classmethod
    def from_description(cls, column: ColumnDescription) -> "AskableColumn":
        return cls(
            name=column.name,
            type=column.type.name,
            operators=list(column.type.operators),
            aggregates=list(column.type.aggregates),
            sortable=column.type.sortable,
        )


class AskableTable(BaseModel):
    """A queryable table. It shows only rows that the caller may see."""

    name: str = Field(examples=["frames"])
    description: str
    key: list[str] = Field(description="identifies a row, and is the default order")
    columns: list[AskableColumn]

    @classmethod
    def from_description(cls, table: TableDescription) -> "AskableTable":
        columns = [AskableColumn.from_description(column) for column in table.columns.values()]
        return cls(name=table.name, description=table.description, key=list(table.key), columns=columns)


class AnswerColumn(BaseModel):
    """A column of the result."""

    name: str = Field(examples=["status"])
    type: ColumnTypeName = Field(examples=["text"])


class GuardrailFigure(BaseModel):
    """A rule, its limit and the measured value."""

    rule: str = Field(examples=["plan_cost"])
    limit: int = Field(examples=[500_000])
    actual: int = Field(examples=[40])


class QueryAnswer(BaseModel):
    """Rows as objects with JSON values: times in ISO 8601 and UTC, UUIDs as strings."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "table": "renders",
                    "columns": [{"name": "status", "type": "text"}, {"name": "count", "type": "integer"}],
                    "rows": [{"status": "succeeded", "count": 12}],
                    "row_count": 1,
                    "truncated": False,
                    "next_cursor": None,
                    "elapsed_ms": 2.9,
                    "guardrails": [{"rule": "rows", "limit": 1000, "actual": 100}],
                }
            ]
        }
    )
    table: str
    columns: list[AnswerColumn]
    rows: list[dict[str, Any]]
    row_count: int = Field(description="rows in this answer")
    truncated: bool = Field(description="whether there are more")
    next_cursor: str | None = Field(description="send it as `cursor`, with the rest unchanged, for the next rows")
    elapsed_ms: float
    guardrails: list[GuardrailFigure]

    @classmethod
    def from_result(cls, result: QueryResult) -> "QueryAnswer":
        return cls(
            table=result.table,
            columns=[AnswerColumn.model_validate({"name": name, "type": type_}) for name, type_ in result.columns],
            rows=result.rows,
            row_count=len(result.rows),
            truncated=result.truncated,
            next_cursor=result.next_cursor,
            elapsed_ms=round(result.elapsed_ms, 3),
            guardrails=[
                GuardrailFigure(rule=usage.rule, limit=usage.limit, actual=usage.actual) for usage in result.limit_usage
            ],
        )


router = APIRouter(prefix="/api/database", tags=["queries"])
# The path whose body is a query, of up to `max_query_bytes`.
QUERY_PATHS = re.compile("/api/database/query")
REQUIRE_RUN = Depends(require_scope("query:run"))


@router.get("/tables", summary="What may be asked about", response_model=list[AskableTable], dependencies=[REQUIRE_RUN])
async def list_tables(guard: GuardDep) -> list[AskableTable]:
    """The queryable tables and columns, and the operators and aggregates of each column."""
    return [AskableTable.from_description(table) for table in (await guard.tables()).values()]


@router.post(
    "/query",
    summary="Ask the database",
    response_model=QueryAnswer,
    responses=error_responses(429, 504),
    dependencies=[REQUIRE_RUN],
)
async def query_database(
    document: Annotated[Document, Body()], response: Response, caller: CallerDep, guard: GuardDep
) -> QueryAnswer:
    """Run a query that is written as a JSON document, not as SQL: table, filters and order, or aggregates with groups.
    The result covers only rows that the caller may see. A query that breaks a rule is rejected with the rule, its
    limit, the measured value and a narrower suggestion. Every query is recorded; find your own in `query_audit`."""
    result = await guard.run_query(caller, document)
    response.headers["Server-Timing"] = result.server_timing
    return QueryAnswer.from_result(result)
