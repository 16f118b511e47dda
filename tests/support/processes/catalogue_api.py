"""The catalogue API in this process, on a real database and a folder of objects, for any subject and scopes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy import select

from service.identity.settings import IdentitySettings
from service.identity.tokens import TokenVerifier, issue_token
from service.plan.render_plan import ObjectRef
from service.processes.app import create_app
from service.routers.http.dependencies import Resources
from service.routers.settings import CatalogSettings, HttpSettings
from service.store.database import Database
from service.store.objects.files import FileObjectStore
from service.store.objects.object_store import ObjectStore
from service.store.settings import StorageLimits
from service.store.source_rules import parse_sources
from service.store.tables import query_audit
from service.webhooks.settings import WebhookSettings
from tests.support.servers.databases import fresh_database

SECRET = SecretStr("a secret of at least thirty-two bytes")
SCOPES = ("catalog:read", "catalog:write")


@dataclass(frozen=True)
class CatalogueApi:
    app: FastAPI
    database: Database
    objects: Any

    def client(self, subject: str, *scopes: str) -> httpx.AsyncClient:
        """A client of `subject` with these scopes (default: SCOPES)."""
        token = issue_token(SECRET, subject, scopes or SCOPES, timedelta(minutes=5))
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://test", headers=headers)

    async def put(self, key: str, data: bytes, bucket: str = "reelmill") -> None:
        """Store an object without using the API."""
        await self.objects.put(ObjectRef(bucket, key), data, "application/octet-stream")


@asynccontextmanager
async def catalogue_api(
    server: str,
    home: Path,
    store: ObjectStore | None = None,
    webhooks: WebhookSettings | None = None,
    sources: str = "",
    storage: StorageLimits | None = None,
    **settings: object,
) -> AsyncIterator[CatalogueApi]:
    """`sources` is MINIO_SOURCES, `settings` are CatalogSettings'; `store` is a folder in `home` by default."""
    objects = store or FileObjectStore(home / "objects", "reelmill")
    await objects.check()
    async with fresh_database(server) as database:
        verifier = TokenVerifier(IdentitySettings.model_construct(secret=SECRET))
        long = 16 * 1024 * 1024  # so that queries reach the rules, however long they are
        http = HttpSettings.model_construct(max_body_bytes=long, max_query_bytes=long)
        resources = Resources(
            database,
            objects,
            verifier,
            "0.0.0",
            http=http,
            catalog=CatalogSettings.model_construct(**settings),
            sources=parse_sources(sources, objects.bucket),
            storage=storage or StorageLimits.model_construct(),
            webhooks=webhooks or WebhookSettings.model_construct(),
        )
        app = create_app(resources)
        yield CatalogueApi(app, database, objects)


QUERY_PATH = "/api/database/query"
QUERY_SCOPE = "query:run"
# The frames of alice's dataset.
ALICE_FRAME_COUNT = 200_000


async def run_query(client: httpx.AsyncClient, **document: Any) -> dict[str, Any]:
    response = await client.post(QUERY_PATH, json=document)
    assert response.status_code == 200, response.text
    return dict(response.json())


async def expect_refusal(client: httpx.AsyncClient, document: Any, status: int = 422) -> dict[str, Any]:
    response = await client.post(QUERY_PATH, json=document)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    return dict(response.json())


async def last_audit_record(api: CatalogueApi) -> Any:
    async with api.database.service_transaction() as connection:
        newest = select(query_audit).order_by(query_audit.c.created_at.desc(), query_audit.c.id.desc())
        return (await connection.execute(newest.limit(1))).mappings().one()
