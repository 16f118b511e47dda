"""Keyset pagination: query parameters, signed cursors, and the Link and X-Total-Count headers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeVar
from urllib.parse import quote, urlencode
from uuid import UUID

from fastapi import Request, Response
from pydantic import Field
from sqlalchemy import RowMapping

from service.errors import FieldProblem, InvalidRequest
from service.routers.http.fields import RequestModel
from service.routers.http.signing import Signer
from service.store.keyset import Cursor, PageRequest

Row = TypeVar("Row")
PAGE_HEADERS = {
    "Link": {"description": 'URL of the next page, rel="next" (RFC 8288)', "schema": {"type": "string"}},
    "X-Total-Count": {"description": "With `count=exact`: the number of all matches", "schema": {"type": "integer"}},
}


class PageQuery(RequestModel):
    """Page size and position."""

    limit: int = Field(50, ge=1, le=500, description="rows on a page")
    cursor: str | None = Field(None, max_length=4000, description="from the `Link` header of the page before")
    count: Literal["exact"] | None = Field(None, description="`exact` adds `X-Total-Count`")


@dataclass(frozen=True, slots=True)
class Pager:
    """Pages of one list in one sort order. A cursor is valid for that list and order only."""

    signer: Signer
    name: str
    sort: str

    def keyset_page(self, query: PageQuery) -> PageRequest:
        """Raises InvalidRequest if the cursor belongs to another list or order."""
        return PageRequest(query.limit, self.sort, None if query.cursor is None else self.decode_cursor(query.cursor))

    def encode_cursor(self, row: object) -> str:
        """The signed position of the last row of a page."""
        value = _get_field(row, self.sort.removeprefix("-"))
        position = [value.isoformat() if isinstance(value, datetime) else value, str(_get_field(row, "id"))]
        return self.signer.sign(self._purpose, position)

    def decode_cursor(self, cursor: str) -> Cursor:
        """Raises InvalidRequest."""
        try:
            value, last = self.signer.verify(self._purpose, cursor)
        except (ValueError, RecursionError) as error:
            detail = "not a cursor of this list and order: take it from the Link header of the page before"
            raise InvalidRequest(detail, errors=(FieldProblem(detail, "bad_cursor", parameter="cursor"),)) from error
        return (datetime.fromisoformat(value) if self.sort.endswith("_at") else value), UUID(last)

    def paginate(self, rows: Sequence[Row], limit: int, request: Request, response: Response) -> Sequence[Row]:
        """Drop the extra row, which shows that there is a next page, and set the `Link` header in that case."""
        if len(rows) > limit:
            parameters: dict[str, Any] = dict(request.query_params) | {"cursor": self.encode_cursor(rows[limit - 1])}
            path = quote(request.scope["path"])  # request.url contains what the client wrote as Host
            response.headers["Link"] = f'<{path}?{urlencode(parameters)}>; rel="next"'
        return rows[:limit]

    @property
    def _purpose(self) -> str:
        return f"cursor {self.name} {self.sort}"


def _get_field(row: object, name: str) -> Any:
    return row[name] if isinstance(row, RowMapping) else getattr(row, name)
