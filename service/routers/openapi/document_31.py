"""The OpenAPI 3.1 document: what FastAPI generates, completed with problems, headers, examples and tags."""

from http import HTTPStatus
from typing import Any

from service.routers.http.content_negotiation import JSON
from service.routers.http.problem_types import ProblemType, problem_types
from service.routers.http.problems import MEDIA_TYPE, problem_schemas
from service.routers.openapi.document_30 import METHODS
from service.routers.openapi.examples import NO_EXAMPLE, example_of, restore_nulls

Json = dict[str, Any]
TAG_DESCRIPTIONS = {
    "health": "The state of the service and of the services it needs.",
    "operations": "Metrics and devices, for operators.",
    "session": "Sign in and out with a browser.",
    "experiments": "Experiments, which contain datasets.",
    "datasets": "Ordered frames or source videos: registration, uploads and scans.",
    "videos": "Renders: submit one, follow it, download the video.",
    "presets": "Named sets of render options.",
    "schedules": "Renders that make themselves: a request, a cron line, and the capture times that each run shows.",
    "webhooks": "The secrets that sign the calls at the end of a render.",
    "queries": "Guarded queries: JSON documents instead of SQL.",
    "problems": "Explanations of the `type` of errors.",
}
SHARED_HEADERS: Json = {
    "X-Request-ID": {
        "description": "Id of this request in the log: the one that you sent, if it is valid, else a new one",
        "required": True,
        "schema": {
            "type": "string",
            "pattern": "^[A-Za-z0-9._-]{1,64}$",
            "examples": ["6f9619ff8b86d011"],
        },
    },
    "Allow": {
        "description": "The methods of this path",
        "required": True,
        "schema": {"type": "string", "examples": ["GET, POST"]},
    },
    "Retry-After": {
        "description": "Seconds to wait before a retry",
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
    """Add problems, headers, examples and tags to FastAPI's `document` in place, and remove keywords of 3.2."""
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
    """The error statuses that middleware, dependencies and validation may answer."""
    statuses = {405, 500}
    if operation.get("security"):
        statuses |= {401, 403, 429, 503}
    if "{" in path:
        statuses.add(404)
    if any(part["in"] != "path" for part in operation.get("parameters", ())):
        statuses.add(422)
    if operation.get("parameters"):
        statuses.add(414)
    if body := operation.get("requestBody"):
        statuses |= {400, 413, 422} | ({415} if JSON in body["content"] else set())
    successes = [response for code, response in operation["responses"].items() if code.startswith("2")]
    if path.startswith("/api/") and any(JSON in response.get("content", {}) for response in successes):
        statuses.add(406)
    return statuses


def _complete_operation(path: str, operation: Json, components: Json) -> None:
    responses = operation["responses"]
    own_problems = {
        int(code) for code, response in responses.items() if set(response.get("content", ())) == {MEDIA_TYPE}
    }
    if JSON in responses.get("422", {}).get("content", {}):  # FastAPI's own schema, which this API never returns
        del responses["422"]
    for status in sorted(own_problems | (possible_statuses(path, operation) - {int(code) for code in responses})):
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
    example = example_of(media.get("schema"), components["schemas"])
    if example is not NO_EXAMPLE:
        media["example"] = example


def _share_response(status: int, components: Json) -> str:
    """The name of the shared response with this status; adds it to `components` if it is missing."""
    name = f"Problem{status}"
    if name in components["responses"]:
        return name
    kind = _default_problem_type(status)
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
    """The problem type to show for a status. If there are several, the one that every operation may return."""
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
        error = {"detail": "Field required", "code": "missing", "pointer": "#/name"}
        body |= {"detail": "#/name: Field required", "errors": [error]}
    return body
