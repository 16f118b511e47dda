"""Routes of the OpenAPI documents and of the Swagger UI and ReDoc pages, served without internet access."""

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse

from service.errors import NotFound
from service.routers.openapi.document_30 import document_30

router = APIRouter(include_in_schema=False)
# Swagger UI and ReDoc come from the fastapi-offline package. Its HTML pages use an inline script, which the
# Content-Security-Policy below forbids, so this file has pages of its own.
VIEWERS = Path(str(files("fastapi_offline"))) / "static"
MEDIA_TYPES = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "redoc.standalone.js": "text/javascript",
}
OWN_ASSETS = {
    "swagger-start.js": (
        "text/javascript",
        """window.addEventListener("load", () => {
  window.ui = SwaggerUIBundle({
    url: "openapi.json",
    dom_id: "#swagger-ui",
    deepLinking: true,
    persistAuthorization: false,
    tryItOutEnabled: true,
    displayRequestDuration: true,
    validatorUrl: null,
    requestInterceptor: (request) => {
      request.headers["X-Reelmill-Request"] = "1";
      return request;
    },
  });
});
""",
    ),
    "icon.svg": (
        "image/svg+xml",
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">'
        '<circle cx="8" cy="8" r="7" fill="#234"/><path d="M6 5l5 3-5 3z" fill="#fff"/></svg>\n',
    ),
}
# Both viewers need style attributes. Scripts must come from this service. img-src blocks the remote logo of ReDoc.
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
PAGE_TEMPLATE = """<!doctype html>
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
SWAGGER_PAGE = PAGE_TEMPLATE.format(
    head='<link rel="stylesheet" href="docs/assets/swagger-ui.css">',
    body='<div id="swagger-ui"></div>\n<script src="docs/assets/swagger-ui-bundle.js"></script>\n'
    '<script src="docs/assets/swagger-start.js"></script>',
)
REDOC_PAGE = PAGE_TEMPLATE.format(
    head="",
    body='<redoc spec-url="openapi.json"></redoc>\n<script src="docs/assets/redoc.standalone.js"></script>',
)


@router.get("/openapi-3.1.json")
async def native_document(request: Request) -> Response:
    """The OpenAPI 3.1 document."""
    return _render_once(request, "document_31", request.app.openapi)


@router.get("/openapi.json")
async def document(request: Request) -> Response:
    """The OpenAPI 3.0.3 document, which most tools can read."""
    return _render_once(request, "document_30", lambda: document_30(request.app.openapi()))


def _render_once(request: Request, name: str, make: Callable[[], dict[str, Any]]) -> Response:
    """The document as JSON, made once per application: anybody may ask, and making it takes longer than answers do."""
    state = request.app.state
    if not hasattr(state, name):
        setattr(state, name, JSONResponse(make()).body)
    return Response(getattr(state, name), media_type="application/json")


@router.get("/docs")
async def swagger_ui() -> HTMLResponse:
    """The Swagger UI page."""
    return HTMLResponse(SWAGGER_PAGE, headers=SECURITY_HEADERS)


@router.get("/redoc")
async def redoc() -> HTMLResponse:
    """The ReDoc page."""
    return HTMLResponse(REDOC_PAGE, headers=SECURITY_HEADERS)


@router.get("/docs/assets/{name}")
async def asset(name: str) -> Response:
    """A script, stylesheet or icon of the pages. Raises NotFound."""
    headers = SECURITY_HEADERS | {"Cache-Control": "public, max-age=3600"}
    if name in OWN_ASSETS:
        media_type, text = OWN_ASSETS[name]
        return Response(text, media_type=media_type, headers=headers)
    if name in MEDIA_TYPES:
        return FileResponse(VIEWERS / name, media_type=MEDIA_TYPES[name], headers=headers)
    raise NotFound("there is nothing at this path")
