"""The audit log of guarded queries: the caller, the document, the outcome and the measured limits."""

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

from sqlalchemy import insert, text

from service.guard.document import Document
from service.guard.policy import LimitUsage
from service.ids import Subject, new_uuid
from service.store.database import Database
from service.store.tables import query_audit
from service.telemetry.metrics import QUERIES, QUERY_REFUSALS, QUERY_SECONDS

QueryOutcome = Literal["answered", "refused", "timed_out", "failed"]
MAX_DOCUMENT_BYTES = 16 * 1024
# Each record deletes more old records than it adds, so that a table that has grown shrinks again.
PRUNE_BATCH = 10
PRUNE_SQL = text("""
    DELETE FROM query_audit WHERE id IN (
        SELECT id FROM query_audit WHERE created_at < now() - make_interval(days => :days)
        ORDER BY created_at LIMIT :most FOR UPDATE SKIP LOCKED)
""")


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One query. `rule` is the first that it broke."""

    subject: Subject
    document: Document
    outcome: QueryOutcome
    elapsed_s: float
    limit_usage: tuple[LimitUsage, ...] = ()
    rule: str | None = None
    row_count: int = 0


async def write_record(database: Database, record: AuditRecord, retention_days: int) -> None:
    """Update the metrics, insert the record and delete a few that are older than `retention_days`."""
    QUERIES.labels(record.outcome).inc()
    QUERY_SECONDS.observe(record.elapsed_s)
    if record.rule is not None:
        QUERY_REFUSALS.labels(record.rule).inc()
    row = {
        "id": new_uuid(),
        "subject": record.subject,
        "document": _bounded_document(record.document),
        "outcome": record.outcome,
        "rule": record.rule,
        "figures": [asdict(usage) for usage in record.limit_usage],
        "row_count": record.row_count,
        "elapsed_ms": record.elapsed_s * 1000,
    }
    async with database.service_transaction() as connection:
        await connection.execute(insert(query_audit).values(**row))
        await connection.execute(PRUNE_SQL, {"days": retention_days, "most": PRUNE_BATCH})


def _bounded_document(document: Document) -> dict[str, Any]:
    """The document as it was sent; of one above MAX_DOCUMENT_BYTES, only the table and the length."""
    sent = document.model_dump(mode="json", by_alias=True, exclude_unset=True)
    if document.cursor is not None:  # the only text that is stored before anything has looked at it
        sent["cursor"] = document.cursor.replace("\0", "\ufffd")
    length = len(json.dumps(sent).encode())
    return sent if length <= MAX_DOCUMENT_BYTES else {"table": document.table, "left_out_bytes": length}
