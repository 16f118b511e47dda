"""Routes and models of guarded queries. The request body is the guard's `Document`."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Response
from pydantic import BaseModel, ConfigDict, Field

from service.guard.document import AggregateFunction, Document, Operator
from service.guard.guard import QueryResult
from service.guard.schema import ColumnDescription, ColumnTypeName, TableDescription
from service.routers.http.dependencies import CallerDep, GuardDep, require_scope
from service.routers.http.problems import error_responses


class AskableColumn(BaseModel):
    """A column and the operations that it supports."""

    name: str = Field(examples=["captured_at"])
    type: ColumnTypeName = Field(examples=["timestamp"])
    operators: list[Operator] = Field(description="operators of conditions in `filters`")
    aggregates: list[AggregateFunction]
    sortable: bool = Field(description="whether `order_by` and `group_by` may use it")

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
    """A table that queries can read. It contains only the rows that the caller may see."""

    name: str = Field(examples=["frames"])
    description: str
    key: list[str] = Field(description="columns that identify a row; also the default order")
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
    """A rule with its limit and the actual value of the query."""

    rule: str = Field(examples=["plan_cost"])
    limit: int = Field(examples=[500_000])
    actual: int = Field(examples=[40])


class QueryAnswer(BaseModel):
    """The rows as JSON objects. Times are in ISO 8601 and UTC, UUIDs are strings."""

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
    row_count: int = Field(description="number of rows in this response")
    truncated: bool = Field(description="whether there are more rows")
    next_cursor: str | None = Field(description="for the next rows, send the same document with this `cursor`")
    elapsed_ms: float
    guardrails: list[GuardrailFigure]

    @classmethod
    def from_result(cls, result: QueryResult) -> "QueryAnswer":
        return cls(
            table=result.table,
            columns=[AnswerColumn.model_validate({"name": name, "type": kind}) for name, kind in result.columns],
            rows=result.rows,
            row_count=len(result.rows),
            truncated=result.truncated,
            next_cursor=result.next_cursor,
            elapsed_ms=round(result.elapsed_ms, 3),
            guardrails=[
                GuardrailFigure(rule=figure.rule, limit=figure.limit, actual=figure.actual)
                for figure in result.limit_usage
            ],
        )


router = APIRouter(prefix="/api/database", tags=["queries"])
REQUIRE_RUN = Depends(require_scope("query:run"))


@router.get("/tables", summary="What may be asked about", response_model=list[AskableTable], dependencies=[REQUIRE_RUN])
async def list_tables(guard: GuardDep) -> list[AskableTable]:
    """The tables that queries can read, their columns, and the operations that each column supports."""
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
    """The query is a document with a table, filters and an order, or aggregates and groups. It sees only the rows that
    the caller may see. If it violates a rule, the error has the rule, its limit, the actual value and a suggestion.
    Every query is recorded; your own records are in the table `query_audit`."""
    result = await guard.run_query(caller, document)
    response.headers["Server-Timing"] = result.server_timing
    return QueryAnswer.from_result(result)
