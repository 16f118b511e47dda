"""Keyset pagination: each page starts after the last row of the one before, so that inserted rows shift no page."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Column,
    ColumnElement,
    FromClause,
    RowMapping,
    Select,
    Table,
    Text,
    cast,
    func,
    literal,
    select,
    tuple_,
)
from sqlalchemy.ext.asyncio import AsyncConnection

# Where a page ended: the value of the sort column in its last row, and the id of that row.
Cursor = tuple[datetime | str, UUID]


@dataclass(frozen=True, slots=True)
class PageRequest:
    """At most `limit` rows after the cursor `after`. `sort` is the name of a column, with a `-` in descending order."""

    limit: int
    sort: str
    after: Cursor | None = None

    def apply(self, query: Select[Any], table: Table) -> Select[Any]:
        """Limit `query` to this page, plus one row that shows whether there is another page."""
        if self.after is not None:
            position, cursor = tuple_(table.c[self.sort.removeprefix("-")], table.c.id), tuple_(*self.after)
            query = query.where(position < cursor if self.sort.startswith("-") else position > cursor)
        return query.order_by(*self.order(table)).limit(self.limit + 1)

    def order(self, table: FromClause) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
        column, identity = table.c[self.sort.removeprefix("-")], table.c.id
        return (column.desc(), identity.desc()) if self.sort.startswith("-") else (column, identity)


# Of all rows on a page: more would keep the event loop busy while they are read and written as JSON.
MAX_PAGE_BYTES = 1024 * 1024


async def fetch_page(
    connection: AsyncConnection, query: Select[Any], table: Table, page: PageRequest, documents: Sequence[Column[Any]]
) -> tuple[list[RowMapping], int]:
    """The rows of a page in order, with one more if there is another page, and how many of them it shows.

    `documents` are the columns that may be large, as JSON. A page shows fewer rows than asked for, but at least one, if
    these take more than MAX_PAGE_BYTES together.
    """
    size = sum((func.coalesce(func.octet_length(cast(each, Text)), 0) for each in documents), literal(0))
    sized = page.apply(query.add_columns(size.label("page_bytes")), table).subquery()
    before = func.sum(sized.c.page_bytes).over(order_by=page.order(sized)) - sized.c.page_bytes
    summed = select(sized, before.label("bytes_before")).subquery()
    fetched = select(summed).where(summed.c.bytes_before <= MAX_PAGE_BYTES).order_by(*page.order(summed))
    rows = list((await connection.execute(fetched)).mappings().all())
    fitting = [row for row in rows if row["bytes_before"] + row["page_bytes"] <= MAX_PAGE_BYTES]
    return rows, min(max(len(fitting), 1), page.limit)
