"""Make a document of what a model has written, and a narrower schema from what was refused in it."""

import json
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from service.agent.document_schema import GROUP_ORDERS
from service.agent.ollama_client import UnusableOutput
from service.agent.renders.requests import describe_validation_error
from service.errors import ReelmillError
from service.guard.document import Document

Draft = TypeVar("Draft", bound=BaseModel)
CODE_FENCE = "```"
LARGEST_NUMBER = 1e300


class RefusedDraft(UnusableOutput):
    """What the guard refuses in a document. `pointers`: the places, as `#/filters/0/value`."""

    def __init__(self, error: ReelmillError) -> None:
        super().__init__(describe_refusal(error))
        self.pointers = tuple(place.pointer for place in error.errors if place.pointer)


def parse_output(model: type[Draft], text: str) -> Draft:
    """Parse a model's output. Raises UnusableOutput with the errors of each field."""
    try:
        return model.model_validate_json(_strip_fence(text))
    except ValidationError as error:
        raise UnusableOutput(describe_validation_error(error)) from error


def parse_document(text: str) -> Document:
    """The document of a draft, which matches `document_schema` or is a document itself. Raises UnusableOutput."""
    try:
        draft = json.loads(_strip_fence(text), parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise UnusableOutput("it is not JSON") from error
    if not isinstance(draft, dict):
        raise UnusableOutput("it is not an object")
    try:
        return Document.model_validate(_as_document(draft))
    except ValidationError as error:
        raise UnusableOutput(describe_validation_error(error)) from error


def _as_document(draft: dict[str, Any]) -> dict[str, Any]:
    """Without what is named twice, and with the order of groups as keys: what a grammar cannot see."""
    document = {name: value for name, value in draft.items() if name != "order"}
    for name in ("columns", "group_by", "aggregates", "order_by"):
        if isinstance(draft.get(name), list):
            document[name] = _unique(draft[name], _ordered_column if name == "order_by" else _as_key)
    if draft.get("order") in GROUP_ORDERS:
        document["order_by"] = _group_order(draft["order"], document.get("group_by"), document.get("aggregates"))
    return document


def _group_order(order: str, groups: Any, figures: Any) -> list[dict[str, Any]]:
    if order == "by_group":
        return [{"column": name, "direction": "asc"} for name in groups or ()]
    match figures:
        case [{"function": function, "column": column}, *_]:
            name = f"{function}_{column}"
        case [{"function": function}, *_]:
            name = function
        case _:
            return []
    return [{"column": name, "direction": "desc" if order == "largest" else "asc"}]


def _unique(items: Iterable[Any], key: Callable[[Any], Any]) -> list[Any]:
    """The first of each key."""
    found: dict[Any, Any] = {}
    for item in items:
        found.setdefault(key(item), item)
    return list(found.values())


def _as_key(item: Any) -> str:
    return json.dumps(item, sort_keys=True)


def _ordered_column(item: Any) -> str:
    return _as_key(item.get("column") if isinstance(item, dict) else item)


def _finite(text: str) -> float:
    """The grammar of JSON has numbers that are too large for a computer's."""
    number = float(text)
    return number if math.isfinite(number) else math.copysign(LARGEST_NUMBER, number)


def _strip_fence(text: str) -> str:
    """The text within a Markdown code fence, if that is all there is."""
    if not (text.startswith(CODE_FENCE) and text.endswith(CODE_FENCE) and len(text) >= 2 * len(CODE_FENCE)):
        return text
    return text.removeprefix(CODE_FENCE).removesuffix(CODE_FENCE).removeprefix("json").strip()


def describe_refusal(error: ReelmillError) -> str:
    """The reasons of a refusal for the model: each place, and the suggestions of the guard."""
    places = [f"{place.pointer or place.parameter}: {place.detail}" for place in error.errors[:10]]
    hints = [f"{rule['rule']}: {rule['suggestion']}" for rule in error.extensions.get("guardrails", ())]
    return "; ".join((error.detail, *places, *hints))[:2000]


def keep_accepted(schema: Mapping[str, Any], text: str, pointers: Iterable[str]) -> Mapping[str, Any]:
    """The schema of a correction: members of the draft that no pointer (as `#/filters/0/value`) names stay as they are.

    The schema itself, if the draft has none of its shapes or all of it was refused.
    """
    try:
        draft = json.loads(_strip_fence(text))
    except (ValueError, RecursionError):
        return schema
    refused = {pointer.removeprefix("#/").split("/")[0] for pointer in pointers}
    if not isinstance(draft, dict) or not refused or not refused <= draft.keys():
        return schema
    for shape in schema.get("anyOf", ()):
        if shape["properties"].keys() == draft.keys():
            kept = {
                name: part if name in refused else {"const": draft[name]} for name, part in shape["properties"].items()
            }
            return {**schema, "anyOf": [shape | {"properties": kept}]}
    return schema
