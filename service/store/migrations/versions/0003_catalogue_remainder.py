"""Signing keys, objects to be removed, previews and webhooks as tasks."""

import os

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

STATEMENTS = (
    "CREATE TABLE signing_keys (name text PRIMARY KEY, key bytea NOT NULL)",
    """CREATE TABLE removals (
        bucket text NOT NULL, prefix text NOT NULL CHECK (prefix ~ '^(renders|previews)/[0-9a-f-]{36}/$'),
        due_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (bucket, prefix))""",
    "CREATE INDEX removals_due ON removals (due_at)",
    "ALTER TABLE tasks DROP CONSTRAINT tasks_kind_check",
    """ALTER TABLE tasks ADD CONSTRAINT tasks_kind_check
        CHECK (kind IN ('segment', 'assemble', 'scan', 'preview', 'webhook'))""",
    "ALTER TABLE tasks ADD COLUMN payload jsonb",
    "CREATE INDEX tasks_preview ON tasks ((payload ->> 'key'), created_at DESC) WHERE kind = 'preview'",
    """CREATE TABLE webhooks (
        render_id uuid NOT NULL REFERENCES renders ON DELETE CASCADE, url text NOT NULL, owner text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (render_id, url, owner))""",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)
    keep = sa.text("INSERT INTO signing_keys (name, key) VALUES ('api', :key)")
    op.get_bind().execute(keep, {"key": os.urandom(32)})


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
