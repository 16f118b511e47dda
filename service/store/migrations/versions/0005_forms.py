"""In which form samples are, so that a lossless render can keep them."""

from alembic import op

revision = "0005"
down_revision = "0004"

COLUMNS = (
    "ALTER TABLE frames ADD COLUMN form text",
    "COMMENT ON COLUMN frames.form IS 'what its samples are: see service/plan/pixel_form.py'",
    "ALTER TABLE datasets ADD COLUMN forms jsonb NOT NULL DEFAULT '{}'",
    "COMMENT ON COLUMN datasets.forms IS 'form of samples -> how many frames'",
)


def upgrade() -> None:
    for statement in COLUMNS:
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
