"""The page at `/` and its files: who gets them, and what a browser is told about them."""

import gzip
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from service.routers.studio import FOLDER
from tests.routers.http.test_problems import assert_problem

pytestmark = pytest.mark.anyio
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src 'self' blob:; "
    "connect-src 'self'; worker-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
MOST_LINES, MOST_BYTES = 6000, 150_000


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost:5003") as client:
        yield client


async def get_page(client: httpx.AsyncClient, **headers: str) -> httpx.Response:
    return await client.get("/", headers={"Accept": BROWSER} | headers)


def asset_urls(page: httpx.Response) -> list[str]:
    return re.findall(r'(?:src|href)="(studio/[^"]+)"', page.text)


async def test_a_browser_gets_the_page_without_a_token(client: httpx.AsyncClient) -> None:
    page = await get_page(client)
    assert page.status_code == 200 and page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-security-policy"] == POLICY
    assert page.headers["referrer-policy"] == "no-referrer"
    assert "accept" in page.headers["vary"].lower()
    assert "<script>" not in page.text and "style=" not in page.text
    again = await get_page(client, **{"If-None-Match": page.headers["etag"]})
    assert again.status_code == 304 and not again.content


@pytest.mark.parametrize("accept", ["application/json", "*/*", "text/html;q=0, application/json", "text/htmlx"])
async def test_other_clients_are_answered_as_at_any_unknown_path(client: httpx.AsyncClient, accept: str) -> None:
    assert_problem(await client.get("/", headers={"Accept": accept}), 401, "unauthenticated")
    assert_problem(await client.post("/", headers={"Accept": BROWSER}), 401, "unauthenticated")


async def test_files_are_kept_for_ever_under_the_digest_of_all(client: httpx.AsyncClient) -> None:
    page = await get_page(client)
    urls = asset_urls(page)
    assert len(urls) > 3
    for url in urls:
        file = await client.get(f"/{url}")
        assert file.status_code == 200, url
        assert file.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert file.headers["x-content-type-options"] == "nosniff"
    digest = urls[0].split("/")[1]
    assert re.fullmatch(r"[0-9a-f]{16}", digest)
    for path in (
        "studio/0123456789abcdef/main.js",
        f"studio/{digest}/index.html",
        f"studio/{digest}/../config.py",
        "studio/main.js",
    ):
        assert_problem(await client.get(f"/{path}"), 404, "not-found")


async def test_files_are_sent_compressed_to_those_who_take_that(client: httpx.AsyncClient) -> None:
    (url,) = (url for url in asset_urls(await get_page(client)) if url.endswith("main.js"))
    async with client.stream("GET", f"/{url}", headers={"Accept-Encoding": "gzip"}) as packed:
        body = b"".join([part async for part in packed.aiter_raw()])
    assert packed.headers["content-encoding"] == "gzip" and gzip.decompress(body) == (FOLDER / "main.js").read_bytes()
    plain = await client.get(f"/{url}", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers and plain.content == (FOLDER / "main.js").read_bytes()


def studio_sources() -> list[Path]:
    return [path for path in FOLDER.rglob("*") if path.is_file()]


def test_the_whole_page_is_small() -> None:
    assert sum(len(path.read_text().splitlines()) for path in studio_sources()) < MOST_LINES
    assert sum(len(gzip.compress(path.read_bytes(), 9)) for path in studio_sources()) < MOST_BYTES


def test_no_file_makes_markup_of_text() -> None:
    """Trusted Types refuse it at run time; this says where."""
    sinks = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser|javascript:"
    )
    assert [path.name for path in studio_sources() if sinks.search(path.read_text())] == []
