"""What other pages, other services of the same host, and forgers try with a session. All of it is refused."""

import base64
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.routers.authentication.test_session import CLEARED, COOKIE, OWN_PAGE, URL, browser, sign_in, token_of
from tests.routers.http.test_problems import API, assert_problem

pytestmark = pytest.mark.anyio
__all__ = ["browser"]

# Each of these is all that a request has besides the cookie.
FOREIGN: dict[str, dict[str, str]] = {
    "a form of another site": {"Origin": "https://evil.example", "Content-Type": "text/plain"},
    "no header at all": {},
    "our header, no Origin": {"X-Reelmill-Request": "1"},
    "our header with another value": OWN_PAGE | {"X-Reelmill-Request": "true"},
    "a forged Origin": OWN_PAGE | {"Origin": "https://evil.example"},
    "an Origin that begins like ours": OWN_PAGE | {"Origin": f"{URL}.evil.example"},
    "an Origin that hides ours": OWN_PAGE | {"Origin": f"http://evil.example/{URL}"},
    "a sandboxed frame": OWN_PAGE | {"Origin": "null"},
    "another port of this host": OWN_PAGE | {"Origin": "http://localhost:8080"},
    "the right Origin, no header": {"Origin": URL},
    "said to be cross-site": OWN_PAGE | {"Sec-Fetch-Site": "cross-site"},
    "said to be same-site": OWN_PAGE | {"Sec-Fetch-Site": "same-site"},
    "a forged host": OWN_PAGE | {"X-Forwarded-Host": "evil.example", "Origin": "http://evil.example"},
}


@pytest.fixture
def lines(log_lines: Callable[[], list[dict[str, Any]]]) -> Callable[[], str]:
    return lambda: json.dumps(log_lines())


@pytest.mark.parametrize("headers", FOREIGN.values(), ids=FOREIGN.keys())
async def test_a_page_that_is_not_ours(browser: httpx.AsyncClient, headers: dict[str, str]) -> None:
    await sign_in(browser, token_of("lab", "admin"))
    for name in OWN_PAGE:
        del browser.headers[name]
    for method, path in (("POST", f"{API}/drawings"), ("DELETE", f"{API}/drawings/1"), ("POST", f"{API}/nothing")):
        answer = await browser.request(method, path, headers=headers, content=b'{"name": "x"}')
        assert_problem(answer, 403, "cross-site-request")
        assert "set-cookie" not in answer.headers
    for method in ("POST", "DELETE"):
        answer = await browser.request(method, "/api/session", headers=headers, json={"token": token_of("evil")})
        assert_problem(answer, 403, "cross-site-request")
        assert "set-cookie" not in answer.headers
    assert (await browser.get("/api/session")).json()["user"] == "lab"


async def test_a_method_that_nobody_knows_may_change_something(browser: httpx.AsyncClient) -> None:
    await sign_in(browser, token_of("lab", "admin"))
    for method in ("TRACE", "MKCOL", "PUT"):
        answer = await browser.request(method, f"{API}/caller", headers={"X-Reelmill-Request": "0"})
        assert_problem(answer, 403, "cross-site-request")


def forge(header: dict[str, Any], claims: dict[str, Any], signature: str = "") -> str:
    parts = (base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (header, claims))
    return ".".join((*parts, signature))


def tampered_token() -> str:
    head, body, signature = token_of("lab").split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    forged = base64.urlsafe_b64encode(json.dumps(claims | {"scope": "admin"}).encode()).rstrip(b"=").decode()
    return f"{head}.{forged}.{signature}"


CLAIMS = {"sub": "root", "scope": "admin", "exp": 2**33}
BAD_TOKENS: dict[str, Callable[[], str]] = {
    "of another service": lambda: "s%3Aabc.def",
    "empty": lambda: "",
    "quoted": lambda: f'"{token_of()}"',
    "none": lambda: forge({"alg": "none", "typ": "JWT"}, CLAIMS),
    "none with a signature": lambda: forge({"alg": "none"}, CLAIMS, "AAAA"),
    "None": lambda: forge({"alg": "None"}, CLAIMS, "AAAA"),
    "tampered": tampered_token,
    "without its signature": lambda: token_of().rpartition(".")[0] + ".",
    "run out": lambda: token_of(seconds=-31),
    "of bytes": lambda: "\xff\xfe\x00",
    "very long": lambda: "e" * 9000,
    "nested": lambda: forge({"alg": "HS256", "x": [[]] * 99}, {"sub": ["a"]}, "AAAA"),
}


