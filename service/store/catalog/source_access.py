"""Whether a dataset may read its source now: judged when it is registered, scanned, shown and rendered."""

from typing import Protocol
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.errors import InvalidRequest, ReelmillError, invalid_field
from service.store.catalog import datasets
from service.store.database import Caller, Database
from service.store.objects.keys import experiment_prefix
from service.store.source_rules import Grant, Reader, SourceRules

IS_ONLY_OWNER = text("""
    SELECT coalesce(
        (SELECT bool_and(e.owner = :subject) FROM datasets d JOIN experiments e ON e.id = d.experiment_id
            WHERE d.bucket = :bucket AND d.source_grant IS DISTINCT FROM 'admin'),
        NOT EXISTS (SELECT FROM experiments WHERE owner <> :subject))
""")


class SourceForbidden(ReelmillError):
    """The dataset reads from a place that its owner may not read, or not any more (`MINIO_SOURCES`). Ask an operator
    for a rule; videos that were rendered before stay."""

    status, slug, title = 403, "source-forbidden", "The source of the dataset may not be read"


class Source(Protocol):
    """What is judged of a dataset: where it reads, whose it is, and what let its owner register it."""

    @property
    def bucket(self) -> str: ...

    @property
    def prefix(self) -> str: ...

    @property
    def experiment_id(self) -> UUID: ...

    @property
    def owner(self) -> str | None: ...

    @property
    def source_grant(self) -> Grant | None: ...


def check_source(dataset: Source, rules: SourceRules) -> None:
    """The row must have its `owner`. Raises SourceForbidden."""
    if dataset.bucket == rules.own_bucket:
        allowed = dataset.prefix.startswith(experiment_prefix(dataset.experiment_id))
    else:
        reader = Reader(dataset.owner or "", dataset.source_grant)
        allowed = rules.allows(dataset.bucket, dataset.prefix, reader)
    if not allowed:
        place = f"{dataset.bucket}/{dataset.prefix}"
        raise SourceForbidden(f"the owner of this dataset may not read {place} (MINIO_SOURCES): ask an operator")


async def require_source(connection: AsyncConnection, dataset: UUID, rules: SourceRules) -> None:
    """Raises SourceForbidden; passes if the dataset was deleted, which others notice."""
    row = await datasets.get(connection, dataset)
    if row is not None:
        check_source(row, rules)


async def grant_for(database: Database, caller: Caller, bucket: str, rules: SourceRules) -> Grant | None:
    """What lets the caller read from this bucket beside the rules that name the caller."""
    if caller.admin:
        return "admin"
    if not rules.is_for_one_owner(bucket):
        return None
    async with database.service_transaction() as connection:
        alone = await connection.scalar(IS_ONLY_OWNER, {"subject": caller.subject, "bucket": bucket})
    return "only_owner" if alone else None


def refusal(bucket: str, prefix: str, reader: Reader, rules: SourceRules) -> InvalidRequest:
    """Why a dataset of this reader cannot be registered there; does not tell of buckets that are not the reader's."""
    folders = rules.prefixes_for(bucket, reader)
    if not folders:
        detail = "datasets of yours cannot be read from this bucket: an operator can open it (MINIO_SOURCES)"
        return invalid_field("#/bucket", detail, "bucket")
    if rules.allows(bucket, f"{prefix}/", reader):
        return invalid_field("#/prefix", f"end the prefix with a slash: {prefix}/", "prefix")
    if any(prefix.startswith(folder) for folder in folders):
        return invalid_field("#/prefix", "some of this belongs to others: name a folder that is all yours", "prefix")
    shown = ", ".join(folders[:5])
    return invalid_field("#/prefix", f"in this bucket you may read below {shown} only (MINIO_SOURCES)", "prefix")
