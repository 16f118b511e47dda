"""Keyset pagination: rows after a cursor, so that rows inserted meanwhile shift no page."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Column, Select, Table, tuple_

# Where a page ended: the last row's value of the sort column, and its id.
Cursor = tuple[datetime | str, UUID]


@dataclass(frozen=True, slots=True)
class PageRequest:
    """A part of an order: at most `limit` rows after `after`. `sort` is a column's name, descending with a `-`."""

    limit: int
    sort: str
    after: Cursor | None = None

    def apply(self, query: Select[Any], table: Table) -> Select[Any]:
        """`query` over `table`, cut to one row more than the limit: that one tells whether there is a next page."""
        column: Column[Any] = table.c[self.sort.removeprefix("-")]
        descending = self.sort.startswith("-")
        if self.after is not None:
            here, there = tuple_(column, table.c.id), tuple_(*self.after)
            query = query.where(here < there if descending else here > there)
        order = (column.desc(), table.c.id.desc()) if descending else (column, table.c.id)
        return query.order_by(*order).limit(self.limit + 1)
