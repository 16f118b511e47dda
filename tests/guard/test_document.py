"""Which documents are valid, what they mean, and the JSON pointer of each condition."""

from typing import Any

import pytest
from pydantic import ValidationError

from service.guard.document import Document
from service.guard.filters import Branch, Leaf, filter_tree, leaves

SMALL_SIZE = {"column": "size", "op": "lt", "value": 9}


def _make_document(**fields: Any) -> Document:
    return Document.model_validate({"table": "frames", **fields})


def _leaf_locations(filters: Any) -> list[tuple[int, str]]:
    return [(depth, node.location) for depth, node in leaves(filter_tree(_make_document(filters=filters)))]


@pytest.mark.parametrize(
    ("filters", "places"),
    [
        ([], [(0, "#/filters")]),
        ({}, [(0, "#/filters")]),
        ([SMALL_SIZE, SMALL_SIZE], [(1, "#/filters/0"), (1, "#/filters/1")]),
        (SMALL_SIZE, [(1, "#/filters")]),
        ({"size": 9}, [(1, "#/filters/size")]),
        ({"a/b~ ü": 9}, [(1, "#/filters/a~1b~0%20%C3%BC")]),
        ({"any": [SMALL_SIZE, {"not": SMALL_SIZE}]}, [(2, "#/filters/any/0"), (3, "#/filters/any/1/not")]),
        ([{"all": [{"any": []}]}], [(2, "#/filters/0/all/0/any")]),
    ],
)
def test_each_condition_knows_its_place(filters: Any, places: list[tuple[int, str]]) -> None:
    assert _leaf_locations(filters) == places


def test_the_shorthand_means_equal_and_null_means_is_null() -> None:
    root = filter_tree(_make_document(filters={"size": 9, "problem": None}))
    assert [(leaf.column, leaf.op, leaf.value) for leaf in root.children if isinstance(leaf, Leaf)] == [
        ("size", "eq", 9),
        ("problem", "is_null", True),
    ]
    assert {
        leaf.pointer(part) for leaf in root.children if isinstance(leaf, Leaf) for part in ("column", "op", "value")
    } == {
        "#/filters/size",
        "#/filters/problem",
    }


def test_is_null_without_a_value_is_true() -> None:
    root = filter_tree(_make_document(filters=[{"column": "problem", "op": "is_null"}]))
    assert isinstance(root, Branch) and isinstance(root.children[0], Leaf) and root.children[0].value is True


def test_order_in_short_and_in_full() -> None:
    spelled = [{"column": "size", "direction": "desc"}, {"column": "index"}]
    assert _make_document(order_by=["-size", "index"]) == _make_document(order_by=spelled)


def test_it_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        _make_document().limit = 10**9  # type: ignore[misc]


@pytest.mark.parametrize(
    "fields",
    [
        {"table": ""},
        {"table": "x" * 64},
        {"table": "a\0"},
        {"table": "\ud800"},
        {"table": ["frames"]},
        {"sql": "SELECT 1"},
        {"columns": []},
        {"columns": "index"},
        {"columns": [{"sql": "1"}]},
        {"limit": 0},
        {"limit": "10"},
        {"limit": True},
        {"limit": 1.5},
        {"filters": "size < 9"},
        {"filters": [SMALL_SIZE | {"op": "~"}]},
        {"filters": [SMALL_SIZE | {"op": "LT"}]},
        {"filters": [SMALL_SIZE | {"escape": "!"}]},
        {"filters": [{"any": [SMALL_SIZE], "all": [SMALL_SIZE]}]},
        {"filters": [{"not": [SMALL_SIZE]}]},
        {"filters": [SMALL_SIZE | {"value": float("nan")}]},
        {"filters": [SMALL_SIZE | {"value": [float("inf")]}]},
        {"filters": [SMALL_SIZE | {"value": "\0"}]},
        {"filters": [SMALL_SIZE | {"value": {"\ud800": 1}}]},
        {"filters": {"a\0": 1}},
        {"filters": {"x" * 64: 1}},
        {"aggregates": [{"function": "pg_sleep", "column": "size"}]},
        {"aggregates": [{"function": "count", "distinct": True}]},
        {"order_by": ["-"]},
        {"order_by": [{"column": "size", "direction": "desc; DROP"}]},
        {"cursor": ""},
        {"settings": {"max_rows": 10**9}},
    ],
)
def test_what_it_never_takes(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        _make_document(**fields)


@pytest.mark.parametrize("depth", [100, 400])
@pytest.mark.parametrize("wrap", [lambda inner: {"not": inner}, lambda inner: {"all": [inner]}])
def test_endless_nesting_is_refused_or_measured(depth: int, wrap: Any) -> None:
    filters: Any = SMALL_SIZE
    for _ in range(depth):
        filters = wrap(filters)
    try:
        document = _make_document(filters=[filters])
    except ValidationError:
        assert depth == 400
    else:
        assert [measured for measured, _ in leaves(filter_tree(document))] == [depth + 1]


def test_values_nest_sixteen_levels() -> None:
    def nested(depth: int) -> Any:
        value: Any = 1
        for _ in range(depth):
            value = [value]
        return value

    assert _make_document(filters=[SMALL_SIZE | {"value": nested(16)}])
    for depth in (17, 100, 900):
        with pytest.raises(ValidationError):
            _make_document(filters=[SMALL_SIZE | {"value": nested(depth)}])
