"""The blocking classes of the client, made from the asynchronous ones."""

import ast
import re
from typing import Any

from tests.client.api_modules import CLIENT, GENERATED

SOURCES = (
    *("mill", "experiments", "datasets", "frames", "renders", "queries"),
    *("automation/presets", "automation/schedules"),
)
SEQUENCE = "FrameSequence['Frame', 'Frames']"
# Of the blocking classes: further bases, and methods that are shown as attributes.
FURTHER_BASES = {"AsyncDataset": SEQUENCE, "AsyncFrames": SEQUENCE, "AsyncRender": "ShownInNotebooks"}
ATTRIBUTES = {("AsyncRender", "receipt")}
# Written by hand in `blocking`, or of no use there.
LEFT_OUT = {"__init__", "__len__", "__aenter__", "__aexit__", "part", "require_kind", "fetch_array"}
HEAD = f'''"""Blocking classes: each does what its asynchronous counterpart does, and returns when it is done.

{GENERATED}
"""

'''


def blocking(name: str) -> str:
    """The blocking counterpart of a module of the asynchronous client, which is named by its path there."""
    tree = ast.parse((CLIENT / f"{name}.py").read_text())
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name.startswith("Async")]
    body = "".join(map(_blocking_class, classes))
    return HEAD + _imports(name.replace("/", "."), tree, classes, body) + body


def _imports(name: str, tree: ast.Module, classes: list[ast.ClassDef], body: str) -> str:
    """What the source imports and the classes use, the asynchronous classes, and the blocking ones of other modules."""
    known = {
        (node.module or "", each.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for each in node.names
    }
    known |= {(f"service.client.{name}", node.name) for node in _definitions(tree)}
    known |= {
        (f"service.client.blocking.{module.rpartition('.')[2]}", each.removeprefix("Async"))
        for module, each in known
        if each.startswith("Async") and module.startswith("service.client.") and module != f"service.client.{name}"
    }
    known |= {
        ("collections.abc", "Iterator"),
        ("typing", "TYPE_CHECKING"),
        ("service.client.blocking.portal", "Blocking"),
    }
    known |= {
        ("service.client.blocking.portal", each) for each in ("blocking_version_of", "call", "iterate", "run", "wrap")
    }
    known |= {("service.client.blocking.sequences", "FrameSequence")}
    known |= {("service.client.blocking.notebook", "ShownInNotebooks")}
    words = set(re.findall(r"\w+", re.sub(r'"""(?s:.*?)"""', "", body)))
    own = {node.name.removeprefix("Async") for node in classes}
    lines = sorted(
        f"from {module} import {each}\n"
        for module, each in known
        if each in words | {"TYPE_CHECKING"} and each not in own and module != "__future__"
    )
    return f"from __future__ import annotations\n\n{''.join(lines)}{_ONLY_TYPES * bool(words & {'httpx', 'np'})}"


def _definitions(tree: ast.Module) -> list[Any]:
    named = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    assigned = [
        type("Named", (), {"name": node.targets[0].id})
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    ]
    return [*named, *assigned]


def _blocking_class(node: ast.ClassDef) -> str:
    name = node.name.removeprefix("Async")
    bases = [FURTHER_BASES.get(node.name), "Blocking", *(ast.unparse(base) for base in node.bases)]
    kept = ", ".join(base for base in bases if base and base != "Entity")
    register = f"@blocking_version_of({node.name})\n" * (node.name != "AsyncReelmill")
    text = f'\n\n{register}class {name}({kept}):\n    """{ast.get_docstring(node)}"""\n'
    if node.name == "AsyncReelmill":
        text += _CONSTRUCTOR
    for member in node.body:
        if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef) and _is_public(member):
            text += _method(node.name, member)
    return text


_ONLY_TYPES = """
if TYPE_CHECKING:
    import httpx
    import numpy as np
"""
_CONSTRUCTOR = """
    def __init__(
        self,
        url: str | None = None,
        *,
        token: str | None = None,
        patience_s: float = 20,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        super().__init__(call(AsyncReelmill, url, token=token, patience_s=patience_s, transport=transport))

    experiments: Experiments
    renders: Renders
    presets: Presets
    schedules: Schedules

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
"""


def _is_public(member: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    decorators = {ast.unparse(each) for each in member.decorator_list}
    return not member.name.startswith("_") and member.name not in LEFT_OUT and "classmethod" not in decorators


def _method(owner: str, member: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    returned = ast.unparse(member.returns).strip("'\"") if member.returns else "None"
    is_stream = "AsyncIterator" in returned
    returns = re.sub(r"\bAsync(?=\w)", "", returned)
    is_property = "property" in {ast.unparse(each) for each in member.decorator_list}
    attribute = is_property or (owner, member.name) in ATTRIBUTES
    head = f"    def {member.name}({_blocking(ast.unparse(member.args))}) -> {returns}:\n"
    doc = ast.get_docstring(member, clean=False)
    text = f"\n{'    @property' + chr(10) if attribute else ''}{head}" + (f'        """{doc}"""\n' if doc else "")
    call_ = f"self._async.{member.name}" + ("" if is_property else f"({_arguments(member.args)})")
    if is_property:
        return text + f"        return wrap({call_})\n"
    if is_stream:
        return text + f"        return iterate({call_})\n"
    if not isinstance(member, ast.AsyncFunctionDef):
        return text + f"        return wrap({call_})\n"
    if returns == "None":
        return text + f"        run({call_})\n"
    if returns == "Self":
        return text + f"        run({call_})\n        return self\n"
    return text + f"        return run({call_})\n"


def _blocking(arguments: str) -> str:
    return re.sub(r"\bAsync(?=[A-Z]\w*)(?!Base)", "", arguments)


def _arguments(arguments: ast.arguments) -> str:
    given = [each.arg for each in arguments.args if each.arg != "self"]
    given += [f"*{arguments.vararg.arg}"] if arguments.vararg else []
    given += [f"{each.arg}={each.arg}" for each in arguments.kwonlyargs]
    given += [f"**{arguments.kwarg.arg}"] if arguments.kwarg else []
    return ", ".join(given)
