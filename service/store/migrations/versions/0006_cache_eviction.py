"""Cached segments may be removed, say how long they last, and who still needs one is found by its key."""

from alembic import op

revision = "0006"
down_revision = "0005"

STATEMENTS = (
    "ALTER TABLE removals DROP CONSTRAINT removals_prefix_check",
    """ALTER TABLE removals ADD CONSTRAINT removals_prefix_check CHECK (
        prefix ~ '^(renders|previews)/[0-9a-f-]{36}/$' OR prefix ~ '^segments/[0-9a-f]{2}/[0-9a-f]{64}\\.$')""",
    "ALTER TABLE segment_cache ADD COLUMN duration text",
    "CREATE INDEX segments_content_key ON segments (content_key)",
    "CREATE INDEX segment_cache_used ON segment_cache (used_at)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
