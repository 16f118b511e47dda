"""A browser's session: signing in and out, and what the cookie stands for."""

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from service.identity.settings import IdentitySettings
from service.identity.tokens import TokenVerifier, issue_token
from service.processes.app import create_app
from tests.routers.conftest import SECRET, resources
from tests.routers.conftest import router as trials
from tests.routers.http.test_problems import API, assert_problem
from tests.support.processes.catalogue_api import CatalogueApi

pytestmark = pytest.mark.anyio
URL = "http://localhost:5003"
COOKIE = "reelmill_session_5003"
OWN_PAGE = {"Origin": URL, "X-Reelmill-Request": "1"}
CLEARED = f"{COOKIE}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict"


def token_of(subject: str = "lab", *scopes: str, seconds: float = 300) -> str:
    return issue_token(SECRET, subject, scopes, timedelta(seconds=seconds))


@pytest.fixture
async def browser(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Keeps cookies, and sends what a page of the service sends."""
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url=URL, headers=OWN_PAGE) as client:
        yield client


async def sign_in(browser: httpx.AsyncClient, token: str) -> httpx.Response:
    return await browser.post("/api/session", json={"token": token})


async def test_signing_in_and_out(browser: httpx.AsyncClient) -> None:
    nobody = {"user": None, "scopes": [], "expires_at": None, "sign_in_url": None}
    assert (await browser.get("/api/session")).json() == nobody
    assert_problem(await browser.get(f"{API}/caller"), 401, "unauthenticated")
    answer = await sign_in(browser, f"  {token_of('lab', 'videos:read', 'catalog:read')}\n")
    assert answer.status_code == 201
    cookie = re.fullmatch(
        rf"{COOKIE}=[\w.-]+; Path=/; Max-Age=(\d+); HttpOnly; SameSite=Strict", answer.headers["set-cookie"]
    )
    assert cookie is not None and int(cookie[1]) <= 300
    session = (await browser.get("/api/session")).json()
    assert session == answer.json()
    assert session["user"] == "lab" and session["scopes"] == ["catalog:read", "videos:read"]
    left = datetime.fromisoformat(session["expires_at"]) - datetime.now(UTC)
    assert timedelta(0) < left <= timedelta(seconds=300), "the 30 s of leeway are not told"
    seen = await browser.get(f"{API}/caller")
    assert seen.json() == {"subject": "lab", "admin": False}
    assert seen.headers["cross-origin-resource-policy"] == "same-origin" and "ratelimit" in seen.headers
    gone = await browser.delete("/api/session")
    assert (gone.status_code, gone.headers["set-cookie"]) == (204, CLEARED)
    assert (await browser.get("/api/session")).json() == nobody


async def test_a_cookie_has_the_scopes_of_its_token(browser: httpx.AsyncClient) -> None:
    await sign_in(browser, token_of("lab", "catalog:read"))
    problem = assert_problem(await browser.delete(f"{API}/drawings/1"), 403, "forbidden")
    assert "catalog:write" in problem["detail"]
    await sign_in(browser, token_of("lab", "catalog:write"))
    assert (await browser.delete(f"{API}/drawings/1")).status_code == 200
    await sign_in(browser, token_of("root", "admin"))
    assert (await browser.get(f"{API}/caller")).json() == {"subject": "root", "admin": True}


async def test_the_header_goes_before_the_cookie(browser: httpx.AsyncClient) -> None:
    await sign_in(browser, token_of("cookie"))
    header = {"Authorization": f"Bearer {token_of('header')}"}
    assert (await browser.get(f"{API}/caller", headers=header)).json()["subject"] == "header"
    assert (await browser.get("/api/session", headers=header)).json()["user"] == "header"
    for bad in ("Bearer nonsense", "Basic dXNlcjpwYXNz", f"Bearer {token_of('late', seconds=-60)}"):
        assert_problem(await browser.get(f"{API}/caller", headers={"Authorization": bad}), 401, "unauthenticated")
    foreign = header | {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    answer = await browser.post(f"{API}/drawings", json={"name": "x"}, headers=foreign)
    assert answer.status_code == 200, "no browser sends a bearer token by itself"


async def test_rows_are_the_same_as_for_the_header(api: CatalogueApi) -> None:
    scopes = ("catalog:read", "catalog:write")
    seen: dict[str, Any] = {}
    for subject in ("alice", "bob"):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(api.app), base_url=URL, headers=OWN_PAGE) as browser:
            await sign_in(browser, token_of(subject, *scopes))
            made = await browser.post("/api/experiments", json={"name": f"of {subject}"})
            assert made.status_code == 201, made.text
            seen[subject] = made.json()["id"], (await browser.get("/api/experiments")).json()
            other = await browser.get(f"/api/experiments/{seen['alice'][0]}")
            assert other.status_code == (200 if subject == "alice" else 404)
        async with api.client(subject, *scopes) as program:
            assert (await program.get("/api/experiments")).json() == seen[subject][1]
    assert [row["name"] for row in seen["bob"][1]] == ["of bob"]


async def test_https_is_what_reelmill_url_says(browser: httpx.AsyncClient) -> None:
    forwarded = {"X-Forwarded-Proto": "https", "Forwarded": "proto=https", "X-Forwarded-Host": "video.example"}
    plain = await browser.post("/api/session", json={"token": token_of()}, headers=forwarded)
    assert "Secure" not in plain.headers["set-cookie"]
    app = create_app(resources(public_url="https://video.example"))
    app.include_router(trials)
    page = {"Origin": "https://video.example", "X-Reelmill-Request": "1"}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://api:5003", headers=page) as proxy:
        answer = await sign_in(proxy, token_of())
        name, _, rest = answer.headers["set-cookie"].partition("=")
        assert name == "__Host-reelmill_session" and rest.endswith(
            "; Path=/; Max-Age=299; HttpOnly; SameSite=Strict; Secure"
        )
        cookie = f"{name}={rest.partition(';')[0]}"
        assert (await proxy.get(f"{API}/caller", headers={"Cookie": cookie})).status_code == 200
        unsafe = cookie.removeprefix("__Host-")
        assert (await proxy.get(f"{API}/caller", headers={"Cookie": unsafe})).status_code == 401


async def test_health_tells_more_with_a_cookie_and_never_minds_one(browser: httpx.AsyncClient) -> None:
    await sign_in(browser, token_of("operator", "ops:read"))
    assert "workers" in (await browser.get("/health")).json()["checks"]
    for cookie in (f"{COOKIE}=garbage", f"{COOKIE}=a; {COOKIE}=b", f"{COOKIE}={token_of(seconds=-60)}"):
        browser.cookies.clear()
        answer = await browser.get("/health", headers={"Cookie": cookie})
        assert answer.status_code == 503, "the database of this test is away"
        assert "workers" not in answer.json()["checks"]


async def test_without_the_keys_of_the_issuer_the_session_stays() -> None:
    verifier = TokenVerifier(IdentitySettings.model_construct(jwks_url="http://127.0.0.1:1/keys"))
    transport = httpx.ASGITransport(create_app(replace(resources(), verifier=verifier)))
    headers = {"Cookie": f"{COOKIE}={token_of()}"} | OWN_PAGE
    async with httpx.AsyncClient(transport=transport, base_url=URL, headers=headers) as browser:
        for answer in (await browser.get("/api/session"), await browser.get("/api/usage")):
            assert_problem(answer, 503, "unavailable")
            assert "set-cookie" not in answer.headers
