"""What source videos say of their pixels, colours and fields, and what a scan left out."""

from alembic import op

revision = "0009"
down_revision = "0008"

STATEMENTS = (
    "ALTER TABLE sources ADD COLUMN pixel_aspect text",
    "ALTER TABLE sources ADD COLUMN colour jsonb",
    "ALTER TABLE sources ADD COLUMN fields text",
    "ALTER TABLE sources ADD COLUMN packets bytea",
    "ALTER TABLE datasets ADD COLUMN excluded jsonb NOT NULL DEFAULT '{}'::jsonb",
    "ALTER TABLE datasets ADD COLUMN problems jsonb NOT NULL DEFAULT '[]'::jsonb",
    "ALTER TABLE datasets ADD COLUMN cadence jsonb",
    "ALTER TABLE datasets ADD COLUMN field_orders jsonb NOT NULL DEFAULT '{}'::jsonb",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
