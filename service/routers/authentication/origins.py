"""Origins (RFC 6454): of the service, and of the page that sends a request with the session cookie.

A browser sends the cookie whoever wrote the page. SameSite=Strict keeps it from other sites, but not from other ports
of the same host, which another program on this machine may serve.
"""

from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope

from service.errors import ReelmillError

# No form, link or picture can have this header, and a script of another origin needs our permission (CORS), which
# nobody gets.
REQUEST_HEADER, REQUEST_HEADER_VALUE = "X-Reelmill-Request", "1"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_DEFAULT_PORTS = {"http": 80, "https": 443}


class CrossSiteRequest(ReelmillError):
    status, slug, title = 403, "cross-site-request", "This did not come from a page of this service"


@dataclass(frozen=True, slots=True)
class Origin:
    """A scheme, a host, and a port unless it is the scheme's own. An empty host equals none."""

    scheme: str
    host: str = ""
    port: int | None = None

    def has_page(self, page: "Origin") -> bool:
        """Whether `page` is of this service. Its https may have ended at a proxy that does not say so."""
        if self.scheme == "https" and page.scheme != "https":
            return False
        return bool(self.host) and (page.host, page.port) == (self.host, self.port)


def parse_origin(address: str) -> Origin | None:
    """The origin of an http(s) address; None for anything else, such as `null`."""
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        return None
    return Origin(parts.scheme, parts.hostname, None if port == _DEFAULT_PORTS[parts.scheme] else port)


def service_origin(scope: Scope, public_url: str) -> Origin:
    """Where the browser asks this service: REELMILL_URL, or else the host that the request names.

    A page cannot choose the Host of what its browser sends. The scheme is that of the connection, or what a trusted
    proxy forwards (FORWARDED_ALLOW_IPS).
    """
    hosts = Headers(scope=scope).getlist("host")
    address = public_url or (f"{scope['scheme']}://{hosts[0]}" if len(hosts) == 1 else "")
    return parse_origin(address) or Origin(scope["scheme"])


def require_own_page(scope: Scope, service: Origin) -> None:
    """Raises CrossSiteRequest for what a page of another origin may have sent."""
    headers = Headers(scope=scope)
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none") and not _is_visit(scope, headers):
        raise CrossSiteRequest("a page of another address sent this: open the service itself and do it there")
    if scope["method"] in SAFE_METHODS:
        return
    if headers.getlist(REQUEST_HEADER) != [REQUEST_HEADER_VALUE]:
        detail = f"a page also sends the header `{REQUEST_HEADER}: {REQUEST_HEADER_VALUE}` when it changes something"
        raise CrossSiteRequest(f"{detail}; programs send `Authorization: Bearer <token>` and no cookie")
    sent = headers.getlist("origin")
    page = parse_origin(sent[0]) if len(sent) == 1 else None
    if page is None or not service.has_page(page):
        detail = "the `Origin` header is not the address of this service: open it at its own address"
        raise CrossSiteRequest(f"{detail}; behind a proxy, set REELMILL_URL to what the browser shows")


def _is_visit(scope: Scope, headers: Headers) -> bool:
    """Whether somebody followed a link to here: the page that has it sees nothing of the answer."""
    return scope["method"] in SAFE_METHODS and headers.get("sec-fetch-dest") == "document"
