"""Signing secrets of webhooks. No caller's transaction can read the table, so each function is told whose they are."""

import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import RowMapping, delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from service.errors import Conflict
from service.ids import Subject, new_uuid
from service.store.database import acquire_advisory_lock
from service.store.tables import webhook_secrets

# Two are enough to rotate; each signs every delivery, in one header.
MAX_SECRETS = 3
# Standard Webhooks asks for 24 to 64.
KEY_BYTES = 32


class SigningSecret(NamedTuple):
    """A key and when it was made."""

    key: bytes
    created_at: datetime


async def create(connection: AsyncConnection, subject: Subject) -> RowMapping:
    """A new secret, with its key. Raises Conflict if the subject has MAX_SECRETS."""
    await acquire_advisory_lock(connection, f"webhook secrets of {subject}")
    count = select(func.count()).select_from(webhook_secrets).where(webhook_secrets.c.subject == subject)
    if int(await connection.scalar(count) or 0) >= MAX_SECRETS:
        raise Conflict(f"you have {MAX_SECRETS} webhook secrets: delete one that no receiver uses any more")
    query = insert(webhook_secrets).values(id=new_uuid(), subject=subject, key=secrets.token_bytes(KEY_BYTES))
    row: RowMapping = (await connection.execute(query.returning(webhook_secrets))).mappings().one()
    return row


async def list_secrets(connection: AsyncConnection, subject: Subject) -> Sequence[RowMapping]:
    """Those of the subject, oldest first."""
    query = select(webhook_secrets).where(webhook_secrets.c.subject == subject)
    return (await connection.execute(query.order_by(webhook_secrets.c.created_at))).mappings().all()


async def remove(connection: AsyncConnection, subject: Subject, secret: UUID) -> bool:
    """Delete a secret, which signs nothing from then on. False if the subject has none with this id."""
    query = delete(webhook_secrets).where(webhook_secrets.c.id == secret, webhook_secrets.c.subject == subject)
    return (await connection.execute(query)).rowcount == 1


async def signing_secrets(connection: AsyncConnection, subject: Subject) -> list[SigningSecret]:
    """What signs deliveries to the subject, newest first."""
    rows = await list_secrets(connection, subject)
    return [SigningSecret(bytes(row["key"]), row["created_at"]) for row in reversed(rows)]
