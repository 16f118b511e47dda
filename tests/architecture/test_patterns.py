"""Every regular expression takes linear time, whatever text it reads: a caller writes most of them."""

import re

import pytest

from tests.support.patterns.attacks import find_slow_attack
from tests.support.patterns.discovery import FoundPattern, find_patterns

PATTERNS = find_patterns()


def test_patterns_are_found_in_every_kind_of_place() -> None:
    places = " ".join(found.where for found in PATTERNS)
    for name in ("telemetry/", "routers/", "agent/common_questions", "plan/names/", "migrations/", "benchmarks/"):
        assert name in places
    assert len(PATTERNS) > 40


@pytest.mark.parametrize("found", PATTERNS, ids=lambda found: found.where)
def test_a_pattern_takes_linear_time(found: FoundPattern) -> None:
    assert find_slow_attack(found.pattern, found.method) is None, found.pattern.pattern


@pytest.mark.parametrize(
    ("pattern", "method"),
    [
        (r"(a+)+$", "fullmatch"),
        (r"eyJ[\w-]+\.[\w-]+\.[\w-]*", "search"),
        (r"(?<=://)[^\s/@]*:[^\s/@]*(?=@)", "search"),
        (r"\s+$", "search"),
        (r"\A```\s*(.*?)\s*```\Z", "search"),
        (r"(\d+,?)+x", "match"),
    ],
)
def test_slow_patterns_are_noticed(pattern: str, method: str) -> None:
    assert find_slow_attack(re.compile(pattern, re.DOTALL), method) is not None
