"""The registry of problem types, and the pages /problems and /problems/{slug} that explain them."""

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from inspect import cleandoc

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from service.errors import NotFound, ReelmillError

MEANINGS = {
    "bad-request": "The body is no JSON in UTF-8, is nested too deeply, or broke off; or the request is not valid "
    "HTTP/1.1, as the `detail` says. Send one complete JSON document.",
    "unauthenticated": "The request has no token, or one that is expired, altered or of another issuer. Get a new "
    "token and send it as `Authorization: Bearer <token>`; in a browser, sign in again.",
    "forbidden": "The token is good, but lacks the scope that the `detail` names, or what was asked for may only be "
    "done by the owner.",
    "cross-site-request": "The request has a session cookie, but a page of another site may have sent it. Pages of "
    "this service send the header `X-Reelmill-Request: 1`, and browsers add the `Origin`, which must be the address of "
    "the service: `REELMILL_URL`, or else the host that was asked. Programs send `Authorization: Bearer <token>`, "
    "and no cookie.",
    "not-found": "There is nothing at this address, or nothing that you may see: both look the same.",
    "method-not-allowed": "The address exists, but not for this method. The `Allow` header names those it has.",
    "not-acceptable": "The `Accept` header refuses JSON, and JSON is all there is at this address. Send "
    "`application/json` or `*/*`.",
    "conflict": "What was asked for does not go together with the state things are in; the `detail` says which. Read "
    "the current state before you retry.",
    "quota-exceeded": "What you store, with this, is more than you may store: `used_bytes` and `needed_bytes` exceed "
    "`allowed_bytes`. Delete renders, or datasets with `frames=true`; `GET /api/usage` lists what takes most.",
    "request-timeout": "The header or the body of the request arrived too slowly, and the connection was closed. Send "
    "the request again, without pauses.",
    "target-too-long": "The address with its parameters is longer than this service takes. Ask for less at once.",
    "head-too-large": "The request has too many header fields, or too long ones. Send fewer.",
    "precondition-failed": "The `If-Match` header names a version that has been changed meanwhile. Read it again, "
    "then apply your change to the new version.",
    "content-too-large": "The body is longer than this operation takes; the `detail` says how much that is.",
    "unsupported-media-type": "The body is of another media type than the operation reads. Send the "
    "`Content-Type` `application/json`.",
    "range-not-satisfiable": "The `Range` header asks for bytes behind the end of the file.",
    "validation-error": "The request can be read, but not fulfilled as it is. Each entry of `errors` names one invalid "
    "field (a JSON pointer into the body), parameter or header.",
    "damaged-frame": "A worker could not decode this frame; the `detail` says why. Upload the frame again, then scan "
    "the dataset.",
    "query-refused": "The query is well formed, but exceeds a limit or asks for data that queries cannot read. "
    "`guardrails` has the rule, its limit and the actual value; the `detail` suggests a smaller query.",
    "too-many-requests": "You have asked too often, or have too much in the queue. Wait for the number of seconds in "
    "`Retry-After`.",
    "internal-error": "We failed. The log has details under the `error_id`: include it when you report this.",
    "unavailable": "Something that the request needs (database, object store, model server) does not answer. The "
    "request is valid: repeat it later.",
    "queue-full": "All callers together have as many unfinished renders as the service takes. The request is valid: "
    "repeat it after the number of seconds in `Retry-After`.",
    "timed-out": "The answer took longer than it may. Ask for less, or repeat the request later.",
}


@dataclass(frozen=True, slots=True)
class ProblemType:
    """One registered value of `type`."""

    slug: str
    status: int
    title: str
    meaning: str


def problem_types() -> dict[str, ProblemType]:
    """All problem types by slug, ordered by status: one for each subclass of ReelmillError."""
    classes: set[type[ReelmillError]] = {ReelmillError, *_subclasses(ReelmillError)}
    types = {}
    for kind in sorted(classes, key=lambda kind: (kind.status, kind.slug)):
        meaning = MEANINGS.get(kind.slug) or cleandoc(vars(kind).get("__doc__") or kind.title)
        types[kind.slug] = ProblemType(kind.slug, kind.status, kind.title, meaning)
    return types


def _subclasses(kind: type[ReelmillError]) -> Iterator[type[ReelmillError]]:
    for child in kind.__subclasses__():
        yield child
        yield from _subclasses(child)


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
    """List every problem type with its status."""
    rows = "".join(
        f'<li><a href="/problems/{kind.slug}">{kind.status} {escape(kind.title)}</a></li>\n'
        for kind in problem_types().values()
    )
    return _render_page("Problems", f"<h1>Problems this API answers with</h1>\n<ul>\n{rows}</ul>")


@router.get("/{slug}")
async def one_problem(slug: str) -> HTMLResponse:
    """Explain one problem type. Raises NotFound."""
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
