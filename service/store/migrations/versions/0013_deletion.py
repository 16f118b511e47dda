"""Deletion of what only deleted rows used, and why a dataset may read its source."""

from alembic import op

revision = "0013"
down_revision = "0012"

STATEMENTS = (
    "ALTER TABLE datasets ADD COLUMN source_grant text CHECK (source_grant IN ('admin', 'only_owner'))",
    # A bucket from which only one owner has read so far stays open to that owner where no rule names anybody.
    """UPDATE datasets d SET source_grant = 'only_owner' FROM experiments e
        WHERE e.id = d.experiment_id AND NOT EXISTS (
            SELECT FROM datasets o JOIN experiments oe ON oe.id = o.experiment_id
            WHERE o.bucket = d.bucket AND oe.owner <> e.owner)""",
    "ALTER TABLE datasets ADD COLUMN uploads_until timestamptz",
    """ALTER TABLE removals ADD COLUMN scheduled_at timestamptz NOT NULL DEFAULT now(),
        ADD COLUMN repeat_until timestamptz, ADD COLUMN modified_after timestamptz""",
    "ALTER TABLE removals DROP CONSTRAINT removals_prefix_check",
    """ALTER TABLE removals ADD CONSTRAINT removals_prefix_check CHECK (
        prefix ~ '^(renders|previews)/[0-9a-f-]{36}/$' OR prefix ~ '^frames/[0-9a-f-]{36}/([0-9a-f-]{36}/)?$'
        OR prefix ~ '^segments/[0-9a-f]{2}/[0-9a-f]{64}\\.$')""",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
