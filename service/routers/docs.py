"""The documents and the pages that show them, from our own assets: they work without the internet."""

from functools import cache
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse

from service.errors import NotFound
from service.routers.openapi.document_30 import document_30

router = APIRouter(include_in_schema=False)
ASSETS = Path(__file__).with_name("assets")
MEDIA_TYPES = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-start.js": "text/javascript",
    "redoc.standalone.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
"""All that is served."""
SECURITY = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
"""Both viewers write style attributes; scripts come from us alone. Redoc's remote logo is stopped by img-src."""
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Reelmill API</title>
<link rel="icon" href="docs/assets/icon.svg">
{head}
</head>
<body>
{body}
</body>
</html>
"""
SWAGGER = PAGE.format(
    head='<link rel="stylesheet" href="docs/assets/swagger-ui.css">',
    body='<div id="swagger-ui"></div>\n<script src="docs/assets/swagger-ui-bundle.js"></script>\n'
    '<script src="docs/assets/swagger-start.js"></script>',
)
REDOC = PAGE.format(
    head="",
    body='<redoc spec-url="openapi.json"></redoc>\n<script src="docs/assets/redoc.standalone.js"></script>',
)


@router.get("/openapi-3.1.json")
async def native_document(request: Request) -> JSONResponse:
    """OpenAPI 3.1, as FastAPI describes the routes."""
    return JSONResponse(request.app.openapi())


@router.get("/openapi.json")
async def document(request: Request) -> JSONResponse:
    """OpenAPI 3.0.3, which most tools read."""
    return JSONResponse(_converted(request.app))


def _converted(app: Any) -> dict[str, Any]:
    """Converted once for each app."""
    kept: dict[str, Any] | None = getattr(app.state, "document_30", None)
    if kept is None:
        kept = app.state.document_30 = document_30(app.openapi())
    return kept


@router.get("/docs")
async def swagger_ui() -> HTMLResponse:
    """Try the operations out."""
    return HTMLResponse(SWAGGER, headers=SECURITY)


@router.get("/redoc")
async def redoc() -> HTMLResponse:
    """Read about them."""
    return HTMLResponse(REDOC, headers=SECURITY)


@router.get("/docs/assets/{name}")
async def asset(name: str) -> Response:
    """One of our own files. Raises NotFound for any other name."""
    if name not in MEDIA_TYPES:
        raise NotFound("there is nothing at this path")
    return Response(
        _read(name),
        media_type=MEDIA_TYPES[name],
        headers=SECURITY | {"Cache-Control": "public, max-age=3600"},
    )


@cache
def _read(name: str) -> bytes:
    return (ASSETS / name).read_bytes()
