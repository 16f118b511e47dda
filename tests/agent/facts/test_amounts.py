"""Amounts with units, and numbers that stand alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.agent.facts.amounts import find_amounts, find_numbers


@pytest.mark.parametrize(
    ("question", "value", "unit"),
    [
        ("videos over 2 GB", 2_000_000_000, "bytes"),
        ("over 1.5 GiB", 1_610_612_736, "bytes"),
        ("größer als 1,5 MB", 1_500_000, "bytes"),
        ("300 megabytes", 300_000_000, "bytes"),
        ("plus de 2 Go", 2_000_000_000, "bytes"),
        ("longer than 5 minutes", 300, "seconds"),
        ("mehr als 2 Stunden", 7200, "seconds"),
        ("超过2小时", 7200, "seconds"),
    ],
)
def test_one_amount(question: str, value: int, unit: str) -> None:
    assert [(found.value, found.unit) for found in find_amounts(question)] == [(value, unit)]


@pytest.mark.parametrize(("size", "pixels"), [("4K", (3840, 2160)), ("full HD", (1920, 1080)), ("720p", (1280, 720))])
def test_sizes_of_pictures(size: str, pixels: tuple[int, int]) -> None:
    found = find_amounts(f"datasets wider than {size}")
    assert [(each.value, each.unit) for each in found] == [
        (pixels[0], "pixels of width"),
        (pixels[1], "pixels of height"),
    ]


@pytest.mark.parametrize("question", ["camera4k", "2GBs of x2", "a GB", "gb 2", "14Kb_x"])
def test_what_is_no_amount_of_pictures(question: str) -> None:
    assert [found for found in find_amounts(question) if found.unit.startswith("pixels")] == []


def test_numbers_stand_alone() -> None:
    assert find_numbers("the 5 newest of 2026-03-01 with more than 1200 frames at 29.97 in camera-3 or x7") == (5, 1200)


@given(st.text(max_size=300))
def test_any_text(text: str) -> None:
    assert all(0 <= found.value <= 10**15 for found in find_amounts(text))
    assert all(number >= 0 for number in find_numbers(text))
