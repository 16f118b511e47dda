"""Deletion of what only deleted rows used."""

from alembic import op

revision = "0013"
down_revision = "0012"

STATEMENTS: tuple[str, ...] = ()


def upgrade() -> None:
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
