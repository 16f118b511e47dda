"""Keyset pagination over HTTP: query parameters, signed cursors, and the Link and X-Total-Count headers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeVar
from urllib.parse import urlencode
from uuid import UUID

from fastapi import Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import RowMapping

from service.errors import FieldProblem, InvalidRequest
from service.routers.http.signing import Signer
from service.store.keyset import Cursor, PageRequest

Row = TypeVar("Row")
PAGE_HEADERS = {
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

    def keyset_page(self, query: PageQuery) -> PageRequest:
        """Raises Invalid for a cursor that is not of this list and order."""
        return PageRequest(query.limit, self.sort, None if query.cursor is None else self.decode_cursor(query.cursor))

    def encode_cursor(self, row: object) -> str:
        """Where a page ended, opaque to callers."""
        value = _get_field(row, self.sort.removeprefix("-"))
        place = [value.isoformat() if isinstance(value, datetime) else value, str(_get_field(row, "id"))]
        return self.signer.sign(self._purpose, place)

    def decode_cursor(self, cursor: str) -> Cursor:
        try:
            value, last = self.signer.verify(self._purpose, cursor)
        except (ValueError, RecursionError) as error:
            detail = "not a cursor of this list and order: take it from the Link header of the page before"
            raise InvalidRequest(detail, errors=(FieldProblem(detail, "bad_cursor", parameter="cursor"),)) from error
        return (datetime.fromisoformat(value) if self.sort.endswith("_at") else value), UUID(last)

    def paginate(self, rows: Sequence[Row], limit: int, at: tuple[Request, Response]) -> Sequence[Row]:
        """The rows without the one too many that says there are more; then the `Link` header is set."""
        request, response = at
        if len(rows) > limit:
            again: dict[str, Any] = dict(request.query_params) | {"cursor": self.encode_cursor(rows[limit - 1])}
            response.headers["Link"] = f'<{request.url.path}?{urlencode(again)}>; rel="next"'
        return rows[:limit]

    @property
    def _purpose(self) -> str:
        return f"cursor {self.name} {self.sort}"


def _get_field(row: object, name: str) -> Any:
    return row[name] if isinstance(row, RowMapping) else getattr(row, name)
