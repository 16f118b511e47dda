"""GET /problems and /problems/{slug}: what the `type` of an error means, for people."""

from html import escape

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from service.errors import NotFound
from service.routers.problem_types import ProblemType, problem_types

router = APIRouter(prefix="/problems", include_in_schema=False)
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
}
PAGE_TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>body{{font:1rem/1.5 system-ui;max-width:40rem;margin:2rem auto;padding:0 1rem}}</style>
</head>
<body>
{body}
</body>
</html>
"""


@router.get("")
async def all_problems() -> HTMLResponse:
    """Every type, with its status."""
    rows = "".join(
        f'<li><a href="/problems/{kind.slug}">{kind.status} {escape(kind.title)}</a></li>\n'
        for kind in problem_types().values()
    )
    return _render_page("Problems", f"<h1>Problems this API answers with</h1>\n<ul>\n{rows}</ul>")


@router.get("/{slug}")
async def one_problem(slug: str) -> HTMLResponse:
    """Raises NotFound."""
    kind: ProblemType | None = problem_types().get(slug)
    if kind is None:
        raise NotFound("there is no problem type of this name")
    body = (
        f"<h1>{escape(kind.title)}</h1>\n<p>Status {kind.status}, type <code>/problems/{escape(slug)}</code></p>\n"
        f'<p>{escape(kind.meaning)}</p>\n<p><a href="/problems">All problems</a></p>'
    )
    return _render_page(kind.title, body)


def _render_page(title: str, body: str) -> HTMLResponse:
    return HTMLResponse(PAGE_TEMPLATE.format(title=escape(title), body=body), headers=PAGE_HEADERS)
