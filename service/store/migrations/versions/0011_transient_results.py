"""Segments whose frames were missing or changed for a moment, and the version of the pipeline that made a segment."""

from alembic import op

revision = "0011"
down_revision = "0010"

STATEMENTS: tuple[str, ...] = (
    "ALTER TABLE segments ADD COLUMN pipeline text, ADD COLUMN transient boolean NOT NULL DEFAULT false",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
