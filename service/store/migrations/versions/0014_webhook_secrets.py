"""Signing secrets of webhooks, one set for each subject, and an index of the calls that wait for a subject."""

from alembic import op

revision = "0014"
down_revision = "0013"

# Row-level security without a policy: callers read nothing, even if a later migration grants too much.
STATEMENTS = (
    """CREATE TABLE webhook_secrets (
        id uuid PRIMARY KEY,
        subject text NOT NULL,
        key bytea NOT NULL CHECK (length(key) >= 24),
        created_at timestamptz NOT NULL DEFAULT now()
    )""",
    "CREATE INDEX ix_webhook_secrets_subject ON webhook_secrets (subject)",
    "ALTER TABLE webhook_secrets ENABLE ROW LEVEL SECURITY",
    """CREATE INDEX tasks_webhook_owner ON tasks ((payload ->> 'owner'))
        WHERE kind = 'webhook' AND state IN ('queued', 'running')""",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
