"""The query document that a client sends. None of its text is ever inserted into SQL."""

import json
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    JsonValue,
    StringConstraints,
    Tag,
    field_validator,
    model_validator,
)

from service.json_values import storable_text, walk_json

Operator = Literal[
    "eq", "ne", "lt", "le", "gt", "ge", "in", "not_in", "like", "ilike", "starts_with", "contains", "between", "is_null"
]
AggregateFunction = Literal["count", "min", "max", "avg", "sum"]
Direction = Literal["asc", "desc"]
DEFAULT_LIMIT = 100
MAX_VALUE_DEPTH = 16
# Members of one object: no model has a tenth, and more columns have no table. Each could be an error of its own; of a
# list, only the first is told.
MAX_MEMBERS = 200
MAX_NAME_LENGTH = 63
GROUP_KEYS = ("all", "any", "not")
EXAMPLES: list[Any] = [
    {
        "table": "frames",
        "columns": ["index", "key", "problem"],
        "filters": [
            {"column": "dataset_id", "op": "eq", "value": "0197a3c2-9a44-7b1e-8d0a-61c3ab0be0d4"},
            {
                "any": [
                    {"column": "problem", "op": "is_null", "value": False},
                    {"column": "size", "op": "lt", "value": 9},
                ]
            },
        ],
        "order_by": ["-index"],
        "limit": 20,
    },
    {"table": "experiments", "filters": {"visibility": "public"}},
    {
        "table": "renders",
        "aggregates": [{"function": "count"}, {"function": "max", "column": "finished_at"}],
        "group_by": ["status"],
    },
]


def storable_json(value: JsonValue) -> JsonValue:
    """JSON that PostgreSQL can store: finite numbers, storable text, at most 16 levels. Raises ValueError."""
    for depth, part in walk_json(value):
        if depth > MAX_VALUE_DEPTH:
            raise ValueError(f"a value may nest {MAX_VALUE_DEPTH} levels")
        if isinstance(part, str):
            storable_text(part)
        elif isinstance(part, float):
            json.dumps(part, allow_nan=False)
    return value


def storable_name(value: str) -> str:
    """Storable text of 1 to 63 characters, as PostgreSQL's names. Raises ValueError."""
    if not 0 < len(value) <= MAX_NAME_LENGTH:
        raise ValueError(f"must have 1 to {MAX_NAME_LENGTH} characters")
    return storable_text(value)


def bound_members(value: Any) -> Any:
    """`value`, unless it is an object of more than MAX_MEMBERS members. Raises ValueError."""
    if isinstance(value, dict) and len(value) > MAX_MEMBERS:
        raise ValueError(f"has more than {MAX_MEMBERS} members")
    return value


Name = Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME_LENGTH), AfterValidator(storable_text)]
Value = Annotated[JsonValue, AfterValidator(storable_json)]


class _DocumentModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True, validate_by_alias=True)

    @model_validator(mode="before")
    @classmethod
    def _bound_members(cls, value: Any) -> Any:
        return bound_members(value)


class Condition(_DocumentModel):
    """One comparison of a column with a value."""

    column: Name = Field(description="a column of the table", examples=["name"])
    op: Operator = Field(description="one that the column supports: see `GET /api/database/tables`")
    value: Value = Field(
        None,
        description="`in` and `not_in` take a list, `between` a list of two, `is_null` true (the default) or false",
        examples=["zebrafish"],
    )


class AllOf(_DocumentModel):
    """True where all of the filters are true."""

    all: Annotated[tuple["Filter", ...], Field(fail_fast=True)]


class AnyOf(_DocumentModel):
    """True where at least one of the filters is true."""

    any: Annotated[tuple["Filter", ...], Field(fail_fast=True)]


class Not(_DocumentModel):
    """True where the filter is false or unknown (null)."""

    negated: "Filter" = Field(alias="not")


def _filter_tag(value: Any) -> str:
    for kind, tag, key in ((AllOf, "all_of", "all"), (AnyOf, "any_of", "any"), (Not, "negation", "not")):
        if isinstance(value, kind) or (isinstance(value, dict) and key in value):
            return tag
    return "condition"


