"""The generated tables of docs/architecture.md: the rooms with their sentences, and the layers of the contracts."""

import ast

from tests.architecture.contracts import read_contracts
from tests.support.source_code import ROOT, relative_name, source_files


def room_table() -> str:
    """Every package of `service` and `kernels` with the docstring of its `__init__.py`; migrations have no sentence."""
    rooms = {path.parent for path in source_files("service", "kernels")} - {ROOT / "service"}
    rows = [
        f"| `{relative_name(room)}` | {_sentence(room.joinpath('__init__.py').read_text())} |\n"
        for room in sorted(rooms)
        if room.name != "versions"
    ]
    return "| room | purpose |\n| --- | --- |\n" + "".join(rows)


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
