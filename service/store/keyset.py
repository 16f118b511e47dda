"""Keyset pagination: each page starts after the last row of the one before, so that inserted rows shift no page."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Column, Select, Table, tuple_

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
        column: Column[Any] = table.c[self.sort.removeprefix("-")]
        descending = self.sort.startswith("-")
        if self.after is not None:
            position, cursor = tuple_(column, table.c.id), tuple_(*self.after)
            query = query.where(position < cursor if descending else position > cursor)
        order = (column.desc(), table.c.id.desc()) if descending else (column, table.c.id)
        return query.order_by(*order).limit(self.limit + 1)
