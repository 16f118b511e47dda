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
    "COMMENT ON TABLE render_panels IS 'the datasets that a grid shows beside that of its render'",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
