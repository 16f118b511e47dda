"""Pages of stacks as frames; what the samples of deep frames are worth."""

from alembic import op

revision = "0004"
down_revision = "0003"

COLUMNS = (
    "ALTER TABLE frames ADD COLUMN page integer, ADD COLUMN page_offset bigint NOT NULL DEFAULT 0,"
    " ADD COLUMN bits integer, ADD COLUMN gray boolean",
    "COMMENT ON COLUMN frames.page IS 'which picture of a multi-page TIFF, from 0'",
    "COMMENT ON COLUMN frames.page_offset IS 'where the directory of that page begins in the object'",
    "ALTER TABLE datasets ADD COLUMN levels jsonb",
    "COMMENT ON COLUMN datasets.levels IS 'facts about sample values: see service/plan/levels.py'",
)


def upgrade() -> None:
    for statement in COLUMNS:
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
