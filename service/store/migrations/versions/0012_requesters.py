"""Who asked for a render: it belongs to each of them."""

from alembic import op

revision = "0012"
down_revision = "0011"

STATEMENTS: tuple[str, ...] = ()


def upgrade() -> None:
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
