"""Grids: renders that show frames of other datasets beside those of their own."""

from alembic import op

revision = "0024"
down_revision = "0023"

STATEMENTS = (
    """CREATE TABLE render_panels (
        render_id uuid NOT NULL REFERENCES renders ON DELETE CASCADE,
        dataset_id uuid NOT NULL REFERENCES datasets ON DELETE CASCADE,
        PRIMARY KEY (render_id, dataset_id)
    )""",
    "CREATE INDEX ix_render_panels_dataset_id ON render_panels (dataset_id)",
    "ALTER TABLE render_panels ENABLE ROW LEVEL SECURITY",
    """CREATE POLICY render_panels_read ON render_panels FOR SELECT TO reelmill_caller
        USING (EXISTS (SELECT FROM renders r WHERE r.id = render_id))""",
    "GRANT SELECT ON render_panels TO reelmill_caller",
    "ALTER TABLE removals DROP CONSTRAINT removals_prefix_check",
    r"""ALTER TABLE removals ADD CONSTRAINT removals_prefix_check CHECK (
        prefix ~ '^renders/[0-9a-f-]{36}/$' OR prefix ~ '^(frames|previews)/[0-9a-f-]{36}/([0-9a-f-]{36}/)?$'
        OR prefix ~ '^previews/[0-9a-f-]{36}/grids/$' OR prefix ~ '^segments/[0-9a-f]{2}/[0-9a-f]{64}\.$')""",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
