"""Guarded queries: what may be asked, and asking."""

from typing import Annotated

from fastapi import APIRouter, Body, Depends, Response

from service.guard.document import Document
from service.routers.deps import CallerDep, GuardDep, require_scope
from service.routers.problems import error_responses
from service.routers.query_models import AskableTable, QueryAnswer

router = APIRouter(prefix="/api/database", tags=["queries"])
REQUIRE_RUN = Depends(require_scope("query:run"))


@router.get("/tables", summary="What may be asked about", response_model=list[AskableTable], dependencies=[REQUIRE_RUN])
async def list_tables(guard: GuardDep) -> list[AskableTable]:
    """The tables and columns of guarded queries, and what can be done with each column."""
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
    """A document, never SQL: table, filters, order, or aggregates with groups. Only rows that the caller may see are
    ever counted or told. A query that breaks a rule is refused with the rule, its limit, the figure and what to ask
    instead. Every query is recorded; your own records are the table `query_audit`."""
    answer = await guard.run_query(caller, document)
    response.headers["Server-Timing"] = answer.server_timing
    return QueryAnswer.from_result(answer)
