"""The generated tables of docs/architecture.md: rooms and files with their sentences, layers of the contracts."""

import ast
from pathlib import Path

from tests.architecture.contracts import read_contracts
from tests.support.source_code import ROOT, relative_name, source_files


def room_table() -> str:
    """Every package of `service` and `kernels` with the docstring of its `__init__.py`; migrations have no sentence."""
    rooms = {path.parent for path in source_files("service", "kernels")} - {ROOT / "service"}
    rows = [_row(room, room / "__init__.py") for room in sorted(rooms) if room.name != "versions"]
    return "| room | purpose |\n| --- | --- |\n" + "".join(rows)


def module_table() -> str:
    """The files of `service` that are in no room."""
    rows = [_row(path, path) for path in sorted((ROOT / "service").glob("*.py")) if not path.name.startswith("__")]
    return "| file | purpose |\n| --- | --- |\n" + "".join(rows)


def _row(name: Path, source: Path) -> str:
    return f"| `{relative_name(name)}` | {_sentence(source.read_text())} |\n"


def layer_table() -> str:
    rows = []
    for section in read_contracts().values():
        if section.get("type") == "layers":
            layers = [line.strip() for line in section["layers"].strip().splitlines()]
            names = [", ".join(f"`{name.strip()}`" for name in layer.split("|")) for layer in layers]
            inside = section.get("containers", ".").strip()
            rows.append(f"| `{inside}` | {' > '.join(names)} |\n")
    return "| inside | layers |\n| --- | --- |\n" + "".join(rows)


def _sentence(text: str) -> str:
    """The first paragraph of the docstring, on one line."""
    docstring = ast.get_docstring(ast.parse(text)) or ""
    return " ".join(docstring.partition("\n\n")[0].split()).replace("|", "\\|")
