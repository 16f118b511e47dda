"""Previews of a render's video go with it; another attempt at a transient one may show something else."""

from alembic import op

revision = "0020"
down_revision = "0019"

STATEMENTS = (
    """ALTER TABLE previews ADD COLUMN render_id uuid REFERENCES renders ON DELETE CASCADE,
        ADD COLUMN transient boolean NOT NULL DEFAULT false""",
    "CREATE INDEX previews_render ON previews (render_id)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
