"""The project's own Python files, as text and as syntax trees."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("service", "kernels", "benchmarks")


@dataclass(frozen=True)
class Function:
    """A function: `lines` from `def` to its end; `parameters` without self and cls."""

    where: str
    lines: int
    parameters: int


def source_files(*packages: str) -> list[Path]:
    """All Python files of these packages (default: all of PACKAGES), sorted."""
    return sorted(path for package in packages or PACKAGES for path in (ROOT / package).rglob("*.py"))


def relative_name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def syntax_tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def functions_in(path: Path) -> Iterator[Function]:
    for node in ast.walk(syntax_tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            given = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
            count = sum(argument.arg not in ("self", "cls") for argument in given)
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            yield Function(f"{relative_name(path)}:{node.lineno} {node.name}", lines, count)


def module_name(path: Path) -> str:
    return relative_name(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def imported_modules(path: Path) -> set[str]:
    """The project's modules that a file imports, at any level."""
    ours = _own_modules()
    found = set()
    for node in ast.walk(syntax_tree(path)):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names & ours or {node.module} & ours
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & ours
    return found


@cache
def _own_modules() -> frozenset[str]:
    return frozenset(module_name(path) for path in source_files())
