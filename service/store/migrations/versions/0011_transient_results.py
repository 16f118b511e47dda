"""Renders whose frames were missing or changed for a moment."""

from alembic import op

revision = "0011"
down_revision = "0010"

STATEMENTS: tuple[str, ...] = ()


def upgrade() -> None:
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
