"""ETag, If-Match and If-None-Match (RFC 9110, sections 8.8.3 and 13.1)."""

import hashlib
import re
from typing import Annotated

from fastapi import Header, Response
from pydantic import BaseModel

from service.errors import FieldProblem, PreconditionFailed
from service.routers.http.fields import MAX_HEADER_LENGTH

ETAG_PATTERN = re.compile(r'(W/)?"([^"]*)"')

IfMatch = Annotated[
    str | None,
    Header(
        max_length=MAX_HEADER_LENGTH,
        description="change it only if its ETag is one of these; otherwise 412",
        examples=['"6b1b36cbb04b41490bfc"'],
    ),
]
IfNoneMatch = Annotated[
    str | None, Header(max_length=MAX_HEADER_LENGTH, description="answer 304 if its ETag is one of these")
]
ETAG_HEADERS = {"ETag": {"description": "Changes whenever the representation changes", "schema": {"type": "string"}}}
# With an ETag: a browser asks each time whether what it kept is still right, and still the caller's to see.
ASK_FIRST = {"Cache-Control": "private, no-cache"}


def etag(model: BaseModel) -> str:
    """The strong ETag of a response body."""
    return etag_of(model.model_dump_json())


def etag_of(*parts: object) -> str:
    """The strong ETag of a representation that these parts determine."""
    return f'"{hashlib.sha256(chr(0).join(map(str, parts)).encode()).hexdigest()[:32]}"'


def require_match(if_match: str | None, current: str) -> None:
    """Raises PreconditionFailed if the header does not list the current ETag (strong comparison)."""
    if if_match is None or if_match.strip() == "*":
        return
    if current not in {match.group() for match in ETAG_PATTERN.finditer(if_match)}:
        detail = "it was changed since you read it: read it again, then repeat the change"
        place = FieldProblem(detail, "stale", header="If-Match")
        raise PreconditionFailed(detail, errors=(place,), headers={"ETag": current})


def not_modified_response(if_none_match: str | None, current: str) -> Response | None:
    """A 304 if the header lists the current ETag (weak comparison), else None."""
    if if_none_match is None:
        return None
    tags = {f'"{match.group(2)}"' for match in ETAG_PATTERN.finditer(if_none_match)}
    if if_none_match.strip() != "*" and current not in tags:
        return None
    return Response(status_code=304, headers={"ETag": current})
