"""Asking the database through the API."""

from typing import Any

import httpx
from sqlalchemy import select

from service.store.tables import query_audit
from tests.support.catalogue_api import CatalogueApi

QUERY_PATH = "/api/database/query"
QUERY_SCOPE = "query:run"
ALICE_FRAME_COUNT = 200_000
"""The frames of alice's dataset."""


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
