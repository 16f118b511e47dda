"""The JSON schema that a model's query must match, from which the model server makes a grammar. There is one for each
table, with the columns, operators and values of that table alone: what matches it, the guard accepts.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from service.agent.facts.facts import Facts
from service.guard.document import Operator
from service.guard.schema import (
    BOOLEAN_TYPE,
    INTEGER_TYPE,
    NUMBER_TYPE,
    TEXT_ARRAY_TYPE,
    TEXT_TYPE,
    TIMESTAMP_TYPE,
    UUID_TYPE,
    ColumnDescription,
    ColumnType,
    TableDescription,
)

Schema = dict[str, Any]
# Bounds of one document. They are small, because grammars unroll them, and far within the limits of the guard.
MAX_CONDITIONS, MAX_ALTERNATIVES, MAX_LISTED, MAX_NAMES, MAX_FIGURES, MAX_GROUPS, MAX_ORDER_KEYS = 5, 3, 8, 12, 3, 2, 2
# The converter of llama.cpp knows these classes; what they leave out has to be escaped in JSON, or is a wildcard.
_TEXT_CHARACTER, _PATTERN_CHARACTER = r'[^"\\\x00-\x1f\x7f]', r'[^"\\%_\x00-\x1f\x7f]'
# No white space of Unicode, which a request strips: a name of it alone would be empty.
_WHITE_SPACE = r"\x00-\x20\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_FIRST_CHARACTER = rf'[^"\\{_WHITE_SPACE}]'
_MONTHS_AND_DAYS = (
    r"(0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])"
    r"|(0[469]|11)-(0[1-9]|[12][0-9]|30)"
    r"|02-(0[1-9]|1[0-9]|2[0-8])"
)
TIMESTAMP_PATTERN = rf"^(19|20)[0-9][0-9]-({_MONTHS_AND_DAYS})T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z$"
UUID_PATTERN = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
# PostgreSQL's limit is 19 digits.
MAX_INTEGER = 10**15
MAX_FPS, MAX_DECIMATION = 240, 100_000
DEFINITIONS: dict[str, Schema] = {
    "Text": {"type": "string", "pattern": f"^{_FIRST_CHARACTER}{_TEXT_CHARACTER}{{0,79}}$"},
    "Contained": {"type": "string", "pattern": f"^%{_PATTERN_CHARACTER}{{1,60}}%$"},
    "Integer": {"type": "integer", "minimum": 0, "maximum": MAX_INTEGER},
    "Number": {"type": "number"},
    "Boolean": {"type": "boolean"},
    "Timestamp": {"type": "string", "pattern": TIMESTAMP_PATTERN},
    "Uuid": {"type": "string", "pattern": UUID_PATTERN},
    "Direction": {"type": "string", "enum": ["asc", "desc"]},
}
DEFINITION_OF_TYPE: Mapping[str, str] = {
    UUID_TYPE.name: "Uuid",
    TEXT_TYPE.name: "Text",
    INTEGER_TYPE.name: "Integer",
    NUMBER_TYPE.name: "Number",
    BOOLEAN_TYPE.name: "Boolean",
    TIMESTAMP_TYPE.name: "Timestamp",
    TEXT_ARRAY_TYPE.name: "Text",
}
COMPARISONS: tuple[Operator, ...] = ("eq", "ne", "lt", "le", "gt", "ge")
EQUALITIES: tuple[Operator, ...] = ("eq", "ne")
LISTS: tuple[Operator, ...] = ("in", "not_in")
# How groups are ordered: by their first figure, or by what they are grouped by.
GROUP_ORDERS = ("largest", "smallest", "by_group")


def document_schema(table: TableDescription, max_rows: int, facts: Facts) -> Schema:
    """The schema of queries of `table`: of its rows, of figures over all of them, or of figures of each group.

    Timestamps, integers and names are those of `facts` if there are any. `drafts.parse_document` reads what matches.
    """
    common = {"table": {"const": table.name}, "filters": _reference("Filters")}
    limit = {"limit": {"type": "integer", "minimum": 1, "maximum": max_rows}}
    every, sortable = list(table.columns), [name for name, column in table.columns.items() if column.type.sortable]
    order = _object_of({"column": _one_of(sortable), "direction": _reference("Direction")})
    figures = {"aggregates": _list_of(_reference("Figure"), 1, MAX_FIGURES)}
    groups = {"group_by": _list_of(_one_of(sortable), 1, MAX_GROUPS), "order": _one_of(GROUP_ORDERS)}
    rows = {"columns": _list_of(_one_of(every), 1, MAX_NAMES), "order_by": _list_of(order, 0, MAX_ORDER_KEYS)}
    shapes = [
        _object_of(common | rows | limit),
        _object_of(common | figures),
        _object_of(common | figures | groups | limit),
    ]
    own = {"Filters": _filters(), "Condition": _condition(table), "Figure": _figure(table)}
    return {"anyOf": shapes, "$defs": DEFINITIONS | _definitions_of(facts) | own}


def render_intent_schema(facts: Facts) -> Schema:
    """The schema of a RenderIntent: of a name that was found, if any was; rates in whole frames per second."""
    rate = {"type": "integer", "minimum": 1, "maximum": MAX_FPS}
    step = {"type": "integer", "minimum": 1, "maximum": MAX_DECIMATION}
    intent = _object_of({"experiment": _reference("Name"), "fps": rate, "decimation_factor": step})
    return intent | {"$defs": DEFINITIONS | _definitions_of(facts)}


def _filters() -> Schema:
    condition = _reference("Condition")
    alternatives = _object_of({"any": _list_of(condition, 2, MAX_ALTERNATIVES)})
    return _list_of({"anyOf": [condition, alternatives]}, 0, MAX_CONDITIONS)


def _condition(table: TableDescription) -> Schema:
    return {"anyOf": list(_comparisons(list(table.columns.values())))}


def _comparisons(columns: Sequence[ColumnDescription]) -> Iterator[Schema]:
    """One schema for the columns that take the same operators and values."""

    def kind(column: ColumnDescription) -> tuple[str, tuple[str, ...], bool]:
        return column.type.name, column.values, _is_name(column)

    for _, group in groupby(sorted(columns, key=kind), key=kind):
        members = list(group)
        yield from _comparisons_of(members[0], [member.name for member in members])
    if nullable := [column.name for column in columns if not column.required]:
        yield _comparison(nullable, ["is_null"], _reference("Boolean"))


def _comparisons_of(column: ColumnDescription, names: list[str]) -> Iterator[Schema]:
    kind = column.type
    if column.values:
        value = _one_of(column.values)
        yield _comparison(names, EQUALITIES, value)
        yield _comparison(names, LISTS, _list_of(value, 1, len(column.values)))
    elif kind.name == TEXT_ARRAY_TYPE.name:
        yield _comparison(names, ["contains"], _reference("Text"))
    elif kind.name == TEXT_TYPE.name:
        yield _comparison(names, EQUALITIES, _reference("Name" if _is_name(column) else "Text"))
        yield _comparison(names, ["ilike"], _reference("Contained"))
    elif definition := DEFINITION_OF_TYPE.get(kind.name):
        value = _reference(definition)
        scalar = [operator for operator in COMPARISONS if operator in kind.operators]
        yield _comparison(names, scalar, value)
        yield from _lists(kind, names, value)


def _lists(kind: ColumnType, names: list[str], value: Schema) -> Iterator[Schema]:
    if "in" in kind.operators:
        yield _comparison(names, LISTS, _list_of(value, 1, MAX_LISTED))
    if "between" in kind.operators:
        yield _comparison(names, ["between"], _list_of(value, 2, 2))


def _figure(table: TableDescription) -> Schema:
    """`count` of rows, or a function of columns that have it."""
    rows = _object_of({"function": {"const": "count"}})

    def functions(column: ColumnDescription) -> tuple[str, ...]:
        return tuple(each for each in column.type.aggregates if each != "count")

    columns = sorted((column for column in table.columns.values() if functions(column)), key=functions)
    of_columns = [
        _object_of({"function": _one_of(names), "column": _one_of([column.name for column in group])})
        for names, group in groupby(columns, key=functions)
    ]
    return {"anyOf": [rows, *of_columns]}


def _is_name(column: ColumnDescription) -> bool:
    return column.name in ("name", "experiment_name", "dataset_name")


def _definitions_of(facts: Facts) -> dict[str, Schema]:
    """What the question says in words, as the only values that a model can choose from."""
    names = [found.name for found in facts.names]
    found: dict[str, Schema] = {"Name": _one_of(dict.fromkeys(names)) if names else _reference("Text")}
    if moments := facts.moments():
        found["Timestamp"] = _one_of(moments)
    if integers := facts.integers():
        found["Integer"] = {"enum": list(integers)}
    return found


def _comparison(columns: Sequence[str], operators: Sequence[str], value: Schema) -> Schema:
    return _object_of({"column": _one_of(columns), "op": _one_of(operators), "value": value})


def _object_of(properties: dict[str, Schema]) -> Schema:
    """An object of exactly these members, in this order."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _list_of(items: Schema, least: int, most: int) -> Schema:
    return {"type": "array", "items": items, "minItems": least, "maxItems": most}


def _one_of(values: Iterable[str]) -> Schema:
    return {"type": "string", "enum": list(values)}


def _reference(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}
