"""All paths but the public ones need a valid token, and some need a scope."""

from collections.abc import Callable
from datetime import timedelta

import httpx
import pytest
from fastapi import FastAPI

from service.identity.tokens import issue_token
from service.processes.app import create_app
from service.routers.settings import HttpSettings
from tests.routers.conftest import SECRET, resources
from tests.routers.http.test_problems import API, assert_problem

pytestmark = pytest.mark.anyio
Headers = Callable[..., dict[str, str]]


@pytest.mark.parametrize("path", [f"{API}/caller", "/", "/api/nothing", "/metrics", "/healthy", "//health", "/docsx"])
async def test_denied_by_default(client: httpx.AsyncClient, path: str) -> None:
    response = await client.get(f"http://test{path}")
    assert_problem(response, 401, "unauthenticated")
    assert response.headers["www-authenticate"] == 'Bearer realm="reelmill"'


@pytest.mark.parametrize("path", ["/health/live", "/docs", "/redoc", "/openapi.json"])
async def test_public_paths(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 200


@pytest.mark.parametrize("value", ["Bearer", "Bearer x", "Bearer a.b.c", "bearer  ", "Bearer \xff.a.b"])
async def test_bad_tokens(client: httpx.AsyncClient, value: str) -> None:
    headers = {b"Authorization": value.encode("latin-1")}
    response = await client.get(f"{API}/caller", headers=headers)
    assert assert_problem(response, 401, "unauthenticated")["detail"] == "invalid token"
    assert 'error="invalid_token"' in response.headers["www-authenticate"]


async def test_an_expired_token_is_called_so(client: httpx.AsyncClient) -> None:
    stale = issue_token(SECRET, "lab", (), timedelta(seconds=-31))
    response = await client.get(f"{API}/caller", headers={"Authorization": f"Bearer {stale}"})
    assert assert_problem(response, 401, "unauthenticated")["detail"] == "token expired"
    assert 'error_description="token expired"' in response.headers["www-authenticate"]


async def test_two_tokens_are_none(client: httpx.AsyncClient, token: Headers) -> None:
    headers = [("Authorization", token()["Authorization"])] * 2
    assert_problem(await client.get(f"{API}/caller", headers=headers), 401, "unauthenticated")


async def test_a_good_token_makes_a_caller(client: httpx.AsyncClient, token: Headers) -> None:
    assert (await client.get(f"{API}/caller", headers=token())).json() == {"subject": "lab", "admin": False}
    assert (await client.get(f"{API}/caller", headers=token("admin"))).json()["admin"] is True


async def test_a_missing_scope_is_named(client: httpx.AsyncClient, token: Headers) -> None:
    response = await client.delete(f"{API}/drawings/1", headers=token("catalog:read"))
    assert "catalog:write" in assert_problem(response, 403, "forbidden")["detail"]
    assert 'error="insufficient_scope", scope="catalog:write"' in response.headers["www-authenticate"]
    for scope in ("catalog:write", "admin"):
        assert (await client.delete(f"{API}/drawings/1", headers=token(scope))).status_code == 200


async def test_metrics_need_a_scope(client: httpx.AsyncClient, token: Headers) -> None:
    assert_problem(await client.get("/metrics", headers=token()), 403, "forbidden")
    await client.get(f"{API}/nothing", headers=token())
    response = await client.get("/metrics", headers=token("ops:read"))
    assert response.headers["content-type"].startswith("text/plain; version=")
    assert 'reelmill_http_requests_total{method="GET",route="unmatched",status="404"}' in response.text


async def test_metrics_can_be_public() -> None:
    app: FastAPI = create_app(resources(http=HttpSettings.model_construct(metrics_public=True)))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        assert (await client.get("/metrics")).status_code == 200
        assert (await client.get("/api")).status_code == 401
