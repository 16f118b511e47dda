"""What pydantic refused, as a 422 that points at each place and never repeats what was sent."""

from typing import Any
from urllib.parse import quote

from fastapi.exceptions import RequestValidationError

from service.errors import FieldProblem, InvalidRequest, NotFound, ReelmillError

MAX_ERRORS = 50


class UnsupportedMediaType(ReelmillError):
    status, slug, title = 415, "unsupported-media-type", "The body is not JSON"


def invalid_request(exc: RequestValidationError) -> ReelmillError:
    """One FieldProblem for each finding, the first of them also as the detail."""
    if isinstance(exc.body, bytes):
        place = FieldProblem("send `application/json`", "unsupported_media_type", header="Content-Type")
        return UnsupportedMediaType("send the body as JSON, and say so in its Content-Type", errors=(place,))
    if any(found["loc"][0] == "path" for found in exc.errors()):  # an id that cannot be: nothing has it
        return NotFound("there is nothing at this path")
    problems = tuple(_to_field_problem(found, exc.body) for found in exc.errors()[:MAX_ERRORS])
    return InvalidRequest(_summarize(problems), errors=problems)


def json_pointer(loc: tuple[str | int, ...], body: Any) -> str:
    """The JSON pointer (RFC 6901, as a URI fragment) of a pydantic `loc`, which also holds the tags of unions."""
    parts: list[str] = []
    for depth, step in enumerate(loc):
        if isinstance(body, dict) and step in body:
            body = body[step]
        elif isinstance(body, list) and isinstance(step, int):
            body = body[step] if step < len(body) else None
        elif not isinstance(body, dict) or depth < len(loc) - 1:
            continue  # a tag, not a place; only a missing field is named where it is not
        parts.append(str(step).replace("~", "~0").replace("/", "~1"))
    return "#" + "".join("/" + quote(part, safe="!$&'()*+,;=:@-._~", errors="replace") for part in parts)


def _to_field_problem(found: dict[str, Any], body: Any) -> FieldProblem:
    origin, *rest = found["loc"]
    detail, code = _error_message(found), found["type"]
    if code == "json_invalid":
        return FieldProblem(f"not valid JSON, from character {rest[0] if rest else 0} on", code, pointer="#")
    if origin == "body":
        return FieldProblem(detail, code, pointer=json_pointer(_field_steps(found), body))
    name = ".".join(str(step) for step in rest[:1])
    return FieldProblem(detail, code, header=name) if origin == "header" else FieldProblem(detail, code, parameter=name)


def _field_steps(found: dict[str, Any]) -> tuple[str | int, ...]:
    steps = tuple(found["loc"][1:])
    return steps[:-1] if steps and steps[-1] == "[key]" else steps


def _error_message(found: dict[str, Any]) -> str:
    """pydantic's text without the parts that quote the input."""
    text, code = str(found["msg"]), str(found["type"])
    if code.startswith("union_tag"):
        return f"Choose one of {found.get('ctx', {}).get('expected_tags', 'the documented kinds')}"
    if code.endswith("_parsing"):
        return text.partition(",")[0]
    return text.removeprefix("Value error, ").removeprefix("Assertion failed, ")


def _summarize(problems: tuple[FieldProblem, ...]) -> str:
    first = problems[0]
    place = first.pointer or first.parameter or first.header
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{place}: {first.detail}{more}"
