"""Every error has the same structure, says what to do, and reveals nothing internal."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from service.processes.app import create_app
from service.routers.http.problem_types import problem_types
from tests.routers.conftest import resources, router

pytestmark = pytest.mark.anyio
API = "/api/trials"


def assert_problem(response: httpx.Response, status: int, slug: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert {"type", "title", "status", "detail", "instance", "error_id"} <= body.keys()
    assert (body["type"], body["status"]) == (f"/problems/{slug}", status)
    assert body["instance"] == response.request.url.raw_path.decode().partition("?")[0]
    assert body["title"] and body["detail"] and 8 <= len(body["error_id"]) <= 16
    assert response.headers["x-request-id"]
    return body


async def test_unknown_path(known: httpx.AsyncClient) -> None:
    assert_problem(await known.get("/api/nothing/here%20at%20all"), 404, "not-found")


async def test_an_id_that_cannot_be(client: httpx.AsyncClient, token: Callable[..., dict[str, str]]) -> None:
    response = await client.delete(f"{API}/drawings/hunter2", headers=token("catalog:write"))
    assert_problem(response, 404, "not-found")


async def test_wrong_method_names_all_methods_of_the_path(known: httpx.AsyncClient) -> None:
    response = await known.put(f"{API}/drawings")
    assert_problem(response, 405, "method-not-allowed")
    assert response.headers["allow"] == "GET, HEAD, POST"


@pytest.mark.parametrize(
    ("how", "status", "slug"),
    [
        ("bug", 500, "internal-error"),
        ("file", 500, "internal-error"),
        ("store", 503, "unavailable"),
        ("object", 404, "not-found"),
        ("queue", 429, "too-many-requests"),
        ("plain", 503, "unavailable"),
        ("database", 503, "unavailable"),
    ],
)
async def test_failures_tell_nothing_of_our_insides(known: httpx.AsyncClient, how: str, status: int, slug: str) -> None:
    response = await known.get(f"{API}/fails/{how}")
    assert_problem(response, status, slug)
    for leak in ("/etc", "s3", "127.0.0.1", "Traceback", "Error", "asyncpg"):
        assert leak not in response.text.replace("/api/trials/fails/", "")
    assert "retry-after" in response.headers or status not in {429, 503}


@pytest.mark.parametrize(("how", "status"), [("sql", 500), ("cut", 503), ("sql", 500)])
async def test_what_a_real_database_refuses(
    token: Callable[..., dict[str, str]], postgres_url: str, how: str, status: int
) -> None:
    at = resources(postgres_url)
    app = create_app(at)
    app.include_router(router)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        response = await client.get(f"{API}/database/{how}", headers=token())
    assert_problem(response, status, "unavailable" if status == 503 else "internal-error")
    assert "SELECT" not in response.text and "zero" not in response.text
    await at.database.close()


async def test_the_log_has_the_trace_under_the_same_id(known: httpx.AsyncClient, log_lines: Any) -> None:
    error_id = (await known.get(f"{API}/fails/bug")).json()["error_id"]
    line, access = [line for line in log_lines() if line.get("error_id") == error_id]
    assert "RuntimeError" in line["exception"] and "test_problems" not in line["exception"]
    assert "hunter2" not in json.dumps(line), "local variables must not be logged"
    assert line["request_id"] == access["request_id"] and access["status"] == 500 and access["user"] == "lab"


def error_locations(body: dict[str, Any], kind: str = "pointer") -> list[str]:
    return [error[kind] for error in body["errors"]]


@pytest.mark.parametrize(
    ("sent", "pointers"),
    [
        ({}, ["#/name"]),
        ({"name": "a", "nmae": "hunter2"}, ["#/nmae"]),
        ({"name": 1}, ["#/name"]),
        ({"name": "a", "sizes": [1, "hunter2", 3]}, ["#/sizes/1"]),
        ({"name": "a", "shape": {"kind": "square", "side": 0}}, ["#/shape/side"]),
        ({"name": "a", "shape": {"kind": "circle"}}, ["#/shape/radius"]),
        ({"name": "a", "shape": {"kind": "hunter2"}}, ["#/shape"]),
        ({"name": "a", "either": "hunter2"}, ["#/either", "#/either"]),
        ({"name": "a", "x/y~z é": 1}, ["#/x~1y~0z%20%C3%A9"]),
        ({"name": "a", "\ud800": 1}, ["#"]),
        ([], ["#"]),
        ("hunter2", ["#"]),
    ],
)
async def test_a_refused_body_is_pointed_at(known: httpx.AsyncClient, sent: Any, pointers: list[str]) -> None:
    headers = {"Content-Type": "application/json"}
    response = await known.post(f"{API}/drawings", content=json.dumps(sent), headers=headers)
    body = assert_problem(response, 422, "validation-error")
    assert error_locations(body) == pointers
    assert "hunter2" not in response.text, "the input must not be repeated"


async def test_refused_parameters_are_named(known: httpx.AsyncClient) -> None:
    response = await known.get(f"{API}/drawings?limit=hunter2", headers={"X-Colour": "hunter2"})
    errors = assert_problem(response, 422, "validation-error")["errors"]
    assert [set(error) - {"detail", "code"} for error in errors] == [{"parameter"}, {"header"}]
    assert (errors[0]["parameter"], errors[1]["header"]) == ("limit", "x-colour")
    assert "hunter2" not in response.text


@pytest.mark.parametrize(
    ("content", "media_type", "status", "slug"),
    [
        (b'{"name": hunter2}', "application/json", 422, "validation-error"),
        (b"", "application/json", 422, "validation-error"),
        (b'{"name": "\xff"}', "application/json", 400, "bad-request"),
        (b"[" * 100_000, "application/json", 400, "bad-request"),
    ],
)
async def test_bodies_that_are_no_json(
    known: httpx.AsyncClient, content: bytes, media_type: str, status: int, slug: str
) -> None:
    response = await known.post(f"{API}/drawings", content=content, headers={"Content-Type": media_type})
    body = assert_problem(response, status, slug)
    assert error_locations(body) == ["#"]
    assert "hunter2" not in response.text


@pytest.mark.parametrize("media_type", ["text/plain", "application/xml", ""])
async def test_bodies_of_another_type(known: httpx.AsyncClient, media_type: str) -> None:
    headers = {"Content-Type": media_type} if media_type else {}
    response = await known.post(f"{API}/drawings", content=b'{"name": "a"}', headers=headers)
    assert error_locations(assert_problem(response, 415, "unsupported-media-type"), "header") == ["Content-Type"]


@pytest.mark.parametrize("announced", [True, False])
async def test_a_long_body_is_refused(known: httpx.AsyncClient, announced: bool) -> None:
    async def chunks() -> Any:
        for _ in range(3):
            yield b" " * 500_000

    headers = {"Content-Type": "application/json"}
    content = b" " * 1_500_000 if announced else chunks()
    assert_problem(await known.post(f"{API}/drawings", content=content, headers=headers), 413, "content-too-large")


async def test_frames_have_a_limit_of_their_own(
    client: httpx.AsyncClient, token: Callable[..., dict[str, str]]
) -> None:
    """An upload may exceed the body limit of other routes: it reaches the database, which is unavailable here."""
    path = "/api/datasets/0197a3c2-9a44-7b1e-8d0a-61c3ab0be0d4/objects/a/f.jpg"
    response = await client.put(path, content=b" " * 1_500_000, headers=token("catalog:write"))
    assert_problem(response, 503, "unavailable")


async def test_the_document_describes_problems(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    assert {"Problem", "FieldError"} <= document["components"]["schemas"].keys()
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    told = document["paths"]["/metrics"]["get"]["responses"]["403"]["$ref"].rpartition("/")[2]
    assert "application/problem+json" in document["components"]["responses"][told]["content"]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ("application/json", 200),
        ("*/*", 200),
        ("application/*;q=0.1, text/html", 200),
        ("text/html, APPLICATION/JSON", 200),
        ("nonsense", 200),
        ("application/json;q=broken", 200),
        ("text/html", 406),
        ("application/json;q=0, */*", 406),
        ("image/*", 406),
        ("application/xml;q=0.9", 406),
    ],
)
async def test_who_refuses_json_is_told_before_anything_is_done(
    client: httpx.AsyncClient, token: Callable[..., dict[str, str]], sent: str, status: int
) -> None:
    response = await client.get("/api/formats", headers=token() | {"Accept": sent})
    assert response.status_code == status, response.text
    if status == 406:
        body = assert_problem(response, 406, "not-acceptable")
        assert [error["header"] for error in body["errors"]] == ["Accept"]


async def test_files_are_not_refused_for_their_type(
    client: httpx.AsyncClient, token: Callable[..., dict[str, str]]
) -> None:
    """The video route does not return JSON, so it ignores Accept."""
    path = "/api/videos/0197a3c2-b1f0-7aa1-8c63-9e0d5a1f2b44/video"
    response = await client.get(path, headers=token("videos:read") | {"Accept": "video/*"})
    assert_problem(response, 503, "unavailable")


@pytest.mark.parametrize(("how", "status"), [("stale", 412), ("slow", 504)])
async def test_named_errors_of_routes(known: httpx.AsyncClient, how: str, status: int) -> None:
    slug = {412: "precondition-failed", 504: "timed-out"}[status]
    assert_problem(await known.get(f"{API}/fails/{how}"), status, slug)


async def test_a_statement_that_ran_out_of_time(token: Callable[..., dict[str, str]], postgres_url: str) -> None:
    at = resources(postgres_url)
    app = create_app(at)
    app.include_router(router)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        response = await client.get(f"{API}/database/slow", headers=token())
    assert "SELECT" not in str(assert_problem(response, 504, "timed-out"))
    await at.database.close()


async def test_every_problem_type_has_a_page(client: httpx.AsyncClient) -> None:
    index = await client.get("/problems")
    assert index.status_code == 200
    for slug, kind in problem_types().items():
        page = await client.get(f"/problems/{slug}")
        assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert kind.title in page.text and f"/problems/{slug}" in index.text
        assert len(kind.meaning) > 40, f"{slug} needs a text that helps: problem_types.MEANINGS or its docstring"
    assert_problem(await client.get("/problems/<script>"), 404, "not-found")


async def test_the_log_line_of_a_failure_can_be_asked_again(known: httpx.AsyncClient, log_lines: Any) -> None:
    body = {"name": "cat", "password": "hunter2", "sizes": [{"api_key": "hunter2"}]}
    headers = {"User-Agent": "lab/1", "Cookie": "hunter2", "traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
    response = await known.post(f"{API}/breaks?part=1&part=2&access_token=hunter2", json=body, headers=headers)
    error_id = assert_problem(response, 500, "internal-error")["error_id"]
    line = next(line for line in log_lines() if line.get("error_id") == error_id and "request" in line)
    asked = line["request"]
    assert (asked["method"], asked["path"]) == ("POST", f"{API}/breaks")
    assert asked["query"] == {"part": ["1", "2"], "access_token": "[redacted]"}
    assert asked["headers"]["user-agent"] == "lab/1" and "authorization" not in asked["headers"]
    assert asked["body"]["json"]["name"] == "cat" and asked["body"]["size"] == len(response.request.content)
    assert asked["body"]["sha256"] == hashlib.sha256(response.request.content).hexdigest()
    assert line["trace_id"] == "a" * 32 and line["request_id"] == response.headers["x-request-id"]
    assert "hunter2" not in json.dumps(log_lines())


async def test_a_long_or_odd_body_is_told_by_its_digest(known: httpx.AsyncClient, log_lines: Any) -> None:
    for content in (b"x" * 100_000, b"password=hunter2"):
        response = await known.post(f"{API}/breaks", content=content)
        line = next(line for line in log_lines() if line.get("error_id") == response.json()["error_id"])
        assert "json" not in line["request"]["body"] and line["request"]["body"]["size"] == len(content)
    assert "hunter2" not in json.dumps(log_lines())


@pytest.mark.parametrize(
    "address", ["/" + "a" * 5000, "/api/trials/drawings?limit=" + "1" * 20_000, "/x://" + ":" * 60_000]
)
async def test_long_addresses_are_refused_before_anything_reads_them(client: httpx.AsyncClient, address: str) -> None:
    response = await client.get(address)
    assert (response.status_code, response.json()["type"]) == (414, "/problems/target-too-long")
    assert len(response.content) < 4000


async def test_a_body_of_many_mistakes_has_a_short_answer(known: httpx.AsyncClient) -> None:
    members = ",".join(f'"{"k" * 200}{number}": 0' for number in range(500))
    response = await known.post(
        f"{API}/drawings", content=f"{{{members}}}", headers={"Content-Type": "application/json"}
    )
    problem = assert_problem(response, 422, "validation-error")
    assert len(problem["errors"]) == 50 and len(response.content) < 10_000
    assert {error["pointer"] for error in problem["errors"]} <= {"#", "#/name"}
