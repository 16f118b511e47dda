"""Schedules, and their runs: a run and its render are written in one transaction."""

from alembic import op

revision = "0022"
down_revision = "0021"

STATEMENTS = (
    """CREATE TABLE schedules (
        id uuid PRIMARY KEY,
        experiment_id uuid NOT NULL REFERENCES experiments ON DELETE CASCADE,
        owner text NOT NULL,
        name text NOT NULL,
        request jsonb NOT NULL,
        cron text NOT NULL,
        zone text NOT NULL,
        time_window text,
        enabled boolean NOT NULL DEFAULT true,
        next_run_at timestamptz,
        planned_until timestamptz NOT NULL,
        covered_until timestamptz,
        run_count bigint NOT NULL DEFAULT 0,
        created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now(),
        UNIQUE (owner, name)
    )""",
    "CREATE INDEX schedules_experiment ON schedules (experiment_id)",
    "CREATE INDEX schedules_due ON schedules (next_run_at) WHERE next_run_at IS NOT NULL",
    "ALTER TABLE schedules ENABLE ROW LEVEL SECURITY",
    """CREATE POLICY schedules_read ON schedules FOR SELECT TO reelmill_caller
        USING (owner = reelmill_subject() OR reelmill_admin())""",
    "GRANT SELECT ON schedules TO reelmill_caller",
    """CREATE TABLE schedule_runs (
        id uuid PRIMARY KEY,
        schedule_id uuid NOT NULL REFERENCES schedules ON DELETE CASCADE,
        number bigint NOT NULL,
        planned_at timestamptz NOT NULL,
        manual boolean NOT NULL DEFAULT false,
        missed integer NOT NULL DEFAULT 0,
        window_from timestamptz,
        window_to timestamptz,
        state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'submitted', 'refused')),
        attempts integer NOT NULL DEFAULT 0,
        retry_at timestamptz,
        render_id uuid,
        joined boolean NOT NULL DEFAULT false,
        problem jsonb,
        began_at timestamptz NOT NULL DEFAULT now(),
        UNIQUE (schedule_id, number),
        CHECK ((state = 'waiting') = (retry_at IS NOT NULL)),
        CHECK ((state = 'submitted') = (render_id IS NOT NULL))
    )""",
    "CREATE UNIQUE INDEX schedule_runs_planned ON schedule_runs (schedule_id, planned_at) WHERE NOT manual",
    "CREATE INDEX schedule_runs_waiting ON schedule_runs (retry_at) WHERE state = 'waiting'",
    "ALTER TABLE schedule_runs ENABLE ROW LEVEL SECURITY",
    """CREATE POLICY schedule_runs_read ON schedule_runs FOR SELECT TO reelmill_caller
        USING (schedule_id IN (SELECT id FROM schedules))""",
    "GRANT SELECT ON schedule_runs TO reelmill_caller",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
