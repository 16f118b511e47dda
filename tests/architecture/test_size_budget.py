"""Small files of small functions: docs/architecture.md says why, this says how small."""

from statistics import median, quantiles

from tests.support.source_code import ROOT, functions_in, relative_name, source_files

FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "core", "misc", "stuff", "shared", "base"}
"""Names that say nothing about what a thing knows."""

FUNCTION_MEDIAN, FUNCTION_P95 = 10, 45
FILE_MEDIAN, FILE_LONGEST, PARAMETERS = 180, 400, 5

LONG_FILES: dict[str, str] = {}
"""Data that may be longer than the longest file: path -> why it is not cut up."""

WIDE = "service/routers/"
"""FastAPI's dependencies are parameters of a route: ruff's PLR0913 excepts the same folder."""

KERNELS = "kernels/"
"""A kernel is one straight line of address arithmetic: its functions may be four times as long."""


def function_lengths(kernels: bool) -> list[int]:
    paths = [path for path in source_files() if relative_name(path).startswith(KERNELS) == kernels]
    return [function.lines for path in paths for function in functions_in(path)]


def test_functions_are_short() -> None:
    lengths = function_lengths(kernels=False)
    assert median(lengths) <= FUNCTION_MEDIAN
    assert quantiles(lengths, n=20)[-1] <= FUNCTION_P95


def test_kernels_are_at_most_four_times_that() -> None:
    lengths = function_lengths(kernels=True)
    assert max(lengths, default=0) <= 4 * FUNCTION_P95


def test_files_are_short() -> None:
    lengths = {relative_name(path): len(path.read_text().splitlines()) for path in source_files()}
    assert median(lengths.values()) <= FILE_MEDIAN
    assert {name for name, length in lengths.items() if length > FILE_LONGEST} <= set(LONG_FILES)


def test_the_long_files_are_still_there_and_long() -> None:
    for name, reason in LONG_FILES.items():
        assert len((ROOT / name).read_text().splitlines()) > FILE_LONGEST, f"{name} needs no exception any more"
        assert len(reason) > 20, f"say why {name} is not cut up"


def test_parameters_are_few() -> None:
    paths = [path for path in source_files("service", "benchmarks") if not relative_name(path).startswith(WIDE)]
    wide = [function for path in paths for function in functions_in(path) if function.parameters > PARAMETERS]
    assert wide == []


def test_names_say_something() -> None:
    parts = {part for path in source_files() for part in path.relative_to(ROOT).with_suffix("").parts}
    assert parts & FORBIDDEN_NAMES == set()
