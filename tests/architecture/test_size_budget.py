"""Limits against monsters and against crumbs: docs/architecture.md says why, this says how much."""

import ast
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import quantiles

import pytest

from tests.support.source_code import (
    ROOT,
    functions_in,
    imported_modules,
    module_name,
    relative_name,
    source_files,
    syntax_tree,
)

FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "core", "misc", "stuff", "shared", "base"}
# Names that say nothing about what a file knows.

FUNCTION_P95, FUNCTION_LONGEST = 40, 80
FILE_LONGEST, ROOM_LARGEST, PARAMETERS = 400, 15, 5
CRUMB = 40
# Lines below which a file with one importer beside it belongs into that file.

KERNELS = "kernels/"
KERNEL_FACTOR = 2
# A kernel is one straight line of address arithmetic: its functions may be twice as long.

DECLARED = ("service/routers/", "service/cli/")
# FastAPI's dependencies are parameters of a route, and options those of a command: ruff's PLR0913 excepts the same files.


def function_lengths(kernels: bool) -> list[int]:
    paths = [path for path in source_files() if relative_name(path).startswith(KERNELS) == kernels]
    return [function.lines for path in paths for function in functions_in(path)]


@pytest.mark.parametrize(("kernels", "factor"), [(False, 1), (True, KERNEL_FACTOR)])
def test_no_function_is_a_monster(kernels: bool, factor: int) -> None:
    lengths = function_lengths(kernels)
    assert quantiles(lengths, n=20)[-1] <= FUNCTION_P95 * factor
    assert max(lengths) <= FUNCTION_LONGEST * factor


def test_no_file_is_a_monster() -> None:
    assert {relative_name(path): lines for path in source_files() if (lines := _lines(path)) > FILE_LONGEST} == {}


def test_no_room_is_crowded() -> None:
    """Migrations are a history, which nobody reads as a room."""
    paths = [path for path in source_files() if path.name != "__init__.py" and path.parent.name != "versions"]
    rooms = Counter(relative_name(path.parent) for path in paths)
    assert {room: count for room, count in rooms.items() if count > ROOM_LARGEST} == {}


def test_every_room_has_a_sentence_at_its_door() -> None:
    rooms = {path.parent for path in source_files() if path.parent.name != "versions"}  # of Alembic, no package
    silent = [relative_name(room) for room in rooms if not _docstring(room / "__init__.py")]
    assert silent == []


def test_no_file_is_a_crumb_of_its_neighbour() -> None:
    """A short file that only one file imports, in the same room, is read with that file: it belongs into it."""
    importers = defaultdict(set)
    for path in source_files():
        for module in imported_modules(path):
            importers[module].add(module_name(path))
    crumbs = {
        relative_name(path): next(iter(readers))
        for path in source_files()
        if path.name != "__init__.py"
        and _lines(path) < CRUMB
        and len(readers := importers[module_name(path)]) == 1
        and next(iter(readers)).rpartition(".")[0] == module_name(path).rpartition(".")[0]
    }
    assert crumbs == {}


def test_parameters_are_few() -> None:
    paths = [path for path in source_files("service", "benchmarks") if not relative_name(path).startswith(DECLARED)]
    wide = [function for path in paths for function in functions_in(path) if function.parameters > PARAMETERS]
    assert wide == []


def test_parameters_do_not_hide_in_tuples() -> None:
    """A pair of alike values (a size, a corner) is one thing; a tuple of unlike values, or of three, is a list of
    parameters in disguise. So is a call that unpacks several tuples."""
    assert [found for path in source_files() for found in _hidden_parameters(path)] == []


def test_names_say_something() -> None:
    parts = {part for path in source_files() for part in path.relative_to(ROOT).with_suffix("").parts}
    assert parts & FORBIDDEN_NAMES == set()


def _lines(path: Path) -> int:
    return len(path.read_text().splitlines())


def _docstring(path: Path) -> str | None:
    return ast.get_docstring(syntax_tree(path)) if path.exists() else None


def _hidden_parameters(path: Path) -> Iterator[str]:
    for node in ast.walk(syntax_tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for argument in (*node.args.args, *node.args.kwonlyargs):
                if _is_a_list_in_disguise(argument.annotation):
                    yield f"{relative_name(path)}:{node.lineno} {node.name}({argument.arg})"
        if isinstance(node, ast.Call) and _constructs(node) and sum(isinstance(a, ast.Starred) for a in node.args) > 1:
            yield f"{relative_name(path)}:{node.lineno} {ast.unparse(node)}"


def _constructs(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Name) and call.func.id[:1].isupper()


def _is_a_list_in_disguise(annotation: ast.expr | None) -> bool:
    match annotation:
        case ast.Subscript(value=ast.Name(id="tuple"), slice=ast.Tuple(elts=elements)):
            kinds = [ast.unparse(element) for element in elements]
            return "..." not in kinds and (len(kinds) > 2 or len(set(kinds)) > 1)
    return False
