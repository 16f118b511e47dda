"""The OpenAPI 3.1 document: what FastAPI generates, completed with problems, headers, examples and tags."""

from http import HTTPStatus
from typing import Any

from service.routers.http.problem_types import ProblemType, problem_types
from service.routers.http.problems import MEDIA_TYPE, problem_schemas
from service.routers.openapi.document_30 import METHODS
from service.routers.openapi.examples import NO_EXAMPLE, example_of, restore_nulls

Json = dict[str, Any]
JSON = "application/json"
PROBLEM_REFERENCE = {"$ref": "#/components/schemas/Problem"}
TAG_DESCRIPTIONS = {
    "health": "Is the service there, and all that it needs?",
    "operations": "For those who run it.",
    "experiments": "The catalogue: experiments own datasets.",
    "datasets": "Ordered frames or source videos, where they lie, and how they come in.",
    "videos": "Renders: ask for one, follow it, fetch the video.",
    "queries": "Guarded questions to the database: documents in, rows out, never SQL.",
    "problems": "What the `type` of an error means.",
}
SHARED_HEADERS: Json = {
    "X-Request-ID": {
        "description": "The id of this request in the log: yours, when you sent a plain word, else a new one",
        "required": True,
        "schema": {
            "type": "string",
            "pattern": "^[A-Za-z0-9._-]{1,64}$",
            "examples": ["6f9619ff8b86d011"],
        },
    },
    "Allow": {
        "description": "The methods of this address",
        "required": True,
        "schema": {"type": "string", "examples": ["GET, POST"]},
    },
    "Retry-After": {
        "description": "Seconds to wait before the next try",
        "required": True,
        "schema": {"type": "integer", "minimum": 0, "examples": [5]},
    },
    "WWW-Authenticate": {
        "description": "What is wrong with the token (RFC 6750)",
        "required": True,
        "schema": {"type": "string", "examples": ['Bearer realm="reelmill", error="invalid_token"']},
    },
}
DEFAULT_422_SLUG = "validation-error"
_HEADER_OF_STATUS = {401: "WWW-Authenticate", 405: "Allow", 429: "Retry-After", 503: "Retry-After"}


def complete_document(document: Json) -> Json:
    """`document` of FastAPI, changed in place: problems and their headers, examples, tags; no word of OpenAPI 3.2."""
    components = document.setdefault("components", {})
    components.setdefault("schemas", {}).update(problem_schemas())
    restore_nulls(components["schemas"])
    components["headers"] = SHARED_HEADERS
    components["responses"] = {}
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                _complete_operation(path, item[method], components)
    used = {tag for item in document["paths"].values() for part in item.values() for tag in part.get("tags", ())}
    document["tags"] = [
        {"name": tag, "description": TAG_DESCRIPTIONS.get(tag, f"About {tag}.")} for tag in sorted(used)
    ]
    return document


def possible_statuses(path: str, operation: Json) -> set[int]:
    """What the layers around a route may answer instead of it."""
    found = {405, 500}
    if operation.get("security"):
        found |= {401, 403, 429, 503}
    if "{" in path:
        found.add(404)
    if any(part["in"] != "path" for part in operation.get("parameters", ())):
        found.add(422)
    if body := operation.get("requestBody"):
        found |= {400, 413, 422} | ({415} if JSON in body["content"] else set())
    if path.startswith("/api/") and any(JSON in content for content in _success_contents(operation)):
        found.add(406)
    return found


def _success_contents(operation: Json) -> list[Json]:
    return [response.get("content", {}) for code, response in operation["responses"].items() if code.startswith("2")]


def _complete_operation(path: str, operation: Json, components: Json) -> None:
    responses = operation["responses"]
    told = {int(code) for code, response in responses.items() if set(response.get("content", ())) == {MEDIA_TYPE}}
    if JSON in responses.get("422", {}).get("content", {}):  # FastAPI's own, which never comes
        del responses["422"]
    for status in sorted(told | (possible_statuses(path, operation) - {int(code) for code in responses})):
        responses[str(status)] = {"$ref": f"#/components/responses/{_share_response(status, components)}"}
    for media in operation.get("requestBody", {}).get("content", {}).values():
        _add_example(media, components)
    for response in responses.values():
        _complete_response(response, components)
    operation["responses"] = dict(sorted(responses.items()))


def _complete_response(response: Json, components: Json) -> None:
    if "$ref" in response:
        return
    response.setdefault("headers", {})["X-Request-ID"] = {"$ref": "#/components/headers/X-Request-ID"}
    for media in response.get("content", {}).values():
        if "itemSchema" in media:  # OpenAPI 3.2
            media["x-itemSchema"] = media.pop("itemSchema")
            media.setdefault("schema", media["x-itemSchema"])
        _add_example(media, components)


def _add_example(media: Json, components: Json) -> None:
    if "example" in media or "examples" in media:
        return
    found = example_of(media.get("schema"), components["schemas"])
    if found is not NO_EXAMPLE:
        media["example"] = found


def _share_response(status: int, components: Json) -> str:
    """The name of the shared response with this status."""
    if f"Problem{status}" in components["responses"]:
        return f"Problem{status}"
    kind = _default_problem_type(status)
    name = f"Problem{status}"
    headers = {"X-Request-ID", *([_HEADER_OF_STATUS[status]] if status in _HEADER_OF_STATUS else [])}
    components["responses"][name] = {
        "description": kind.meaning if kind else HTTPStatus(status).phrase,
        "headers": {header: {"$ref": f"#/components/headers/{header}"} for header in sorted(headers)},
        "content": {
            MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "example": _problem_example(status, kind)}
        },
    }
    return name


def _default_problem_type(status: int) -> ProblemType | None:
    """Of several types with one status, the one that any operation may answer with."""
    kinds = [kind for kind in problem_types().values() if kind.status == status]
    return next((kind for kind in kinds if kind.slug == DEFAULT_422_SLUG), kinds[0] if kinds else None)


def _problem_example(status: int, kind: ProblemType | None) -> Json:
    slug, title = (kind.slug, kind.title) if kind else ("internal-error", HTTPStatus(status).phrase)
    body: Json = {
        "type": f"/problems/{slug}",
        "title": title,
        "status": status,
        "detail": kind.meaning.partition(". ")[0] if kind else title,
        "instance": "/api/experiments",
        "error_id": "c0ffee123456",
    }
    if status == 422:
        place = {"detail": "Field required", "code": "missing", "pointer": "#/name"}
        body |= {"detail": "#/name: Field required", "errors": [place]}
    return body
