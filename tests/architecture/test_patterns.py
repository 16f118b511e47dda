"""Every regular expression takes linear time, whatever text it reads: a caller writes most of them."""

import re
from pathlib import Path

import pytest

from tests.support.patterns.attacks import find_slow_attack
from tests.support.patterns.discovery import FoundPattern, files_with_patterns, find_patterns, route_patterns
from tests.support.source_code import relative_name, source_files

FILES = files_with_patterns()


def test_patterns_are_found_in_every_kind_of_place() -> None:
    found = {path: find_patterns(path) for path in source_files()}
    assert {path for path, patterns in found.items() if patterns} <= set(FILES)
    places = " ".join(pattern.where for patterns in found.values() for pattern in patterns)
    for name in ("telemetry/", "routers/", "agent/common_questions", "plan/names/", "migrations/", "benchmarks/"):
        assert name in places
    assert sum(map(len, found.values())) > 40


@pytest.mark.parametrize("path", FILES, ids=relative_name)
def test_patterns_take_linear_time(path: Path) -> None:
    check_linear(find_patterns(path))


def test_patterns_of_routes_take_linear_time() -> None:
    check_linear(route_patterns())


def check_linear(patterns: list[FoundPattern]) -> None:
    slow = {each.where: find_slow_attack(each.pattern, each.method) for each in patterns}
    assert not any(slow.values()), {where: attack for where, attack in slow.items() if attack}


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
