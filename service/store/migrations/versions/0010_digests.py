"""Digests of what the service wrote: segments, files of renders, previews."""

from alembic import op

revision = "0010"
down_revision = "0009"

STATEMENTS = (
    "ALTER TABLE segment_cache ADD COLUMN digests jsonb NOT NULL DEFAULT '{}'",
    """ALTER TABLE renders ADD COLUMN digests jsonb NOT NULL DEFAULT '{}', ADD COLUMN video_etag text,
        ADD COLUMN remake jsonb, ADD COLUMN remade_at timestamptz""",
    """CREATE TABLE previews (
        key text PRIMARY KEY, dataset_id uuid NOT NULL REFERENCES datasets ON DELETE CASCADE,
        sha256 text NOT NULL, bytes bigint NOT NULL, created_at timestamptz NOT NULL DEFAULT now())""",
    "CREATE INDEX previews_dataset ON previews (dataset_id)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
