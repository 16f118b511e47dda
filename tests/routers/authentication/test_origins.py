"""Which pages are the service's own, at the address that a browser shows."""

from typing import Any

import pytest

from service.routers.authentication.origins import CrossSiteRequest, parse_origin, require_own_page, service_origin
from service.routers.authentication.session_cookie import SessionCookie

PAGES = [
    # REELMILL_URL, scheme of the connection, Host, Origin, is it a page of the service
    ("", "http", "127.0.0.1:5003", "http://127.0.0.1:5003", True),
    ("", "http", "LOCALHOST:5003", "http://localhost:5003", True),
    ("", "http", "[::1]:5003", "http://[::1]:5003", True),
    ("", "http", "video.example", "http://video.example", True),
    ("", "http", "video.example:80", "http://video.example", True),
    ("", "https", "video.example", "https://video.example", True),
    ("", "http", "video.example", "https://video.example", True),  # a proxy that is not trusted ends TLS
    ("", "https", "video.example", "http://video.example", False),
    ("", "http", "127.0.0.1:5003", "http://127.0.0.1:8080", False),
    ("", "http", "127.0.0.1:5003", "http://localhost:5003", False),
    ("", "http", "127.0.0.1:5003", "http://127.0.0.1", False),
    ("", "http", "video.example", "http://video.example.evil.example", False),
    ("", "http", "video.example", "http://evil.example/?http://video.example", False),
    ("", "http", "video.example", "null", False),
    ("", "http", "video.example", "", False),
    ("", "http", "video.example", "http://", False),
    ("", "http", "video.example", "http://[video.example", False),
    ("", "http", "video.example", "http://video.example:port", False),
    ("", "http", "video.example", "file://video.example", False),
    ("", "http", None, "http://video.example", False),
    ("", "http", None, "http://", False),
    ("", "http", "", "null", False),
    ("https://video.example/", "http", "api:5003", "https://video.example", True),
    ("https://video.example:8443/path", "http", "api:5003", "https://video.example:8443", True),
    ("https://video.example", "http", "video.example", "http://video.example", False),
    ("https://video.example", "http", "evil.example", "http://evil.example", False),
    ("not an address", "http", "video.example", "http://video.example", False),
]


def scope_of(scheme: str, method: str = "POST", **headers: str | None) -> dict[str, Any]:
    sent = {name.replace("_", "-"): value for name, value in headers.items() if value is not None}
    pairs = [(name.encode(), value.encode("latin-1")) for name, value in sent.items()]
    return {"type": "http", "scheme": scheme, "method": method, "headers": pairs}


@pytest.mark.parametrize(("public_url", "scheme", "host", "origin", "own"), PAGES)
def test_pages(public_url: str, scheme: str, host: str | None, origin: str, own: bool) -> None:
    scope = scope_of(scheme, host=host, origin=origin, x_reelmill_request="1")
    try:
        require_own_page(scope, service_origin(scope, public_url))
        assert own
    except CrossSiteRequest:
        assert not own


@pytest.mark.parametrize(
    ("address", "name", "secure"),
    [
        ("http://127.0.0.1:5003", "reelmill_session_5003", False),
        ("http://video.example", "reelmill_session", False),
        ("https://video.example", "__Host-reelmill_session", True),
        ("https://video.example:8443", "__Host-reelmill_session_8443", True),
    ],
)
def test_the_cookie_is_of_one_service(address: str, name: str, secure: bool) -> None:
    origin = parse_origin(address)
    assert origin is not None
    cookie = SessionCookie.of(origin)
    text = cookie.to_header("a.b.c", 600)
    assert text == f"{name}=a.b.c; Path=/; Max-Age=600; HttpOnly; SameSite=Strict{'; Secure' if secure else ''}"
    assert "Max-Age=34560000;" in cookie.to_header("a.b.c", 2**50)


@pytest.mark.parametrize("site", ["cross-site", "same-site", "", "SAME-ORIGIN", "anything"])
@pytest.mark.parametrize("destination", ["image", "video", "iframe", "empty", None])
def test_pictures_on_other_pages_are_not_sent(site: str, destination: str | None) -> None:
    headers = {"host": "127.0.0.1:5003", "sec_fetch_site": site, "sec_fetch_dest": destination}
    scope = scope_of("http", "GET", **headers)
    with pytest.raises(CrossSiteRequest):
        require_own_page(scope, service_origin(scope, ""))


@pytest.mark.parametrize(("site", "destination"), [("same-origin", "image"), ("none", "document"), (None, None)])
def test_what_our_pages_and_people_read(site: str | None, destination: str | None) -> None:
    scope = scope_of("http", "GET", host="a", sec_fetch_site=site, sec_fetch_dest=destination)
    require_own_page(scope, service_origin(scope, ""))


def test_a_link_on_another_page_may_be_followed_but_a_form_not_sent() -> None:
    headers = {"host": "a", "origin": "http://a", "x_reelmill_request": "1", "sec_fetch_dest": "document"}
    for method in ("GET", "POST"):
        scope = scope_of("http", method, sec_fetch_site="same-site", **headers)
        if method == "GET":
            require_own_page(scope, service_origin(scope, ""))
        else:
            with pytest.raises(CrossSiteRequest):
                require_own_page(scope, service_origin(scope, ""))
