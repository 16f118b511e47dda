"""The caller's secrets that sign webhooks: make one, list them, delete one."""

import base64
import hashlib
from datetime import datetime
from typing import Any, Self
from uuid import UUID

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import RowMapping

from service.errors import NotFound
from service.routers.http.dependencies import CallerDep, DatabaseDep, require_scope
from service.routers.http.problems import error_responses
from service.store import webhook_secrets
from service.webhooks.settings import SECRET_PREFIX

router = APIRouter(
    prefix="/api/webhooks/secrets", tags=["webhooks"], dependencies=[Depends(require_scope("videos:render"))]
)
FINGERPRINT_DIGITS = 12
EXAMPLE: dict[str, Any] = {
    "id": "0197a3c2-b1f0-7aa1-8c63-9e0d5a1f2b44",
    "fingerprint": "3f2a90c1d4be",
    "created_at": "2026-03-01T08:00:00Z",
}


class WebhookSecret(BaseModel):
    """A secret, without what is secret about it."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})
    id: UUID
    fingerprint: str = Field(description="first digits of the SHA-256 of the key, to recognise it by")
    created_at: datetime

    @classmethod
    def from_row(cls, row: RowMapping, **more: Any) -> Self:
        fingerprint = hashlib.sha256(row["key"]).hexdigest()[:FINGERPRINT_DIGITS]
        return cls(id=row["id"], fingerprint=fingerprint, created_at=row["created_at"], **more)


class NewWebhookSecret(WebhookSecret):
    """A secret that was just made: the only answer that has it."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [EXAMPLE | {"secret": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD2Pa8X2H3JkM="}]}
    )
    secret: str = Field(description="as receivers' libraries of Standard Webhooks take it; it is never shown again")


@router.post("", status_code=201, summary="Make a webhook secret", responses=error_responses(409))
async def make_webhook_secret(caller: CallerDep, database: DatabaseDep, response: Response) -> NewWebhookSecret:
    """Signs the webhooks of the caller from now on, together with his other secrets, so that receivers can change over
    one by one. Keep the answer: the secret is never shown again. A caller has at most three."""
    async with database.service_transaction() as connection:
        row = await webhook_secrets.create(connection, caller.subject)
    response.headers["Cache-Control"] = "no-store"
    return NewWebhookSecret.from_row(row, secret=SECRET_PREFIX + base64.b64encode(row["key"]).decode())


@router.get("", summary="List your webhook secrets")
async def list_webhook_secrets(caller: CallerDep, database: DatabaseDep) -> list[WebhookSecret]:
    """Those of the caller, oldest first, without the secrets themselves. All of them sign."""
    async with database.service_transaction() as connection:
        rows = await webhook_secrets.list_secrets(connection, caller.subject)
    return [WebhookSecret.from_row(row) for row in rows]


@router.delete("/{secret_id}", status_code=204, summary="Delete a webhook secret")
async def delete_webhook_secret(secret_id: UUID, caller: CallerDep, database: DatabaseDep) -> None:
    """It signs nothing from now on, not even calls that are waiting. Delete the old one after all receivers have the
    new one."""
    async with database.service_transaction() as connection:
        if not await webhook_secrets.remove(connection, caller.subject, secret_id):
            raise NotFound("you have no webhook secret with this id")
