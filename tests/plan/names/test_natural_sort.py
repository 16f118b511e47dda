"""Names in the order people count."""

import re
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.plan.names.natural_sort import natural_key, trailing_number

NAMES = st.text(st.sampled_from("abZ_-./0123456789 é"), max_size=40)


def _pieces(name: str) -> list[tuple[str, int]]:
    """The plain definition: text and numbers by turns, each number worth a digit when compared with text."""
    return [("0", int(part)) if part.isdecimal() else (part, -1) for part in re.split(r"([0-9]+)", name) if part]


@pytest.mark.parametrize(
    "names",
    [
        ["frame2.jpg", "frame10.jpg", "frame100.jpg"],
        ["a/frame9.jpg", "a/frame10.jpg", "b/frame1.jpg"],
        ["cam2_t1.jpg", "cam2_t12.jpg", "cam10_t1.jpg"],
        ["a.jpg", "a1.jpg", "a1b.jpg", "a2.jpg"],
        ["f9", f"f{10**30}", f"f{10**31}"],
    ],
)
def test_people_count_like_this(names: list[str]) -> None:
    for order in permutations(names):
        assert sorted(order, key=natural_key) == names


@given(st.integers(0, 10**40), st.integers(0, 10**40), st.integers(0, 5), st.text("ab-é", max_size=3))
def test_numbers_decide_whatever_their_padding(left: int, right: int, zeros: int, rest: str) -> None:
    first, second = f"frame{'0' * zeros}{left}{rest}", f"frame{right}{rest}"
    assert (natural_key(first) < natural_key(second)) == (left < right)
    assert (natural_key(first) == natural_key(second)) == (left == right)


@given(NAMES, NAMES)
def test_the_key_orders_like_its_definition(left: str, right: str) -> None:
    assert (natural_key(left) == natural_key(right)) == (_pieces(left) == _pieces(right))
    if [kind for kind, _ in _pieces(left)] == [kind for kind, _ in _pieces(right)]:
        assert (natural_key(left) < natural_key(right)) == (_pieces(left) < _pieces(right))


@given(st.lists(NAMES, max_size=20))
def test_bytes_order_like_text(names: list[str]) -> None:
    """PostgreSQL's "C" collation compares UTF-8 bytes."""
    assert sorted(names, key=natural_key) == sorted(names, key=lambda name: natural_key(name).encode())


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("img_0042.jpg", 42),
        ("cam1/img_0042.jpg", 42),
        ("cam7/picture.jpg", None),
        ("shot.0042", 42),
        ("shot.0042.tif", 42),
        ("0.jpg", 0),
        ("frame", None),
        ("t12.ome.tif", 12),
        ("9223372036854775807.png", 2**63 - 1),
        ("9223372036854775808.png", None),
        (f"{'0' * 50}7.png", 7),
        ("9" * 5000 + ".png", None),
        ("0" * 5000 + "7.png", 7),
        ("", None),
    ],
)
def test_trailing_number(name: str, number: int | None) -> None:
    assert trailing_number(name) == number


@given(st.integers(0, 2**63 - 1), st.integers(0, 20), st.sampled_from(["", "cam3/", "a-1_"]))
def test_trailing_number_is_read_back(number: int, zeros: int, before: str) -> None:
    assert trailing_number(f"{before}{'0' * zeros}{number}.jpg") == number
