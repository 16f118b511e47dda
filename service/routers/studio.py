"""The Studio: the page at `/` for people, and its scripts and styles, sent as they stand in service/studio."""

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter, Request, Response

from service.errors import NotFound
from service.routers.authentication.credentials import asks_for_page
from service.routers.http.conditional_requests import IfNoneMatch, etag_of, not_modified_response

router = APIRouter(include_in_schema=False)
FOLDER = Path(str(files("service"))) / "studio"
PAGE = "index.html"
MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
# Nothing inline, nothing of another host, and no text that becomes markup or a script.
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "media-src 'self' blob:; connect-src 'self'; worker-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
# Names are below the digest of all files: what is behind an address never changes.
KEPT_FOR_EVER = {"Cache-Control": "public, max-age=31536000, immutable"}


@dataclass(frozen=True, slots=True)
class StudioFile:
    """A file as it is sent, plain and compressed."""

    media_type: str
    plain: bytes
    compressed: bytes

    @classmethod
    def of(cls, name: str, data: bytes) -> "StudioFile":
        return cls(MEDIA_TYPES[Path(name).suffix], data, gzip.compress(data, 9, mtime=0))


@cache
def studio_files() -> tuple[str, dict[str, StudioFile]]:
    """The digest of all files, and each by its name. The page asks for the others below that digest."""
    found = {path.relative_to(FOLDER).as_posix(): path.read_bytes() for path in sorted(FOLDER.rglob("*.*"))}
    found = {name: data for name, data in found.items() if Path(name).suffix in MEDIA_TYPES}
    digest = hashlib.sha256(repr(sorted(found.items())).encode()).hexdigest()[:16]
    found[PAGE] = found[PAGE].replace(b'"studio/', f'"studio/{digest}/'.encode())
    return digest, {name: StudioFile.of(name, data) for name, data in found.items()}


@router.get("/")
async def page(request: Request, if_none_match: IfNoneMatch = None) -> Response:
    """The page. Raises NotFound for clients that did not ask for HTML."""
    if not asks_for_page(request.scope):
        raise NotFound("there is nothing at this path")
    file = studio_files()[1][PAGE]
    tag = etag_of(file.plain)
    headers = SECURITY_HEADERS | {"ETag": tag, "Cache-Control": "no-cache", "Vary": "Accept, Accept-Encoding"}
    if not_modified := not_modified_response(if_none_match, tag):
        return not_modified
    return _file_response(file, request, headers)


@router.get("/studio/{digest}/{name:path}")
async def asset(digest: str, name: str, request: Request) -> Response:
    """A script, style or icon. Raises NotFound, also for those of another version: the page is loaded again then."""
    current, found = studio_files()
    if digest != current or name == PAGE or name not in found:
        raise NotFound("there is nothing at this path")
    headers = SECURITY_HEADERS | KEPT_FOR_EVER | {"Vary": "Accept-Encoding", "ETag": f'"{digest}"'}
    return _file_response(found[name], request, headers)


def _file_response(file: StudioFile, request: Request, headers: dict[str, str]) -> Response:
    """Compressed for those who take that, which all browsers do."""
    if "gzip" not in request.headers.get("accept-encoding", ""):
        return Response(file.plain, headers=headers, media_type=file.media_type)
    return Response(file.compressed, headers=headers | {"Content-Encoding": "gzip"}, media_type=file.media_type)
