"""Previews of a render's video go with it; another attempt at a transient one may show something else."""

from alembic import op

revision = "0020"
down_revision = "0019"

STATEMENTS = (
    """ALTER TABLE previews ADD COLUMN render_id uuid REFERENCES renders ON DELETE CASCADE,
        ADD COLUMN transient boolean NOT NULL DEFAULT false""",
    "CREATE INDEX previews_render ON previews (render_id)",
    "ALTER TABLE removals DROP CONSTRAINT removals_prefix_check",
    r"""ALTER TABLE removals ADD CONSTRAINT removals_prefix_check CHECK (
        prefix ~ '^renders/[0-9a-f-]{36}/$' OR prefix ~ '^(frames|previews)/[0-9a-f-]{36}/([0-9a-f-]{36}/)?$'
        OR prefix ~ '^segments/[0-9a-f]{2}/[0-9a-f]{64}\.$')""",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
