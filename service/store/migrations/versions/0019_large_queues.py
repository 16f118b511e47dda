"""Indexes for a queue of a million tasks, and maintenance that one worker of many does for all.

A heartbeat changes no index any more, so its row stays on its page."""

from alembic import op

revision = "0019"
down_revision = "0018"

STATEMENTS = (
    "CREATE INDEX renders_of_caller_unfinished ON renders (owner) WHERE status IN ('queued', 'running')",
    "DROP INDEX tasks_running",
    # By id: whoever looks for one running task would otherwise look at all of them.
    "CREATE INDEX tasks_running ON tasks (id) WHERE state = 'running'",
    "CREATE INDEX tasks_to_prune ON tasks (finished_at) WHERE kind IN ('preview', 'webhook')",
    # Room for the versions of a row that is running; dead ones are removed before they are a fifth of a large table.
    """ALTER TABLE tasks SET (
        fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02)""",
    "CREATE TABLE maintenance_rounds (name text PRIMARY KEY, begun_at timestamptz NOT NULL)",
    "ALTER TABLE maintenance_rounds ENABLE ROW LEVEL SECURITY",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
