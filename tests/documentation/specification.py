"""docs/specification.md, made from the specification and its tests: `python -m tests.documentation.specification`."""

import importlib
import re
from pathlib import Path

from tests.specification.scenario import SCENARIO_TESTS

ROOT = Path(__file__).parents[2]
SOURCE, PAGE = ROOT / "tests/specification/specification.md", ROOT / "docs/specification.md"
HEAD = """# The specification, scenario by scenario

Each scenario of the user's specification (`tests/specification/specification.md`, word for word) has one test named after
it, through HTTP against the running service, over real PostgreSQL and a real object store. All of them run in `make
test`; those that need an S3 server say so and are skipped without one (`.ci/run` starts one). Made by
`python -m tests.documentation.specification`; a test compares it with the tests.
"""


def requirements() -> dict[str, list[str]]:
    """Requirement -> its scenarios, in the specification's order."""
    found: dict[str, list[str]] = {}
    for kind, name in re.findall(r"^#{3,4} (Requirement|Scenario): (.+)$", SOURCE.read_text(), re.MULTILINE):
        if kind == "Requirement":
            found[name] = []
        else:
            found[list(found)[-1]].append(name)
    return found


def scenario_tests() -> dict[str, tuple[str, str]]:
    """Scenario -> (module, function) of its test."""
    for path in sorted((ROOT / "tests/specification").glob("test_*.py")):
        importlib.import_module(f"tests.specification.{path.stem}")
    return SCENARIO_TESTS


def render_page() -> str:
    parts, tests = [HEAD], scenario_tests()
    for requirement, scenarios in requirements().items():
        rows = [f"| {name} | {_test_link(tests.get(name))} |" for name in scenarios]
        parts.append("\n".join([f"## {requirement}", "", "| scenario | test |", "| --- | --- |", *rows]) + "\n")
    return "\n".join(parts)


def _test_link(found: tuple[str, str] | None) -> str:
    if found is None:
        return "**missing**"
    module, function = found
    return f"[`{function}`](../{module.replace('.', '/')}.py)"


if __name__ == "__main__":
    PAGE.write_text(render_page())
