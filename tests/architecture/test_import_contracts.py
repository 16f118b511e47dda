"""The import contracts cover everything: a package that no contract places would be free of all of them."""

import re
import tomllib

from tests.architecture.contracts import contract, listed_modules, read_contracts
from tests.support.source_code import PACKAGES, ROOT, source_files


def test_every_part_of_the_service_has_its_layer() -> None:
    """What one package deep has code in it; `exhaustive` makes import-linter refuse the rest."""
    present = {
        path.relative_to(ROOT / "service").parts[0].removesuffix(".py")
        for path in source_files("service")
        if path != ROOT / "service" / "__init__.py"
    }
    assert present == listed_modules("service")
    assert contract("service")["exhaustive"] == "True"


def test_the_top_level_packages_are_the_contracts_roots() -> None:
    assert set(read_contracts()["importlinter"]["root_packages"].split()) == set(PACKAGES) == listed_modules("packages")


def test_the_wheel_ships_the_service_and_the_kernels() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["tool"]["setuptools"]["packages"]["find"]["include"] == ["service*", "kernels*"]


def test_exceptions_are_few_and_exist() -> None:
    """Each ignored import is a real line of code, so none outlives its reason."""
    pairs = [pair for section in read_contracts().values() for pair in section.get("ignore_imports", "").splitlines()]
    for importer, imported in (pair.split(" -> ") for pair in pairs if pair):
        text = (ROOT / f"{importer.strip().replace('.', '/')}.py").read_text()
        package, _, module = imported.strip().rpartition(".")
        assert re.search(
            rf"from {re.escape(imported.strip())} import|from {re.escape(package)} import .*\b{module}\b", text
        )
    assert len([pair for pair in pairs if pair]) <= 3
