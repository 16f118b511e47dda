"""Keyset pages over HTTP: the query parameters, the signed cursor, the `Link` and `X-Total-Count` headers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from urllib.parse import urlencode
from uuid import UUID

from fastapi import Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import RowMapping

from service.errors import FieldProblem, Invalid
from service.routers.signing import Signer
from service.store.keyset import Place, Slice

HEADERS = {
    "Link": {"description": 'The next page\'s address, rel="next" (RFC 8288)', "schema": {"type": "string"}},
    "X-Total-Count": {"description": "With `count=exact`: all that match", "schema": {"type": "integer"}},
}


class PageQuery(BaseModel):
    """How many rows, from where on."""

    model_config = ConfigDict(extra="forbid")
    limit: int = Field(50, ge=1, le=500, description="rows on a page")
    cursor: str | None = Field(None, max_length=4000, description="from the `Link` header of the page before")
    count: Literal["exact"] | None = Field(None, description="`exact` adds `X-Total-Count`")


@dataclass(frozen=True, slots=True)
class Pager:
    """The pages of one list in one order; cursors are signed for both."""

    signer: Signer
    name: str
    sort: str

    def slice(self, query: PageQuery) -> Slice:
        """Raises Invalid for a cursor that is not of this list and order."""
        return Slice(query.limit, self.sort, None if query.cursor is None else self.opened(query.cursor))

    def cursor(self, row: RowMapping) -> str:
        """Where a page ended, opaque to callers."""
        value = row[self.sort.removeprefix("-")]
        place = [value.isoformat() if isinstance(value, datetime) else value, str(row["id"])]
        return self.signer.seal(self._purpose, place)

    def opened(self, cursor: str) -> Place:
        try:
            value, last = self.signer.opened(self._purpose, cursor)
        except (ValueError, RecursionError) as error:
            detail = "not a cursor of this list and order: take it from the Link header of the page before"
            raise Invalid(detail, errors=(FieldProblem(detail, "bad_cursor", parameter="cursor"),)) from error
        return (datetime.fromisoformat(value) if self.sort.endswith("_at") else value), UUID(last)

    def page(self, rows: Sequence[RowMapping], limit: int, at: tuple[Request, Response]) -> Sequence[RowMapping]:
        """The rows without the one too many that says there are more; then the `Link` header is set."""
        request, response = at
        if len(rows) > limit:
            again: dict[str, Any] = dict(request.query_params) | {"cursor": self.cursor(rows[limit - 1])}
            response.headers["Link"] = f'<{request.url.path}?{urlencode(again)}>; rel="next"'
        return rows[:limit]

    @property
    def _purpose(self) -> str:
        return f"cursor {self.name} {self.sort}"