@pytest.mark.parametrize("make", BAD_TOKENS.values(), ids=BAD_TOKENS.keys())
async def test_a_cookie_that_is_no_good(browser: httpx.AsyncClient, make: Callable[[], str]) -> None:
    cookie = {b"Cookie": f"other=1; {COOKIE}={make()}; last".encode("latin-1")}
    for path in (f"{API}/caller", "/api/session", "/api/nothing", "/metrics"):
        answer = await browser.get(path, headers=cookie)
        problem = assert_problem(answer, 401, "unauthenticated")
        assert problem["detail"] == "your session has ended: sign in again"
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]
        assert answer.headers["set-cookie"] == CLEARED
    assert_problem(await browser.post(f"{API}/drawings", headers=cookie), 401, "unauthenticated")
    for method in ("POST", "DELETE"):  # who has a bad cookie may still sign in and out
        answer = await browser.request(method, "/api/session", headers=cookie, json={"token": token_of()})
        assert answer.status_code in (201, 204)


async def test_two_cookies_are_none(browser: httpx.AsyncClient) -> None:
    """A service beside this one can set a second one, for a path of ours, with its own token inside."""
    good, other = token_of("lab"), token_of("evil", "admin")
    for cookie in (
        f"{COOKIE}={good}; {COOKIE}={other}",
        f"{COOKIE}={good};{COOKIE}={good}",
        f"{COOKIE}=;{COOKIE}={good}",
    ):
        problem = assert_problem(await browser.get(f"{API}/caller", headers={"Cookie": cookie}), 401, "unauthenticated")
        assert "two session cookies" in problem["detail"]


@pytest.mark.parametrize(
    "name", ["reelmill_session", "reelmill_session_5004", f"__Host-{COOKIE}", f"x{COOKIE}", "token"]
)
async def test_cookies_of_other_services_do_not_count(browser: httpx.AsyncClient, name: str) -> None:
    for value in ("garbage", token_of("lab", "admin"), "\\;=,"):
        assert (await browser.get("/api/session", headers={"Cookie": f"{name}={value}"})).json()["user"] is None
        assert_problem(
            await browser.get(f"{API}/caller", headers={"Cookie": f"{name}={value}"}), 401, "unauthenticated"
        )
    good = f"{name}=garbage; {COOKIE}={token_of()}; ; =; {name}"
    assert (await browser.get(f"{API}/caller", headers={"Cookie": good})).status_code == 200


@pytest.mark.parametrize("kind", sorted(BAD_TOKENS.keys() - {"empty", "very long"}))
async def test_signing_in_with_a_bad_token(browser: httpx.AsyncClient, kind: str) -> None:
    answer = await sign_in(browser, BAD_TOKENS[kind]())
    problem = assert_problem(answer, 401, "unauthenticated")
    assert problem["detail"] == ("token expired" if kind == "run out" else "invalid token")
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"token": ""}, "#/token"),
        ({"token": "e" * 4001}, "#/token"),
        ({"token": None}, "#/token"),
        ({"token": "a.b.c", "user": "root"}, "#/user"),
        ({}, "#/token"),
        ([], "#"),
    ],
)
async def test_signing_in_with_a_bad_body(browser: httpx.AsyncClient, body: Any, pointer: str) -> None:
    problem = assert_problem(await browser.post("/api/session", json=body), 422, "validation-error")
    assert [error["pointer"] for error in problem["errors"]] == [pointer]
    assert "eeee" not in json.dumps(problem)


async def test_a_token_in_its_last_seconds_of_leeway_makes_no_session(browser: httpx.AsyncClient) -> None:
    answer = await sign_in(browser, token_of(seconds=-5))
    assert assert_problem(answer, 401, "unauthenticated")["detail"] == "token expired"
    assert "set-cookie" not in answer.headers


async def test_no_log_line_has_the_token(browser: httpx.AsyncClient, lines: Callable[[], str]) -> None:
    token = token_of("lab", "admin")
    await sign_in(browser, token)
    await browser.get(f"{API}/caller", params={"token": token})
    await browser.post(f"{API}/breaks", json={"token": token, "text": f"x {token} y"})
    await browser.post("/api/session", json={"token": token, "more": token})
    await browser.get(f"/api/{token}")
    browser.cookies.clear()
    await browser.get(f"{API}/caller", headers={"Cookie": f"{COOKIE}={token[:-4]}AAAA"})
    written = lines()
    assert "internal-error" in written and "/api/session" in written
    for part in token.split(".")[1:]:
        assert part not in written and part[:-4] not in written