Filter = Annotated[
    Annotated[Condition, Tag("condition")]
    | Annotated[AllOf, Tag("all_of")]
    | Annotated[AnyOf, Tag("any_of")]
    | Annotated[Not, Tag("negation")],
    Discriminator(_filter_tag),
]


def _filters_tag(value: Any) -> str:
    """`list`, `single` (a filter that is not in a list) or `shorthand` (`{column: value}`)."""
    if isinstance(value, list | tuple):
        return "list"
    if not isinstance(value, dict) or {"column", "op"} <= value.keys():
        return "single"
    return "single" if any(key in value for key in GROUP_KEYS) else "shorthand"


Filters = Annotated[
    Annotated[tuple[Filter, ...], Field(fail_fast=True), Tag("list")]
    | Annotated[dict[Annotated[str, AfterValidator(storable_name)], Value], Tag("shorthand")]
    | Annotated[Filter, Tag("single")],
    Discriminator(_filters_tag),
]


class Aggregate(_DocumentModel):
    """A value computed over all rows, or over each group. Its name in the result is `count` or `function_column`."""

    function: AggregateFunction
    column: Name | None = Field(None, description="`count` without a column counts rows")

    @property
    def name(self) -> str:
        """The column's name in the result and in `order_by`."""
        return self.function if self.column is None else f"{self.function}_{self.column}"


class Order(_DocumentModel):
    """One key to sort by."""

    column: Annotated[str, StringConstraints(min_length=1, max_length=80), AfterValidator(storable_text)] = Field(
        description="a column; with aggregates, one of `group_by` or the name of an aggregate"
    )
    direction: Direction = "asc"


def _parse_order(value: Any) -> Any:
    """Expand `-name` to `{column: name, direction: desc}`."""
    if not isinstance(value, str):
        return value
    return {"column": value.removeprefix("-"), "direction": "desc" if value.startswith("-") else "asc"}


def _use_any_of(schema: dict[str, Any]) -> None:
    """Replace pydantic's `oneOf`: a shorthand object can also match the schema of a filter."""
    schema["anyOf"] = schema.pop("oneOf")


class Document(_DocumentModel):
    """A guarded query."""

    model_config = ConfigDict(json_schema_extra={"examples": EXAMPLES})
    table: Name = Field(description="one of `GET /api/database/tables`", examples=["frames"])
    columns: Annotated[tuple[Name, ...], Field(fail_fast=True)] | None = Field(
        None, min_length=1, description="the columns to return; default: all"
    )
    filters: Filters = Field(
        (), description="all must hold; `{column: value}` is short for a list of `eq`", json_schema_extra=_use_any_of
    )
    aggregates: Annotated[tuple[Aggregate, ...], Field(fail_fast=True)] = Field(
        (), description="values computed over the rows, instead of the rows themselves"
    )
    group_by: Annotated[tuple[Name, ...], Field(fail_fast=True)] = Field(
        (), description="one row for each combination of these"
    )
    order_by: Annotated[
        tuple[Annotated[Order, BeforeValidator(_parse_order, json_schema_input_type=Order | str)], ...],
        Field(fail_fast=True),
    ] = Field(
        (),
        description="objects, or names with `-` for descending; default: the table's key",
        examples=[["-created_at"]],
    )
    limit: int = Field(DEFAULT_LIMIT, ge=1, strict=True, description="maximum number of rows in one answer")
    cursor: str | None = Field(
        None,
        min_length=1,
        max_length=65_536,
        description="`next_cursor` of the previous answer; leave the rest unchanged",
    )

    @field_validator("filters", mode="before")
    @classmethod
    def _bound_shorthand(cls, value: Any) -> Any:
        return bound_members(value)

    @property
    def is_grouped(self) -> bool:
        """Whether the result is aggregates or groups instead of rows of the table."""
        return bool(self.aggregates or self.group_by)
