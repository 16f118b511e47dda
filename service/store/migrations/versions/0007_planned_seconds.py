"""How long a segment is planned to last, which with capture times does not follow from its frames."""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.get_bind().exec_driver_sql("ALTER TABLE segments ADD COLUMN planned text")


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
