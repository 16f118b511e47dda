"""A fleet: what tasks need, whether a worker takes any, and how much work is queued for each capability."""

from alembic import op

revision = "0016"
down_revision = "0015"

COLUMNS = (
    """ALTER TABLE workers ADD COLUMN state text NOT NULL DEFAULT 'active'
        CHECK (state IN ('active', 'cordoned', 'draining'))""",
    "ALTER TABLE renders ADD COLUMN needs text[] NOT NULL DEFAULT '{}'",
    "ALTER TABLE tasks ADD COLUMN needs text[] NOT NULL DEFAULT '{}', ADD COLUMN frames integer NOT NULL DEFAULT 0",
    """UPDATE renders SET needs = array_remove(ARRAY[
            CASE WHEN options #>> '{family,encoder}' = 'nvenc' THEN 'nvenc ' ELSE 'encode ' END
            || (options ->> 'codec')], NULL)
        WHERE status IN ('queued', 'running')""",
    """UPDATE tasks t SET needs = r.needs, frames = planned.outputs
        FROM renders r, LATERAL (
            SELECT number, lead(first_output, 1, r.frames_total) OVER (ORDER BY number) - first_output AS outputs
            FROM segments WHERE render_id = r.id) planned
        WHERE r.status IN ('queued', 'running') AND t.render_id = r.id AND t.kind = 'segment'
            AND t.number = planned.number AND t.state IN ('queued', 'running')""",
)

# An autoscaler reads the view and nothing else: grant this role to the one that it logs in with.
ROLE = """
    DO $$ BEGIN
        CREATE ROLE reelmill_autoscaler NOLOGIN;
    EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
    END $$
"""
# Of a frame, where no worker has measured any; and of an assembly, a scan or a preview.
SECONDS_PER_FRAME, SECONDS_PER_TASK = 0.05, 1
# What is put off for later (`due_at`) is not waiting for a worker. Rows overlap: a task is in the row of each of its
# needs, and in that of `any`.
DEMAND = (
    ROLE,
    f"""CREATE VIEW reelmill_demand AS
        WITH open AS (
            SELECT render_id, kind, state, needs, count(*) AS tasks, sum(frames) AS frames, min(due_at) AS due_at
            FROM tasks
            WHERE kind <> 'webhook' AND (state = 'running' OR (state = 'queued' AND due_at <= now()))
            GROUP BY render_id, kind, state, needs),
        costed AS (
            SELECT o.*, CASE kind
                WHEN 'segment' THEN
                    o.frames * coalesce((r.estimate ->> 'seconds_per_frame')::float8, {SECONDS_PER_FRAME})
                ELSE o.tasks * {SECONDS_PER_TASK}::float8 END AS seconds
            FROM open o LEFT JOIN renders r ON r.id = o.render_id)
        SELECT capability,
            coalesce(sum(tasks) FILTER (WHERE state = 'queued'), 0)::bigint AS tasks,
            coalesce(sum(frames) FILTER (WHERE state = 'queued'), 0)::bigint AS frames,
            coalesce(sum(seconds) FILTER (WHERE state = 'queued'), 0)::float8 AS seconds,
            coalesce(extract(epoch FROM now() - min(due_at) FILTER (WHERE state = 'queued')), 0)::float8
                AS oldest_wait_seconds,
            coalesce(sum(tasks) FILTER (WHERE state = 'running'), 0)::bigint AS running
        FROM costed, unnest(needs || 'any'::text) AS capability GROUP BY capability""",
    "COMMENT ON VIEW reelmill_demand IS 'Queued work by capability, for autoscalers; the row any has all of it'",
    "GRANT USAGE ON SCHEMA public TO reelmill_autoscaler",
    "GRANT SELECT ON reelmill_demand TO reelmill_autoscaler",
)


def upgrade() -> None:
    for statement in (*COLUMNS, *DEMAND):
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
