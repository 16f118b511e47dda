"""Who asked for a render: it belongs to each of them, as long as they may see its experiment."""

from alembic import op

revision = "0012"
down_revision = "0011"

TABLE = (
    """CREATE TABLE requesters (
        render_id uuid NOT NULL REFERENCES renders ON DELETE CASCADE,
        subject text NOT NULL,
        admin boolean NOT NULL DEFAULT false,
        priority integer NOT NULL DEFAULT 0,
        created_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (render_id, subject)
    )""",
    "CREATE INDEX requesters_subject ON requesters (subject)",
    "ALTER TABLE requesters ENABLE ROW LEVEL SECURITY",
    """CREATE POLICY requesters_read ON requesters FOR SELECT TO reelmill_caller
        USING (subject = reelmill_subject() OR reelmill_admin())""",
    "GRANT SELECT ON requesters TO reelmill_caller",
)

RIGHTS = (
    """CREATE FUNCTION reelmill_may_read(owner text, visibility text, shared_with text[], subject text)
        RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
        RETURN owner = subject OR visibility = 'public' OR (visibility = 'shared' AND subject = ANY (shared_with))""",
    """ALTER POLICY experiments_read ON experiments
        USING (reelmill_may_read(owner, visibility, shared_with, reelmill_subject()) OR reelmill_admin())""",
    # It was for every command, SELECT included, so that whoever had asked for a render saw it for good.
    "DROP POLICY renders_write ON renders",
    "REVOKE INSERT, UPDATE, DELETE ON renders FROM reelmill_caller",
    "ALTER POLICY renders_read ON renders USING (experiment_id IN (SELECT id FROM experiments))",
)

# Before, a caller who joined a render left a trace only as a webhook or an idempotency key.
EARLIER_REQUESTERS = """
    INSERT INTO requesters (render_id, subject, priority, created_at)
    SELECT r.id, asked.subject, r.priority, min(asked.at)
    FROM (SELECT id AS render_id, owner AS subject, created_at AS at FROM renders
        UNION ALL SELECT render_id, owner, created_at FROM webhooks
        UNION ALL SELECT render_id, subject, created_at FROM idempotency_keys) asked
    JOIN renders r ON r.id = asked.render_id JOIN experiments e ON e.id = r.experiment_id
    WHERE reelmill_may_read(e.owner, e.visibility, e.shared_with, asked.subject)
    GROUP BY r.id, asked.subject, r.priority
"""

# A guest learns only of himself who asked for a render.
SHOWN_OWNER = """CASE WHEN r.owner = reelmill_subject() OR e.owner = reelmill_subject() OR reelmill_admin()
    THEN r.owner END AS owner,"""


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    for statement in (*TABLE, *RIGHTS, EARLIER_REQUESTERS):
        run(statement)
    view = str(run("SELECT pg_get_viewdef('ask.renders'::regclass)").scalar_one())
    if view.count("r.owner,") != 1:
        raise RuntimeError(f"the view ask.renders is not the one that this migration changes: {view}")
    shown = view.replace("r.owner,", SHOWN_OWNER)
    run(f"CREATE OR REPLACE VIEW ask.renders WITH (security_invoker = true) AS {shown}")


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
