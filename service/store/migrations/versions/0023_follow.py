"""Datasets that are followed: new objects under their prefix become frames without a scan being asked for."""

from alembic import op

revision = "0023"
down_revision = "0022"

STATEMENTS = (
    "ALTER TABLE frames ADD COLUMN captured_named boolean",
    """CREATE TABLE follows (
        dataset_id uuid PRIMARY KEY REFERENCES datasets ON DELETE CASCADE,
        since timestamptz NOT NULL DEFAULT now(),
        due_at timestamptz NOT NULL DEFAULT now(),
        whole_at timestamptz NOT NULL DEFAULT now(),
        hinted boolean NOT NULL DEFAULT false,
        lease bigint NOT NULL DEFAULT 0,
        worker text,
        alive_at timestamptz,
        looked_at timestamptz,
        changed_at timestamptz,
        listing_s double precision NOT NULL DEFAULT 0,
        failures integer NOT NULL DEFAULT 0,
        problem text,
        listing jsonb,
        measured bigint NOT NULL DEFAULT 0,
        changes jsonb NOT NULL DEFAULT '{}'
    )""",
    "ALTER TABLE follows ENABLE ROW LEVEL SECURITY",
    "GRANT SELECT (dataset_id, since, looked_at, changed_at, problem, changes) ON follows TO reelmill_caller",
    """CREATE POLICY follows_read ON follows FOR SELECT TO reelmill_caller
        USING (dataset_id IN (SELECT id FROM datasets))""",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
