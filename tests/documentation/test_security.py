"""docs/security.md speaks of what is locked, and names tests that exist."""

import ast
import re
from datetime import date

from tests.deployment.licences import bundled_libraries
from tests.deployment.lock_file import LOCKS, read_lock
from tests.support.source_code import ROOT, relative_name, source_files, syntax_tree

PAGE = (ROOT / "docs/security.md").read_text()
LOCKED = {entry.name: entry.version for lock in LOCKS.values() for entry in read_lock(lock.path)}
# "| `imagecodecs` 2026.3.6: libpng 1.6.55 | ...": a distribution, and one of the libraries inside.
ROW = re.compile(r"^\| `([a-z0-9-]+)` (\S+?)(?:: (.+?) (\S+))? \|", re.MULTILINE)
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)(?:\[([^\]`]+)\])?`")
# Functions of torch that load models or compile scripts.
MODEL_LOADERS = {"torch.load", "torch.jit", "torch.export", "torch.package", "torch.hub", "torch.compile"}


def listed(heading: str) -> list[str]:
    """The distributions of a list under a heading."""
    section = re.split(r"^##", PAGE.partition(f"### {heading}\n")[2], flags=re.MULTILINE)[0]
    names = section.strip().split("\n\n")[0].partition(":\n")[2]
    return [name.strip() for name in names.rstrip(".").replace("\n", " ").split(",")]


def test_every_locked_distribution_has_its_place() -> None:
    in_table = {match[1] for match in ROW.finditer(PAGE)}
    nothing_found, not_looked_up = listed("Nothing found"), listed("Not looked up")
    assert sorted([*in_table, *nothing_found, *not_looked_up]) == sorted(LOCKED)


def test_versions_are_those_that_are_locked() -> None:
    rows = [match.groups() for match in ROW.finditer(PAGE)]
    versions = {
        (lock.path.name, entry.name, entry.version) for lock in LOCKS.values() for entry in read_lock(lock.path)
    }
    pinned = {(name, version) for _, name, version in versions}
    assert [(name, version) for name, version, *_ in rows if (name, version) not in pinned] == []
    inside = {(name, each.name, each.version) for name, found in bundled_libraries().items() for each in found}
    assert [row for row in rows if row[2] and (row[0], row[2], row[3]) not in inside] == []


def test_it_is_dated() -> None:
    (written,) = re.findall(r"As of \*\*(\d{4}-\d{2}-\d{2})\*\*", PAGE)
    assert date(2026, 11, 29) <= date.fromisoformat(written)


def test_tests_that_are_named_exist() -> None:
    """The function, and each part of the case in brackets, which is a name in the file of the test."""
    named = TEST.findall(PAGE)
    assert len(named) > 15
    wrong = []
    for file, test, case in named:
        tree, text = syntax_tree(ROOT / file), (ROOT / file).read_text()
        functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        if test not in functions or not all(re.search(rf"\b{part}\b", text) for part in case.split("-")):
            wrong.append((file, test, case))
    assert wrong == []


def test_each_weakness_of_python_jose_has_a_test() -> None:
    section = PAGE.partition("## python-jose and ecdsa, one by one")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")][2:]
    assert len(rows) == 13
    assert [row for row in rows if not TEST.search(row)] == []


def test_torch_loads_no_model() -> None:
    found = {
        f"{relative_name(path)}: {ast.unparse(node)}"
        for path in source_files("service", "kernels")
        for node in ast.walk(syntax_tree(path))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and f"{node.value.id}.{node.attr}" in MODEL_LOADERS
    }
    assert found == set()
