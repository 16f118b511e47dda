"""Both documents are valid and describe each operation completely."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from jsonschema import Draft202012Validator
from openapi_schema_validator import OAS30Validator
from openapi_spec_validator import OpenAPIV30SpecValidator, OpenAPIV31SpecValidator

from service.processes.app import create_app
from service.routers.http.problem_types import problem_types
from service.routers.http.problems import MEDIA_TYPE
from service.routers.openapi.document_30 import METHODS, document_30
from service.routers.openapi.document_31 import JSON
from tests.routers.conftest import resources

Json = dict[str, Any]
NATIVE: Json = create_app(resources()).openapi()
DOCUMENT_30 = document_30(NATIVE)
OPERATIONS = [(f"{m.upper()} {p}", p, item[m]) for p, item in NATIVE["paths"].items() for m in METHODS if m in item]
every_operation = pytest.mark.parametrize(
    ("path", "operation"), [pytest.param(path, operation, id=name) for name, path, operation in OPERATIONS]
)


@pytest.fixture
def app() -> FastAPI:
    """The application without the trial routes."""
    return create_app(resources())


@pytest.mark.anyio
async def test_they_are_served_as_they_are_here(client: httpx.AsyncClient) -> None:
    assert (await client.get("/openapi.json")).json() == DOCUMENT_30
    assert (await client.get("/openapi-3.1.json")).json() == NATIVE


def test_they_are_valid() -> None:
    assert DOCUMENT_30["openapi"] == "3.0.3" and NATIVE["openapi"].startswith("3.1.")
    assert [str(error) for error in OpenAPIV31SpecValidator(NATIVE).iter_errors()] == []
    assert [str(error) for error in OpenAPIV30SpecValidator(DOCUMENT_30).iter_errors()] == []


def test_both_tell_of_the_same_operations() -> None:
    for name, path, operation in OPERATIONS:
        older = DOCUMENT_30["paths"][path][name.partition(" ")[0].lower()]
        assert older["operationId"] == operation["operationId"]
        assert set(older["responses"]) == set(operation["responses"])


def test_operation_ids_are_unique_and_tags_are_explained() -> None:
    ids = [operation["operationId"] for _, _, operation in OPERATIONS]
    assert len(ids) == len(set(ids)) > 20
    tags = {tag["name"]: tag["description"] for tag in NATIVE["tags"]}
    assert {tag for _, _, operation in OPERATIONS for tag in operation["tags"]} == set(tags)


@every_operation
def test_words(path: str, operation: Json) -> None:
    assert operation["operationId"].isidentifier()
    assert 3 <= len(operation["summary"]) <= 60 and operation["summary"][0].isupper()
    assert len(operation["description"]) > 20, "write a docstring"
    assert len(operation["tags"]) == 1
    for parameter in operation.get("parameters", ()):
        assert parameter["schema"], parameter["name"]


@every_operation
def test_security(path: str, operation: Json) -> None:
    either = [{"bearer": []}, {"session": []}]
    if path == "/health/live":
        assert "security" not in operation
    elif path.startswith("/health") or operation["operationId"] == "current_session":  # a token sees more
        assert operation["security"] == [{}, *either]
    elif path.startswith("/api/session") or path.endswith(
        "/uploads/{name}"
    ):  # the body, or the address, has what it takes
        assert operation["security"] == []
    else:
        assert operation["security"] == either


@every_operation
def test_problems(path: str, operation: Json) -> None:
    responses = {int(code): resolve(response) for code, response in operation["responses"].items()}
    expected = {405, 500}
    expected |= {401, 403, 429, 503} if operation.get("security") else set()
    expected |= {404} if "{" in path else set()
    expected |= {414} if operation.get("parameters") else set()
    expected |= {413, 422, 400} if "requestBody" in operation else set()
    assert expected <= set(responses)
    titles = {kind.status: kind.title for kind in problem_types().values()}
    for status, response in responses.items():
        assert response["description"]
        assert status < 400 or "X-Request-ID" in response["headers"]
        if MEDIA_TYPE in response.get("content", {}):
            example = response["content"][MEDIA_TYPE]["example"]
            assert (example["status"], status in titles) == (status, True)
    assert "Allow" in responses[405]["headers"]
    assert 429 not in responses or "Retry-After" in responses[429]["headers"]


@every_operation
def test_examples(path: str, operation: Json) -> None:
    if operation["responses"].keys() & {"200", "201", "202"} == set():
        assert operation["responses"].keys() & {"204", "303"}
    for where, name, media in contents(operation):
        assert "example" in media or "examples" in media, f"{where} {name} has no example: give its model one"
        if name in (JSON, MEDIA_TYPE):
            schema = media["schema"] | {"components": NATIVE["components"]}
            Draft202012Validator(schema).validate(media["example"])


def test_examples_fit_the_older_document_too() -> None:
    for item in DOCUMENT_30["paths"].values():
        for operation in item.values():
            for _, name, media in contents(operation, DOCUMENT_30):
                if name == JSON:
                    schema = {"allOf": [media["schema"]], "components": DOCUMENT_30["components"]}
                    OAS30Validator(schema).validate(media["example"])


def test_streams_have_no_word_of_openapi_3_2() -> None:
    (media,) = NATIVE["paths"]["/api/videos/{job_id}/events"]["get"]["responses"]["200"]["content"].values()
    assert "itemSchema" not in media and media["x-itemSchema"]["type"] == "object"


def resolve(response: Json, document: Json = NATIVE) -> Json:
    if "$ref" not in response:
        return response
    found: Json = document["components"]["responses"][response["$ref"].rpartition("/")[2]]
    return found


def contents(operation: Json, document: Json = NATIVE) -> Iterator[tuple[str, str, Json]]:
    for name, media in operation.get("requestBody", {}).get("content", {}).items():
        yield "the request", name, media
    for code, response in operation["responses"].items():
        for name, media in resolve(response, document).get("content", {}).items():
            yield f"the response {code}", name, media
