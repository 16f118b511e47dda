"""Requirement: API Documentation. What the pages show in a browser is tested in tests/routers/openapi/test_docs.py."""

import httpx

from tests.specification.scenario import scenario
from tests.support.processes.running_service import RunningService

ENDPOINTS = {
    ("/api/agent/query", "post"),
    ("/api/videos/generate", "post"),
    ("/api/experiments", "get"),
    ("/api/datasets/{dataset_id}", "get"),
    ("/api/database/query", "post"),
    ("/health", "get"),
}


@scenario("OpenAPI schema")
def test_openapi_schema(service: RunningService) -> None:
    page = httpx.get(f"{service.url}/docs", trust_env=False)
    assert page.status_code == 200 and "swagger-ui" in page.text
    document = httpx.get(f"{service.url}/openapi.json", trust_env=False).json()
    operations = {(path, method) for path, item in document["paths"].items() for method in item}
    assert operations >= ENDPOINTS
    assert {"VideoGenerationRequest", "Dataset", "Experiment", "Problem"} <= set(document["components"]["schemas"])
    generate = document["paths"]["/api/videos/generate"]["post"]
    assert _has_example(generate["requestBody"]["content"]["application/json"])
    assert _has_example(generate["responses"]["202"]["content"]["application/json"])


def _has_example(media: dict[str, object]) -> bool:
    return "example" in media or "examples" in media


@scenario("Alternative documentation formats")
def test_alternative_documentation_formats(service: RunningService) -> None:
    page = httpx.get(f"{service.url}/redoc", trust_env=False)
    assert page.status_code == 200 and "redoc" in page.text.lower()
    document = httpx.get(f"{service.url}/openapi.json", trust_env=False)
    assert document.headers["content-type"] == "application/json"
    assert document.json()["openapi"].startswith("3.0.")
