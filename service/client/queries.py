"""Guarded questions to the database, built in parts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from service.client.fields import EstimateFields
from service.client.requests import require_object

if TYPE_CHECKING:
    from service.client.transport import Transport

OPERATORS = {
    *("eq", "ne", "lt", "le", "gt", "ge", "in", "not_in", "like", "ilike"),
    *("starts_with", "contains", "between", "is_null"),
}


class Question:
    """What was answered to a question in plain words: `answer`, the `rows` behind it, a `suggested_render` with its
    `estimate`, and the other fields."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self.fields = dict(fields)
        self.answer: str = self.fields["answer"]
        self.rows: list[dict[str, Any]] = self.fields["rows"]
        self.suggested_render: dict[str, Any] | None = self.fields["suggested_render"]
        estimate = self.fields.get("estimate")
        self.estimate = EstimateFields.of(estimate) if estimate else None

    def __repr__(self) -> str:
        return self.answer


class AsyncQuery:
    """A question to one table. Each method returns a longer one."""

    def __init__(self, transport: Transport, document: Mapping[str, Any]) -> None:
        self._transport, self.document = transport, dict(document)

    def where(self, /, **conditions: Any) -> AsyncQuery:
        """`column=value` or `column__operator=value`, with the operators of the API, such as `size__gt` or
        `name__contains`. All of them must hold. Raises ValueError for an operator that there is not."""
        filters = [*self.document.get("filters", []), *map(_condition, conditions, conditions.values())]
        return self._with(filters=filters)

    def select(self, *columns: str) -> AsyncQuery:
        return self._with(columns=list(columns))

    def order_by(self, *columns: str) -> AsyncQuery:
        """`-column` is in descending order."""
        orders = [
            {"column": column.removeprefix("-"), "direction": "desc" if column.startswith("-") else "asc"}
            for column in columns
        ]
        return self._with(order_by=orders)

    def limit(self, rows: int) -> AsyncQuery:
        """The most rows."""
        return self._with(limit=rows)

    def group_by(self, *columns: str) -> AsyncQuery:
        return self._with(group_by=list(columns))

    def aggregate(self, function: str, column: str | None = None) -> AsyncQuery:
        """`count`, `sum`, `avg`, `min` or `max`, of a column."""
        aggregate = {"function": function} | ({"column": column} if column else {})
        return self._with(aggregates=[*self.document.get("aggregates", []), aggregate])

    async def answer(self) -> dict[str, Any]:
        """One answer of the API, with its rows, columns and guardrails. Raises Refused."""
        return require_object(await self._transport.call("query_database", body=self.document))

    async def rows(self) -> list[dict[str, Any]]:
        """Every row, from as many answers as it takes; as many as `limit` says, if it does."""
        return [row async for row in self.each()]

    async def each(self) -> AsyncIterator[dict[str, Any]]:
        """The rows, one answer after the other: one has fewer than `limit` if they are long."""
        document = dict(self.document)
        while True:
            answer = require_object(await self._transport.call("query_database", body=document))
            for row in answer["rows"]:
                yield row
            if "limit" in document:
                document["limit"] -= len(answer["rows"])
            if answer["next_cursor"] is None or document.get("limit") == 0:
                return
            document["cursor"] = answer["next_cursor"]

    def _with(self, **parts: Any) -> AsyncQuery:
        return AsyncQuery(self._transport, self.document | parts)


def _condition(name: str, value: Any) -> dict[str, Any]:
    column, _, operator = name.partition("__")
    operator = operator or "eq"
    if operator not in OPERATORS:
        raise ValueError(f"{name}: there is no operator {operator}")
    return {"column": column, "op": operator, "value": value}
