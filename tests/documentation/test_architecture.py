"""The walks in the documentation name functions that exist."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.support.source_code import ROOT, relative_name

PAGES = [ROOT / "CONTRIBUTING.md", ROOT / "docs/architecture.md", ROOT / "docs/decisions/009-rooms.md"]
NAMED = re.compile(r"`((?:service|kernels|tests)/[\w/]+\.py)`\s+`([\w.]+)`")


@cache
def defined_names(path: Path) -> frozenset[str]:
    """Functions, classes, methods (as `Class.method`) and constants of a module."""
    body = ast.parse(path.read_text()).body
    names = set(_names(body))
    for node in body:
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{name}" for name in _names(node.body)}
    return frozenset(names)


def _names(body: list[ast.stmt]) -> list[str]:
    found = [node.name for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)]
    targets = [node.targets[0] for node in body if isinstance(node, ast.Assign)]
    targets += [node.target for node in body if isinstance(node, ast.AnnAssign)]
    return found + [target.id for target in targets if isinstance(target, ast.Name)]


@pytest.mark.parametrize("page", PAGES, ids=relative_name)
def test_functions_that_are_named_exist(page: Path) -> None:
    named = NAMED.findall(page.read_text())
    assert len(named) >= 3
    assert [(file, name) for file, name in named if name not in defined_names(ROOT / file)] == []
