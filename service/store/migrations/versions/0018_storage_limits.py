"""How long renders are kept, what uploads and results take, and what the check of bucket and database has found."""

from alembic import op

revision = "0018"
down_revision = "0017"

# Row-level security without a policy: callers read nothing, even if a later migration grants too much.
STATEMENTS = (
    "ALTER TABLE requesters ADD COLUMN asked_at timestamptz NOT NULL DEFAULT now(), ADD COLUMN keep_days integer",
    "UPDATE requesters SET asked_at = created_at",
    "CREATE INDEX requesters_keep_days ON requesters (render_id) WHERE keep_days IS NOT NULL",
    "CREATE INDEX renders_ended ON renders (finished_at) WHERE status IN ('succeeded', 'failed', 'cancelled')",
    "ALTER TABLE renders ADD COLUMN stored_bytes bigint",
    "UPDATE renders SET stored_bytes = video_bytes WHERE video_bytes IS NOT NULL",
    "CREATE INDEX renders_stored ON renders (stored_bytes) WHERE stored_bytes IS NOT NULL",
    """CREATE TABLE upload_areas (
        dataset_id uuid PRIMARY KEY,
        experiment_id uuid NOT NULL,
        owner text NOT NULL,
        bytes bigint NOT NULL DEFAULT 0 CHECK (bytes >= 0),
        recount_at timestamptz
    )""",
    "CREATE INDEX upload_areas_owner ON upload_areas (owner)",
    "CREATE INDEX upload_areas_recount ON upload_areas (recount_at) WHERE recount_at IS NOT NULL",
    "ALTER TABLE upload_areas ENABLE ROW LEVEL SECURITY",
    """INSERT INTO upload_areas (dataset_id, experiment_id, owner, bytes, recount_at)
        SELECT d.id, e.id, e.owner, d.bytes, now() FROM datasets d JOIN experiments e ON e.id = d.experiment_id
        WHERE d.prefix = 'frames/' || e.id || '/' || d.id || '/'""",
    """CREATE TABLE upload_reservations (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        dataset_id uuid NOT NULL REFERENCES upload_areas ON DELETE CASCADE,
        bytes bigint NOT NULL,
        expires_at timestamptz NOT NULL
    )""",
    "CREATE INDEX upload_reservations_dataset ON upload_reservations (dataset_id, expires_at)",
    "ALTER TABLE upload_reservations ENABLE ROW LEVEL SECURITY",
    """CREATE TABLE consistency_checks (
        name text PRIMARY KEY,
        position integer NOT NULL DEFAULT 0,
        started_at timestamptz NOT NULL DEFAULT '-infinity',
        running jsonb NOT NULL DEFAULT '{}',
        finished jsonb,
        finished_at timestamptz
    )""",
    "ALTER TABLE consistency_checks ENABLE ROW LEVEL SECURITY",
    "INSERT INTO consistency_checks (name) VALUES ('bucket')",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
