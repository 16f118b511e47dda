"""Requests of the client, and what it takes from their answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from service.client.errors import UnexpectedAnswer, error_of

if TYPE_CHECKING:  # it is slow to import
    import httpx

SAFE_METHODS = ("GET", "HEAD", "PUT", "DELETE", "OPTIONS")


@dataclass(frozen=True, slots=True)
class Request:
    """`body` is sent as JSON; `content` as it is: bytes, or a function that makes them anew for each attempt.

    `is_harmless`: a POST that does no more when it arrives twice.
    """

    method: str
    path: str
    query: Mapping[str, Any] | None = None
    body: Any = None
    content: bytes | Callable[[], Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    is_harmless: bool = False

    @property
    def is_repeatable(self) -> bool:
        """Whether it does no more when it arrives twice."""
        return self.is_harmless or self.method in SAFE_METHODS or "Idempotency-Key" in self.headers


def fill_path(path: str, parameters: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The path with its parameters, and the others. Raises TypeError if one of the path is missing."""
    rest = dict(parameters)
    for name in path_parameters(path):
        if name not in rest:
            raise TypeError(f"{path} needs {name}")
        path = path.replace(f"{{{name}}}", quote(str(rest.pop(name))))
    return path, rest


def path_parameters(path: str) -> list[str]:
    return [part.partition("}")[0] for part in path.split("{")[1:]]


def json_of(response: httpx.Response) -> Any:
    """None without a body. Raises UnexpectedAnswer if it is not JSON."""
    if not response.content:
        return None
    try:
        return json.loads(response.content)
    except (ValueError, RecursionError) as error:
        raise UnexpectedAnswer(response.status_code, "the answer is not JSON") from error


def json_or_raise(response: httpx.Response) -> Any:
    """The JSON of a successful response. Raises Refused."""
    if not response.is_success:
        raise error_of(response)
    return json_of(response)


def require_object(answer: Any, status: int = 200) -> dict[str, Any]:
    if not isinstance(answer, dict):
        raise UnexpectedAnswer(status, "the answer is not of the expected form")
    return answer


def list_of(response: httpx.Response) -> list[dict[str, Any]]:
    """Raises UnexpectedAnswer."""
    return require_rows(json_of(response), response.status_code)


def require_rows(answer: Any, status: int = 200) -> list[dict[str, Any]]:
    """Raises UnexpectedAnswer unless it is a list of objects."""
    if not isinstance(answer, list) or not all(isinstance(row, dict) for row in answer):
        raise UnexpectedAnswer(status, "the answer is not of the expected form")
    return answer
