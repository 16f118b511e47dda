"""Tasks that have failed for good can be listed by those whom they concern, and dismissed."""

from alembic import op

revision = "0017"
down_revision = "0016"

STATEMENTS = (
    "ALTER TABLE tasks ADD COLUMN dismissed_at timestamptz, ADD COLUMN dismissed_by text",
    "CREATE INDEX tasks_dead ON tasks (finished_at, id) WHERE state = 'failed' AND dismissed_at IS NULL",
    # The rate of the queue: see jobs.throughput.
    "CREATE INDEX tasks_finished ON tasks (kind, finished_at) WHERE state = 'succeeded'",
    "ALTER TABLE tasks ENABLE ROW LEVEL SECURITY",
    # Whoever waits for a task, or asked for its render, sees that it has failed, if he may see what it is about.
    """CREATE POLICY tasks_read ON tasks FOR SELECT TO reelmill_caller USING (state = 'failed' AND (
        reelmill_admin() OR ((owner = reelmill_subject() OR EXISTS (
            SELECT FROM requesters q WHERE q.render_id = tasks.render_id AND q.subject = reelmill_subject()))
        AND (render_id IS NULL OR EXISTS (SELECT FROM renders r WHERE r.id = tasks.render_id))
        AND (dataset_id IS NULL OR EXISTS (SELECT FROM datasets d WHERE d.id = tasks.dataset_id))
        AND (kind <> 'webhook' OR EXISTS (
            SELECT FROM experiments e WHERE e.id = CAST(tasks.payload #>> '{body,data,experiment_id}' AS uuid))))))""",
    """GRANT SELECT (id, kind, lane, render_id, dataset_id, number, state, starts, error, payload, owner, created_at,
        finished_at, dismissed_at) ON tasks TO reelmill_caller""",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
