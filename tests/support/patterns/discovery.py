"""Find every regular expression of the code: calls of `re`, `pattern=` of fields and parameters, the paths of routes, and
`~` in migrations.
"""

import ast
import importlib
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from starlette.routing import Route

from service.processes.app import API_ROUTERS
from tests.support.source_code import module_name, relative_name, source_files, syntax_tree

CALLS = {"compile", "match", "fullmatch", "search", "sub", "subn", "split", "findall", "finditer"}
# How PostgreSQL writes that a text matches a pattern.
SQL_PATTERN = re.compile(r"~\*?\s*'([^']*)'")


@dataclass(frozen=True)
class FoundPattern:
    """A pattern, where it is written, and how it is run: `fullmatch` and `match` start at one place, `search` at all."""

    where: str
    pattern: "re.Pattern[Any]"
    method: str


# What a file has that has a pattern.
SIGNS = ("import re\n", "pattern=")


def files_with_patterns() -> list[Path]:
    """The files that may have patterns, found without reading them closely."""
    return [
        path
        for path in source_files()
        if "migrations" in path.parts or any(sign in path.read_text(encoding="utf-8") for sign in SIGNS)
    ]


def find_patterns(path: Path) -> list[FoundPattern]:
    """Every pattern of a file once. Raises LookupError for one that cannot be read."""
    found: dict[tuple[str | bytes, int, str], FoundPattern] = {}
    for pattern in _patterns_of(path):
        found.setdefault((pattern.pattern.pattern, pattern.pattern.flags, pattern.method), pattern)
    return list(found.values())


def route_patterns() -> list[FoundPattern]:
    """Those of the paths of all routes."""
    found: dict[str, FoundPattern] = {}
    for router in API_ROUTERS:
        for route in router.routes:
            assert isinstance(route, Route)
            found.setdefault(route.path_regex.pattern, FoundPattern(route.path, route.path_regex, "match"))
    return list(found.values())


def _patterns_of(path: Path) -> Iterator[FoundPattern]:
    for node in ast.walk(syntax_tree(path)):
        if isinstance(node, ast.Attribute) and _is_re(node.value) and node.attr in CALLS:
            yield from _from_re(path, node)
        elif isinstance(node, ast.keyword) and node.arg == "pattern":
            yield _found(path, node.value, _evaluate(path, node.value), 0, "search")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "migrations" in path.parts:
            for text in SQL_PATTERN.findall(node.value):
                yield _found(path, node, text, 0, "search")


def _from_re(path: Path, attribute: ast.Attribute) -> Iterator[FoundPattern]:
    """What `re.compile(…)` and its like are called with; of computed ones, all patterns of the module."""
    call = _calls(path).get(id(attribute))
    method = {"match": "match", "fullmatch": "fullmatch"}.get(attribute.attr, "search")
    if call is not None and isinstance(call.args[0], ast.Name | ast.Constant | ast.JoinedStr | ast.BinOp):
        try:
            text = _evaluate(path, call.args[0])
            flags = [part for part in (*call.args[1:], *(word.value for word in call.keywords)) if _is_flag(part)]
            value = int(_evaluate(path, flags[0])) if flags else 0
        except NameError:
            pass
        else:
            yield _found(path, call, text, value, method if attribute.attr != "compile" else _use(path, call))
            return
    compiled = list(_compiled_in(importlib.import_module(module_name(path))))
    if not compiled:
        raise LookupError(f"{relative_name(path)}:{attribute.lineno}: keep this pattern in a constant of the module")
    for name, pattern in compiled:
        for method in dict.fromkeys((_use_of_name(name), "fullmatch")):
            yield FoundPattern(f"{relative_name(path)} {name}", pattern, method)


def _found(path: Path, node: ast.AST, text: str | bytes, flags: int, method: str) -> FoundPattern:
    where = f"{relative_name(path)}:{getattr(node, 'lineno', 0)}"
    return FoundPattern(where, re.compile(text, flags), method)


def _is_re(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "re"


def _is_flag(node: ast.expr) -> bool:
    return any(isinstance(part, ast.Attribute) and _is_re(part.value) for part in ast.walk(node))


def _evaluate(path: Path, node: ast.expr) -> Any:
    """The value of an expression of constants, or of names of the module. Raises NameError for a local name."""
    try:
        return ast.literal_eval(node)
    except ValueError:
        names = vars(importlib.import_module(module_name(path)))
        return eval(compile(ast.Expression(node), str(path), "eval"), dict(names))


@cache
def _calls(path: Path) -> dict[int, ast.Call]:
    return {id(node.func): node for node in ast.walk(syntax_tree(path)) if isinstance(node, ast.Call)}


def _compiled_in(module: Any) -> Iterator[tuple[str, "re.Pattern[Any]"]]:
    """The compiled patterns that a module's names hold, also in tuples."""
    for name, value in vars(module).items():
        for item in value if isinstance(value, tuple | list) else (value,):
            if isinstance(item, re.Pattern):
                yield name, item


def _use(path: Path, call: ast.Call) -> str:
    """How the constant is used that this call is assigned to."""
    for node in ast.walk(syntax_tree(path)):
        if isinstance(node, ast.Assign) and node.value is call and isinstance(node.targets[0], ast.Name):
            return _use_of_name(node.targets[0].id)
    return "search"


def _use_of_name(name: str) -> str:
    """`fullmatch` or `match`, if the pattern of this name is used in no other way anywhere."""
    methods = _methods_by_name().get(name, {"search"})
    return methods.copy().pop() if methods in ({"match"}, {"fullmatch"}) else "search"


@cache
def _methods_by_name() -> dict[str, set[str]]:
    """The methods that are called on each name, and those on what a loop takes from it; a plain mention is `search`."""
    methods: dict[str, set[str]] = defaultdict(set)
    for path in source_files():
        called: dict[int, str] = {}
        for node in ast.walk(syntax_tree(path)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                called[id(node.value)] = node.attr
        for node in ast.walk(syntax_tree(path)):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                methods[node.id].add(called.get(id(node), "search"))
    return methods
